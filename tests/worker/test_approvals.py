"""Runs that wait for a person: for days, for several answers, holding nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from jackline.commands import Decision
from jackline.context import CallRequest, RunContext
from jackline.errors import Conflict, Invalid, ToolFailed
from jackline.events import Approval, Json, Message, Tool
from jackline.ids import conversation_of
from jackline.log.memory import MemoryStore
from jackline.settings import load
from jackline.tools import ToolSpec
from tests.worker.house import Clock, House, Scripted, call, states, until

pytestmark = pytest.mark.anyio

DAY = 24 * 3600.0


def house(store: MemoryStore | None = None, **settings: Any) -> House:
    return House(store=store or MemoryStore(), settings=load(stop_grace=1.0, drain=0.5, **settings))


class Asking:
    """An agent that asks about its calls, all of one step, and then makes them."""

    def __init__(self, count: int = 1, schema: Json = None) -> None:
        self.count = count
        self.schema = schema
        self.ran: list[tuple[str, Json]] = []

    def requests(self, ids: Sequence[str]) -> list[CallRequest]:
        made = [call(i, n=n) for n, i in enumerate(ids, 1)]
        if self.schema is None:
            return made
        spec = ToolSpec(name="t", schema=self.schema)
        return [CallRequest(call_id=request.call_id, args=request.args, spec=spec) for request in made]

    async def __call__(self, ctx: RunContext) -> Json:
        ids = [f"{ctx.run_id}.{n}" for n in range(1, self.count + 1)]
        if ctx.checkpoint is None:
            await ctx.begin_step()
            ctx.new_calls(self.count)
            await ctx.request(self.requests(ids))
            await ctx.ask(self.requests(ids), checkpoint=b"asked")
        return [await self.make(ctx, call_id) for call_id in ids]

    async def make(self, ctx: RunContext, call_id: str) -> Json:
        async def run(args: Json) -> Json:
            self.ran.append((call_id, args))
            return args

        try:
            return await ctx.run_tool(call_id, run)
        except ToolFailed as error:
            return f"{error.kind}: {error}"


@pytest.mark.parametrize("who", ["worker", "sweep", "both"])
async def test_silence_can_mean_yes(who: str) -> None:
    """G5: the choice stands in the question, so a worker that is set otherwise by now obeys it too."""
    clock = Clock()
    h = house(MemoryStore(clock), approval_expiry=100.0, approval_expiry_action="approve")
    agent = Asking(2)
    async with h.worker(Scripted(agent)):
        run = await h.start()
        (one, _) = (await h.paused(run)).pending
        assert one.on_expiry == "approve"
    h.settings = load(stop_grace=1.0, drain=0.5)
    clock.ahead += 101
    if who != "worker":
        assert await h.commands.sweep() == 1
    async with h.worker(Scripted(agent)):
        if who == "both":
            await h.commands.sweep()
        state = await h.ended(run)
    assert state.output == [{"n": 1}, {"n": 2}]
    assert len(agent.ran) == 2
    assert {(question.state, question.by) for question in state.questions.values()} == {("granted", "system")}


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
async def test_answers_may_come_in_any_order_and_each_goes_to_its_own_call(order: Sequence[int]) -> None:
    """G5: nothing runs before the last one, whichever it is."""
    h = house()
    agent = Asking(3)
    async with h.worker(Scripted(agent)):
        run = await h.start()
        for at, number in enumerate(order):
            assert len((await h.paused(run)).pending) == 3 - at
            assert agent.ran == []
            answer = Decision(call_id=f"{run}.{number}", approve=number != 2, reason=f"no {number}")
            if number == 3:
                answer = Decision(call_id=f"{run}.3", approve=True, args={"n": 33})
            await h.commands.decide([answer], by="user:bo")
        state = await h.ended(run)
    assert state.output == [{"n": 1}, "denied: denied by user:bo: no 2", {"n": 33}]
    assert agent.ran == [(f"{run}.1", {"n": 1}), (f"{run}.3", {"n": 33})]
    started = [event for event in await h.events(run) if isinstance(event, Tool) and event.state == "started"]
    assert [(event.call_id, event.args) for event in started] == agent.ran


async def test_runs_that_wait_take_no_workers_place() -> None:
    """A worker for one run at a time, three that wait, and the fourth is driven: no lease, no task and
    no slot stands behind a run while a person thinks."""
    h = house(max_runs=1)
    agent = Asking()
    async with h.worker(Scripted(agent)):
        waiting = [await h.start() for _ in range(3)]
        for run in waiting:
            await h.paused(run)
        fourth = await h.start()
        await h.paused(fourth)
        await h.commands.decide([Decision(call_id=f"{fourth}.1", approve=True)], by="user:bo")
        assert (await h.ended(fourth)).state == "completed"
        await until(lambda: h.boss.told.count(("gone", fourth)) == 2)
        assert [(await h.store.head(run)).worker for run in waiting] == ["none"] * 3
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not [name for name in names for run in waiting if run in name]
        for run in waiting:
            await h.commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")
            assert (await h.ended(run)).state == "completed"


@pytest.mark.parametrize("expiry", [None, 30 * DAY])
async def test_a_run_can_wait_for_days_over_any_number_of_workers(expiry: float | None) -> None:
    """G5: no time-out but the question's own touches it, and no worker takes it up for nothing."""
    clock = Clock()
    h = house(MemoryStore(clock), approval_expiry=expiry)
    agent = Asking()
    async with h.worker(Scripted(agent), "w0"):
        run = await h.start()
        await h.paused(run)
    before = await h.store.head(run)
    for day in range(1, 30):
        clock.ahead = day * DAY
        assert await h.commands.sweep() == 0
        async with h.worker(Scripted(agent), f"w{day}"):
            other = await h.start()  # once this one is driven, the worker has looked for what is due
            await h.paused(other)
            await h.commands.stop(other, by="user:ana")
    head = await h.store.head(run)
    assert (head.generation, head.last) == (before.generation, before.last)
    async with h.worker(Scripted(agent), "last"):
        await h.commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")
        state = await h.ended(run)
    assert (state.state, state.attempt, state.output) == ("completed", 1, [{"n": 1}])
    assert state.executing_seconds < 60


async def test_a_tools_schema_may_be_larger_than_an_entry() -> None:
    """G5, G11: the question is asked all the same, and edited arguments are checked against it."""
    properties: Json = {f"p{n}": {"type": "string", "description": "x" * 1000} for n in range(200)}
    schema: Json = {"type": "object", "properties": {"n": {"type": "integer"}, **properties}}
    h = house()
    agent = Asking(schema=schema)
    async with h.worker(Scripted(agent)):
        run = await h.start()
        (question,) = (await h.paused(run)).pending
        assert isinstance(question.args_schema, dict)
        assert question.args_schema["artifact"] == "1-schema"
        aside = await h.store.artifact(run, "1-schema")
        assert aside is not None
        edited: Json = {"n": 1, "p7": 7}
        with pytest.raises(Invalid) as refused:
            await h.commands.decide([Decision(call_id=f"{run}.1", approve=True, args=edited)], by="user:bo")
        assert [error.field for error in refused.value.errors] == ["args.p7"]
        edited = {"n": 2, "p7": "seven"}
        await h.commands.decide([Decision(call_id=f"{run}.1", approve=True, args=edited)], by="user:bo")
        assert (await h.ended(run)).output == [edited]


async def test_a_question_fits_into_the_smallest_entry() -> None:
    """Whatever is large about it: arguments, schema."""
    h = house(MemoryStore(max_entry_bytes=1024), max_entry=1024)
    schema: Json = {"type": "object", "description": "\x00" * 5000}
    agent = Asking(3, schema)
    async with h.worker(Scripted(agent)):
        run = await h.start()
        assert len((await h.paused(run)).pending) == 3
        both = [Decision(call_id=f"{run}.{n}", approve=True) for n in (1, 2, 3)]
        await h.commands.decide(both, by="user:bo")
        assert (await h.ended(run)).state == "completed"


@pytest.mark.parametrize("on_busy", ["reject", "queue", "stop"])
async def test_a_new_message_while_a_question_waits_goes_by_on_busy(on_busy: str) -> None:
    """G5: it neither answers the question nor runs the call; where it takes the run's place the question
    is withdrawn, and an answer to it that comes later is refused."""
    h = house()
    agent = Asking()
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await h.paused(run)
        more: dict[str, Any] = {
            "by": "user:ana",
            "agent": "a",
            "messages": [Message(role="user", content="and?")],
            "conversation_id": conversation_of(run),
            "on_busy": on_busy,
        }
        approve = [Decision(call_id=f"{run}.1", approve=True)]
        if on_busy == "reject":
            with pytest.raises(Conflict) as busy:
                await h.commands.start(**more)
            assert busy.value.members == {"run_id": run}
            assert (await h.state(run)).paused
            return
        second = (await h.commands.start(**more)).run_id
        if on_busy == "queue":
            assert (await h.store.head(second)).waiting
            assert (await h.state(run)).paused
            await h.commands.decide(approve, by="user:bo")
            assert (await h.ended(run)).state == "completed"
            assert agent.ran == [(f"{run}.1", {"n": 1})]
        else:
            state = await h.ended(run)
            assert (state.state, [q.state for q in state.questions.values()]) == ("stopped", ["withdrawn"])
            with pytest.raises(Conflict) as late:
                await h.commands.decide(approve, by="user:bo")
            assert late.value.members["state"] == "withdrawn"
            assert states(await h.events(run), f"{run}.1") == ["requested", "cancelled"]
        await h.paused(second)
        assert [run_id for run_id, _ in agent.ran if run_id.startswith(f"{second}.")] == []


async def test_the_same_answer_again_after_the_end_is_the_same() -> None:
    """G5."""
    h = house()
    agent = Asking()
    async with h.worker(Scripted(agent)):
        run = await h.start()
        await h.paused(run)
        approve = [Decision(call_id=f"{run}.1", approve=True)]
        first = await h.commands.decide(approve, by="user:bo")
        await h.ended(run)
        assert await h.commands.decide(approve, by="user:cy") == first
        with pytest.raises(Conflict) as refused:
            await h.commands.decide([Decision(call_id=f"{run}.1", approve=False)], by="user:cy")
    granted = [e for e in await h.events(run) if isinstance(e, Approval) and e.state == "granted"]
    assert [(refused.value.members["by"], refused.value.members["at"])] == [(e.by, e.ts) for e in granted]
    assert len(agent.ran) == 1
