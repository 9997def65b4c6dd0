"""How a worker comes by its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jackline.context import RunContext
from jackline.errors import StoreUnavailable
from jackline.log.base import Lease, Serves
from jackline.log.memory import MemoryStore
from jackline.worker import MANY_CLAIMS
from tests.worker.house import House, Scripted, until

pytestmark = pytest.mark.anyio


class SlowDisk(MemoryStore):
    """A store that answers claims only while `spins`, or once `enough` of them wait for their answer."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.spins = asyncio.Event()
        self.claimed = 0
        self.most = 0
        self._enough = enough

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        lease = await super().claim(worker, ttl, serves)
        if lease is not None:
            self.claimed += 1
            self.most = max(self.most, self.claimed)
            if self.claimed >= self._enough:
                self.spins.set()
            await self.spins.wait()
            self.claimed -= 1
        return lease


async def work(ctx: RunContext) -> None:
    await ctx.begin_step()


async def test_starts_do_not_wait_for_one_anothers_claims() -> None:
    """Each claim waits for the disk: one after the other, the last of many runs would begin seconds late."""
    house = House(store=(store := SlowDisk(enough=4)))
    async with house.worker(Scripted(work)):
        runs = [await house.start() for _ in range(4)]
        for run in runs:
            assert (await house.ended(run)).state == "completed"
    assert store.most == 4


async def test_runs_that_wait_for_a_worker_are_claimed_side_by_side() -> None:
    house = House(store=(store := SlowDisk(enough=1)))
    store.spins.set()
    runs = [await house.start() for _ in range(40)]
    async with house.worker(Scripted(work)):
        for run in runs:
            assert (await house.ended(run)).state == "completed"
    assert store.most <= MANY_CLAIMS


async def test_claims_under_way_take_no_more_runs_than_there_may_be() -> None:
    house = House(store=(store := SlowDisk(enough=1)))
    house.settings = house.settings.model_copy(update={"max_runs": 3})
    store.spins.set()
    now = most = 0

    async def note(ctx: RunContext) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await ctx.begin_step()
        now -= 1

    runs = [await house.start() for _ in range(12)]
    async with house.worker(Scripted(note)):
        for run in runs:
            await house.ended(run)
    assert 1 <= most <= 3


class Away(MemoryStore):
    """A store that does not answer claims for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 3

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StoreUnavailable("away")
        return await super().claim(worker, ttl, serves)


async def test_a_store_that_comes_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """G8."""
    monkeypatch.setattr("jackline.worker.POLL_SECONDS", 0.01)
    house = House(store=(store := Away()))
    async with house.worker(Scripted(work)):
        run = await house.start()
        assert (await house.ended(run)).state == "completed"
    assert store.refusals == 0


async def test_a_claim_that_was_under_way_when_the_worker_left_is_handed_back() -> None:
    """G7: a run that was claimed too late is not left lying until its lease lapses."""
    house = House(store=(store := SlowDisk(enough=2)))

    async def wait(ctx: RunContext) -> None:
        await asyncio.Event().wait()

    async with house.worker(Scripted(wait)) as worker:
        run = await house.start()
        await until(lambda: store.claimed == 1)
        worker.leave()
        store.spins.set()
    head = await house.store.head(run)
    assert head.worker == "none"
    assert head.due_ms is not None
