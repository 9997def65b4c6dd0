"""A store that is nearly full takes no new runs, and everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackline.commands import Commands
from jackline.errors import StoreFull
from jackline.events import Message
from jackline.log.memory import MemoryStore
from jackline.log.sqlite import SqliteStore
from jackline.pressure import FRESH_SECONDS, Pressure

pytestmark = pytest.mark.anyio

HI = [Message(role="user", content="hi")]


class Narrow(MemoryStore):
    """A store as full as the test says."""

    used: float | None = 0.5
    looks = 0

    async def fullness(self) -> float | None:
        self.looks += 1
        return self.used


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pressed(store: Narrow, watch: Watch, limit: float | None = 0.8) -> Commands:
    return Commands(store, Pressure(store, limit, clock=watch))


async def test_above_the_limit_no_run_starts_and_the_error_says_what_to_do() -> None:
    """G8, G11."""
    store, watch = Narrow(), Watch()
    commands = pressed(store, watch)
    running = await commands.start(by="local", agent="a", messages=HI)
    store.used, watch.now = 0.8, FRESH_SECONDS
    for more in ({}, {"conversation_id": running.conversation_id, "on_busy": "queue"}, {"key": "k"}):
        with pytest.raises(StoreFull, match=r"80% full.*delete finished conversations"):
            await commands.start(by="local", agent="a", messages=HI, **more)  # pyright: ignore[reportArgumentType]
    assert len((await store.runs())[0]) == 1
    assert (await commands.stop(running.run_id, by="local")).state == "stopping"
    store.used, watch.now = 0.79, 2 * FRESH_SECONDS
    await commands.start(by="local", agent="a", messages=HI, key="k")


async def test_a_start_that_was_made_already_is_answered_all_the_same() -> None:
    """A retry must learn of its run: it runs."""
    store, watch = Narrow(), Watch()
    commands = pressed(store, watch)
    first = await commands.start(by="local", agent="a", messages=HI, key="k", digest="d")
    store.used, watch.now = 0.99, FRESH_SECONDS
    again = await commands.start(by="local", agent="a", messages=HI, key="k", digest="d")
    assert (again.run_id, again.repeated) == (first.run_id, True)


@pytest.mark.parametrize(("used", "limit"), [(None, 0.8), (2.0, None)])
async def test_without_a_limit_runs_start(used: float | None, limit: float | None) -> None:
    store = Narrow()
    store.used = used
    await pressed(store, Watch(), limit).start(by="local", agent="a", messages=HI)


async def test_the_store_is_asked_once_a_second_at_most() -> None:
    store, watch = Narrow(), Watch()
    commands = pressed(store, watch)
    for _ in range(10):
        await commands.start(by="local", agent="a", messages=HI)
    assert store.looks == 1
    watch.now = FRESH_SECONDS
    await commands.start(by="local", agent="a", messages=HI)
    assert store.looks == 2


async def test_sqlite_is_full_when_its_disk_is(tmp_path: Path) -> None:
    for reserve, full in ((0, False), (1 << 60, True)):
        store = await SqliteStore.open(tmp_path, disk_reserve=reserve)
        try:
            assert await Pressure(store, 0.999).full() == full
        finally:
            await store.aclose()
