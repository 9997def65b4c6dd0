"""Streams that own their connection, byte by byte: what the server no longer does for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from jackline.sse import Decoder, ServerSentEvent
from tests.support.processes import HOST
from tests.web.harness import API, Worker, data_of, eventually
from tests.web.test_server import Served, chat, serving, unchunked

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Callable[[], object]]]:
    """Transports differ: the one that is shipped, and the one of Python."""
    factory: Callable[[], object] = request.param
    return "asyncio", {"loop_factory": factory}


@dataclass(kw_only=True)
class Line:
    """A connection, and the run that is watched on it."""

    served: Served
    worker: Worker
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return f"{API}/runs/{self.worker.run_id}/events"

    def get(self, path: str, *, version: str = "1.1", header: str = "") -> None:
        """Send a request, whatever is under way."""
        self.writer.write(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n{header}\r\n".encode())

    async def until(self, text: str) -> bytes:
        return await self.reader.readuntil(text.encode())

    async def ended(self) -> None:
        """To the end of a stream, and of the body."""
        assert b"event: end\n" in await self.until("0\r\n\r\n")

    async def whole(self) -> list[ServerSentEvent]:
        """The next response's body in chunks, as events."""
        return Decoder().feed(unchunked(await self.until("0\r\n\r\n")))


@asynccontextmanager
async def line(**values: Any) -> AsyncGenerator[Line]:
    async with serving(**values) as served:
        run_id = await chat(served)
        reader, writer = await asyncio.open_connection(HOST, served.port, limit=1 << 24)
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        try:
            yield Line(served=served, worker=worker, reader=reader, writer=writer)
        finally:
            writer.close()


async def test_a_whole_run_is_seen_live_and_the_connection_is_free_again() -> None:
    """G1, G9."""
    async with line() as here:
        here.get(here.path)
        head = await here.until("\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" not in head.lower()
        for text in "abc":
            await here.worker.say(text)
            await here.until(f'"text":"{text}"')
        await here.worker.complete()
        await here.ended()
        assert here.served.tails.viewers == 0
        here.get(f"{here.path}?after=0")
        again = await here.whole()
        assert [event.event for event in again[:2]] == ["ready", "workflow"]
        assert again[-1].event == "end"


async def test_a_request_sent_during_a_stream_is_answered_after_it() -> None:
    """RFC 9112, section 9.3.2: responses come in the order of their requests."""
    async with line() as here:
        here.get(here.path)
        await here.until("\r\n\r\n")
        here.get("/healthz")
        await here.worker.complete()
        await here.ended()
        assert (await here.until("\r\n")).startswith(b"HTTP/1.1 200")


async def test_who_sends_without_end_during_a_stream_is_cut_off() -> None:
    """G12: nothing that a client sends is gathered without bound."""
    async with line() as here:
        here.get(here.path)
        await here.until("\r\n\r\n")
        here.writer.write(b"x" * 1_000_000)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await here.until("never")
        await eventually(lambda: here.served.tails.viewers == 0)


async def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_of_the_connection() -> None:
    """RFC 9112, section 6.1: a server must not send chunks to a client that does not know them."""
    async with line() as here:
        here.get(here.path, version="1.0")
        head = (await here.until("\r\n\r\n")).lower()
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        await here.worker.say("a")
        await here.worker.complete()
        events = Decoder().feed(await here.reader.read())
        assert [data_of(event)["text"] for event in events if event.event == "token"] == ["a"]
        assert events[-1].event == "end"


async def test_who_asks_for_it_gets_the_end_of_the_connection() -> None:
    async with line() as here:
        here.get(here.path, header="Connection: close\r\n")
        assert b"connection: close" in (await here.until("\r\n\r\n")).lower()
        await here.worker.complete()
        rest = await here.reader.read()
        assert rest.endswith(b"0\r\n\r\n")


async def test_a_client_that_closes_its_half_is_let_go() -> None:
    """G10."""
    async with line() as here:
        here.get(here.path)
        await here.until("event: ready")
        here.writer.write_eof()
        await eventually(lambda: here.served.tails.viewers == 0)


async def test_heartbeats_come_on_a_silent_run() -> None:
    """G9."""
    async with line(heartbeat=0.05) as here:
        here.get(here.path)
        for _ in range(3):
            await here.until("event: heartbeat")


async def test_a_drain_ends_the_stream_and_does_not_keep_the_connection() -> None:
    """G9: `shutdown` is the last frame."""
    async with line() as here:
        here.get(here.path)
        await here.until("event: workflow\n")
        here.served.stop.set()
        rest = await here.reader.read()
        assert rest.endswith(b"0\r\n\r\n")
        assert b"event: shutdown" in rest
        assert await here.served.task is None


async def test_a_viewer_that_reads_nothing_does_not_hold_the_end_of_the_server() -> None:
    """G10: it is cut off when the time to drain is over."""
    async with line(drain=1) as here:
        here.writer.transport.pause_reading()  # type: ignore[attr-defined]
        here.get(f"{here.path}?compact=0")
        await eventually(lambda: here.served.tails.viewers == 1)
        await here.worker.say(*["x" * 60_000] * 200)
        here.served.stop.set()
        assert await here.served.task is None


async def test_with_a_tick_news_of_a_while_leave_together() -> None:
    """G1: the same entries, in fewer writes; the first one waits for the tick too."""
    async with line() as here:
        here.get(f"{here.path}?compact=0&tick=1000")
        await here.until("event: workflow\n")
        await here.until("event: workflow\n")
        await here.until("\r\n")
        for text in "abcdef":
            await here.worker.say(text)
        size = int(await here.until("\r\n"), 16)
        together = Decoder().feed(await here.reader.readexactly(size))
        assert [data_of(event)["text"] for event in together] == list("abcdef")


@pytest.mark.parametrize("tick", ["-1", "1001", "x", "1.5", ""])
async def test_a_tick_that_is_none_is_told(tick: str) -> None:
    async with line() as here:
        here.get(f"{here.path}?tick={tick}")
        assert (await here.until("\r\n")).startswith(b"HTTP/1.1 422")
        assert b"milliseconds" in await here.until("}")


async def test_requests_that_arrive_together_are_answered_one_after_the_other() -> None:
    """RFC 9112, section 9.3.2: what came with the stream's own request is neither lost nor in its way."""
    async with line() as here:
        here.get(here.path)
        here.get("/healthz")
        await here.until("event: ready")
        await here.worker.say("a")
        await here.until('"text":"a"')
        await here.worker.complete()
        await here.ended()
        assert (await here.until("\r\n")).startswith(b"HTTP/1.1 200")


async def test_the_beginning_of_the_next_request_is_not_lost() -> None:
    """RFC 9112, section 9.3.2: its rest comes during the stream."""
    async with line() as here:
        request = f"GET {here.path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"
        here.writer.write(request.encode())
        await here.until("event: ready")
        here.writer.write(b"lthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await here.worker.complete()
        await here.ended()
        assert (await here.until("\r\n")).startswith(b"HTTP/1.1 200")


async def test_the_body_of_a_streams_request_is_never_taken_for_another_request() -> None:
    """G12: behind a proxy that would be somebody else's request (RFC 9112, section 11.2)."""
    async with line() as here:
        inner = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        here.get(here.path, header=f"Content-Length: {len(inner)}\r\n")
        await here.until("event: ready")
        here.writer.write(inner)
        await here.worker.complete()
        await here.ended()
        here.get("/no-such-page")
        assert (await here.until("\r\n")).startswith(b"HTTP/1.1 404")
