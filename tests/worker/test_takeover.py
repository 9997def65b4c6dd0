"""A worker dies, or only seems to: what the next one does, and what the first one can no longer do."""

from __future__ import annotations

import asyncio

import pytest

from jackline.commands import Decision
from jackline.context import RunContext
from jackline.errors import ToolFailed
from jackline.events import Effect, Json, Outcome, Tool, Workflow, encode
from jackline.log.base import Serves
from jackline.log.memory import MemoryStore
from jackline.run import HANDED_BACK
from jackline.settings import load
from jackline.worker import Worker
from tests.worker.house import (
    Clock,
    FlakyStore,
    House,
    InterruptedStore,
    Scripted,
    call,
    request,
    states,
    until,
)

pytestmark = pytest.mark.anyio

LEASE = 15.0


class Work:
    """An agent of two calls that hangs at a point of its first attempt."""

    def __init__(self, at: str, *, effect: Effect = "writes") -> None:
        self.at = at
        self.effect: Effect = effect
        self.there = asyncio.Event()
        self.go = asyncio.Event()
        self.ran: list[tuple[int, str]] = []

    async def hang(self, ctx: RunContext, at: str) -> None:
        if at == self.at and ctx.attempt == 1:
            self.there.set()
            await self.go.wait()

    async def __call__(self, ctx: RunContext) -> Json:
        async def tool(_: Json) -> Json:
            await self.hang(ctx, "in_tool")
            self.ran.append((ctx.attempt, "tool"))
            return ctx.attempt

        if ctx.checkpoint is None:
            unused, message = ctx.new_message(), ctx.new_message()
            assert unused != message
            await ctx.begin_step()
            await ctx.say("half", message_id=message)
            await self.hang(ctx, "saying")
            await ctx.end_step()
            ids = ctx.new_calls(2)
            requests = [call(ids[0], "first", effect=self.effect), call(ids[1], "second", effect=self.effect)]
            await ctx.request(requests, checkpoint=b"1")
        await self.hang(ctx, "before_tools")
        results = [await ctx.run_tool(f"{ctx.run_id}.{number}", tool) for number in (1, 2)]
        await ctx.say("done", message_id=ctx.new_message())
        await self.hang(ctx, "at_the_end")
        return results


def house() -> tuple[House, Clock]:
    clock = Clock()
    return House(store=MemoryStore(clock), settings=load(lease=LEASE, stop_grace=1.0, drain=0.5)), clock


@pytest.mark.parametrize("at", ["saying", "before_tools", "at_the_end"])
async def test_a_run_goes_on_after_its_worker_was_lost_and_the_zombie_does_nothing(at: str) -> None:
    """G7: the boundary is visible, what was finished is not done again, a zombie starts and writes
    nothing."""
    h, clock = house()
    work = Work(at)
    async with h.worker(Scripted(work), "w1"):
        run = await h.start()
        await work.there.wait()
        before = list(work.ran)
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(work), "w2"):
            state = await h.ended(run)
            last = state.seq
            work.go.set()
            await until(lambda: h.boss.told.count(("gone", run)) == 2)
        assert (await h.state(run)).seq == last
    assert (state.state, state.attempt) == ("completed", 2)
    assert [attempt for attempt, _ in work.ran[len(before) :]] == [2] * (2 - len(before))
    said = {entry.message_id: entry.superseded for entry in state.said.values() if entry.role == "assistant"}
    assert len(said) == 2 + (at in {"saying", "at_the_end"})
    assert state.copy_text() == "halfdone"
    opening = [e for e in await h.events(run) if isinstance(e, Workflow) and e.reason == "takeover"]
    assert [(e.attempt, len(e.supersedes or ())) for e in opening] == [(2, at in {"saying", "at_the_end"})]


async def lose_right_before(at: int) -> bool:
    """False when the run has no append number `at`."""
    clock, ran, seen = Clock(), list[str](), list[int]()

    async def lose(run_id: str) -> None:
        clock.ahead += LEASE + 1
        assert await store.claim("thief", LEASE, [Serves(name="a", revision="1")]) is not None
        seen.extend([(await store.head(run_id)).last, len(ran)])

    async def agent(ctx: RunContext) -> Json:
        async def tool(_: Json) -> Json:
            ran.append(f"{ctx.attempt}")
            await ctx.say("working", message_id=ctx.new_message())
            return 1

        if ctx.checkpoint is None:
            await request(ctx, "t", "u")
        return [await ctx.run_tool(f"{ctx.run_id}.{n}", tool) for n in (1, 2)]

    store = InterruptedStore(at, lose, clock)
    h = House(store=store, settings=load(lease=LEASE, stop_grace=1.0, drain=0.5))
    run = await h.start()
    async with h.worker(Scripted(agent), "w1"):
        await until(lambda: ("gone", run) in h.boss.told)
        if seen:
            assert [(await store.head(run)).last, len(ran)] == seen
    clock.ahead += LEASE + 1
    async with h.worker(Scripted(agent), "w2"):
        state = await h.reach(run, "completed", "awaiting_approval")
        for question in state.pending:
            done = Decision(call_id=question.call_id, outcome="done", result=1)
            await h.commands.decide([done], by="user:bo")
        assert (await h.ended(run)).output == [1, 1]
    assert len(ran) == 2
    return bool(seen)


async def test_a_worker_that_loses_its_run_right_before_any_append_does_no_more() -> None:
    """G7, G6: nothing of it is written and no tool starts, whichever append it was about to make; and
    the next worker brings the run to its end, each call having run at most once."""
    at = 1
    while await lose_right_before(at):
        at += 1
    assert at > 7


@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
async def test_a_call_that_may_run_again_runs_again(effect: Effect) -> None:
    """G6."""
    h, clock = house()
    work = Work("in_tool", effect=effect)
    async with h.worker(Scripted(work), "w1"):
        run = await h.start()
        await work.there.wait()
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(work), "w2"):
            state = await h.ended(run)
    assert state.output == [2, 2]
    assert states(await h.events(run), f"{run}.1") == ["requested", "started", "started", "finished"]


@pytest.mark.parametrize("outcome", ["retry", "done", "abort"])
async def test_a_call_whose_end_nobody_saw_is_a_question_to_a_person(outcome: Outcome) -> None:
    """G6: at most once, unless a person says so."""
    h, clock = house()
    work = Work("in_tool")
    async with h.worker(Scripted(work), "w1"):
        run = await h.start()
        await work.there.wait()
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(work), "w2"):
            state = await h.paused(run)
            (question,) = state.pending
            assert (question.kind, question.choices) == ("outcome", ("retry", "done", "abort"))
            assert work.ran == []
            decision = Decision(call_id=f"{run}.1", outcome=outcome)
            if outcome == "done":
                decision = Decision(call_id=f"{run}.1", outcome="done", result="by hand")
            await h.commands.decide([decision], by="user:bo")
            state = await h.ended(run)
    told = states(await h.events(run), f"{run}.1")
    match outcome:
        case "retry":
            assert state.output == [2, 2]
            assert told == ["requested", "started", "unknown", "started", "finished"]
        case "done":
            assert state.output == ["by hand", 2]
            assert told == ["requested", "started", "unknown", "finished"]
        case "abort":
            assert state.error is not None
            assert (state.state, state.error.type) == ("failed", "aborted")
            assert told == ["requested", "started", "unknown", "failed"]
            assert work.ran == []


async def test_an_outcome_question_can_expire_and_then_means_abort() -> None:
    h, clock = house()
    h.settings = load(lease=LEASE, approval_expiry=100.0, stop_grace=1.0, drain=0.5)
    work = Work("in_tool")
    async with h.worker(Scripted(work), "w1"):
        run = await h.start()
        await work.there.wait()
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(work), "w2"):
            await h.paused(run)
            clock.ahead += 101
            assert await h.commands.sweep() <= 1
            state = await h.ended(run)
    assert state.error is not None
    assert state.error.type == "aborted"


async def test_a_call_that_ran_beside_a_question_when_its_worker_died_is_asked_about() -> None:
    """G6: answering the question must not start the other call a second time."""
    h, clock = house()
    began, go, ran = asyncio.Event(), asyncio.Event(), list[str]()

    async def agent(ctx: RunContext) -> Json:
        if ctx.checkpoint is None:
            await ctx.begin_step()
            ids = ctx.new_calls(2)
            await ctx.request([call(ids[0], "slow"), call(ids[1], "asked")], checkpoint=b"1")
        slow, asked = f"{ctx.run_id}.1", f"{ctx.run_id}.2"

        async def work(_: Json) -> Json:
            ran.append("slow")
            began.set()
            await go.wait()
            return 1

        async def easy(_: Json) -> Json:
            ran.append("asked")
            return 2

        if ctx.answer(asked) is not None:
            return [await ctx.run_tool(slow, work), await ctx.run_tool(asked, easy)]
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.run_tool(slow, work))
            await began.wait()
            await ctx.ask([call(asked, "asked")], checkpoint=b"2")
        return None

    async with h.worker(Scripted(agent), "w1"):
        run = await h.start()
        await h.reach(run, "awaiting_approval")
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(agent), "w2"):
            await h.commands.decide([Decision(call_id=f"{run}.2", approve=True)], by="user:bo")

            async def asked_again() -> bool:
                return [q.call_id for q in (await h.state(run)).pending] == [f"{run}.1"]

            await until(asked_again)
            assert ran == ["slow"]
            done = Decision(call_id=f"{run}.1", outcome="done", result="seen")
            await h.commands.decide([done], by="user:bo")
            state = await h.ended(run)
    assert state.output == ["seen", 2]
    assert ran == ["slow", "asked"]


async def test_a_run_that_kills_its_workers_fails_at_last() -> None:
    h, clock = house()
    h.settings = load(lease=LEASE, max_attempts=2, stop_grace=1.0, drain=0.5)
    there: list[asyncio.Event] = [asyncio.Event() for _ in range(3)]

    async def agent(ctx: RunContext) -> Json:
        there[ctx.attempt - 1].set()
        await asyncio.sleep(3600)
        return None

    async with h.worker(Scripted(agent), "w1"):
        run = await h.start()
        await there[0].wait()
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(agent), "w2"):
            await there[1].wait()
            clock.ahead += LEASE + 1
            async with h.worker(Scripted(agent), "w3"):
                state = await h.ended(run)
    assert state.error is not None
    assert (state.state, state.error.type, state.attempt) == ("failed", "max_attempts", 2)


async def test_a_worker_that_claims_its_own_lapsed_run_drives_it_once() -> None:
    """G7: after a long outage; the newer lease is the one that stays renewed."""
    h, clock = house()
    work = Work("before_tools")
    async with h.worker(Scripted(work), "w1"):
        run = await h.start()
        await work.there.wait()
        clock.ahead += LEASE + 1
        state = await h.ended(run)
        await until(lambda: h.boss.told[-1] == ("gone", run))
    assert state.attempt == 2
    assert [what for what, _ in h.boss.told].count("gone") == 1


@pytest.mark.parametrize("ends", ["finishes", "hangs", "in a thread"])
async def test_a_worker_that_leaves_hands_back_and_running_calls_end_first(ends: str) -> None:
    """G6: a call whose end was seen is not asked about, however the worker had to go."""
    h, _ = house()
    drain = 20.0 if ends == "finishes" else 0.05
    h.settings = load(lease=LEASE, stop_grace=20.0, drain=drain)
    there, go = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    async def agent(ctx: RunContext) -> Json:
        ids = [f"{ctx.run_id}.1", f"{ctx.run_id}.2"] if ctx.checkpoint else await request(ctx, "t", "u")

        def plain() -> str:
            while not go.is_set():
                asyncio.run(asyncio.sleep(0))
            return "in time"

        async def tool(_: Json) -> Json:
            ran.append(ctx.attempt)
            there.set()
            if ctx.attempt == 1 and ends == "in a thread":
                loop = asyncio.get_running_loop()
                loop.call_later(0.3, go.set)  # after the drain, before half of the grace is over
                return await loop.run_in_executor(ctx.threads, plain)
            await go.wait()
            return "in time"

        return [await ctx.run_tool(i, tool) for i in ids]

    run = await h.start()
    async with h.worker(Scripted(agent), "w1") as worker:
        await there.wait()
        worker.leave()
        if ends == "finishes":
            asyncio.get_running_loop().call_soon(go.set)
        await until(lambda: ("gone", run) in h.boss.told)
    head = await h.store.head(run)
    assert (head.worker, head.closed) == ("none", False)
    go.set()
    async with h.worker(Scripted(agent), "w2"):
        if ends == "hangs":
            (question,) = (await h.paused(run)).pending
            assert question.kind == "outcome"
            await h.commands.decide([Decision(call_id=question.call_id, outcome="retry")], by="user:bo")
        state = await h.ended(run)
    assert (state.output, state.attempt, state.handed_back) == (["in time", "in time"], 2, 1)
    assert ran == ([1, 2] if ends != "hangs" else [1, 2, 2])


async def test_a_hand_back_that_meets_a_question_parks_the_run() -> None:
    """G3, G5: a question that was asked just then stays asked."""
    for turns in range(12):
        h, _ = house()

        async def agent(ctx: RunContext) -> Json:
            if ctx.checkpoint == b"asked":
                return ctx.answer(f"{ctx.run_id}.1") is not None
            ids = [f"{ctx.run_id}.1"] if ctx.checkpoint else await request(ctx, "t")
            await ctx.ask([call(ids[0])], checkpoint=b"asked")
            return None

        run = await h.start()
        async with h.worker(Scripted(agent), "w1") as worker:
            await h.reach(run, "executing", "awaiting_approval")
            for _ in range(turns):
                await asyncio.sleep(0)
            worker.leave()
        async with h.worker(Scripted(agent), "w2"):
            await h.paused(run)
            await h.commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")
            assert (await h.ended(run)).output is True


async def test_time_without_a_worker_is_not_the_runs_time() -> None:
    """The wall limit counts what was executed, not what waited for a worker."""
    h, _ = house()
    run = await h.start()
    state = await h.state(run)
    old = "2026-01-01T00:00:00.000Z"
    entries = [
        Workflow(ts=old, state="executing", attempt=1),
        Workflow(ts=old, state="executing", attempt=1, reason=HANDED_BACK),
    ]
    await h.store.append(run, [encode(entry) for entry in entries], expect=state.seq)

    async def agent(ctx: RunContext) -> Json:
        return ctx.state.executing_seconds < 3600

    async with h.worker(Scripted(agent), "w1"):
        state = await h.ended(run)
    assert (state.output, state.attempt) == (True, 2)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_run_survives_a_store_that_keeps_failing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """G8, G6: every second write is lost, or its answer; each tool runs once, each entry stands once."""
    monkeypatch.setattr("jackline.journal.RETRY_SECONDS", (0.005,))
    store = FlakyStore(lambda count: how if count % 2 else "")
    h = House(store=store, settings=load(stop_grace=1.0, drain=0.5))
    ran: list[str] = []

    async def agent(ctx: RunContext) -> Json:
        ids = [f"{ctx.run_id}.1", f"{ctx.run_id}.2"]
        if ctx.checkpoint is None:
            await request(ctx, "t", "u")

        async def tool(_: Json) -> Json:
            ran.append("t")
            return "x" * 100_000

        results = [await ctx.run_tool(i, tool) for i in ids]
        if ctx.answer(ids[0]) is None:
            extra = ctx.new_calls(1)
            await ctx.request([call(extra[0])], checkpoint=b"2")
            with pytest.raises(ToolFailed):
                await ctx.run_tool(extra[0], broken)
        for number in range(20):
            await ctx.say(f"{number} ", message_id="m1")
        return [len(str(result)) for result in results]

    async def broken(_: Json) -> Json:
        raise OSError("no")

    async with h.worker(Scripted(agent)):
        store.on = False
        run = await h.start()
        store.on = True
        state = await h.ended(run)
        store.on = False
    assert ran == ["t", "t"]
    assert state.output == [100_000, 100_000]
    assert state.copy_text() == "".join(f"{number} " for number in range(20))
    finished = [e for e in await h.events(run) if isinstance(e, Tool) and e.state == "finished"]
    assert len(finished) == 2


async def test_a_worker_that_falls_says_nothing_of_the_calls_that_fall_with_it() -> None:
    """G6: nobody saw whether they took effect, so the next worker asks a person; it does not go on as
    if the agent itself had cancelled them."""
    home, clock = house()
    run_id = await home.start()
    work = Work("in_tool")
    fallen = Worker(store=home.store, agent=Scripted(work), settings=home.settings, name="w1", boss=home.boss)
    running = asyncio.create_task(fallen.run())
    await work.there.wait()
    running.cancel()  # as its task group does when a fault in one task takes the others along
    await asyncio.wait([running])
    clock.ahead = LEASE + 1
    async with home.worker(Scripted(work), "w2"):
        state = await home.paused(run_id)
    (question,) = state.pending
    assert (question.call_id, question.kind) == (f"{run_id}.1", "outcome")
    assert states(await home.events(run_id), question.call_id) == ["requested", "started", "unknown"]
    assert work.ran == []
