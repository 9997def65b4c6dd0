"""Requests that share a transaction: what one does is its own."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jackline.log.sqlite_lane import Lane
from jackline.log.sqlite_schema import connect, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jackline.log.sqlite_lane import Changed, Step

pytestmark = pytest.mark.anyio


def note(key: str, *, refused: bool = False) -> Callable[[Step], str]:
    """A request that writes, and then is refused or not."""

    def call(step: Step) -> str:
        step.sql.execute("INSERT INTO meta (key, value) VALUES (?, 'x')", (key,))
        step.changed.add(key)
        if refused:
            raise LookupError(key)
        return key

    return call


async def test_a_request_that_is_refused_after_writing_takes_back_only_what_is_its_own(
    tmp_path: Path,
) -> None:
    """Whatever shares its transaction is done, once, and told to those who wait for it."""
    path = prepare(tmp_path)
    told: list[set[str]] = []

    def committed(_: sqlite3.Connection, changed: Changed) -> None:
        told.append(set(changed.runs))

    lane = Lane(connect(path, "NORMAL"), path, begin="BEGIN IMMEDIATE", clock=time.time, committed=committed)
    gathered = threading.Event()
    try:
        first = lane.submit(lambda _: gathered.wait())
        answers = [lane.submit(note("a")), lane.submit(note("b", refused=True)), lane.submit(note("c"))]
        twice = lane.submit(note("a"))
        gathered.set()
        assert await first
        assert [await answers[0], await answers[2]] == ["a", "c"]
        with pytest.raises(LookupError):
            await answers[1]
        with pytest.raises(Exception, match="UNIQUE"):
            await twice
    finally:
        lane.close()
        lane.join()
    assert told == [{"a", "c"}]
    with sqlite3.connect(path) as sql:
        rows = sql.execute("SELECT key FROM meta WHERE value = 'x' ORDER BY key").fetchall()
    sql.close()
    assert rows == [("a",), ("c",)]


async def test_others_are_told_before_the_answer_is_there(tmp_path: Path) -> None:
    """A reader elsewhere must not wait until the writer's own loop has gone on."""
    path = prepare(tmp_path)
    order: list[str] = []

    def committed(_: sqlite3.Connection, __: Changed) -> None:
        order.append("told")

    lane = Lane(connect(path, "NORMAL"), path, begin="BEGIN IMMEDIATE", clock=time.time, committed=committed)
    try:
        await lane.submit(note("a"))
        order.append("answered")
    finally:
        lane.close()
        lane.join()
    assert order == ["told", "answered"]
