"""Processes that tools start: they end with their call, and nobody else's do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from pathlib import Path

import psutil
import pytest

from jackline.context import RunContext
from jackline.events import Json
from jackline.processes import CallProcesses, kill_tree
from jackline.run import RunState
from jackline.settings import load
from tests.support.processes import eventually, start
from tests.worker.house import House, Scripted, request, until

pytestmark = pytest.mark.anyio

NEVER = 60.0
"""Seconds of grace that no test may come near."""

Tool = Callable[[RunContext], Awaitable[Json]]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Scene:
    """A house whose worker knows whose processes are whose, and programs that note their pids in files."""

    def __init__(self, path: Path, kill_grace: float) -> None:
        self.path = path
        processes = CallProcesses(grace=kill_grace)
        processes.watch()
        self.house = House(settings=load(stop_grace=NEVER, drain=0.5), processes=processes)

    def shell(self, name: str, before: str = "") -> list[str]:
        """A shell with a child of its own. Once both are there, their pids are in the file `name`. Of its
        own it never ends: its child's end, by the same signal, may be seen before its own signal is."""
        file = self.path / name
        note = f"{before} sleep 600 & echo $$ $! > {file}.half; mv {file}.half {file}; while :; do wait; done"
        return ["sh", "-c", note]

    def pids(self, name: str) -> list[int]:
        return [int(word) for word in (self.path / name).read_text().split()]

    def alive(self, name: str) -> list[bool]:
        """Whether the shell is, and its child."""
        return [lives(pid) for pid in self.pids(name)]

    async def begun(self, *names: str) -> None:
        await until(lambda: all((self.path / name).exists() for name in names))

    def agent(self, tools: Mapping[str, Tool]) -> Scripted:
        """An agent that makes one call, of the tool that its run's metadata name."""

        async def go(ctx: RunContext) -> Json:
            assert isinstance(ctx.metadata, dict)
            name = str(ctx.metadata["do"])
            (call_id,) = await request(ctx, name)
            return await ctx.run_tool(call_id, lambda _: tools[name](ctx))

        return Scripted(go)

    def end(self) -> None:
        for file in self.path.iterdir():
            for pid in self.pids(file.name) if file.suffix == "" else ():
                if lives(pid):
                    psutil.Process(pid).kill()


@pytest.fixture
def patient(tmp_path: Path) -> Generator[Scene]:
    """Nothing gets SIGKILL in a test's time: SIGTERM must do."""
    made = Scene(tmp_path, NEVER)
    yield made
    made.end()


@pytest.fixture
def impatient(tmp_path: Path) -> Generator[Scene]:
    made = Scene(tmp_path, 0.1)
    yield made
    made.end()


def outcomes(state: RunState) -> dict[str, str]:
    assert state.receipt is not None
    return {entry.name: entry.outcome for entry in state.receipt.tools}


async def awaited(command: list[str], ctx: RunContext, *, start_new_session: bool = False) -> Json:
    return await reaped(await asyncio.create_subprocess_exec(*command, start_new_session=start_new_session))


async def reaped(process: asyncio.subprocess.Process) -> Json:
    """Its status. Waited for to its end in any case, or it would still be heard of after the test's loop."""
    try:
        return await process.wait()
    finally:
        await process.wait()


async def awaited_through_a_shell(command: list[str], ctx: RunContext) -> Json:
    return await reaped(await asyncio.create_subprocess_shell(command[-1]))


async def in_the_loops_thread(command: list[str], ctx: RunContext) -> Json:
    process = subprocess.Popen(command)  # noqa: ASYNC220  what careless tools do
    try:
        while process.poll() is None:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0)
    finally:
        await asyncio.to_thread(process.wait)
    return process.returncode


async def in_a_thread(command: list[str], ctx: RunContext, *, start_new_session: bool = False) -> Json:
    work = partial(subprocess.run, command, check=False, start_new_session=start_new_session)
    done = await asyncio.get_running_loop().run_in_executor(ctx.threads, work)
    return done.returncode


WAYS: dict[str, Callable[[list[str], RunContext], Awaitable[Json]]] = {
    "awaited": awaited,
    "awaited, in a session of its own": partial(awaited, start_new_session=True),
    "awaited, through a shell": awaited_through_a_shell,
    "in the loop's thread": in_the_loops_thread,
    "in a thread": in_a_thread,
    "in a thread, in a session of its own": partial(in_a_thread, start_new_session=True),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_stop_ends_the_processes_of_its_call_and_no_others(patient: Scene, way: str) -> None:
    """G4: whatever session they are in, with all that they have started; another run's go on."""
    h = patient.house
    tools = {name: partial(WAYS[way], patient.shell(name)) for name in ("stopped", "other")}
    async with h.worker(patient.agent(tools)):
        stopped, other = [await h.start(metadata={"do": name}) for name in ("stopped", "other")]
        await patient.begun("stopped", "other")
        await h.commands.stop(stopped, by="user:bo")
        state = await h.ended(stopped)
        assert outcomes(state) == {"stopped": "killed"}
        assert [call.state for call in state.calls.values()] == ["cancelled"]
        assert patient.alive("stopped") == [False, False]
        assert patient.alive("other") == [True, True]
        await h.commands.stop(other, by="user:bo")
        assert outcomes(await h.ended(other)) == {"other": "killed"}


async def test_what_ignores_the_first_signal_gets_the_last_one(impatient: Scene) -> None:
    """G4: SIGKILL when the grace is over."""
    h = impatient.house
    command = impatient.shell("deaf", before="trap '' TERM;")
    async with h.worker(impatient.agent({"t": partial(in_a_thread, command)})):
        run = await h.start(metadata={"do": "t"})
        await impatient.begun("deaf")
        await h.commands.stop(run, by="user:bo")
        assert outcomes(await h.ended(run)) == {"t": "killed"}
    assert impatient.alive("deaf") == [False, False]


async def test_what_heeds_the_first_signal_may_clean_up(patient: Scene) -> None:
    h, cleaned = patient.house, patient.path / "cleaned.up"
    command = patient.shell("tidy", before=f"trap 'touch {cleaned}; kill $!; exit 0' TERM;")
    async with h.worker(patient.agent({"t": partial(awaited, command)})):
        run = await h.start(metadata={"do": "t"})
        await patient.begun("tidy")
        await h.commands.stop(run, by="user:bo")
        assert outcomes(await h.ended(run)) == {"t": "killed"}
    assert cleaned.exists()


@pytest.mark.parametrize("way", ["in a thread", "awaited"])
async def test_a_tool_whose_process_was_killed_gets_to_no_other(patient: Scene, way: str) -> None:
    """G4: a script of several commands ends with the one that is stopped, also when it swallows that."""
    h, later = patient.house, patient.path / "later.txt"

    async def script(ctx: RunContext) -> Json:
        with contextlib.suppress(asyncio.CancelledError):
            await awaited(patient.shell("first"), ctx)
        return await awaited(["touch", str(later)], ctx)

    def work() -> Json:
        subprocess.run(patient.shell("first"), check=False)
        return subprocess.run(["touch", str(later)], check=True).returncode

    async def threaded(ctx: RunContext) -> Json:
        return await asyncio.get_running_loop().run_in_executor(ctx.threads, work)

    async with h.worker(patient.agent({"t": threaded if way == "in a thread" else script})):
        run = await h.start(metadata={"do": "t"})
        await patient.begun("first")
        await h.commands.stop(run, by="user:bo")
        assert outcomes(await h.ended(run)) == {"t": "killed"}
    assert not later.exists()


async def test_a_process_that_had_ended_by_itself_was_not_killed(patient: Scene) -> None:
    """G4: the receipt tells what really happened."""
    h, gate = patient.house, asyncio.Event()

    async def tool(ctx: RunContext) -> Json:
        await awaited(["true"], ctx)
        gate.set()
        await asyncio.sleep(3600)
        return None

    async with h.worker(patient.agent({"t": tool})):
        run = await h.start(metadata={"do": "t"})
        await gate.wait()
        await h.commands.stop(run, by="user:bo")
        assert outcomes(await h.ended(run)) == {"t": "cancelled"}


@pytest.mark.parametrize("limit", ["tool_seconds", "wall_seconds"])
@pytest.mark.parametrize("way", ["in a thread", "awaited"])
async def test_a_limit_ends_processes_too(patient: Scene, way: str, limit: str) -> None:
    h = patient.house
    h.settings = load(stop_grace=NEVER, limits={limit: 0.5})
    async with h.worker(patient.agent({"t": partial(WAYS[way], patient.shell("long"))})):
        run = await h.start(metadata={"do": "t"})
        await patient.begun("long")
        state = await h.ended(run)
    assert state.error is not None
    assert (state.state, limit in f"{state.error}") == ("failed", True)
    assert [call.state for call in state.calls.values()] == ["cancelled"]
    assert patient.alive("long") == [False, False]


async def test_a_limit_ends_the_process_of_a_tool_that_waits_for_nothing_else(patient: Scene) -> None:
    """A tool that shields itself from its cancellation lets go once its process is gone."""
    h = patient.house
    h.settings = load(stop_grace=NEVER, limits={"tool_seconds": 0.5})

    async def tool(ctx: RunContext) -> Json:
        process = await asyncio.create_subprocess_exec(*patient.shell("held"))
        while process.returncode is None:
            with contextlib.suppress(asyncio.CancelledError):
                await process.wait()
        return process.returncode

    async with h.worker(patient.agent({"t": tool})):
        await h.ended(await h.start(metadata={"do": "t"}))
    assert patient.alive("held") == [False, False]


async def test_a_call_that_the_agent_gives_up_takes_its_processes_along(patient: Scene) -> None:
    h = patient.house

    async def agent(ctx: RunContext) -> Json:
        (call_id,) = await request(ctx, "t")
        started: list[asyncio.subprocess.Process] = []

        async def tool(_: Json) -> Json:
            started.append(await asyncio.create_subprocess_exec(*patient.shell("given_up")))
            return await started[0].wait()

        call = asyncio.ensure_future(ctx.run_tool(call_id, tool))
        await patient.begun("given_up")
        call.cancel()
        await asyncio.wait([call])
        await started[0].wait()
        return "went on"

    async with h.worker(Scripted(agent)):
        state = await h.ended(await h.start())
    assert (state.state, state.output) == ("completed", "went on")
    assert patient.alive("given_up") == [False, False]


async def test_what_a_call_has_left_running_is_left_alone(patient: Scene) -> None:
    """A tool may start a service; only what belongs to the calls that are stopped is ended."""
    h, there = patient.house, asyncio.Event()
    services: list[asyncio.subprocess.Process] = []

    async def agent(ctx: RunContext) -> Json:
        first, second = await request(ctx, "service", "stopped")

        async def service(_: Json) -> Json:
            services.append(await asyncio.create_subprocess_exec(*patient.shell("service")))
            return services[0].pid

        async def stopped(_: Json) -> Json:
            there.set()
            await asyncio.sleep(3600)
            return None

        await ctx.run_tool(first, service)
        return await ctx.run_tool(second, stopped)

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await there.wait()
        await patient.begun("service")
        await h.commands.stop(run, by="user:bo")
        state = await h.ended(run)
    assert outcomes(state) == {"service": "finished_before_stop", "stopped": "cancelled"}
    assert patient.alive("service") == [True, True]
    services[0].kill()
    await services[0].wait()


async def test_a_worker_that_lost_its_run_ends_the_processes_too(patient: Scene) -> None:
    """G7: what goes on elsewhere must not go on here."""
    h = patient.house
    async with h.worker(patient.agent({"t": partial(awaited, patient.shell("lost"))})) as worker:
        run = await h.start(metadata={"do": "t"})
        await patient.begun("lost")
        worker.lose(run)
        await until(lambda: patient.alive("lost") == [False, False])


def test_a_tree_is_killed_whatever_sessions_it_has_spread_over(tmp_path: Path) -> None:
    """G4: none of a killed worker's descendants acts on."""
    half, file = tmp_path / "half", tmp_path / "pids"
    inner = f"sleep 600 & echo $$ $! >> {half}; mv {half} {file}; wait"
    outer = f"echo $$ > {half}; setsid sh -c '{inner}' & wait"
    with start(["sh", "-c", outer], log_path=tmp_path / "log") as process:
        eventually(file.exists)
        pids = [int(word) for word in file.read_text().split()]
        assert len({os.getsid(pid) for pid in pids}) == 2
        kill_tree(process.pid)
        process.wait()
        eventually(lambda: not any(lives(pid) for pid in pids))
