"""The embedded store under fire: its disk is full, its writers are killed in the middle of commits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from jackline.log.sqlite import SqliteStore
from tests.blackbox.api import ROOT, Api, Check, call, steps
from tests.blackbox.conftest import World, world
from tests.contract.helpers import begin_run
from tests.support.processes import PATIENCE

HERE = Path(__file__)


@contextlib.contextmanager
def full_disk(made: World) -> Generator[None]:
    """Nothing that the server's processes write to a file can be written: not the store, not log lines.
    The limit is theirs alone, and can be set by whoever started them."""
    processes = [psutil.Process(made.server.pid), *made.server.children()]
    limits = [process.rlimit(resource.RLIMIT_FSIZE) for process in processes]
    for process, (_, hard) in zip(processes, limits, strict=True):
        process.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for process, limit in zip(processes, limits, strict=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(resource.RLIMIT_FSIZE, limit)


def assert_refused(api: Api, waiting: str) -> None:
    """G8: every command says that it was not done."""
    body = {"messages": [{"role": "user", "content": "hello"}]}
    answers = [
        api.http.post(f"{ROOT}/chat", json=body, headers={"Accept": "application/json"}),
        api.decide(f"{waiting}.1", approve=True),
        api.stop(waiting),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
    assert api.http.get("/readyz").status_code == 503


def test_a_full_disk_is_said_and_all_goes_on_once_there_is_space(tmp_path: Path) -> None:
    """G8: commands get 503, streams stay open, what is read is what was acknowledged; then nothing is
    lost, nothing done twice, and nobody is asked about a call whose worker lived all the time."""
    with world(tmp_path, JACKLINE_LEASE="4", JACKLINE_STOP_GRACE="60") as made:
        api = made.api
        speaking = api.start(steps({"say": "tick ", "gate": "space"}, call("wait_for", name="end")))
        tools = [call("note", text="before"), call("wait_for", name="space"), call("note", text="after")]
        calling = api.start(steps(*tools, {"tell": "returns"}))
        waiting = api.start(steps(call("delete", path="/full"), call("check", path="/full")))
        api.until(waiting, "awaiting_approval")
        api.until_tool(calling, "wait_for", "started")
        with api.stream("GET", f"/runs/{speaking}/events", params={"compact": 0}) as frames:
            seen = [next(frames)]
            while seen[-1].event != "token":
                seen.append(next(frames))
            logs = {run_id: api.log(run_id) for run_id in (speaking, calling, waiting)}
            with full_disk(made):
                made.open_gate("space")
                assert_refused(api, waiting)
                # Until every lease has lapsed, as far as the store knows.
                next(frame for frame in frames if frame.data.get("worker") == "lost")
                assert {run_id: api.log(run_id) for run_id in logs} == logs
                assert_refused(api, waiting)
            made.open_gate("end")
            seen += list(frames)
        assert seen[-1].event == "end"
        assert api.ended(speaking)["attempt"] == api.ended(calling)["attempt"] == 1
        assert api.decide(f"{waiting}.1", approve=True).status_code == 200
        for run_id, log in logs.items():
            assert api.ended(run_id)["state"] == "completed"
            assert Check(log=api.log(run_id)).log[: len(log)] == log
        assert [frame for frame in seen if frame.entry] == api.entries(speaking)
        done = Counter(line for line in made.effects if line != "model")
        assert done == {"note before": 1, "note after": 1, "delete /full": 1, "check /full": 1}
        assert made.server.process.running


GROUP = 5
WRITERS = 4


@pytest.mark.anyio
async def test_kills_in_the_middle_of_commits_leave_no_hole_and_no_half_group(tmp_path: Path) -> None:
    """G1, G8: several processes write groups and are killed; what was acknowledged is there, in its place."""
    store = await SqliteStore.open(tmp_path)
    run_id = await begin_run(store)
    told: list[str] = []
    for enough in (3, 30, 100):
        writers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.group_writer", str(tmp_path), run_id, str(GROUP)),
                stdout=asyncio.subprocess.PIPE,
                cwd=HERE.parents[2],
            )
            for _ in range(WRITERS)
        ]
        try:
            async with asyncio.timeout(PATIENCE):
                for writer in writers:
                    assert writer.stdout is not None
                    told += [(await writer.stdout.readline()).decode().strip() for _ in range(enough)]
        finally:
            for writer in writers:
                os.kill(writer.pid, signal.SIGKILL)
        rest = [await writer.communicate() for writer in writers]
        told += [line for out, _ in rest for line in out.decode().split("\n")[:-1]]
    bodies: list[str] = []
    while (page := await store.read(run_id, len(bodies))).entries:
        assert page.first == len(bodies) + 1
        bodies += [entry.body.decode() for entry in page.entries]
    await store.aclose()
    groups = [bodies[at : at + GROUP] for at in range(1, len(bodies), GROUP)]
    names = [group[0].split(" ")[0] for group in groups]
    assert groups == [[f"{name} {part}" for part in range(GROUP)] for name in names]
    assert len(set(names)) == len(names)
    assert len(told) >= WRITERS * 133
    for line in told:
        seq, name = line.split(" ")
        assert bodies[int(seq) - 1] == f"{name} {GROUP - 1}"
    with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
