"""Retention, compaction and the archive, by the store's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from jackline.commands import Commands
from jackline.errors import ArchiveFailed, UnknownRun
from jackline.events import Message
from jackline.ids import conversation_of
from jackline.keeping import FIRST_PAUSE, Keeper
from jackline.log.memory import MemoryStore
from tests.worker.house import Clock, until

pytestmark = pytest.mark.anyio

WEEK = 7 * 86400.0


class Shelf:
    """An archive that may refuse."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.refuses: set[str] = set()
        self.tries = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def keep(self, conversation_id: str, lines: AsyncIterator[bytes]) -> None:
        self.tries += 1
        await self.gate.wait()
        async for line in lines:
            assert line.endswith(b"\n")
        if conversation_id in self.refuses:
            raise ArchiveFailed("no room on the shelf")
        self.kept.append(conversation_id)


class Home:
    def __init__(self, **settings: float | None) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.commands = Commands(self.store)
        self.shelf = Shelf()
        self.settings = {"retention": WEEK, "compact_after": 3600.0} | settings

    def keeper(self, *, archive: bool = False) -> Keeper:
        return Keeper(
            self.store,
            retention=self.settings["retention"],
            compact_after=self.settings["compact_after"],
            archive=self.shelf if archive else None,
        )

    async def run(self, *, stopped: bool = True, conversation_id: str | None = None) -> str:
        messages = [Message(role="user", content="hi")]
        started = await self.commands.start(
            by="user:ana", agent="a", messages=messages, conversation_id=conversation_id
        )
        if stopped:
            await self.commands.stop(started.run_id, by="user:ana")
        return started.run_id


async def gone(home: Home, run: str) -> bool:
    try:
        await home.store.head(run)
    except UnknownRun:
        return True
    return False


async def test_a_conversation_is_deleted_a_week_after_its_last_ending() -> None:
    home = Home()
    run = await home.run()
    home.clock.ahead += WEEK - 60
    await home.run(conversation_id=conversation_of(run))
    keeper = home.keeper()
    home.clock.ahead += WEEK - 60
    assert await keeper.forget() == 0, "the later run counts"
    home.clock.ahead += 120
    assert await keeper.forget() == 1
    assert await gone(home, run)


async def test_an_unfinished_run_keeps_its_conversation_whatever_its_age() -> None:
    """A run that waits for a person may wait for days."""
    home = Home()
    run = await home.run()
    await home.run(stopped=False, conversation_id=conversation_of(run))
    home.clock.ahead += 10 * WEEK
    assert await home.keeper().forget() == 0
    assert not await gone(home, run)


async def test_without_retention_nothing_is_deleted_and_without_compaction_nothing_compacted() -> None:
    home = Home(retention=None, compact_after=None)
    run = await home.run()
    home.clock.ahead += 100 * WEEK
    assert (await home.keeper().forget(), await home.keeper().compact()) == (0, 0)
    assert not await gone(home, run)
    await home.keeper().run()  # has nothing to do, and ends


async def test_a_finished_run_is_compacted_after_an_hour() -> None:
    """G1: and reads the same."""
    home = Home()
    run = await home.run()
    whole = list((await home.store.read(run)).entries)
    assert await home.keeper().compact() == 0
    home.clock.ahead += 3601
    assert await home.keeper().compact() == 1
    assert await home.keeper().compact() == 0
    assert list((await home.store.read(run)).entries) == whole


async def test_it_is_archived_first_and_deleted_only_then() -> None:
    home = Home()
    run = await home.run()
    home.clock.ahead += WEEK + 1
    home.shelf.gate.clear()
    keeper = home.keeper(archive=True)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keeper.forget())
        await until(lambda: _true(home.shelf.tries == 1))
        assert not await gone(home, run)
        assert await home.keeper(archive=True).forget() == 0, "another keeper leaves it alone meanwhile"
        home.shelf.gate.set()
    assert keeping.result() == 1
    assert home.shelf.kept == [conversation_of(run)]
    assert await gone(home, run)


async def _true(value: bool) -> bool:
    return value


async def test_what_cannot_be_archived_stays_and_is_tried_again_later() -> None:
    home = Home()
    bad, good = await home.run(), await home.run()
    home.shelf.refuses = {conversation_of(bad)}
    home.clock.ahead += WEEK + 1
    keepers = [home.keeper(archive=True), home.keeper(archive=True)]
    with capture_logs() as logs:
        assert [await keeper.forget() for keeper in keepers] == [1, 0]
    assert [(log["event"], log["log_level"]) for log in logs] == [("archive_failed", "warning")]
    assert "no room on the shelf" in logs[0]["error"]
    assert home.shelf.tries == 2, "the other keeper does not try at once"
    assert (await gone(home, bad), await gone(home, good)) == (False, True)
    home.shelf.refuses = set()
    assert await keepers[0].forget() == 0, "nor does the first"
    home.clock.ahead += FIRST_PAUSE + 1
    assert await keepers[1].forget() == 1
    assert await gone(home, bad)


async def test_a_run_begun_while_the_archive_was_made_is_not_lost() -> None:
    home = Home()
    run = await home.run()
    home.clock.ahead += WEEK + 1
    home.shelf.gate.clear()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(home.keeper(archive=True).forget())
        await until(lambda: _true(home.shelf.tries == 1))
        second = await home.run(conversation_id=conversation_of(run))
        home.shelf.gate.set()
    assert keeping.result() == 0
    assert not await gone(home, second)


async def test_a_keeper_keeps_until_it_is_told_to_end() -> None:
    home = Home(retention=0.5, compact_after=0.5)
    run = await home.run()
    keeping = asyncio.create_task(home.keeper().run())
    try:
        await until(lambda: gone(home, run))
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
