"""Stops, at every point of a run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from jackline.commands import Commands
from jackline.context import RunContext
from jackline.endings import CallEnd
from jackline.errors import ToolFailed
from jackline.events import Event, Json, StopMode, Tool, Unknown, Usage, Workflow, encode
from jackline.log.memory import MemoryStore
from jackline.remote import ask_later
from jackline.run import RunState
from jackline.settings import load
from tests.worker.house import Clock, House, InterruptedStore, Scripted, call, request, states, until

pytestmark = pytest.mark.anyio

GRACE = 60.0
"""Longer than a test may take: whatever waits for a part of it makes the test fail."""


def house(store: MemoryStore | None = None, grace: float = GRACE) -> House:
    return House(store=store or MemoryStore(), settings=load(stop_grace=grace, drain=0.5))


def outcomes(state: RunState) -> dict[str, str]:
    assert state.receipt is not None
    return {entry.name: entry.outcome for entry in state.receipt.tools}


def places(events: Sequence[Event | Unknown], kind: type[Workflow] | type[Tool], state: str) -> list[int]:
    return [at for at, event in enumerate(events) if isinstance(event, kind) and event.state == state]


async def forever(_: Json) -> Json:
    await asyncio.sleep(3600)
    return None


class Points:
    """An agent that goes through everything an agent can do, and can be held at any point of it."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.there = asyncio.Event()
        self.started_after: list[str] = []

    async def point(self, name: str) -> None:
        if name == self.at:
            self.there.set()
            await asyncio.sleep(3600)

    async def __call__(self, ctx: RunContext) -> Json:
        async def tool(_: Json) -> Json:
            await self.point("in_tool")
            return 1

        await self.point("before_step")
        await ctx.begin_step()
        message = ctx.new_message()
        await ctx.say("half a sen", message_id=message)
        await self.point("mid_token")
        await ctx.end_step(Usage(input_tokens=1, output_tokens=0))
        if self.at == "in_pause":
            self.there.set()
            await ctx.pause(3600, "the model is overloaded")
        first, second = ctx.new_calls(2)
        await ctx.request([call(first, "first"), call(second, "second")], checkpoint=b"1")
        await self.point("after_request")
        await ctx.run_tool(first, tool)
        await self.point("between_tools")
        await ctx.run_tool(second, tool)
        await self.point("after_tools")
        return "done"


WHERE = {
    "before_step": {},
    "mid_token": {},
    "in_pause": {},
    "after_request": {"first": "not_started", "second": "not_started"},
    "in_tool": {"first": "cancelled", "second": "not_started"},
    "between_tools": {"first": "finished_before_stop", "second": "not_started"},
    "after_tools": {"first": "finished_before_stop", "second": "finished_before_stop"},
}


@pytest.mark.parametrize("at", WHERE)
async def test_a_stop_ends_a_run_at_every_point_with_a_true_receipt(at: str) -> None:
    """G4, G3."""
    h, agent = house(), Points(at)
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await agent.there.wait()
        answer = await h.commands.stop(run, by="user:bo", reason="enough")
        assert answer.state == "stopping"
        state = await h.ended(run)
    assert state.state == "stopped"
    assert outcomes(state) == WHERE[at]
    assert state.receipt is not None
    assert state.receipt.by == "user:bo"
    assert state.receipt.model == ("closed" if at == "mid_token" else "none")
    again = await h.commands.stop(run, by="user:cy")
    assert (again.state, again.receipt) == ("stopped", state.receipt)


@pytest.mark.parametrize("mode", ["immediate", "after_step"])
async def test_a_stop_before_the_claim_ends_the_run_without_a_worker(mode: StopMode) -> None:
    """G4: valid before the start."""
    h = house()
    run = await h.start()
    await h.commands.stop(run, by="user:bo", mode=mode)
    state = await h.state(run)
    assert (state.state, state.attempt) == ("stopped", 0)
    seen: list[str] = []

    async def agent(ctx: RunContext) -> Json:
        seen.append(ctx.run_id)
        return None

    async with h.worker(Scripted(agent)):
        other = await h.start()
        await h.ended(other)
    assert seen == [other]


@pytest.mark.parametrize("racer", ["claim", "completion", "request", "tool", "park", "failure"])
async def test_a_stop_that_races_ends_in_one_truth(racer: str) -> None:
    """G3, G4: whoever comes first, there is one ending, and no tool starts after the stop."""

    async def agent(ctx: RunContext) -> Json:
        async def tool(_: Json) -> Json:
            return 1

        if racer in {"completion", "claim"}:
            return "done"
        if racer == "failure":
            raise ToolFailed("no")
        ids = await request(ctx, "t")
        if racer == "park":
            await ctx.ask([call(ids[0])], checkpoint=b"2")
        if racer == "tool":
            await ctx.run_tool(ids[0], tool)
        return "done"

    for turns in range(24):
        h = house()
        async with h.worker(Scripted(agent)):
            run = await h.start()
            for _ in range(turns):
                await asyncio.sleep(0)
            await h.commands.stop(run, by="user:bo")
            state = await h.ended(run)
        events = await h.events(run)
        stops = [
            at for at, event in enumerate(events) if isinstance(event, Workflow) and event.state == "stopping"
        ]
        starts = [
            at for at, event in enumerate(events) if isinstance(event, Tool) and event.state == "started"
        ]
        assert len(stops) == (state.state == "stopped")
        assert not stops or max(starts, default=0) < stops[0]


async def parallel(ctx: RunContext, tool: Callable[[Json], Awaitable[Json]], gate: asyncio.Event) -> Json:
    ids = await request(ctx, "first", "second", "third")

    async def late() -> None:
        await gate.wait()
        await ctx.run_tool(ids[2], tool)

    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.run_tool(ids[0], tool))
        group.create_task(ctx.run_tool(ids[1], tool))
        group.create_task(late())
    return "done"


async def test_after_step_lets_started_calls_finish_and_starts_no_other() -> None:
    """G4."""
    h, gate, finish = house(), asyncio.Event(), asyncio.Event()
    began: list[int] = []

    async def tool(_: Json) -> Json:
        began.append(1)
        await finish.wait()
        return "x" * 100_000

    async with h.worker(Scripted(lambda ctx: parallel(ctx, tool, gate))):
        run = await h.start()
        await until(lambda: len(began) == 2)
        await h.commands.stop(run, by="user:bo", mode="after_step")
        gate.set()
        await asyncio.sleep(0)
        assert (await h.state(run)).state == "stopping"
        finish.set()
        state = await h.ended(run)
    assert outcomes(state) == {
        "first": "finished_before_stop",
        "second": "finished_before_stop",
        "third": "not_started",
    }
    assert [found.state for found in state.calls.values()] == ["finished", "finished", "cancelled"]


async def test_an_immediate_stop_may_follow_after_step() -> None:
    """G4: the stronger one counts; the first one's `by` stays."""
    h, gate = house(), asyncio.Event()
    began: list[int] = []

    async def tool(_: Json) -> Json:
        began.append(1)
        return await forever(None)

    async with h.worker(Scripted(lambda ctx: parallel(ctx, tool, gate))):
        run = await h.start()
        await until(lambda: len(began) == 2)
        for mode in ("after_step", "after_step", "immediate", "immediate", "after_step"):
            await h.commands.stop(run, by=f"user:{mode}", mode=mode)
        state = await h.ended(run)
    assert outcomes(state) == {"first": "cancelled", "second": "cancelled", "third": "not_started"}
    assert state.receipt is not None
    assert state.receipt.by == "user:after_step"
    events = await h.events(run)
    assert [e.mode for e in events if isinstance(e, Workflow) and e.state == "stopping"] == [
        "after_step",
        "immediate",
    ]


async def test_after_step_ends_the_sleep_before_a_retry() -> None:
    """G4: no model request would follow it anyway."""
    h, agent = house(), Points("in_pause")
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await agent.there.wait()
        await h.commands.stop(run, by="user:bo", mode="after_step")
        assert (await h.ended(run)).state == "stopped"


async def test_after_step_is_not_held_up_by_a_call_that_wants_to_start_another() -> None:
    """G4: a started call that waits for what may no longer start will not finish by itself."""
    h, inside, gate = house(), asyncio.Event(), asyncio.Event()

    async def agent(ctx: RunContext) -> Json:
        outer, inner = await request(ctx, "outer", "inner")

        async def nested(_: Json) -> Json:
            inside.set()
            await gate.wait()
            return await ctx.run_tool(inner, forever)

        return await ctx.run_tool(outer, nested)

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await inside.wait()
        await h.commands.stop(run, by="user:bo", mode="after_step")
        gate.set()
        state = await h.ended(run)
    assert outcomes(state) == {"outer": "cancelled", "inner": "not_started"}


async def everything(ctx: RunContext) -> Json:
    """All that an agent can write, each with a wait for the log after it."""

    async def tool(_: Json) -> Json:
        await ctx.progress(f"{ctx.run_id}.1", 50)
        await ctx.say("working", message_id="m9")
        await ctx.save(b"in the tool")
        return 1

    async def broken(_: Json) -> Json:
        raise OSError("no")

    message = ctx.new_message()
    await ctx.begin_step()
    await ctx.say("half", message_id=message)
    await ctx.save(b"0")
    await ctx.pause(0.0, "again", supersedes=[message])
    await ctx.begin_step()
    await ctx.supersede([message])
    await ctx.end_step(Usage(input_tokens=7, output_tokens=0))
    await ctx.save(b"1")
    ids = ctx.new_calls(3)
    await ctx.request([call(i) for i in ids], checkpoint=b"2")
    await ctx.run_tool(ids[0], tool)
    with contextlib.suppress(ToolFailed):
        await ctx.run_tool(ids[1], broken)
    if ctx.metadata:
        await ctx.ask([call(ids[2])], checkpoint=b"3")
    return "done"


async def stop_right_before(at: int, mode: StopMode, *, asks: bool) -> bool:
    """False when the run has no append number `at`."""

    async def stop(run_id: str) -> object:
        return await Commands(store).stop(run_id, by="user:bo", mode=mode)

    store = InterruptedStore(at, stop)
    h = house(store)
    async with h.worker(Scripted(everything)):
        run = await h.start(metadata={"asks": True} if asks else None)

        async def over() -> bool:
            state = await h.state(run)
            if store.count < at and state.paused:
                await h.commands.stop(run, by="user:bo")
            return state.ended

        await until(over)
    state = await h.ended(run)
    assert state.state == ("stopped" if store.count >= at or asks else "completed")
    events = await h.events(run)
    (stopped, *_) = [*places(events, Workflow, "stopping"), len(events)]
    assert max(places(events, Tool, "started"), default=0) < stopped
    assert max(places(events, Tool, "requested"), default=0) < stopped
    return store.count >= at


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("mode", ["immediate", "after_step"])
async def test_a_stop_that_lands_right_before_any_append_is_obeyed(mode: StopMode, asks: bool) -> None:
    """G3, G4: the log stays legal for every reader, nothing starts after the stop, and it is `stopped`."""
    at = 1
    while await stop_right_before(at, mode, asks=asks):
        at += 1
    assert at > 12


async def test_an_agent_that_swallows_its_cancellation_gets_no_further() -> None:
    """G4: nothing that it calls afterwards is written or started, and it does not use up the grace."""
    h, there = house(), asyncio.Event()
    tries: list[str] = []

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "t", "u")
        message = ctx.new_message()

        async def stubborn(_: Json) -> Json:
            there.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            return "I went on"

        again: list[Callable[[], Awaitable[object]]] = [
            lambda: ctx.run_tool(ids[0], stubborn),
            lambda: ctx.say("more", message_id=message),
            lambda: ctx.run_tool(ids[1], stubborn),
            ctx.begin_step,
            lambda: ctx.request([call(ctx.new_calls(1)[0])]),
            lambda: ctx.save(b"more"),
            lambda: ctx.pause(9, "more"),
            lambda: ctx.ask([call(ids[1])]),
        ]
        for one in again:
            with contextlib.suppress(asyncio.CancelledError, ToolFailed):
                await one()
            tries.append("")
        return "done"

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await there.wait()
        await h.commands.stop(run, by="user:bo")
        state = await h.ended(run)
    assert len(tries) == 8
    assert state.state == "stopped"
    assert outcomes(state) == {"t": "finished_before_stop", "u": "not_started"}
    assert await h.store.checkpoint(run) != b"more"


@pytest.mark.parametrize("ends", ["returns", "raises"])
async def test_a_function_in_a_thread_is_waited_for_and_its_end_is_told(ends: str) -> None:
    """G4: a thread cannot be cancelled; what it did is what the receipt says."""
    h, release, there = house(), threading.Event(), threading.Event()

    def work() -> str:
        there.set()
        release.wait(20)
        if ends == "raises":
            raise OSError("caf\udce9")
        return "written"

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "t")

        async def tool(_: Json) -> Json:
            return await asyncio.get_running_loop().run_in_executor(ctx.threads, work)

        try:
            return await ctx.run_tool(ids[0], tool)
        finally:
            # The agent takes its time to let go, and the thread ends meanwhile.
            if ends == "returns":
                release.set()
                await until(lambda: not ctx.threads.busy(ids[0]))

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await until(there.is_set)
        await h.commands.stop(run, by="user:bo")
        if ends == "raises":
            await until(lambda: ("stopping", run) in h.boss.told)
            assert (await h.state(run)).state == "stopping"
            release.set()
        state = await h.ended(run)
    assert outcomes(state) == {"t": "finished_before_stop"}
    found = next(iter(state.calls.values()))
    if ends == "returns":
        assert (found.state, found.result) == ("finished", "written")
    else:
        assert found.state == "failed"
        assert found.error is not None
        assert found.error.message == "caf?"


@pytest.mark.parametrize("says", ["nonsense", "too much"])
async def test_whatever_is_said_elsewhere_of_a_call_the_stop_comes_to_its_end(says: str) -> None:
    """G4: an answer that cannot be read, or is more than the run may have, leaves the call unknown."""
    h, there = house(), asyncio.Event()

    async def asked(_: float) -> CallEnd:
        if says == "nonsense":
            raise ValueError("no text at all")
        return CallEnd(outcome="finished_before_stop", result="x" * 200_000)

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "t")

        async def tool(_: Json) -> Json:
            there.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                ask_later(asked)
                raise
            return None

        return await ctx.run_tool(ids[0], tool)

    async with h.worker(Scripted(agent)):
        run = await h.start(limits={"bytes": 100_000})
        await there.wait()
        await h.commands.stop(run, by="user:bo")
        state = await h.ended(run)
    assert state.state == "stopped"
    assert outcomes(state) == {"t": "unknown"}


async def test_a_run_whose_ending_stands_but_did_not_close_its_log_is_closed() -> None:
    """G3: who put the ending back died before it closed the log; nobody says it twice."""
    h = house()
    run = await h.start()
    ending = Workflow(ts="2026-01-01T00:00:00.000Z", state="completed", attempt=1)
    opening = Workflow(ts="2026-01-01T00:00:00.000Z", state="executing", attempt=1)
    await h.store.append(run, [encode(opening), encode(ending)])
    async with h.worker(Scripted(lambda _: forever(None))):
        await until(lambda: closed(h, run))
    assert len(await h.events(run)) == 3


async def closed(h: House, run: str) -> bool:
    return (await h.store.head(run)).closed


async def test_the_supervisor_is_told_when_a_cut_begins_and_when_all_has_let_go() -> None:
    """G4, G8: the grace is for what does not let go, not for a store that is away."""
    h, agent = house(), Points("in_tool")
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await agent.there.wait()
        await h.commands.stop(run, by="user:bo")
        await h.ended(run)
        await until(lambda: h.boss.told[-1][0] == "gone")
    assert [what for what, _ in h.boss.told] == ["held", "stopping", "held", "gone"]


async def test_an_agent_that_hangs_on_after_parking_is_reported() -> None:
    """G4: while its cancellation is waited for, a stop would not be seen."""
    h = house(grace=0.6)

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "t")
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await ctx.ask([call(ids[0])], checkpoint=b"2")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        return None

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await until(lambda: ("stopping", run) in h.boss.told)
        await h.paused(run)


async def test_the_time_until_quiet_is_told_by_one_clock() -> None:
    """G4: though the store's clock and the worker's are an hour apart."""
    clock = Clock()
    clock.ahead = -3600.0
    h, agent = house(MemoryStore(clock)), Points("in_tool")
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await agent.there.wait()
        await h.commands.stop(run, by="user:bo")
        state = await h.ended(run)
    assert state.receipt is not None
    assert 0 <= state.receipt.quiet_ms < 60_000


async def test_a_stop_of_the_active_run_lets_the_waiting_one_begin() -> None:
    h, agent = house(), Points("in_tool")
    async with h.worker(Scripted(agent)):
        first = await h.start()
        await agent.there.wait()
        agent.at = ""
        conversation = first.rpartition(".")[0]
        second = await h.start(conversation_id=conversation, on_busy="queue")
        third = await h.start(conversation_id=conversation, on_busy="stop")
        assert (await h.ended(first)).state == "stopped"
        assert (await h.ended(second)).state == "completed"
        assert (await h.ended(third)).state == "completed"
    assert [states(await h.events(run), f"{run}.1")[-1] for run in (first, second, third)] == [
        "cancelled",
        "finished",
        "finished",
    ]
