"""Clients that are slow, broken or hostile: each is answered where it can be, and let go (G11, G12)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from jackline.settings import Settings
from jackline.web.care import PIPELINED
from tests.support.processes import HOST
from tests.web.harness import ANA, API, JSON, KEYS, Worker, eventually, message, running
from tests.web.test_server import Served, chat, serving

pytestmark = pytest.mark.anyio

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = 3600.0
"""Seconds that no test lasts: a deadline that is not meant."""


@pytest.fixture(
    params=[
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Callable[[], object]]]:
    factory: Callable[[], object] = request.param
    return "asyncio", {"loop_factory": factory}


class Line:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Whether or not anybody listens any more."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def rest(self) -> bytes:
        """All until the server ends the connection."""
        whole = bytearray()
        try:
            while data := await self.reader.read(1 << 16):
                whole += data
        except ConnectionError:
            pass
        return bytes(whole)

    async def status(self) -> int:
        """Of the next answer."""
        return int((await self.reader.readuntil(b"\r\n")).split()[1])


@asynccontextmanager
async def line(served: Served, data: bytes = b"") -> AsyncGenerator[Line]:
    reader, writer = await asyncio.open_connection(HOST, served.port, limit=1 << 24)
    writer.write(data)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def problem(answer: bytes, status: int) -> dict[str, Any]:
    """The problem document, which must be the whole answer, and the connection's last."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status
    assert document["detail"]
    return document


async def healthy(served: Served) -> bool:
    """It answers on another connection; what was sent before on this one has most likely arrived by then."""
    async with line(served, HEALTH) as other:
        return await other.status() == 200


async def run_count(served: Served) -> int:
    heads, _ = await served.store.runs()
    return len(heads)


# -- deadlines ---------------------------------------------------------------------------------------


async def test_hundreds_of_heads_that_trickle_in_keep_nobody_waiting_and_are_ended() -> None:
    """G12: a byte now and then does not put the deadline off."""
    crowd = 300
    async with serving(head_timeout=1, keep_alive=LONG) as served:
        run_id = await chat(served)
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        lines: list[Line] = []
        for _ in range(crowd):
            reader, writer = await asyncio.open_connection(HOST, served.port)
            lines.append(Line(reader, writer))
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        answers = [asyncio.ensure_future(each.rest()) for each in lines]
        watched = f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        async with line(served, watched) as viewer:
            spoken = 0
            while not all(answer.done() for answer in answers):
                for each, answer in zip(lines, answers, strict=True):
                    if not answer.done():
                        each.send(b"x")
                assert await healthy(served)
                await worker.say(f"word {spoken}")
                await viewer.reader.readuntil(f'"text":"word {spoken}"'.encode())
                spoken += 1
        for answer in answers:
            assert "head" in problem(answer.result(), 408)["detail"]
        assert served.site.counts.refused["head_timeout"] == crowd
        for each in lines:
            each.writer.close()
        await eventually(lambda: served.site.crowd.connections <= 2)


async def test_who_connects_and_says_nothing_is_let_go_without_a_word() -> None:
    """RFC 9110, section 15.5.9: a browser that connects in advance would take it for its next one's."""
    async with serving(head_timeout=0.2) as served, line(served) as here:
        assert await here.rest() == b""
        assert served.site.counts.refused["silent"] == 1


async def test_a_connection_at_rest_is_kept_for_its_time_and_then_closed() -> None:
    async with serving(keep_alive=0.2, head_timeout=LONG) as served, line(served, HEALTH) as here:
        assert (await here.rest()).count(b"HTTP/1.1 200") == 1
    assert Settings.model_validate({}).keep_alive > 60, "NGINX keeps its own for so long"


async def test_line_breaks_between_requests_do_not_keep_a_connection() -> None:
    """G12: they are no request (RFC 9112, section 2.2), and yet turn off the deadline for one."""
    async with serving(keep_alive=LONG, head_timeout=0.3) as served, line(served, HEALTH) as here:
        rest = asyncio.ensure_future(here.rest())
        while not rest.done():
            here.send(b"\r\n")
            assert await healthy(served)
        assert rest.result().count(b"HTTP/1.1 ") == 1


async def test_the_next_head_has_its_time_after_the_answer_before_it() -> None:
    """A stream may be longer than any deadline: the beginning of the next request waits for its end."""
    async with serving(head_timeout=0.3, keep_alive=LONG) as served:
        run_id = await chat(served)
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        request = f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"
        async with line(served, request.encode()) as here, line(served) as other:
            await here.reader.readuntil(b"event: ready")
            assert await other.rest() == b"", "the deadline has passed for who was not answered"
            assert served.tails.viewers == 1
            await worker.complete()
            await here.reader.readuntil(b"0\r\n\r\n")
            assert b"HTTP/1.1 408" in await here.rest()


async def test_a_body_that_does_not_arrive_is_ended_and_nothing_is_done() -> None:
    """G11."""
    async with serving(body_timeout=0.5) as served:
        head = (
            f"POST {API}/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 4000\r\n\r\n"
        )
        async with line(served, head.encode()) as here:
            rest = asyncio.ensure_future(here.rest())
            while not rest.done():
                here.send(b" ")
                assert await healthy(served)
            assert "body" in problem(rest.result(), 408)["detail"]
        assert await run_count(served) == 0
        assert served.site.counts.refused["body_timeout"] == 1


async def test_a_body_that_does_not_arrive_is_told_by_the_app_too() -> None:
    """G11: under any server."""

    async def half() -> Any:
        if sent:
            await asyncio.Event().wait()
        sent.append(True)
        return {"type": "http.request", "body": b"{", "more_body": True}

    sent: list[bool] = []
    answer: list[Any] = []

    async def send(part: Any) -> None:
        answer.append(part)

    async with running(body_timeout=0.05) as setup:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": f"{API}/chat",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }
        async with asyncio.timeout(20):
            await setup.app(scope, half, send)
        assert answer[0]["status"] == 408
        assert (b"connection", b"close") in answer[0]["headers"]


async def test_who_was_answered_before_its_body_came_does_not_hold_the_connection() -> None:
    """G12: and the rest of its body is not taken for a request."""
    async with serving(keys=KEYS, body_timeout=0.5, keep_alive=LONG) as served:
        head = f"POST {API}/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"
        async with line(served, head.encode()) as here:
            rest = asyncio.ensure_future(here.rest())
            while not rest.done():
                here.send(b"x")
                assert await healthy(served)
            assert rest.result().count(b"HTTP/1.1 ") == 1
            assert rest.result().startswith(b"HTTP/1.1 401")


async def test_a_body_that_comes_after_its_answer_leaves_a_connection_that_rests() -> None:
    """It is kept for the next request, and not for ever."""
    async with serving(keys=KEYS, keep_alive=0.3, head_timeout=LONG) as served:
        head = f"POST {API}/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
        async with line(served, head.encode()) as here:
            assert await here.status() == 401
            here.send(b"xxxx")
            here.send(HEALTH)
            rest = await here.rest()
            assert rest.count(b"HTTP/1.1 200") == 1


async def test_a_stream_whose_requests_body_never_comes_is_cut() -> None:
    """G12: what else comes on that connection could not be told from the body."""
    async with serving(body_timeout=0.3) as served:
        run_id = await chat(served)
        request = f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        async with line(served, request.encode()) as here:
            rest = await here.rest()
            assert b"event: ready" in rest
            assert not rest.endswith(b"0\r\n\r\n")
        await eventually(lambda: served.tails.viewers == 0)


# -- what is no HTTP ---------------------------------------------------------------------------------

HOST_FIELD = b"Host: localhost\r\n"
CHUNKED = (
    f"POST {API}/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Accept: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST_FIELD + b"X: a\r\n b\r\n\r\n", id="folded field"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST_FIELD + b"X : a\r\n\r\n", id="space before colon"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST_FIELD + b"X: a\rY: b\r\n\r\n", id="lone CR"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST_FIELD + b"X: a\x00b\r\n\r\n", id="NUL"),
        pytest.param(b"GET /h\xe4 HTTP/1.1\r\n" + HOST_FIELD + b"\r\n", id="target not ASCII"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\n" + HOST_FIELD + b"\r\n", id="CONNECT"),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST_FIELD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            id="two lengths",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST_FIELD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST_FIELD + b"Transfer-Encoding: xchunked\r\n\r\n", id="unknown coding"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST_FIELD + b"Content-Length: -1\r\n\r\n", id="negative length"
        ),
        pytest.param(CHUNKED + b"zz\r\n", id="no chunk"),
        pytest.param(CHUNKED + b"2\r\n{}x\r\n", id="chunk too long"),
    ],
)
async def test_what_is_no_http_gets_a_problem_and_the_end_of_the_connection(request_: bytes) -> None:
    """G11: and nothing is done."""
    async with serving() as served:
        async with line(served, request_) as here:
            problem(await here.rest(), 400)
        assert served.site.counts.refused["malformed"] == 1
        assert await run_count(served) == 0
        assert await healthy(served)


async def test_what_follows_good_requests_is_refused_in_its_turn() -> None:
    """RFC 9112, section 9.3.2: no answer is written into another, and none is lost."""
    async with serving() as served, line(served, HEALTH * 3 + b"bad bad bad\r\n\r\n") as here:
        rest = await here.rest()
        assert rest.count(b"HTTP/1.1 200 OK") == 3
        problem(rest[rest.index(b"HTTP/1.1 400") :], 400)


async def test_rubbish_during_a_stream_is_refused_after_it() -> None:
    """G1: the stream is whole."""
    async with serving() as served:
        run_id = await chat(served)
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        request = f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\nbad bad bad\r\n\r\n"
        async with line(served, request.encode()) as here:
            await here.reader.readuntil(b"event: ready")
            await worker.say("whole")
            await worker.complete()
            stream = await here.reader.readuntil(b"0\r\n\r\n")
            assert b'"text":"whole"' in stream
            assert b"event: end" in stream
            problem(await here.rest(), 400)


@pytest.mark.parametrize("pieces", [1, 9])
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000, 431, id="endless field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 8000, 431, id="endless fields"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a" * 40_000, 431, id="endless name"),
        pytest.param(b"GET /" + b"a" * 40_000, 414, id="endless target"),
    ],
)
async def test_a_head_that_is_too_large_is_refused_whole_or_not(
    request_: bytes, status: int, pieces: int
) -> None:
    """RFC 6585, section 5; RFC 9110, section 15.5.15."""
    async with serving(head_timeout=LONG) as served, line(served) as here:
        size = len(request_) // pieces + 1
        for start in range(0, len(request_), size):
            here.send(request_[start : start + size])
            assert await healthy(served)  # so that the pieces arrive one by one
        problem(await here.rest(), status)
        assert served.site.counts.refused["head_size"] == 1


async def test_a_head_as_large_as_allowed_is_served() -> None:
    async with serving(max_head=4096) as served, line(served) as here:
        begin = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
        for length, status in ((3900, 200), (4200, 431)):
            here.send(begin + b"a" * length + b"\r\n\r\n")
            assert await here.status() == status
            await here.reader.readuntil(b"\r\n\r\n")
            if status == 200:
                await here.reader.readuntil(b"}")


async def test_as_many_requests_at_once_as_nobody_needs_are_refused_after_the_first_ones() -> None:
    """G12: each waits with what it has sent."""
    async with serving() as served, line(served, HEALTH * (PIPELINED * 3)) as here:
        rest = await here.rest()
        assert PIPELINED <= rest.count(b"HTTP/1.1 200 OK") < PIPELINED * 3
        problem(rest[rest.index(b"HTTP/1.1 429") :], 429)
        assert served.site.counts.refused["pipelined"] == 1


@pytest.mark.parametrize("end", [b"2;" + b"a" * 200_000, b"2\r\n{}\r\n0\r\nX: " + b"a" * 200_000])
async def test_chunks_that_hold_nothing_do_not_go_on_for_ever(end: bytes) -> None:
    """G12: an extension, or a trailer, that never ends is kept by nobody."""
    async with serving(body_timeout=LONG) as served, line(served, CHUNKED) as here:
        rest = asyncio.ensure_future(here.rest())
        here.send(end[:100])
        while not rest.done():
            here.send(b"a" * 10_000)
            assert await healthy(served)
        problem(rest.result(), 400)


# -- one request in another, one field in another ---------------------------------------------------


async def test_the_body_of_a_request_that_asks_for_an_upgrade_is_no_request() -> None:
    """G12: behind a proxy it would be answered to somebody else (RFC 9112, section 11.2)."""
    async with serving() as served:
        inner = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        head = (
            f"POST {API}/stop HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
            f"Content-Length: {len(inner)}\r\n\r\n"
        )
        async with line(served, head.encode()) as here:
            assert await healthy(served)
            here.send(inner)
            problem(await here.rest(), 400)


async def test_an_upgrade_that_nobody_offers_is_passed_over() -> None:
    """RFC 9110, section 7.8: curl --http2 asks for one."""
    async with serving() as served:
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        async with line(served, request) as here:
            rest = await here.rest()
            assert rest.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in rest


async def test_a_trailer_is_no_header() -> None:
    """G12: what a proxy has taken out of the head must not come in again (RFC 9110, section 6.5.1)."""
    async with serving(keys=KEYS) as served, line(served) as here:
        body = json.dumps({"messages": [message("hello")]}).encode()
        here.send(
            CHUNKED + b"%x\r\n%b\r\n0\r\nAuthorization: Bearer %b\r\n\r\n" % (len(body), body, ANA.encode())
        )
        assert await here.status() == 401
        assert await run_count(served) == 0


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/runs/x%0d%0aX-Evil:%201/events",
        f"{API}/runs?cursor=%0d%0aX-Evil:%201",
        "/%0d%0aX-Evil:%201",
    ],
)
async def test_line_breaks_in_a_target_make_no_header(path: str) -> None:
    """G12."""
    async with serving(cors_origins=["*"]) as served, line(served) as here:
        here.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = (await here.rest()).partition(b"\r\n\r\n")[0]
        assert head.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
        assert b"\nx-evil" not in head.lower()


async def test_a_name_with_a_line_break_stays_a_value() -> None:
    """G12: what a client chose comes back as JSON, and as nothing else."""
    async with running() as setup:
        text = "a\r\n\r\nevent: end\ndata: {}\n\nid: 99\n\n"
        run_id = await setup.client.chat(text, metadata={text: text})
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say(text)
        await worker.complete(output=text)
        events = await setup.client.events(run_id)
        assert [event.event for event in events] == [
            "ready",
            "workflow",
            "workflow",
            "token",
            "workflow",
            "end",
        ]
        assert (await setup.client.get(f"{API}/runs/{run_id}", **JSON)).json()["output"] == text
