from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jackline.errors import Fenced, Moved, RunClosed, UnknownRun
from jackline.ids import new_conversation_id
from jackline.log.base import KEEP, NEVER, NOBODY, NOW, Lease, Serves
from tests.contract.helpers import (
    DEADLINE,
    LONG,
    SHORT,
    begin,
    begin_run,
    claim,
    entries,
    must_claim,
    must_lapse,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from jackline.log.base import Due, Store

pytestmark = pytest.mark.anyio

HOUR = 3_600_000


async def test_a_new_run_can_be_claimed_by_one(store: Store, other: Store) -> None:
    """G7: one writer per run."""
    run = await begin_run(store)
    lease = await claim(store, "w1")
    assert lease is not None
    assert (lease.run_id, lease.worker, lease.agent, lease.revision) == (run, "w1", "helper", "r1")
    assert (lease.last, lease.lapsed) == (1, False)
    assert lease.generation >= 1
    assert await claim(other, "w2") is None


async def test_of_many_claimers_each_gets_another_run(store: Store, other: Store) -> None:
    runs = {await begin_run(store) for _ in range(10)}
    async with asyncio.TaskGroup() as tasks:
        claimers = [tasks.create_task(claim((store, other)[i % 2], f"w{i}")) for i in range(14)]
    leases = [lease for lease in (claimer.result() for claimer in claimers) if lease is not None]
    assert len(leases) == 10
    assert {lease.run_id for lease in leases} == runs


async def test_the_longest_due_comes_first(store: Store) -> None:
    begun = [await begin_run(store) for _ in range(3)]
    now = await store.now_ms()
    for run, ago in zip(begun, (1000, 3000, 2000), strict=True):
        await store.append(run, [], due=now - ago)
    order = [(await must_claim(store)).run_id for _ in range(3)]
    assert order == [begun[1], begun[2], begun[0]]


async def test_overdue_lists_the_longest_due_first_whoever_serves_them(store: Store) -> None:
    begun = [await begin_run(store, agent=f"agent{i}") for i in range(4)]
    now = await store.now_ms()
    for run, ago in zip(begun, (1000, 3000, 2000, 4000), strict=True):
        await store.append(run, [], due=now - ago)
    order = [begun[3], begun[1], begun[2], begun[0]]
    assert [head.run_id for head in await store.overdue()] == order
    assert [head.run_id for head in await store.overdue(2)] == order[:2]


async def test_overdue_leaves_out_what_is_held_waiting_parked_or_ended(store: Store) -> None:
    held, ended, parked, later = [await begin_run(store) for _ in range(4)]
    await store.append(parked, [], due=NEVER)
    await store.append(later, [], due=await store.now_ms() + HOUR)
    await store.append(ended, entries("end"), close=True)
    await begin(store, held.split(".")[0], token="second", queue=True)
    assert [head.run_id for head in await store.overdue()] == [held]
    lease = await must_claim(store, ttl=SHORT)
    assert lease.run_id == held
    await must_lapse(store, held)
    assert [head.run_id for head in await store.overdue()] == [held]
    await must_claim(store)
    assert await store.overdue() == []


async def test_only_a_served_agent_is_claimed(store: Store) -> None:
    run = await begin_run(store, agent="painter")
    assert await claim(store, agent="helper") is None
    assert await store.claim("w1", LONG, []) is None
    serves = [Serves(name="helper", revision="r1"), Serves(name="painter", revision="r7")]
    lease = await store.claim("w1", LONG, serves)
    assert lease is not None
    assert (lease.run_id, lease.agent, lease.revision) == (run, "painter", "r7")


async def test_a_run_stays_with_the_revision_that_first_claimed_it(store: Store) -> None:
    run = await begin_run(store)
    assert (await store.head(run)).revision == ""
    lease = await must_claim(store, revision="r1")
    assert (await store.head(run)).revision == "r1"
    await store.release(lease, NOW, expect=1)
    assert await claim(store, revision="r2") is None
    both = [Serves(name="helper", revision="r2"), Serves(name="helper", revision="r1")]
    again = await store.claim("w2", LONG, both)
    assert again is not None
    assert again.revision == "r1"
    assert again.generation > lease.generation


async def test_a_lapsed_lease_is_taken_over_and_says_so(store: Store, other: Store) -> None:
    """G7: takeover within a lease."""
    run = await begin_run(store)
    dead = await must_claim(store, "dead", SHORT)
    await store.append(run, entries("x"), fence=dead.generation, due=NEVER)
    lease = await must_claim(other, "alive")
    assert (lease.run_id, lease.lapsed, lease.last) == (run, True, 2)
    assert lease.generation > dead.generation
    for late in (store.renew(dead, LONG), store.release(dead, NOW, expect=2)):
        with pytest.raises(Fenced):
            await late


async def test_a_released_run_is_no_takeover(store: Store) -> None:
    await begin_run(store)
    lease = await must_claim(store)
    await store.release(lease, NOW, expect=1)
    assert not (await must_claim(store)).lapsed


@pytest.mark.parametrize("how", ["append", "release"])
async def test_due_never_now_and_later(store: Store, how: str) -> None:
    run = await begin_run(store)

    async def set_due(due: Due) -> None:
        if how == "append":
            await store.append(run, [], due=due)
        else:
            await store.append(run, [], due=NOW)
            await store.release(await must_claim(store), due, expect=1)

    await set_due(NEVER)
    assert await claim(store) is None
    assert (await store.head(run)).due_ms is None
    later = await store.now_ms() + HOUR
    await set_due(later)
    assert await claim(store) is None
    assert (await store.head(run)).due_ms == later
    await set_due(await store.now_ms() + 20)
    assert (await must_claim(store)).run_id == run


async def test_release_with_keep_leaves_the_run_due_as_it_was(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.release(lease, KEEP, expect=1)
    again = await must_claim(store)
    await store.append(run, [], due=NEVER)
    await store.release(again, KEEP, expect=1)
    assert await claim(store) is None


async def test_release_is_refused_when_a_command_came_meanwhile(store: Store) -> None:
    """G4: a stop that comes while the run parks is not slept over."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.append(run, entries("stopping"), once=["stop:immediate"], due=NOW)
    with pytest.raises(Moved) as moved:
        await store.release(lease, NEVER, expect=1)
    assert moved.value.last == 2
    assert (await store.append(run, entries("still held"), fence=lease.generation)).last == 3
    assert (await store.head(run)).worker == "alive"
    await store.release(lease, NEVER, expect=3)
    assert (await store.head(run)).worker == "none"
    for late in (store.renew(lease, LONG), store.release(lease, NOW, expect=3)):
        with pytest.raises(Fenced):
            await late


async def test_renewing_keeps_the_lease_alive(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store, ttl=SHORT)
    await must_lapse(store, run)
    await store.renew(lease, LONG)
    assert (await store.head(run)).worker == "alive"
    assert await claim(store) is None
    await store.renew(lease, SHORT)
    assert (await must_claim(store, "w2")).lapsed


async def test_renew_and_release_of_an_ended_or_unknown_run_are_refused(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.append(run, entries("end"), close=True)
    for late in (store.renew(lease, LONG), store.release(lease, NOW, expect=2)):
        with pytest.raises(RunClosed):
            await late
    nowhere = Lease(
        run_id="aaaaaaaaaaaaaaaaaaaa.1",
        worker="w",
        generation=1,
        agent="a",
        revision="r",
        last=0,
        lapsed=False,
    )
    for lost in (store.renew(nowhere, LONG), store.release(nowhere, NOW, expect=0)):
        with pytest.raises(UnknownRun):
            await lost


async def test_the_head_tells_who_stands_behind_the_run(store: Store) -> None:
    run = await begin_run(store)
    head = await store.head(run)
    assert (head.worker, head.worker_id, head.idle_ms) == ("none", "", 0)
    await store.beat("w1", LONG, idle_ms=0)
    lease = await must_claim(store, "w1", ttl=SHORT)
    await must_lapse(store, run)
    assert (await store.head(run)).worker_id == "w1"
    await store.renew(lease, LONG)
    await store.beat("w1", LONG, idle_ms=5000)
    head = await store.head(run)
    assert (head.worker, head.worker_id) == ("alive", "w1")
    assert head.idle_ms >= 5000

    async def grown() -> bool:
        return (await store.head(run)).idle_ms > head.idle_ms

    await until(grown)
    await store.append(run, entries("end"), close=True)
    head = await store.head(run)
    assert (head.worker, head.worker_id, head.idle_ms, head.due_ms) == ("none", "", 0, None)


async def test_live_workers_catalogues_are_listed_until_forgotten(store: Store, other: Store) -> None:
    assert await store.catalogues() == []
    await store.beat("w1", LONG, idle_ms=0, catalogue=b"one")
    await store.beat("w2", LONG, idle_ms=0)
    await store.beat("w3", LONG, idle_ms=0, catalogue=b"three")
    assert sorted(await other.catalogues()) == [b"one", b"three"]
    await store.beat("w1", LONG, idle_ms=0)
    assert sorted(await other.catalogues()) == [b"one", b"three"]
    await store.beat("w1", LONG, idle_ms=0, catalogue=b"uno")
    await store.beat("w3", SHORT, idle_ms=0)

    async def forgotten() -> bool:
        return await other.catalogues() == [b"uno"]

    await until(forgotten)
    await store.beat("w3", LONG, idle_ms=0)
    assert await other.catalogues() == [b"uno"]


async def _returns_by_itself(waiting: Awaitable[None]) -> None:
    async with asyncio.timeout(DEADLINE):
        await waiting


@pytest.mark.parametrize("how", ["begin", "append", "release", "close", "later"])
async def test_wait_due_is_woken_when_a_run_becomes_due(store: Store, other: Store, how: str) -> None:
    talk = new_conversation_id()
    run = await begin_run(store, talk)
    lease = await must_claim(store)
    await begin(store, talk, token="second", queue=True)
    assert await claim(other) is None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_returns_by_itself(other.wait_due(100)))
        await asyncio.sleep(0)
        match how:
            case "begin":
                await begin_run(store)
            case "append":
                await store.release(lease, NEVER, expect=1)
                await store.append(run, entries("stopping"), fence=NOBODY, due=NOW)
            case "release":
                await store.release(lease, NOW, expect=1)
            case "close":
                await store.append(run, entries("end"), close=True)
            case _:
                await store.release(lease, await store.now_ms() + 30, expect=1)
    await must_claim(other)


async def test_wait_due_is_woken_by_a_lease_that_lapses(store: Store, other: Store) -> None:
    """G7: takeover within a lease, though the dead worker tells nobody."""
    await begin_run(store)
    await must_claim(store, "dead", 0.1)
    lease: Lease | None = None
    async with asyncio.timeout(DEADLINE):
        while lease is None:
            await other.wait_due(100)
            lease = await claim(other, "alive")
    assert lease.lapsed


async def test_wait_due_does_not_miss_what_came_after_the_last_claim(store: Store) -> None:
    assert await claim(store) is None
    await begin_run(store)
    await _returns_by_itself(store.wait_due(100))


async def test_each_head_tells_of_its_own_runs_worker(store: Store) -> None:
    """G9: however many workers there are, and whoever was asked about before."""
    runs: dict[str, int] = {}
    for number in range(6):
        await begin_run(store)
        lease = await must_claim(store, worker=f"w{number}")
        runs[lease.run_id] = number
    for number in range(6):
        await store.beat(f"w{number}", LONG, idle_ms=number * 1_000_000)
    for _ in range(2):
        for run, number in runs.items():
            head = await store.head(run)
            assert (head.worker_id, head.idle_ms // 1_000_000) == (f"w{number}", number)
    heads, _ = await store.runs()
    assert {head.run_id: head.idle_ms // 1_000_000 for head in heads} == runs


async def test_wait_due_returns_after_its_timeout(store: Store) -> None:
    await _returns_by_itself(store.wait_due(0.01))
    await _returns_by_itself(store.wait_due(0))


async def test_a_due_run_that_nobody_here_serves_does_not_wake_for_ever(store: Store) -> None:
    await begin_run(store, agent="elsewhere")
    assert await claim(store) is None

    async def quiet() -> bool:
        """A wait that lasts until it is abandoned: the claim before it saw all that is due."""
        assert await claim(store) is None
        try:
            async with asyncio.timeout(0.3):
                await store.wait_due(100)
        except TimeoutError:
            return True
        return False

    assert await until(quiet)
