"""Listeners: hints that carry what was appended, where the store can."""

from __future__ import annotations

import asyncio

import pytest

from jackline.errors import UnknownRun
from jackline.events import Entry
from jackline.ids import conversation_of
from jackline.log.base import News, Store
from tests.contract.helpers import begin_run, entries, entry, until

pytestmark = pytest.mark.anyio


class Reader:
    """Knows a run by what it hears, and reads where it is told to."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.known: list[Entry] = []
        self.closed = False
        self.gone = False
        self.carried = 0
        self._store = store
        self._run_id = run_id
        self._poke = asyncio.Event()

    def hear(self, news: News | None) -> None:
        if news is None or news.first > len(self.known) + 1:
            self._poke.set()
            return
        fresh = news.entries[max(0, len(self.known) + 1 - news.first) :]
        self.carried += len(fresh)
        self.known += fresh
        if news.closed:
            self.closed = True
            self._poke.set()

    async def follow(self) -> None:
        with self._store.listen(self._run_id, self.hear):
            while not (self.closed or self.gone):
                self._poke.clear()
                try:
                    page = await self._store.read(self._run_id, len(self.known))
                except UnknownRun:
                    self.gone = True
                    return
                first = page.first
                if first == len(self.known) + 1:
                    self.known += page.entries
                    self.closed = page.closed
                if not self.closed:
                    await self._poke.wait()


async def test_who_listens_knows_all_without_asking_again(store: Store, other: Store) -> None:
    """G1: in this process and in another, whoever appends; no hint is needed but those of the store."""
    run = await begin_run(store)
    readers = Reader(store, run), Reader(other, run)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.follow())
        for number in range(40):
            writer = (store, other)[number % 3 == 0]
            await writer.append(run, entries(*(f"{number}.{part}" for part in range(1 + number % 4))))
            if number % 10 == 0:  # what came before a subscription stands is only in the log
                await until(lambda number=number: all_know(readers, f"{number}."))
        await asyncio.gather(*(store.append(run, [entry(f"at once {part}")]) for part in range(30)))
        await store.append(run, entries("last"), close=True)
    whole = list((await store.read(run)).entries)
    assert [reader.known for reader in readers] == [whole, whole]


async def all_know(readers: tuple[Reader, ...], text: str) -> bool:
    return all(any(text.encode() in entry.body for entry in reader.known) for reader in readers)


async def test_who_listens_is_told_of_an_end_and_of_a_deletion(store: Store, other: Store) -> None:
    run = await begin_run(store)
    reader = Reader(other, run)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(reader.follow())
        await store.append(run, [], close=True)
    assert reader.closed
    heard = asyncio.Event()
    with other.listen(run, lambda _: heard.set()):
        await other.wait(run, 1, 0.01)
        heard.clear()
        await store.delete(conversation_of(run))
        async with asyncio.timeout(60):
            await heard.wait()


async def test_nothing_is_told_after_the_end_of_listening_nor_of_another_run(store: Store) -> None:
    run, another = await begin_run(store), await begin_run(store)
    heard: list[News | None] = []
    told = asyncio.Event()
    with store.listen(run, heard.append):
        pass
    with store.listen(another, lambda _: told.set()):
        told.clear()
        await store.append(run, entries("x"))
        await store.append(another, entries("y"))
        async with asyncio.timeout(60):
            await told.wait()
    assert all(news is None or not news.entries for news in heard)
