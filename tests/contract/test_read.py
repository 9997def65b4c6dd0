from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jackline.errors import UnknownRun
from jackline.events import Entry
from jackline.log.base import follow
from tests.contract.helpers import DEADLINE, begin_run, entries, entry, must_claim

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from jackline.log.base import Page, Store

pytestmark = pytest.mark.anyio

NOWHERE = "aaaaaaaaaaaaaaaaaaaa.1"


async def test_every_cursor_gets_exactly_what_comes_after_it(store: Store, other: Store) -> None:
    """G1: with any cursor, on any replica."""
    run = await begin_run(store)
    await store.append(run, entries(*(f"{i}" for i in range(2, 21))))
    everything = (await store.read(run)).entries
    for after in range(25):
        page = await other.read(run, after)
        assert page.first == after + 1
        assert page.entries == everything[after:]
        assert page.last == 20


async def test_a_page_holds_at_most_limit_entries(store: Store) -> None:
    run = await begin_run(store)
    await store.append(run, entries(*(f"{i}" for i in range(2, 21))))
    page = await store.read(run, 3, limit=5)
    assert (page.first, len(page.entries), page.last) == (4, 5, 20)
    assert page.entries[0] == entry("4")


async def test_a_page_stops_early_once_its_bytes_are_exceeded(store: Store) -> None:
    """G10: what is read at once is bounded."""
    run = await begin_run(store)
    await store.append(run, [Entry("token", b"%1000d" % i) for i in range(10)])
    page = await store.read(run, 1, max_bytes=3500)
    assert 3 <= len(page.entries) <= 4
    assert page.last == 11
    (lonely,) = (await store.read(run, 1, max_bytes=10)).entries
    assert len(lonely.body) == 1000
    assert len((await store.read(run, 1, limit=2, max_bytes=1 << 20)).entries) == 2


async def test_a_cursor_far_beyond_the_end_reads_nothing(store: Store) -> None:
    """G11: a cursor is a client's and may be any number."""
    run = await begin_run(store)
    for after in (5, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 70):
        page = await store.read(run, after)
        assert (page.entries, page.last, page.closed) == ((), 1, False)


async def test_the_ending_is_read_with_the_last_entry(store: Store) -> None:
    run = await begin_run(store)
    await store.append(run, entries("end"), close=True)
    assert (await store.read(run, 0, limit=1)).closed
    assert (await store.read(run, 2)).closed
    assert (await store.read(run, 2)).last == 2


async def test_reading_an_unknown_run_is_refused(store: Store) -> None:
    for reading in (store.read(NOWHERE), store.head(NOWHERE), store.checkpoint(NOWHERE)):
        with pytest.raises(UnknownRun) as refused:
            await reading
        assert refused.value.run_id == NOWHERE


async def _returns_by_itself(waiting: Awaitable[None]) -> None:
    """The wait is for longer than the deadline: it must have been woken."""
    async with asyncio.timeout(DEADLINE):
        await waiting


async def test_wait_returns_at_once_when_there_is_something_to_read(store: Store) -> None:
    run = await begin_run(store)
    await _returns_by_itself(store.wait(run, 0, 100))
    await store.append(run, entries("end"), close=True)
    await _returns_by_itself(store.wait(run, 2, 100))


async def test_wait_is_woken_by_an_append_of_another_process(store: Store, other: Store) -> None:
    run = await begin_run(store)
    for seq in range(1, 6):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_returns_by_itself(other.wait(run, seq, 100)))
            await asyncio.sleep(0)
            await store.append(run, entries("x"))


async def test_wait_is_woken_by_a_close_without_entries(store: Store, other: Store) -> None:
    run = await begin_run(store)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_returns_by_itself(other.wait(run, 1, 100)))
        await asyncio.sleep(0)
        await store.append(run, [], close=True)


async def test_wait_returns_after_its_timeout(store: Store) -> None:
    run = await begin_run(store)
    await _returns_by_itself(store.wait(run, 1, 0.01))
    await _returns_by_itself(store.wait(run, 1, 0))


async def test_an_abandoned_wait_disturbs_no_other(store: Store) -> None:
    run = await begin_run(store)
    async with asyncio.TaskGroup() as tasks:
        abandoned = tasks.create_task(store.wait(run, 1, 100))
        tasks.create_task(_returns_by_itself(store.wait(run, 1, 100)))
        await asyncio.sleep(0)
        abandoned.cancel()
        await store.append(run, entries("x"))


async def _collect(store: Store, run: str, after: int = 0, limit: int = 1000) -> list[Page]:
    async with asyncio.timeout(DEADLINE):
        return [page async for page in follow(store, run, after, limit=limit)]


def _joined(pages: list[Page]) -> list[Entry]:
    return [found for page in pages for found in page.entries]


@pytest.mark.parametrize("after", [0, 1, 7])
async def test_follow_yields_exactly_the_sequence_while_others_write(
    store: Store, other: Store, after: int
) -> None:
    """G1: in order, none twice, none missing, on any replica."""
    run = await begin_run(store)
    lease = await must_claim(store)

    async def write(through: Store, name: str) -> None:
        for i in range(30):
            await through.append(run, entries(f"{name}{i}"))

    async with asyncio.TaskGroup() as tasks:
        here = tasks.create_task(_collect(store, run, after, limit=3))
        there = tasks.create_task(_collect(other, run, after))
        async with asyncio.TaskGroup() as writers:
            writers.create_task(write(store, "a"))
            writers.create_task(write(other, "b"))
        await store.append(run, entries("end"), fence=lease.generation, close=True)
    everything = list((await store.read(run)).entries)
    assert len(everything) == 62
    for pages in (here.result(), there.result()):
        assert _joined(pages) == everything[after:]
        assert pages[-1].closed
        assert pages[-1].last == 62
        assert next(page.first for page in pages if page.entries) == after + 1


async def test_follow_of_an_ended_run_that_is_read_says_only_that_it_is_closed(store: Store) -> None:
    run = await begin_run(store)
    await store.append(run, entries("end"), close=True)
    (page,) = await _collect(store, run, 2)
    assert (page.entries, page.closed, page.last) == ((), True, 2)
