"""The supervisor, with real worker processes on a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from jackline.commands import Commands, read_state
from jackline.errors import ConfigError
from jackline.events import Message
from jackline.log.base import Lease
from jackline.log.sqlite import SqliteStore
from jackline.run import RunState
from jackline.settings import Settings, load
from jackline.supervisor import Supervisor, worker_command
from tests.worker.house import until

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
SMALL = [sys.executable, str(HERE / "small_worker.py")]
SECONDS = 60.0
"""How long anything may take on a slow machine before a test says that it never comes."""


@dataclass(kw_only=True)
class Yard:
    """A store, a supervisor on it, and what its workers wrote down."""

    store: SqliteStore
    settings: Settings
    supervisor: Supervisor
    running: asyncio.Task[None]

    @property
    def commands(self) -> Commands:
        return Commands(self.store)

    def diary(self, what: str = "") -> list[tuple[int, str]]:
        return read_diary(self.settings.data_dir, what)

    async def start(self, do: str) -> str:
        messages = [Message(role="user", content=do)]
        started = await self.commands.start(by="user:ana", agent="a", messages=messages, metadata={"do": do})
        return started.run_id

    async def begun(self, do: str) -> int:
        """Wait until a worker is in that tool; its process."""
        await until(lambda: bool(self.diary(f"{do} 1")), SECONDS)
        return self.diary(f"{do} 1")[0][0]

    async def ended(self, run_id: str) -> RunState:
        async def come() -> bool:
            return (await read_state(self.store, run_id)).ended

        await until(come, SECONDS)
        return await read_state(self.store, run_id)


def read_diary(data_dir: Path, what: str = "") -> list[tuple[int, str]]:
    diary = data_dir / "diary"
    lines = diary.read_text().splitlines() if diary.exists() else []
    found = [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]
    return [entry for entry in found if what in entry[1]]


@contextlib.asynccontextmanager
async def yard(tmp_path: Path, command: list[str] = SMALL, **settings: Any) -> AsyncGenerator[Yard]:
    flags: dict[str, Any] = {"data_dir": tmp_path, "lease": 60.0, "stop_grace": 1.0, "drain": 0.3}
    given = load(**(flags | settings))
    store = await SqliteStore.open(tmp_path, synchronous="NORMAL")
    supervisor = Supervisor(store=store, commands=Commands(store), settings=given, command=command)
    running = asyncio.create_task(supervisor.run())
    try:
        yield Yard(store=store, settings=given, supervisor=supervisor, running=running)
        supervisor.leave()
        async with asyncio.timeout(SECONDS):
            await running
    finally:
        running.cancel()
        await asyncio.wait([running])
        await store.aclose()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("do", ["block", "thread"])
async def test_a_stop_kills_a_worker_whose_tool_does_not_let_go(tmp_path: Path, do: str) -> None:
    """G4: the call is unknown, the run ends `stopped`, the worker's other runs go on at once."""
    async with yard(tmp_path) as y:
        other = await y.start("wait")
        first = await y.begun("wait")
        run = await y.start(do)
        assert await y.begun(do) == first
        assert (await y.commands.stop(run, by="user:bo", reason="enough")).state == "stopping"
        state = await y.ended(run)
        assert state.receipt is not None
        assert (state.state, [entry.outcome for entry in state.receipt.tools]) == ("stopped", ["unknown"])
        assert gone(first)
        taken = await y.ended(other)
        assert (taken.state, taken.attempt) == ("completed", 2)
        assert taken.output != first
        assert len(y.diary(f"{do} ")) == 1


async def test_a_worker_that_is_killed_loses_its_runs_to_the_next_one_at_once(tmp_path: Path) -> None:
    """G7: though its leases would have lasted a minute."""
    async with yard(tmp_path) as y:
        run = await y.start("wait")
        first = await y.begun("wait")
        os.kill(first, signal.SIGKILL)
        state = await y.ended(run)
        assert (state.state, state.attempt) == ("completed", 2)
        assert len(y.diary("opened")) == 2


async def test_leases_are_renewed_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: a worker of many runs keeps them all, however long the store takes for each."""
    async with yard(tmp_path, lease=2.0) as y:
        renew, under_way, enough = y.store.renew, set[str](), asyncio.Event()

        async def slowly(lease: Lease, ttl: float) -> None:
            under_way.add(lease.run_id)
            if len(under_way) == 3:
                enough.set()
            await enough.wait()
            await renew(lease, ttl)

        monkeypatch.setattr(y.store, "renew", slowly)
        runs = [await y.start("wait") for _ in range(3)]
        async with asyncio.timeout(SECONDS):
            await enough.wait()
        assert under_way == set(runs)


async def test_a_loop_that_stands_still_for_too_long_is_ended(tmp_path: Path) -> None:
    async with yard(tmp_path, loop_stall=0.5) as y:
        run = await y.start("block")
        first = await y.begun("block")
        assert (await y.ended(run)).attempt == 2
        assert gone(first)


async def test_leases_are_renewed_while_the_worker_lives(tmp_path: Path) -> None:
    """G7: a call may last longer than a lease."""
    async with yard(tmp_path, lease=0.8) as y:
        state = await y.ended(await y.start("second"))
        assert (state.state, state.attempt) == ("completed", 1)


async def test_a_worker_that_stands_still_by_signal_loses_its_leases(tmp_path: Path) -> None:
    """G7: it cannot be told to let go, so nothing may be renewed for it."""
    async with yard(tmp_path, lease=0.8) as y:
        run = await y.start("wait")
        first = await y.begun("wait")
        os.kill(first, signal.SIGSTOP)

        async def lost() -> bool:
            return (await y.store.head(run)).worker == "lost"

        await until(lost, SECONDS)
        os.kill(first, signal.SIGKILL)
        assert (await y.ended(run)).attempt == 2


async def test_a_worker_that_is_told_to_leave_hands_back_and_goes(tmp_path: Path) -> None:
    """G7: nothing is lost by a deploy."""
    async with yard(tmp_path) as y:
        run = await y.start("wait")
        first = await y.begun("wait")
        y.supervisor.leave()
        async with asyncio.timeout(SECONDS):
            await y.running
        assert gone(first)
        head = await y.store.head(run)
        assert (head.worker, head.closed) == ("none", False)
    async with yard(tmp_path) as y:
        state = await y.ended(run)
        assert (state.state, state.handed_back) == ("completed", 1)


async def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words are read though it is gone by then."""
    monkeypatch.setenv("SMALL_WORKER", "fail")
    with pytest.raises(ConfigError, match="name another"):
        async with yard(tmp_path) as y:
            await asyncio.wait([y.running])


async def test_a_run_claimed_in_a_workers_last_moment_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: its lease would have lasted a minute."""
    monkeypatch.setenv("SMALL_WORKER", "vanish")
    async with yard(tmp_path) as y:
        run = await y.start("quick")

        async def given_up() -> bool:
            head = await y.store.head(run)
            return head.generation > 0 and head.worker == "none"

        await until(given_up, SECONDS)
        monkeypatch.delenv("SMALL_WORKER")
        assert (await y.ended(run)).state == "completed"


async def test_a_worker_dies_with_its_supervisor_though_its_loop_stands_still(tmp_path: Path) -> None:
    """G7: nobody would renew its leases."""
    do = "block"
    store = await SqliteStore.open(tmp_path, synchronous="NORMAL")
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "small_supervisor.py"), str(tmp_path)
    )
    try:
        messages = [Message(role="user", content=do)]
        await Commands(store).start(by="user:ana", agent="a", messages=messages, metadata={"do": do})
        await until(lambda: bool(read_diary(tmp_path, f"{do} 1")), SECONDS)
        worker = read_diary(tmp_path, f"{do} 1")[0][0]
        supervisor.kill()
        await supervisor.wait()
        await until(lambda: gone(worker), SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            supervisor.kill()
        await supervisor.wait()
        await store.aclose()


async def test_a_worker_without_a_supervisor_does_not_end_in_good_order() -> None:
    """G6, G7: with its next word it is dead. It would else cancel its calls and tell of that in their logs,
    in the moment before the thread that watches the pipe comes to kill it."""
    words = """
import os
from jackline.cli.worker_process import PipeBoss
from jackline.link import Beat
read_end, write_end = os.pipe()
os.close(read_end)
try:
    PipeBoss(write_end).tell(Beat())
finally:
    print("went on")
"""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", words, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    said, _ = await worker.communicate()
    assert (said, worker.returncode) == (b"", -signal.SIGKILL)


AGENT = """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

agent = Agent(TestModel(), name="a")

@agent.tool_plain
def look() -> str:
    return "seen"
"""


async def test_the_real_worker_process_drives_an_agent_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(AGENT)
    async with yard(tmp_path, worker_command(), agent=f"{file}:agent") as y:
        await asyncio.wait_for(y.supervisor.ready.wait(), SECONDS)
        (catalogue,) = await y.store.catalogues()
        assert b'"look"' in catalogue
        told = json.loads(catalogue)
        assert (told["runs"], told["max_runs"]) == (0, y.settings.max_runs)
        name = "agent" if b'"name":"agent"' in catalogue else "a"
        messages = [Message(role="user", content="look")]
        started = await y.commands.start(by="user:ana", agent=name, messages=messages)
        state = await y.ended(started.run_id)
        assert state.state == "completed"
        assert [(found.name, found.state, found.result) for found in state.calls.values()] == [
            ("look", "finished", "seen")
        ]
