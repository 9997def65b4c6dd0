"""`jackline drill` with real processes: a few of its faults, and that it notices what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from jackline.drill.faults import FAULTS
from tests.support.processes import clean_environment

LONG = 600.0
"""Seconds: most of it is the start of Python processes, on a machine that has other things to do."""


def drill(*options: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "jackline", "drill", *options],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=LONG - 20,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def left_behind(folder: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if folder in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.timeout(LONG)
def test_a_short_drill_holds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """G1, G3, G4, G5, G6, G7, G8: the faults that cost no start of a process, and one that does."""
    only = ("none", "kill-worker", "stop", "two-answers", "cut-store", "kill-store", "lose-tail")
    options = [word for name in only for word in ("--only", name)]
    code, out, err = drill("--json", "--runs", "3", "--seed", "7", *options, cwd=tmp_path)
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [row["fault"] for row in rows] == list(only), err
    assert [row["broken"] for row in rows] == [[] for _ in only], err
    assert code == 0, err
    endings = {row["fault"]: row["endings"] for row in rows}
    assert endings["none"] == {"completed": 3}
    assert sum(endings["stop"].values()) == 3
    assert left_behind("jackline-drill-") == []


FORGETFUL = """
from jackline.agents.function import FunctionContext


async def forgetful(ctx: FunctionContext) -> str:
    await ctx.say("I say something. ")
    await ctx.tool(act, {})
    return "done"


async def act() -> str:
    return "acted"
"""


@pytest.mark.timeout(LONG)
def test_an_agent_of_ones_own_on_the_embedded_store(tmp_path: Path) -> None:
    """G3, G4: and the faults that need a Redis are said not to be run."""
    (tmp_path / "mine.py").write_text(FORGETFUL)
    options = (
        "--agent",
        "mine.py:forgetful",
        "--sqlite",
        "--runs",
        "2",
        "--only",
        "stop",
        "--only",
        "cut-store",
    )
    code, out, err = drill(*options, cwd=tmp_path)
    assert code == 0, out + err
    assert "stopped" in out or "completed" in out
    assert "not run: the connections to the embedded store (SQLite) cannot be cut" in out
    assert "Every guarantee held." in out


@pytest.mark.timeout(LONG)
def test_an_agent_that_does_not_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such thing')")
    code, _, err = drill("--agent", "broken.py:agent", "--sqlite", cwd=tmp_path)
    assert code == 2
    assert "no such thing" in err


def test_the_list_tells_every_fault(tmp_path: Path) -> None:
    code, out, _ = drill("--list", cwd=tmp_path)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [fault.name for fault in FAULTS]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only", "earthquake"), "earthquake"),
        (("--redis", "redis://127.0.0.1:1/0", "--sqlite"), "one store"),
    ],
)
def test_what_was_typed_wrong_is_told(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, _, err = drill(*options, cwd=tmp_path)
    assert code == 2
    assert said in err


def test_a_database_of_ones_own_is_asked_about(tmp_path: Path) -> None:
    code, _, err = drill("--redis", "redis://127.0.0.1:1/0", cwd=tmp_path)
    assert code == 1
    assert "is it a scratch database?" in err
