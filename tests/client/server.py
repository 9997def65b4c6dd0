"""A real HTTP server that answers as it is told, byte for byte: the client's adversary."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jackline.sse import encode
from tests.support.processes import eventually_async

RUN = "conv0001.1"
CONVERSATION = "conv0001"
EVENTS = f"/api/v1/agent/runs/{RUN}/events"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Connection:
    """One request's way back to the client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0
    """Of its request."""
    received: Callable[[int], Awaitable[int]] | None = None
    cuts_cleanly: bool = False
    sent: int = 0
    """Bytes of the stream."""
    closed: bool = False

    async def json(self, status: int, value: object, **headers: str) -> None:
        body = json.dumps(value).encode()
        media_type = "application/json" if status < 300 else "application/problem+json"
        await self._head(status, {"Content-Type": media_type, "Content-Length": str(len(body)), **headers})
        await self.send(body)

    async def raw(self, status: int, body: bytes, **headers: str) -> None:
        await self._head(status, {"Content-Length": str(len(body)), **headers})
        await self.send(body)

    async def empty(self, status: int = 204) -> None:
        await self._head(status, {} if status == 204 else {"Content-Length": "0"})

    async def open_stream(self, **headers: str) -> None:
        base = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Transfer-Encoding": "chunked",
            "X-Number": str(self.number),
        }
        await self._head(200, base | headers)

    async def frames(self, *frames: bytes) -> None:
        block = b"".join(frames)
        self.sent += len(block)
        await self.send(b"%x\r\n%b\r\n" % (len(block), block))

    async def end_stream(self) -> None:
        """A clean end, as a proxy makes one too."""
        await self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        """The end of a connection without the last chunk."""
        self.closed = True
        self.writer.transport.abort()

    async def until_received(self) -> None:
        """A browser throws away what a page has not read yet when a connection is cut."""
        received = self.received
        if received is not None:

            async def all_of_it() -> bool:
                return await received(self.number) >= self.sent

            await eventually_async(all_of_it, what="the page reads what was sent")

    async def until_gone(self) -> None:
        """Hold the connection silently until the client lets go."""
        await self.reader.read()
        self.cut()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} Status {status}",
            *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode())


Answer = Callable[[Request, Connection], Awaitable[None]]


@dataclass(kw_only=True)
class Server:
    """Answers the n-th request with the n-th of `script`; the last one answers all further ones."""

    url: str = ""
    script: list[Answer] = field(default_factory=list[Answer])
    requests: list[Request] = field(default_factory=list[Request])
    faults: list[BaseException] = field(default_factory=list[BaseException])
    received: Callable[[int], Awaitable[int]] | None = None
    """How much of a stream, by its request's number, the client has read; where that must be asked."""
    cuts_cleanly: bool = False
    """Whether "cut" is a clean end: who uses an EventSource cannot be asked what it has read."""

    def answer(self, *answers: Answer) -> None:
        self.script = list(answers)
        self.requests.clear()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader=reader, writer=writer)
        try:
            while not connection.closed:
                request = await _read(reader)
                self.requests.append(request)
                connection.number, connection.sent = len(self.requests), 0
                connection.received, connection.cuts_cleanly = self.received, self.cuts_cleanly
                step = self.script[min(len(self.requests), len(self.script)) - 1]
                await step(request, connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a fault of the script's; the test must hear of it
            self.faults.append(error)
            raise
        finally:
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Request(method=method, path=parts.path, query=query, headers=headers, body=body)


@asynccontextmanager
async def serving(port: int = 0) -> AsyncGenerator[Server]:
    """A server on this port, or on one of its own."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.handle(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not server.faults, server.faults


# -- frames ------------------------------------------------------------------------------------


def ready(seq: int = 0, state: str = "executing", **more: object) -> bytes:
    data = {
        "run_id": RUN,
        "conversation_id": CONVERSATION,
        "state": state,
        "seq": seq,
        "protocol": "jackline/1",
    }
    return encode(event="ready", data=json.dumps(data | more))


def entry(seq: int, event: str, *, id: str | None = None, **data: Any) -> bytes:  # noqa: A002
    body = {"run_id": RUN, "seq": seq, "ts": "2026-11-22T12:00:00.000Z", **data}
    return encode(event=event, data=json.dumps(body), id=id or str(seq))


def token(seq: int, text: str = "x", **more: Any) -> bytes:
    data: dict[str, Any] = {"text": text, "kind": "text", "message_id": "m1"}
    return entry(seq, "token", **(data | more))


def workflow(seq: int, state: str, **more: Any) -> bytes:
    data: dict[str, Any] = {"state": state, "attempt": 1}
    return entry(seq, "workflow", **(data | more))


def heartbeat(ts: str = "2026-11-22T12:00:00.000Z", **more: object) -> bytes:
    data = {"ts": ts, "run_id": RUN, "state": "executing", "seq": 0, "worker": "alive", "idle_ms": 1}
    return encode(event="heartbeat", data=json.dumps(data | more))


def gap(first: int, last: int, **snapshot: object) -> bytes:
    return encode(event="gap", data=json.dumps({"from": first, "to": last, "snapshot": snapshot}))


def end(seq: int, state: str = "completed") -> bytes:
    return encode(event="end", data=json.dumps({"run_id": RUN, "state": state, "seq": seq}))


def shutdown(retry_ms: int = 1) -> bytes:
    return encode(event="shutdown", data=json.dumps({"retry_ms": retry_ms}))


# -- answers -----------------------------------------------------------------------------------


def stream(*frames: bytes, then: str = "hold", **headers: str) -> Answer:
    """A stream of `frames`, and `then` "cut", "eof" (a clean end) or "hold" (silence)."""

    async def answer(_: Request, connection: Connection) -> None:
        await connection.open_stream(**headers)
        if frames:
            await connection.frames(*frames)
        match then:
            case "cut" if not connection.cuts_cleanly:
                await connection.until_received()
                connection.cut()
            case "cut" | "eof":
                await connection.end_stream()
            case _:
                await connection.until_gone()

    return answer


def problem(status: int, headers: dict[str, str] | None = None, **members: object) -> Answer:
    async def answer(_: Request, connection: Connection) -> None:
        document = {"type": "about:blank", "title": f"Title {status}", "status": status, **members}
        await connection.json(status, document, **(headers or {}))

    return answer


def reply(value: object, status: int = 200) -> Answer:
    async def answer(_: Request, connection: Connection) -> None:
        await connection.json(status, value)

    return answer


async def no_content(_: Request, connection: Connection) -> None:
    await connection.empty()


async def cut(_: Request, connection: Connection) -> None:
    """The connection ends before any header."""
    connection.cut()


async def silence(_: Request, connection: Connection) -> None:
    """Not even headers."""
    await connection.until_gone()
