"""`scripts/bench` runs to its end; never how fast anything was."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PATIENCE, clean_environment, start

ROOT = Path(__file__).parents[2]


def bench(folder: Path, *options: str) -> tuple[int, str]:
    args = ["bash", str(ROOT / "scripts" / "bench"), "--quick", "--output", str(folder / "out"), *options]
    env = clean_environment(TMPDIR=str(folder), PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin")
    with start(args, log_path=folder / "log", env=env, cwd=folder) as process:
        return process.wait(2 * PATIENCE), process.log()


def figures(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "out" / "report.json").read_text())["figures"]


@pytest.mark.parametrize("contestant", ["jackline", "jackline embedded"])
def test_the_smallest_scenario_delivers_every_entry(tmp_path: Path, contestant: str) -> None:
    code, said = bench(tmp_path, "--only", "1000 runs x20", "--contestants", contestant)
    assert code == 0, said
    (figure,) = figures(tmp_path)
    values = figure["values"]
    assert (figure["contestant"], values["failed"]) == (contestant, 0)
    assert values["delivered_per_s"] > 0
    assert values["cpu_us_per_entry"] > 0
    assert 0 < values["p50_ms"] <= values["p99_ms"] <= values["max_ms"] * 1.02
    assert "## 1000 runs x20" in (tmp_path / "out" / "report.md").read_text()
    assert "<svg" in (tmp_path / "out" / "report.svg").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("jackline-bench-")] == []


def test_all_layers_lose_nothing(tmp_path: Path) -> None:
    """G1: each of the fifty readers has every token of its run."""
    code, said = bench(tmp_path, "--only", "burst", "--contestants", "jackline embedded")
    assert code == 0, said
    (figure,) = figures(tmp_path)
    assert (figure["values"]["missing"], figure["values"]["delivered"]) == (0, 50 * 300)


def test_the_list_names_every_scenario(tmp_path: Path) -> None:
    code, said = bench(tmp_path, "--list", "--contestants", "jackline")
    assert code == 0
    assert "1000x500: one run, 1,000 viewers, 500 entries/s in each run" in said
