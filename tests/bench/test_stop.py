"""The benchmark of stops: that it measures, what it says; never how long anything took."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from jackline.bench.stop import PARTS, Report, Result, Sample
from tests.support.processes import PATIENCE, clean_environment, eventually, start

CASES = ["silent model", "token stream", "2,500 tokens/s", "async tool", "child process"]


def bench(folder: Path, *options: str, **env: str) -> tuple[int, str]:
    args = [sys.executable, "-m", "jackline", "bench", "stop", *options]
    with start(args, log_path=folder / "log", env=clean_environment(**env), cwd=folder) as process:
        code = process.wait(2 * PATIENCE)
        return code, process.log()


def processes_of(folder: Path) -> list[psutil.Process]:
    """What was started with a folder under this one."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("options", [[], ["--sqlite"]], ids=["redis", "sqlite"])
def test_each_case_has_its_figures_and_nothing_is_left_behind(tmp_path: Path, options: list[str]) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code, said = bench(tmp_path, "--runs", "2", "--json", *options, TMPDIR=str(scratch))
    assert code == 0, said
    told = json.loads(said)
    assert (told["benchmark"], told["runs"]) == ("stop", 2)
    assert ("SQLite" in told["store"]) == bool(options)
    assert [case["name"] for case in told["cases"]] == CASES
    for case in told["cases"]:
        for part in PARTS:
            figures = case[f"{part}_ms"]
            assert 0 <= figures["p50"] <= figures["p99"]
        assert case["stopping_ms"]["p50"] <= case["ending_ms"]["p50"]
    assert list(scratch.iterdir()) == []
    eventually(lambda: not processes_of(scratch))


def test_two_stores_at_once_are_a_mistake(tmp_path: Path) -> None:
    """G11."""
    code, said = bench(tmp_path, "--sqlite", "--redis", "redis://127.0.0.1:1/0")
    assert (code, "--sqlite" in said) == (2, True)


def test_a_server_that_does_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    code, said = bench(tmp_path, "--runs", "1", "--redis", "nonsense://somewhere")
    assert (code, len(said.splitlines())) == (2, 1), said
    assert said.startswith("jackline: a server did not start: ")


def test_percentiles_are_of_the_nearest_rank() -> None:
    samples = tuple(
        Sample(accepted=float(n), stopping=n * 10.0, told=1.0, ending=n * 100.0) for n in range(100, 0, -1)
    )
    result = Result(name="x", samples=samples)
    assert [result.percentile("accepted", share) for share in (0.5, 0.99)] == [50.0, 99.0]
    assert result.percentile("ending", 0.99) == 9900.0
    one = Result(name="x", samples=samples[:1])
    assert [one.percentile("stopping", share) for share in (0.5, 0.99)] == [1000.0, 1000.0]


def test_the_table_has_a_line_for_each_case() -> None:
    results = tuple(
        Result(name=n, samples=(Sample(accepted=1, stopping=2, told=4, ending=3),)) for n in CASES
    )
    lines = Report(store="a scratch store", runs=1, results=results).in_words()
    assert [line[:14].strip() for line in lines if line.startswith(tuple(CASES))] == CASES
    assert " ".join(lines[4].split()[-12:]) == "1.0 / 1.0 2.0 / 2.0 4.0 / 4.0 3.0 / 3.0"
