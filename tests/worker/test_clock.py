"""Hosts whose clocks differ by minutes: nothing is different but the clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from jackline.clock import StoreClock
from jackline.commands import Decision
from jackline.context import RunContext
from jackline.errors import StoreUnavailable
from jackline.events import Json, Unknown, parse_timestamp
from jackline.log.memory import MemoryStore
from jackline.settings import load
from tests.worker.house import Clock, House, Scripted, call, until

pytestmark = pytest.mark.anyio

MINUTES = 420.0
LEASE = 15.0


def host(seconds: float) -> Callable[[], float]:
    """The clock of a host that is so far off."""
    return lambda: time.time() + seconds


class Work:
    """Say something, hang in a harmless call; after a takeover ask, and hang again."""

    def __init__(self) -> None:
        self.in_call = asyncio.Event()
        self.after_answer = asyncio.Event()
        self.never = asyncio.Event()

    async def __call__(self, ctx: RunContext) -> Json:
        look, delete = f"{ctx.run_id}.1", f"{ctx.run_id}.2"
        requests = [call(look, "look", effect="read_only"), call(delete, "delete")]

        async def hang(_: Json) -> Json:
            self.in_call.set()
            await self.never.wait()
            return None

        async def quick(_: Json) -> Json:
            return "done"

        if ctx.checkpoint is None:
            await ctx.begin_step()
            ctx.new_calls(2)
            await ctx.request(requests, checkpoint=b"1")
        await ctx.run_tool(look, hang if ctx.attempt == 1 else quick)
        if ctx.answer(delete) is None:
            await ctx.ask(requests[1:], checkpoint=b"2")
        await ctx.run_tool(delete, quick)
        self.after_answer.set()
        await self.never.wait()
        return None


async def test_a_takeover_an_approval_and_a_stop_between_hosts_that_differ_by_minutes() -> None:
    """G4, G5, G7: the limit of time is not reached, the question does not expire, the receipt's times
    are true, and all entries tell the store's time."""
    clock = Clock()
    clock.ahead = 2 * MINUTES  # nor does the store agree with any of them
    settings = load(lease=LEASE, stop_grace=1.0, drain=0.5, approval_expiry=60.0, limits={"wall_seconds": 60})
    h = House(store=MemoryStore(clock), settings=settings)
    work = Work()
    begun = clock()
    async with h.worker(Scripted(work), "w1", local=host(MINUTES)):
        run = await h.start()
        await work.in_call.wait()
        clock.ahead += LEASE + 1
        async with h.worker(Scripted(work), "w2", local=host(-MINUTES)):
            (question,) = (await h.paused(run)).pending
            assert question.expires_at is not None
            assert 0 < parse_timestamp(question.expires_at) - clock() <= 60.0
            assert await h.commands.sweep() == 0
            await h.commands.decide([Decision(call_id=f"{run}.2", approve=True)], by="user:bo")
            await work.after_answer.wait()
            await h.commands.stop(run, by="user:bo")
            state = await h.ended(run)
    assert (state.state, state.attempt) == ("stopped", 2)
    assert state.receipt is not None
    assert state.receipt.quiet_ms < 60_000
    assert state.executing_seconds < 60
    told = [parse_timestamp(event.ts) for event in await h.events(run) if not isinstance(event, Unknown)]
    assert begun - 1 <= min(told)
    assert max(told) <= clock() + 1


class Answers:
    """A store that answers after `slow` seconds of the host's clock, half of them on the way back."""

    def __init__(self) -> None:
        self.host = 1000.0
        self.ahead = 500.0
        self.slow = 0.0
        self.away = False

    async def now_ms(self) -> int:
        if self.away:
            raise StoreUnavailable("away")
        self.host += self.slow / 2
        answer = round((self.host + self.ahead) * 1000)
        self.host += self.slow / 2
        return answer


async def measured(store: Answers) -> StoreClock:
    clock = StoreClock(store, local=lambda: store.host)
    await clock.measure()
    return clock


async def test_a_slow_answer_makes_a_good_measurement_no_worse() -> None:
    store = Answers()
    clock = await measured(store)
    assert clock.now() == store.host + 500
    store.slow = 8
    store.ahead = 503  # within what a slow answer cannot tell from no change
    await clock.measure()
    assert clock.now() == store.host + 500


async def test_a_store_whose_clock_was_set_is_followed() -> None:
    store = Answers()
    clock = await measured(store)
    store.ahead = 200
    assert clock.now() == store.host + 500
    await clock.measure()
    assert clock.now() == store.host + 200
    store.slow = 2
    store.ahead = 900
    await clock.measure()
    assert abs(clock.now() - (store.host + 900)) <= 1


async def test_while_the_store_is_away_its_time_goes_on() -> None:
    """G8."""
    store = Answers()
    clock = await measured(store)
    store.away = True
    keeping = asyncio.create_task(clock.keep())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not keeping.done()
    store.host += 3600
    assert clock.now() == store.host + 500
    keeping.cancel()


async def test_a_worker_compares_the_clocks_again_at_each_claim() -> None:
    clock = Clock()
    h = House(store=MemoryStore(clock), settings=load(stop_grace=1.0, drain=0.5))

    async def agent(ctx: RunContext) -> Json:
        return ctx.run_id

    async with h.worker(Scripted(agent), local=host(MINUTES)):
        await h.ended(await h.start())
        clock.ahead = 3600
        run = await h.start()
        state = await h.ended(run)

    async def told() -> bool:
        return abs(parse_timestamp(state.updated_at) - clock()) < 60

    await until(told)
