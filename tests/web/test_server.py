"""The app behind its real server: bytes on a socket, signals, ports."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import uvloop

from jackline.commands import Commands
from jackline.errors import ConfigError
from jackline.sse import Decoder
from jackline.web.app import create_app, site_of
from jackline.web.server import listen, serve_web
from jackline.web.site import Site
from jackline.web.tails import Tails
from tests.support.processes import HOST, Process, eventually, start
from tests.web.harness import (
    API,
    DEADLINE_SECONDS,
    FlakyStore,
    Worker,
    data_of,
    message,
    settings,
)
from tests.web.harness import eventually as eventually_here

pytestmark = pytest.mark.anyio


@dataclass(kw_only=True)
class Served:
    """A server in this process."""

    url: str
    port: int
    store: FlakyStore
    stop: asyncio.Event
    task: asyncio.Task[int | None]
    site: Site
    drained: list[bool] = field(default_factory=list[bool])

    @property
    def tails(self) -> Tails:
        return self.site.tails


@asynccontextmanager
async def serving(
    *, patience: float = DEADLINE_SECONDS * 2, **values: object
) -> AsyncGenerator[Served, None]:
    store = FlakyStore()

    async def default_agent() -> str:
        return "demo"

    app = create_app(settings(**values), store, Commands(store), default_agent=default_agent)
    listeners = listen(HOST, 0)
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    drained: list[bool] = []
    async with asyncio.timeout(patience), asyncio.TaskGroup() as group:
        task = group.create_task(
            serve_web(
                app,
                settings(**values),
                sockets=listeners,
                stop=stop,
                on_ready=ready.set_result,
                on_drain=lambda: drained.append(site_of(app).tails.draining),
            )
        )
        url = await ready
        port = int(url.rsplit(":", 1)[1])
        try:
            yield Served(
                url=url,
                port=port,
                store=store,
                stop=stop,
                task=task,
                site=site_of(app),
                drained=drained,
            )
        finally:
            stop.set()


async def chat(served: Served) -> str:
    async with httpx2.AsyncClient(base_url=served.url, trust_env=False) as client:
        body = {"messages": [message("hello")]}
        answer = await client.post(f"{API}/chat", json=body, headers={"accept": "application/json"})
        return str(answer.json()["run_id"])


async def test_a_stream_leaves_at_once_chunked_and_keeps_the_connection() -> None:
    """G9: and a second request on the same connection is answered."""
    async with serving() as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        body = b'{"messages":[{"role":"user","content":"hello"}]}'
        head = (
            f"POST {API}/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert headers.startswith(b"http/1.1 200")
        assert b"transfer-encoding: chunked" in headers
        assert b"connection:" not in headers
        assert b"server:" not in headers
        await reader.readuntil(b'"state":"queued"')
        run_id = headers.split(b"x-run-id: ")[1].split(b"\r\n")[0].decode()
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        await worker.complete()
        rest = await reader.readuntil(b"0\r\n\r\n")
        assert b"event: end" in rest
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_client_that_is_gone_is_let_go() -> None:
    """G2, G10."""
    async with serving(heartbeat=0.05) as served:
        run_id = await chat(served)
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"event: ready")
        assert served.tails.viewers == 1
        writer.transport.abort()
        await eventually_here(lambda: served.tails.viewers == 0)


async def test_a_viewer_that_reads_nothing_is_bounded_by_the_transport_and_then_gets_all() -> None:
    """G10: measured by what the process holds for it, not by time."""
    async with serving() as served:
        run_id = await chat(served)
        worker = Worker(store=served.store, run_id=run_id)
        await worker.execute()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (HOST, served.port))
        request = f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        await eventually_here(lambda: served.tails.viewers == 1)
        text = "x" * 30_000
        for _ in range(300):
            await worker.say(text)
        await worker.complete()
        async with httpx2.AsyncClient(base_url=served.url, trust_env=False) as client:
            answer = await client.get(f"{API}/runs/{run_id}/events")
        assert spoken(answer.content) == text * 300
        assert served.tails.viewers == 1
        # With so small a window 9 MB take long: what was to be seen of it has been seen.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        slow = bytearray()
        while b"0\r\n\r\n" not in slow[-16:]:
            slow += await loop.sock_recv(sock, 1 << 20)
        sock.close()
        assert spoken(unchunked(bytes(slow))) == text * 300


def spoken(stream: bytes) -> str:
    events = Decoder().feed(stream)
    assert events[-1].event == "end"
    return "".join(data_of(event)["text"] for event in events if event.event == "token")


def unchunked(response: bytes) -> bytes:
    at = response.index(b"\r\n\r\n") + 4
    whole = bytearray()
    while at < len(response):
        end = response.index(b"\r\n", at)
        length = int(response[at:end], 16)
        whole += response[end + 2 : end + 2 + length]
        at = end + 2 + length + 2
    return bytes(whole)


async def test_the_caller_may_end_the_server_and_learns_when_it_begins_to() -> None:
    async with serving() as served:
        run_id = await chat(served)
        async with (
            httpx2.AsyncClient(base_url=served.url, trust_env=False) as client,
            client.stream("GET", f"{API}/runs/{run_id}/events") as answer,
        ):
            chunks = answer.aiter_bytes()
            first = await anext(chunks)
            served.stop.set()
            whole = first + b"".join([chunk async for chunk in chunks])
        last = Decoder().feed(whole)[-1]
        assert last.event == "shutdown"
        assert await served.task is None
        assert served.drained == [True]


async def test_a_port_that_is_taken_is_a_setting_to_change() -> None:
    with listen(HOST, 0)[0] as taken, pytest.raises(ConfigError, match="--port"):
        listen(HOST, taken.getsockname()[1])
    with pytest.raises(ConfigError, match="--host"):
        listen("no.such.host.invalid", 0)


class _FaultError(Exception):
    pass


def test_a_server_that_is_cut_short_leaves_nothing_that_keeps_its_loop_from_closing() -> None:
    """A fault beside it ends the whole process, also while viewers are connected."""

    async def fail() -> None:
        async with serving() as served:
            run_id = await chat(served)
            reader, writer = await asyncio.open_connection(HOST, served.port)
            writer.write(f"GET {API}/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await reader.readuntil(b"event: ready")
            writer.transport.abort()
            raise _FaultError

    with pytest.raises(ExceptionGroup), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(fail())


SCRIPT = """
import asyncio, sys
from jackline.commands import Commands
from jackline.log.memory import MemoryStore
from jackline.settings import Settings
from jackline.web.app import create_app
from jackline.web.server import serve_web

async def agent():
    return "demo"

async def main():
    store = MemoryStore()
    settings = Settings.model_validate({"port": 0, "drain": 5, "heartbeat": 60})
    app = create_app(settings, store, Commands(store), default_agent=agent)
    signal = await serve_web(app, settings, on_ready=lambda url: print(url, flush=True))
    print("ended by", signal, flush=True)

asyncio.run(main())
"""


def said_url(process: Process) -> str:
    """The URL that the program has printed, "" before that."""
    assert process.running, process.log()
    first = process.log().partition("\n")[0]
    return first if first.startswith("http") else ""


async def test_sigterm_says_shutdown_to_every_viewer_and_exits_promptly(tmp_path: Path) -> None:
    """G9: each viewer's last frame is `shutdown`; the exit waits for nothing else."""
    script = tmp_path / "serve.py"
    script.write_text(SCRIPT)
    with start([sys.executable, script], log_path=tmp_path / "log") as process:
        url = eventually(lambda: said_url(process))
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            body = {"messages": [message("hello")]}
            async with (
                client.stream("POST", f"{API}/chat", json=body) as one,
                client.stream("POST", f"{API}/chat", json=body) as two,
            ):
                streams = [answer.aiter_bytes() for answer in (one, two)]
                whole = [await anext(stream) for stream in streams]
                os.kill(process.pid, signal.SIGTERM)
                whole = [
                    first + b"".join([c async for c in s]) for first, s in zip(whole, streams, strict=True)
                ]
        assert process.wait() == 0
        assert process.log().split("\n")[1] == f"ended by {int(signal.SIGTERM)}"
    for stream in whole:
        last = Decoder().feed(stream)[-1]
        assert last.event == "shutdown"
        assert last.retry == data_of(last)["retry_ms"]
