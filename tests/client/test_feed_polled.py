"""The feed by polling: it begins as a stream does, and at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jackline.client import Entry, FeedGap, FeedHeartbeat, FeedReady
from tests.client.conftest import FAST, Connect
from tests.client.server import Answer, Connection, Request, Server, problem, reply, silence
from tests.client.test_feed import TS, members, take

pytestmark = pytest.mark.anyio

HELD_BACK = replace(FAST, ready_s=0.05)


def page(following: str, *items: tuple[str, int, int], **more: object) -> Answer:
    listed = [{"id": at, "type": "workflow", "data": members(run, seq)} for at, run, seq in items]
    return reply({"entries": listed, "next": following, **more})


def beaten(cursor: str) -> Answer:
    return page(cursor, heartbeat={"ts": TS, "cursor": cursor})


def held_back(*answers: Answer) -> Answer:
    """Pages have these answers, and streams none: a client may have given one up before it has come here."""
    left = list(answers)

    async def answer(request: Request, connection: Connection) -> None:
        if request.headers["accept"] == "application/json" and left:
            await left.pop(0)(request, connection)
        else:
            await silence(request, connection)

    return answer


def asked(server: Server) -> list[tuple[str | None, str | None]]:
    """Where the requests for pages begin, and whether they wait."""
    pages = [request for request in server.requests if request.headers["accept"] == "application/json"]
    return [(request.query.get("after"), request.query.get("poll")) for request in pages]


async def test_from_now_on_it_is_ready_at_once(server: Server, connect: Connect) -> None:
    """G1: a list that waits for it is read before anything happens, and nothing after it is missed."""
    server.answer(held_back(page("x-7"), problem(503), beaten("x-8"), page("x-9", ("x-9", 1, 1))))
    async with connect(server.url, pace=HELD_BACK) as client, client.feed("now") as feed:
        ready = (await take(feed, 1))[0]
        assert isinstance(ready, FeedReady)
        assert (ready.cursor, feed.cursor) == ("x-7", "x-7")
        assert asked(server) == [("now", None)]
        beat, entry = await take(feed, 2)
    assert isinstance(beat, FeedHeartbeat)
    assert isinstance(entry, Entry)
    assert asked(server)[:4] == [("now", None), ("x-7", "1"), ("x-7", "1"), ("x-8", "1")]


async def test_what_comes_between_now_and_its_answer_is_in_the_list(server: Server, connect: Connect) -> None:
    server.answer(held_back(page("x-8", ("x-8", 1, 1)), page("x-9", ("x-9", 1, 2))))
    async with connect(server.url, pace=HELD_BACK) as client, client.feed("now") as feed:
        ready, entry = await take(feed, 2)
    assert isinstance(ready, FeedReady)
    assert ready.cursor == "x-8"
    assert isinstance(entry, Entry)
    assert entry.seq == 2


@pytest.mark.parametrize("begin", ["x-1", None])
async def test_from_a_cursor_on_it_is_ready_before_its_first_entries(
    server: Server, connect: Connect, begin: str | None
) -> None:
    """G1: who keeps the cursor of the beginning must not skip what follows it."""
    first = page("x-6", ("x-5", 1, 1), ("x-6", 1, 2), gap={"from": "x-1", "to": "x-4"})
    server.answer(held_back(first, beaten("x-7")))
    seen: list[Any] = []
    async with connect(server.url, pace=HELD_BACK) as client, client.feed(begin) as feed:
        for _ in range(5):
            frame = (await take(feed, 1))[0]
            seen.append((type(frame), feed.cursor))
    assert seen == [
        (FeedReady, begin or ""),
        (FeedGap, "x-4"),
        (Entry, "x-5"),
        (Entry, "x-6"),
        (FeedHeartbeat, "x-7"),
    ]
