"""What only jackline.js has; what it shares with the Python client is in the other files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import anyio
import pytest

from jackline.client import Client, Entry, Refused
from jackline.sse import encode
from tests.client.conftest import FAST, Connect, Kind
from tests.client.javascript import JsClient, JsFollow, PageDriver, SleepyClock
from tests.client.server import (
    RUN,
    Connection,
    Request,
    Server,
    end,
    heartbeat,
    no_content,
    problem,
    ready,
    shutdown,
    stream,
    token,
    workflow,
)
from tests.client.test_follow import honest
from tests.unit.test_sse import VECTORS, expected

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["node", "chromium"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def js(connect: Connect) -> Any:
    """As `connect`, by its own type."""

    @asynccontextmanager
    async def made(*args: Any, **options: Any) -> AsyncGenerator[JsClient]:
        opened: AbstractAsyncContextManager[Client] = connect(*args, **options)
        async with opened as client:
            yield cast("JsClient", client)

    return made


async def seqs_of(follow: JsFollow) -> list[int]:
    with anyio.fail_after(60):
        return [frame.seq async for frame in follow if isinstance(frame, Entry)]


async def test_it_decodes_as_the_python_client_does_whole_and_byte_by_byte(server: Server, js: Any) -> None:
    def bytewise(data: bytes) -> list[str]:
        return [data[at : at + 1].hex() for at in range(len(data))]

    def halves(data: bytes) -> list[str]:
        edges = [0, len(data) // 2, len(data)]
        return [data[start:stop].hex() for start, stop in pairwise(edges)]

    def whole(data: bytes) -> list[str]:
        return [data.hex()]

    wanted = [
        [[list(event) for event in events], cursor, retry]
        for events, cursor, retry in map(expected, VECTORS.values())
    ]
    async with js(server.url) as client:
        for cut in (bytewise, halves, whole):
            streams = [cut(vector.stream) for vector in VECTORS.values()]
            assert await client.driver.run("decode", streams=streams) == wanted


async def test_it_waits_as_the_server_asks_and_half_as_long_again_by_chance(server: Server, js: Any) -> None:
    """G9's other side: `retry:`, `Retry-After` and `retry_ms`, and never the same moment for all."""
    server.answer(
        stream(ready(), encode(event="token", data='{"run_id":"r","seq":1}', id="1", retry=3000), then="cut"),
        problem(503, {"Retry-After": "7"}),
        stream(ready(1), shutdown(9000), then="eof"),
        stream(ready(1), end(1)),
    )
    async with js(server.url, chance=1.0) as client:
        client.hurry = True
        follow = client.follow(RUN)
        assert await seqs_of(follow) == [1]
    assert [retry for _, _, retry in follow.states if retry] == pytest.approx([4500, 10500, 13500], abs=1)


async def test_what_was_written_before_is_told_apart_from_what_is_new(server: Server, js: Any) -> None:
    server.answer(
        stream(ready(newest=2), token(1), token(2), token(3), then="cut"),
        stream(ready(3, newest=4), token(4), workflow(5, "completed"), end(5)),
    )
    async with js(server.url) as client:
        follow = client.follow(RUN)
        assert await seqs_of(follow) == [1, 2, 3, 4, 5]
    phases = [phase for phase, _, _ in follow.states]
    assert phases == ["catching-up", "live", "reconnecting", "catching-up", "live", "ended"]
    assert follow.state == "completed"


async def test_the_learned_heartbeat_can_be_read(server: Server, js: Any) -> None:
    """G9: a page that judges silence by itself knows as much as the watchdog, and not more."""
    ticks = [f"2026-11-22T12:00:{second:02}.000Z" for second in (0, 7, 10)]
    server.answer(stream(ready(), *map(heartbeat, ticks), end(0)))
    async with js(server.url) as client:
        follow = client.follow(RUN)
        with anyio.fail_after(60):
            learned = [follow.heartbeat_ms async for _ in follow]
    assert learned == [None, None, 7000, 7000, 7000]


async def test_an_aborted_follow_ends_with_the_signals_reason(server: Server, js: Any) -> None:
    """G2: the connection is gone, and nothing else."""
    gone = anyio.Event()

    async def watched(request: Any, connection: Any) -> None:
        await stream(ready(), token(1))(request, connection)
        gone.set()

    server.answer(watched)
    async with js(server.url) as client:
        follow = client.follow(RUN)
        await anext(follow)
        await anext(follow)
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(AssertionError, match="enough"):
                    await anext(follow)

            group.start_soon(wait)
            await follow.abort("enough")
        with anyio.fail_after(60):
            await gone.wait()
    assert follow.phase == "ended"


@pytest.mark.parametrize("cuts", [[1, 2, 300], [90, 400, 700, 1000], [250] * 6])
async def test_cuts_anywhere_leave_one_sequence(server: Server, js: Any, cuts: list[int]) -> None:
    """G1: whatever the cuts, each entry once, in order."""
    server.answer(honest(cuts))
    async with js(server.url) as client:
        assert await seqs_of(client.follow(RUN)) == list(range(1, 9))


async def test_an_answer_may_take_longer_than_silence_may(server: Server, js: Any) -> None:
    """A large artifact over a slow line: 80 s altogether, never more than 20 s without a part of it."""
    clock = SleepyClock()
    client: JsClient

    async def trickle(_: Request, connection: Connection) -> None:
        await connection.open_stream(**{"Content-Type": "application/octet-stream"})
        for part in range(1, 5):
            await connection.frames(b"slow")
            await connection.until_received()
            await client.driver.run("clock", now=(clock.now + 20 * part) * 1000)
            await client.call("wake")  # it looks at the clock
        await connection.end_stream()

    server.answer(trickle)
    async with js(server.url, clock=clock) as client:
        server.received = lambda number: client.driver.run("received", number=number)
        with anyio.fail_after(60):
            artifact = await client.artifact(RUN, "a1")
    assert (artifact.media_type, artifact.data) == ("application/octet-stream", b"slow" * 4)
    assert len(server.requests) == 1


# -- over EventSource ----------------------------------------------------------------------------


async def test_eventsource_resumes_with_the_cursor_and_never_by_itself(server: Server, js: Any) -> None:
    """G1"""
    server.answer(
        stream(ready(), workflow(1, "queued"), heartbeat(), token(2), then="eof"),
        stream(ready(2), token(2), token(3), end(3), then="eof"),
    )
    async with js(server.url) as client:
        client.via = "eventsource"
        assert await seqs_of(client.follow(RUN)) == [1, 2, 3]
    assert [request.query.get("after") for request in server.requests] == [None, "2"]


async def test_eventsource_closed_for_good_is_explained_by_fetch(server: Server, js: Any) -> None:
    async with js(server.url) as client:
        client.via = "eventsource"
        server.answer(stream(ready(), token(1), then="eof"), no_content)
        assert await seqs_of(client.follow(RUN)) == [1]
        server.answer(problem(404, detail="no such run"))
        with pytest.raises(Refused, match="no such run"):
            await seqs_of(client.follow(RUN))


async def test_an_entry_that_eventsource_does_not_know_is_fetched(server: Server, js: Any) -> None:
    """G1: a type of a later version is no reason for a hole."""
    thought = encode(event="thought", id="1", data='{"run_id":"r","seq":1}')
    server.answer(stream(ready(), thought, token(2), end(2)))
    async with js(server.url) as client:
        client.via = "eventsource"
        assert await seqs_of(client.follow(RUN)) == [1, 2]


async def test_eventsource_cannot_send_a_token(server: Server, js: Any) -> None:
    async with js(server.url, "secret") as client:
        client.via = "eventsource"
        with pytest.raises(ValueError, match="token"):
            await seqs_of(client.follow(RUN))


# -- in a page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chromium"], indirect=True)
@pytest.mark.parametrize(
    "event", ["new Event('online')", "new PageTransitionEvent('pageshow', {persisted: true})"]
)
async def test_a_page_that_comes_back_reconnects_at_once(server: Server, js: Any, event: str) -> None:
    """G9: the old connection may be dead without a sign; nobody waits for the watchdog."""
    server.answer(stream(ready(), token(1)), stream(ready(1), token(2), end(2)))
    async with js(server.url, pace=replace(FAST, backoff_s=60, backoff_cap_s=60)) as client:
        follow = client.follow(RUN)
        await anext(follow)
        await anext(follow)
        page = cast("PageDriver", client.driver)
        await page.evaluate(f"void dispatchEvent({event})")
        assert await seqs_of(follow) == [2]
    assert [retry for phase, _, retry in follow.states if phase == "reconnecting"] == [0]
