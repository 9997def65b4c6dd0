"""The feed, as every client follows it: each entry once, in as many connections as it takes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from jackline.client import (
    Client,
    Entry,
    Feed,
    FeedFrame,
    FeedGap,
    FeedHeartbeat,
    FeedReady,
    ProtocolViolation,
    Refused,
    Shutdown,
)
from jackline.sse import encode
from tests.client.conftest import FAST, Connect, Kind
from tests.client.server import Answer, Connection, Request, Server, problem, reply, shutdown, stream

pytestmark = pytest.mark.anyio

FEED = "/api/v1/agent/feed"
TS = "2026-11-22T12:00:00.000Z"


def opened(cursor: str, newest: str = "") -> bytes:
    data = {"cursor": cursor, "newest": newest or cursor, "protocol": "jackline/1"}
    return encode(event="ready", data=json.dumps(data))


def members(run: int, seq: int, ts: str = TS) -> dict[str, Any]:
    return {"run_id": f"conv000{run}.1", "seq": seq, "ts": ts, "state": "executing", "attempt": 1}


def news(cursor: str, run: int, seq: int, *, ts: str = TS, event: str = "workflow") -> bytes:
    return encode(event=event, data=json.dumps(members(run, seq, ts)), id=cursor)


def beat(cursor: str | None = None, ts: str = TS) -> bytes:
    data = {"ts": ts} if cursor is None else {"ts": ts, "cursor": cursor}
    return encode(event="heartbeat", data=json.dumps(data))


def missed(cursor: str, to: str) -> bytes:
    return encode(event="gap", data=json.dumps({"from": cursor, "to": to}), id=to)


async def take(feed: Feed, count: int) -> list[FeedFrame]:
    """The next `count` frames."""
    with anyio.fail_after(60):
        return [await anext(feed) for _ in range(count)]


async def entries(feed: Feed, count: int) -> list[tuple[str, int]]:
    """Run and seq of the next `count` entries."""
    found: list[tuple[str, int]] = []
    with anyio.fail_after(60):
        while len(found) < count:
            frame = await anext(feed)
            if isinstance(frame, Entry):
                found.append((frame.data["run_id"], frame.seq))
    return found


@pytest.fixture(params=["fetch", "eventsource"])
async def client(
    request: pytest.FixtureRequest, kind: Kind, server: Server, connect: Connect
) -> AsyncIterator[Client]:
    """Every client, by every way that it has."""
    async with connect(server.url) as made:
        if kind != "python":
            cast("Any", made).via = request.param
        yield made


async def test_it_begins_where_it_is_told(server: Server, client: Client) -> None:
    for after, wanted in ((None, None), ("now", "now"), ("x-7", "x-7")):
        server.answer(stream(opened("x-7"), news("x-8", 1, 3)))
        feed = client.feed(after)
        ready, entry = await take(feed, 2)
        assert isinstance(ready, FeedReady)
        assert isinstance(entry, Entry)
        assert (entry.type, entry.seq, entry.id, entry.data["run_id"]) == ("workflow", 3, "x-8", "conv0001.1")
        assert (feed.cursor, feed.phase) == ("x-8", "live")
        assert server.requests[0].path == FEED
        assert server.requests[0].query.get("after") == wanted
        await feed.aclose()


async def test_what_comes_after_a_cut_is_new(server: Server, client: Client) -> None:
    server.answer(
        stream(opened("x-0", "x-2"), news("x-1", 1, 1), news("x-2", 2, 1), then="eof"),
        stream(opened("x-2"), news("x-2", 2, 1), news("x-2", 2, 2), news("x-3", 2, 3), then="eof"),
        stream(opened("x-3"), news("x-4", 1, 2)),
    )
    feed = client.feed()
    wanted = [("conv0001.1", 1), ("conv0002.1", 1), ("conv0002.1", 2), ("conv0002.1", 3), ("conv0001.1", 2)]
    assert await entries(feed, 5) == wanted
    assert [request.query.get("after") for request in server.requests] == [None, "x-2", "x-3"]
    await feed.aclose()


async def test_who_asked_for_what_is_new_misses_nothing_before_the_first_entry(
    server: Server, client: Client
) -> None:
    server.answer(stream(opened("x-7"), then="eof"), stream(opened("x-7"), news("x-8", 1, 1)))
    feed = client.feed("now")
    assert await entries(feed, 1) == [("conv0001.1", 1)]
    assert [request.query.get("after") for request in server.requests] == ["now", "x-7"]
    await feed.aclose()


async def test_a_heartbeat_moves_the_cursor_on(server: Server, client: Client) -> None:
    server.answer(stream(opened("x-1"), beat("x-9"), beat(), then="eof"), stream(opened("x-9")))
    feed = client.feed("x-1")
    _, first, second, _ = await take(feed, 4)
    assert isinstance(first, FeedHeartbeat)
    assert isinstance(second, FeedHeartbeat)
    assert (first.cursor, second.cursor) == ("x-9", None)
    assert server.requests[1].query["after"] == "x-9"
    await feed.aclose()


async def test_a_gap_is_handed_out_and_it_goes_on_behind_it(server: Server, client: Client) -> None:
    server.answer(
        stream(opened("x-50"), missed("x-1", "x-50"), then="eof"), stream(opened("x-50"), news("x-51", 1, 9))
    )
    feed = client.feed("x-1")
    gap = (await take(feed, 2))[1]
    assert isinstance(gap, FeedGap)
    assert gap.cursor == feed.cursor == "x-50"
    assert await entries(feed, 1) == [("conv0001.1", 9)]
    assert server.requests[1].query["after"] == "x-50"
    await feed.aclose()


async def test_a_log_that_counts_anew_is_not_taken_for_a_repetition(server: Server, client: Client) -> None:
    later = "2026-11-22T12:00:09.000Z"
    server.answer(stream(opened("x-0"), news("x-1", 1, 5), news("x-2", 1, 5, ts=later), news("x-3", 1, 5)))
    feed = client.feed()
    assert await entries(feed, 2) == [("conv0001.1", 5)] * 2
    await feed.aclose()


async def test_a_server_that_goes_is_come_back_to(server: Server, client: Client) -> None:
    """G9"""
    server.answer(stream(opened("x-0"), shutdown(1), then="eof"), stream(opened("x-0"), news("x-1", 1, 1)))
    feed = client.feed()
    assert isinstance((await take(feed, 2))[1], Shutdown)
    assert await entries(feed, 1) == [("conv0001.1", 1)]
    assert feed.phase == "live"
    await feed.aclose()


async def test_a_cursor_of_another_store_ends_it(server: Server, client: Client) -> None:
    """G11"""
    server.answer(problem(400, detail="this is no cursor of this feed"))
    with pytest.raises(Refused, match="no cursor of this feed"):
        await take(client.feed("y-1"), 1)


async def test_a_frame_that_lacks_what_it_must_have_is_no_jacklines(server: Server, client: Client) -> None:
    server.answer(stream(opened("x-0"), encode(event="workflow", data='{"seq":1}', id="x-1")))
    with pytest.raises(ProtocolViolation):
        await take(client.feed(), 2)


async def test_a_frame_of_a_later_version_is_passed_over(server: Server, client: Client) -> None:
    later = encode(event="weather", data='{"sky":"blue"}')
    server.answer(stream(opened("x-0"), news("x-1", 1, 1), later, news("x-1", 1, 2), news("x-3", 1, 3)))
    feed = client.feed()
    assert await entries(feed, 3) == [("conv0001.1", 1), ("conv0001.1", 2), ("conv0001.1", 3)]
    await feed.aclose()


async def test_where_streams_are_held_back_it_is_polled(server: Server, connect: Connect) -> None:
    def page(*items: tuple[str, int, int], **more: object) -> Answer:
        listed = [{"id": at, "type": "approval", "data": members(run, seq)} for at, run, seq in items]
        return reply({"entries": listed, "next": "x-9", **more})

    pages = [
        page(("x-1", 1, 1), ("x-1", 1, 2), ("x-2", 2, 1)),
        page(heartbeat={"ts": TS, "cursor": "x-9"}),
        page(("x-12", 1, 3), gap={"from": "x-9", "to": "x-11"}),
    ]
    polls: list[str | None] = []

    async def only_polls(request: Request, connection: Connection) -> None:
        if request.query.get("poll") == "1" and pages:
            polls.append(request.query.get("after"))
            await pages.pop(0)(request, connection)
        else:
            await connection.until_gone()

    server.answer(only_polls)
    async with connect(server.url, pace=replace(FAST, ready_s=0.05)) as polling:
        feed = polling.feed("x-0")
        wanted = [("conv0001.1", 1), ("conv0001.1", 2), ("conv0002.1", 1), ("conv0001.1", 3)]
        assert await entries(feed, 4) == wanted
        await feed.aclose()
    assert polls == ["x-0", "x-2", "x-9"]
