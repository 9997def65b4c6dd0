"""What an agent may say and do: approvals, limits, large values, tools that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jackline.commands import Decision
from jackline.context import RunContext
from jackline.errors import LimitReached, ToolFailed
from jackline.events import Json, Message, Token, Tool, Usage
from jackline.log.memory import MemoryStore
from jackline.run import RunState
from jackline.settings import load
from tests.worker.house import (
    Clock,
    CrowdedStore,
    House,
    InterruptedStore,
    Scripted,
    call,
    request,
    states,
    until,
)

pytestmark = pytest.mark.anyio


def house(store: MemoryStore | None = None, **settings: Any) -> House:
    return House(store=store or MemoryStore(), settings=load(stop_grace=0.6, drain=0.5, **settings))


async def one(h: House, run: Callable[[RunContext], Awaitable[Json]], **start: Any) -> RunState:
    """Drive one run to its ending."""
    async with h.worker(Scripted(run)):
        return await h.ended(await h.start(**start))


async def echo(args: Json) -> Json:
    return args


# Approvals


async def asking(ctx: RunContext) -> Json:
    """Two calls that a person is asked about at once."""
    ids = [f"{ctx.run_id}.1", f"{ctx.run_id}.2"]
    if ctx.checkpoint is None:
        await ctx.begin_step()
        requests = [call(i, n=n) for n, i in enumerate(ctx.new_calls(2))]
        await ctx.request(requests)
        await ctx.ask(requests, checkpoint=b"asked")
    results: list[Json] = []
    for call_id in ids:
        try:
            results.append(await ctx.run_tool(call_id, echo))
        except ToolFailed as error:
            results.append(f"{error.kind}: {error}")
    return results


async def test_a_parked_run_goes_on_with_another_worker_once_all_is_answered() -> None:
    """G5: an approved tool runs once, with the arguments that stand in the answer."""
    h = house()
    async with h.worker(Scripted(asking), "w1"):
        run = await h.start()
        state = await h.paused(run)
    assert [question.args for question in state.pending] == [{"n": 0}, {"n": 1}]
    async with h.worker(Scripted(asking), "w2"):
        await h.commands.decide([Decision(call_id=f"{run}.2", approve=False, reason="no")], by="user:bo")
        claims = (await h.paused(run)).seq
        assert claims == state.seq + 1
        await h.commands.decide([Decision(call_id=f"{run}.1", approve=True, args={"n": 7})], by="user:bo")
        state = await h.ended(run)
    assert state.output == [{"n": 7}, "denied: denied by user:bo: no"]
    assert state.attempt == 1
    assert state.calls[f"{run}.1"].args == {"n": 7}


async def test_one_answer_of_two_does_not_make_workers_spin() -> None:
    """It is parked until the first question expires, not due for ever."""
    h = house()
    async with h.worker(Scripted(asking)):
        run = await h.start()
        await h.paused(run)
        await h.commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")

        async def parked_again() -> bool:
            return (await h.store.head(run)).due_ms is None

        await until(parked_again)
        generation = (await h.store.head(run)).generation
        for _ in range(200):
            await asyncio.sleep(0)
        assert (await h.store.head(run)).generation == generation


@pytest.mark.parametrize("who", ["worker", "sweep", "both"])
async def test_questions_expire_in_time_and_mean_no(who: str) -> None:
    """G5."""
    clock = Clock()
    h = house(MemoryStore(clock), approval_expiry=100.0)
    async with h.worker(Scripted(asking)):
        run = await h.start()
        await h.paused(run)
    head = await h.store.head(run)
    assert head.due_ms is not None
    clock.ahead += 101
    if who != "worker":
        assert await h.commands.sweep() == 1
    async with h.worker(Scripted(asking)):
        if who == "both":
            await h.commands.sweep()
        state = await h.ended(run)
    assert state.output == ["expired: not answered in time; denied by system"] * 2


async def test_a_decision_that_races_the_parking_is_seen() -> None:
    """G5: whether the worker still holds the run or has let go."""
    for turns in range(16):
        h = house()
        async with h.worker(Scripted(asking)):
            run = await h.start()
            await h.reach(run, "awaiting_approval")
            for _ in range(turns):
                await asyncio.sleep(0)
            both = [Decision(call_id=f"{run}.{n}", approve=True) for n in (1, 2)]
            await h.commands.decide(both, by="user:bo")
            assert (await h.ended(run)).output == [{"n": 0}, {"n": 1}]


async def test_what_runs_beside_a_question_may_finish_and_speak() -> None:
    """G3: the log stays legal, and the call has its end before the run is let go."""
    h, asked, go = house(), asyncio.Event(), asyncio.Event()

    async def agent(ctx: RunContext) -> Json:
        if ctx.checkpoint == b"2":
            return await ctx.run_tool(f"{ctx.run_id}.1", echo)
        ids = await request(ctx, "slow", "asked", "third")

        async def slow(_: Json) -> Json:
            asked.set()
            await go.wait()
            await ctx.say("still here", message_id=ctx.new_message())
            await ctx.progress(ids[0], 99)
            return "slowly"

        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.run_tool(ids[0], slow))
            await asked.wait()
            group.create_task(ctx.ask([call(ids[1])], checkpoint=b"2"))
            group.create_task(ctx.run_tool(ids[2], echo))
        return None

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await h.reach(run, "awaiting_approval")
        go.set()
        state = await h.paused(run)
        assert state.calls[f"{run}.1"].state == "finished"
        assert state.copy_text() == "still here"
        await h.commands.decide([Decision(call_id=f"{run}.2", approve=True)], by="user:bo")
        state = await h.ended(run)
    assert state.output == "slowly"


# Limits


async def steps(ctx: RunContext) -> Json:
    while True:
        await ctx.begin_step()


async def tokens(ctx: RunContext) -> Json:
    while True:
        await ctx.begin_step()
        await ctx.end_step(Usage(input_tokens=40, output_tokens=20))


async def wall(ctx: RunContext) -> Json:
    await ctx.begin_step()
    await asyncio.sleep(3600)
    return None


async def tool_seconds(ctx: RunContext) -> Json:
    async def tool(_: Json) -> Json:
        await asyncio.sleep(3600)
        return None

    return await ctx.run_tool((await request(ctx, "t"))[0], tool)


async def said_bytes(ctx: RunContext) -> Json:
    while True:
        await ctx.say("x" * 1000, message_id="m1")


LIMITS: list[tuple[str, float, Callable[[RunContext], Awaitable[Json]]]] = [
    ("steps", 3, steps),
    ("tokens", 100, tokens),
    ("wall_seconds", 0.05, wall),
    ("tool_seconds", 0.05, tool_seconds),
    ("bytes", 10_000, said_bytes),
]


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize(("name", "value", "agent"), LIMITS, ids=[limit[0] for limit in LIMITS])
async def test_a_limit_ends_the_run_with_its_reason(
    name: str, value: float, agent: Callable[[RunContext], Awaitable[Json]], swallowed: bool
) -> None:
    """Whatever the agent makes of the error."""

    async def broad(ctx: RunContext) -> Json:
        try:
            return await agent(ctx)
        except LimitReached:
            if not swallowed:
                raise
        with pytest.raises(LimitReached):
            await ctx.begin_step()
        return "as if nothing had been"

    state = await one(house(), broad, limits={name: value})
    assert state.error is not None
    assert (state.state, state.error.type) == ("failed", "limit_reached")
    assert f"{name} = {value:g}" in state.error.message
    if name == "tool_seconds":
        assert [found.state for found in state.calls.values()] == ["cancelled"]


async def test_a_chat_cannot_raise_a_limit() -> None:
    state = await one(house(limits={"steps": 2}), steps, limits={"steps": 100})
    assert state.step == 2


# Large values


async def test_large_values_are_stored_aside_and_come_back_whole() -> None:
    h = house()
    big = "é" * 2_500_000
    got: list[Json] = []

    async def agent(ctx: RunContext) -> Json:
        if ctx.checkpoint is None:
            await ctx.begin_step()
            ids = ctx.new_calls(2)
            requests = [call(ids[0], n=1, text=big), call(ids[1])]
            await ctx.request(requests, checkpoint=b"1")
            await ctx.ask(requests, checkpoint=b"2")

        async def tool(args: Json) -> Json:
            got.append(args)
            await ctx.progress(f"{ctx.run_id}.1", big)
            return big

        first = await ctx.run_tool(f"{ctx.run_id}.1", tool)
        assert first == await ctx.run_tool(f"{ctx.run_id}.1", tool)
        return first

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await h.paused(run)
        await h.commands.decide([Decision(call_id=f"{run}.{n}", approve=True) for n in (1, 2)], by="user:bo")
        state = await h.ended(run)
    assert got == [{"n": 1, "text": big}]
    output = state.output
    assert isinstance(output, dict)
    assert output["bytes"] == 5_000_000
    kept = await h.store.artifact(run, str(output["artifact"]))
    assert kept is not None
    assert kept.data.decode() == big
    assert max(len(entry.body) for entry in (await h.store.read(run)).entries) < 64 * 1024


@pytest.mark.parametrize("where", ["result", "progress", "args", "output"])
async def test_what_is_stored_aside_counts_for_the_limit_of_bytes(where: str) -> None:
    """And what has run is told, even where its result finds no room."""
    big, ran = "x" * 100_000, list[int]()

    async def agent(ctx: RunContext) -> Json:
        if where == "output":
            return big
        call_id = ctx.new_calls(1)[0]
        await ctx.request([call(call_id, n=1, text=big if where == "args" else "")])

        async def tool(args: Json) -> Json:
            ran.append(1)
            if where == "progress":
                await ctx.progress(call_id, big)
            return big

        await ctx.run_tool(call_id, tool)
        await ctx.begin_step()
        return "as if nothing had been"

    h = house(limits={"bytes": 90_000})
    state = await one(h, agent)
    assert state.error is not None
    assert (state.state, state.error.type) == ("failed", "limit_reached")
    assert "bytes = 90000" in state.error.message
    ends = {"result": ["finished"], "progress": ["failed"], "args": [], "output": []}
    assert [found.state for found in state.calls.values()] == ends[where]
    assert len(ran) == len(ends[where])
    assert await h.store.artifact(state.run_id, "1-result") is None


async def test_what_an_earlier_attempt_stored_aside_counts_too() -> None:
    """G7: a takeover is no way around a limit."""
    big = "x" * 60_000

    async def agent(ctx: RunContext) -> Json:
        for call_id in ctx.new_calls(1):
            await ctx.request([call(call_id, n=1, text="")])
            await ctx.run_tool(call_id, lambda _: _later(big))
        await ctx.begin_step()
        return "done"

    h = house(limits={"bytes": 200_000})
    run = (await one(h, agent)).run_id
    entries = sum(len(entry.body) for entry in (await h.store.read(run)).entries)
    assert (await h.state(run)).bytes == entries + len(big)


async def _later(value: Json) -> Json:
    return value


async def test_a_large_message_of_a_person_is_taken_whole() -> None:
    """G11: up to the size of a request's body."""
    big = "é" * 450_000

    async def agent(ctx: RunContext) -> Json:
        return len(ctx.input[0].content)

    h = house()
    async with h.worker(Scripted(agent)):
        message = Message(role="user", content=big)
        started = await h.commands.start(by="user:ana", agent="a", messages=[message])
        assert (await h.ended(started.run_id)).output == 450_000


@pytest.mark.parametrize("text", ["x" * 1_000_000, "é😀" * 100_000, "\x00" * 100_000], ids=["x", "é", "nul"])
async def test_a_large_piece_of_text_is_split_and_nothing_of_it_is_lost(text: str) -> None:
    async def agent(ctx: RunContext) -> Json:
        await ctx.say(text, message_id=ctx.new_message())
        return None

    h = house()
    async with h.worker(Scripted(agent)):
        run = await h.start()
        assert (await h.ended(run)).copy_text() == text
    assert sum(isinstance(event, Token) for event in await h.events(run)) > 1


async def test_half_a_character_is_replaced() -> None:
    """A model's chunk or a file's name may hold one; JSON cannot."""

    async def agent(ctx: RunContext) -> Json:
        async def tool(_: Json) -> Json:
            raise FileNotFoundError("caf\udce9")

        await ctx.say("a\ud83d", message_id=ctx.new_message())
        ids = await request(ctx, "t")
        with pytest.raises(ToolFailed):
            await ctx.run_tool(ids[0], tool)
        raise OSError("b\ud83d")

    state = await one(house(), agent)
    assert state.copy_text() == "a?"
    assert state.error is not None
    assert state.error.message == "b?"


# Tools that misbehave


async def cancels_itself(_: Json) -> Json:
    raise asyncio.CancelledError


async def awaits_what_is_cancelled(_: Json) -> Json:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


async def leaves(_: Json) -> Json:
    raise SystemExit(3)


async def no_json(_: Json) -> object:
    return object()


async def its_own_timeout(_: Json) -> Json:
    raise TimeoutError("the database is slow")


@pytest.mark.parametrize("tool", [cancels_itself, awaits_what_is_cancelled, leaves, no_json, its_own_timeout])
async def test_whatever_a_tool_does_is_the_calls_outcome(tool: Callable[[Json], Awaitable[Json]]) -> None:
    """The run goes on, and so does the worker."""

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "t", "u")
        with pytest.raises(ToolFailed):
            await ctx.run_tool(ids[0], tool)
        with pytest.raises(ToolFailed):
            await ctx.run_tool(ids[0], echo)  # and it has ended
        return await ctx.run_tool(ids[1], echo)

    state = await one(house(), agent)
    assert state.output == {}
    assert [found.state for found in state.calls.values()] == ["failed", "finished"]


async def exits(ctx: RunContext) -> Json:
    raise SystemExit(1)


async def cancelled(ctx: RunContext) -> Json:
    raise asyncio.CancelledError


async def raises(ctx: RunContext) -> Json:
    raise ZeroDivisionError


async def not_json(ctx: RunContext) -> Json:
    return {(1, 2): object()}  # type: ignore[return-value]


async def twice(ctx: RunContext) -> Json:
    ids = await request(ctx, "t")
    await ctx.request([call(ids[0])])
    return None


async def unasked(ctx: RunContext) -> Json:
    await ctx.ask([call(ctx.new_calls(1)[0])])
    return None


@pytest.mark.parametrize("agent", [exits, cancelled, raises, not_json, twice, unasked])
async def test_whatever_an_agent_does_wrong_ends_its_run_failed(
    agent: Callable[[RunContext], Awaitable[Json]],
) -> None:
    """G3: a log that can be read, one ending, and the worker lives."""
    h = house()
    async with h.worker(Scripted(agent)):
        for _ in range(2):
            state = await h.ended(await h.start())
            assert state.state == "failed"
            assert all(found.ended for found in state.calls.values())


async def test_a_call_that_the_agent_itself_cancels_has_its_end_at_once() -> None:
    h, there = house(), asyncio.Event()

    async def agent(ctx: RunContext) -> Json:
        ids = await request(ctx, "slow", "u")

        async def slow(_: Json) -> Json:
            there.set()
            await asyncio.sleep(3600)
            return None

        task = asyncio.ensure_future(ctx.run_tool(ids[0], slow))
        await there.wait()
        task.cancel()
        await asyncio.wait([task])
        return await ctx.run_tool(ids[1], echo)

    state = await one(h, agent)
    events = await h.events(state.run_id)
    order = [(e.name, e.state) for e in events if isinstance(e, Tool)]
    assert order.index(("slow", "cancelled")) < order.index(("u", "started"))


async def test_parallel_calls_of_which_one_fails_each_end_once() -> None:
    """G3: what is on its way to the log when the agent gives up is not told twice."""
    for turns in range(8):

        async def agent(ctx: RunContext, turns: int = turns) -> Json:
            ids = await request(ctx, "t", "u", "v")

            async def bad(_: Json) -> Json:
                for _ in range(turns):
                    await asyncio.sleep(0)
                raise OSError("no")

            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.run_tool(ids[0], echo))
                group.create_task(ctx.run_tool(ids[1], bad))
                group.create_task(ctx.run_tool(ids[2], echo))
            return None

        h = house(InterruptedStore(0, lambda _: asyncio.sleep(0)))
        state = await one(h, agent)
        assert state.state == "failed"
        for call_id in state.calls:
            told = states(await h.events(state.run_id), call_id)
            assert len(set(told)) == len(told)


async def test_a_run_gets_through_a_log_that_others_write_to_as_well() -> None:
    """G3, G5: every append of it meets `Moved` once."""
    store = CrowdedStore()
    h = house(store)
    async with h.worker(Scripted(asking)):
        run = await h.start()
        await h.paused(run)
        await h.commands.decide([Decision(call_id=f"{run}.{n}", approve=True) for n in (1, 2)], by="user:bo")
        assert (await h.ended(run)).output == [{"n": 0}, {"n": 1}]
        other = await h.start()
        await h.paused(other)
        await h.commands.stop(other, by="user:bo")
        assert (await h.ended(other)).state == "stopped"
    assert store.notes > 8


async def test_ids_that_were_given_out_and_never_used_are_no_trouble_later() -> None:
    """G7: after a pause, new messages and calls do not take the ids of old ones."""
    h = house()

    async def agent(ctx: RunContext) -> Json:
        if ctx.checkpoint is None:
            ctx.new_message()
            await ctx.say("one", message_id=ctx.new_message())
            ctx.new_calls(1)
            ids = await request(ctx, "t")
            await ctx.ask([call(ids[0])], checkpoint=b"2")
        await ctx.say("two", message_id=ctx.new_message())
        ids = await request(ctx, "u")
        return await ctx.run_tool(ids[0], echo)

    async with h.worker(Scripted(agent)):
        run = await h.start()
        await h.paused(run)
        await h.commands.decide([Decision(call_id=f"{run}.2", approve=False)], by="user:bo")
        state = await h.ended(run)
    assert state.output == {}
    assert [s.text for s in state.said.values() if s.role == "assistant"] == ["one", "two"]


async def test_a_worker_takes_no_more_runs_than_it_may_and_none_once_it_leaves() -> None:
    h, go = house(max_runs=1), asyncio.Event()
    began: list[str] = []

    async def agent(ctx: RunContext) -> Json:
        began.append(ctx.run_id)
        await ctx.begin_step()
        await go.wait()
        return None

    first, second = await h.start(), await h.start()
    async with h.worker(Scripted(agent)) as worker:
        await until(lambda: len(began) == 1)
        worker.leave()
    assert began == [first]
    assert (await h.state(second)).state == "queued"


async def test_an_agent_that_says_all_at_once_lets_others_have_their_turn() -> None:
    """G4: also its own stop, which would otherwise have to wait until it is done."""

    async def talker(ctx: RunContext) -> Json:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        message = ctx.new_message()
        for _ in range(1000):
            await ctx.say("word ", message_id=message)
        counting.cancel()
        return turns

    state = await one(house(), talker)
    assert state.copy_text() == "word " * 1000
    assert isinstance(state.output, int)
    assert state.output >= 10
