"""Clients that do not read: bounded in what they hold, then cut, and nothing is lost to them (G10)."""

from __future__ import annotations

import asyncio
import itertools
import resource
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx2
import psutil
import pytest
import uvloop

from jackline.sse import Decoder, ServerSentEvent
from jackline.web.pages import PAGE_BYTES
from jackline.web.server import listen
from jackline.web.stall import Stall
from tests.support.processes import HOST
from tests.web.harness import API, DEADLINE_SECONDS, Worker, data_of, eventually, running
from tests.web.test_server import Served, chat, serving

pytestmark = pytest.mark.anyio

STALLED = 1000
LIVE = 3
WORDS = "0123456789" * 3000
"""One entry's worth."""

ENTRIES = 200
"""So many of them: 6 MB, more than the system takes for a connection (4 MB) and a tail holds (1 MB)."""

HELD = 64 * 1024 + PAGE_BYTES + 2 * len(WORDS)
"""What waits here for one viewer, at most: the transport's own bound, and the write that went over it."""


@pytest.fixture(params=[pytest.param(uvloop.new_event_loop, id="uvloop")])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Callable[[], object]]]:
    """The loop that is shipped."""
    factory: Callable[[], object] = request.param
    return "asyncio", {"loop_factory": factory}


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Both ends of a thousand connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def stalled(served: Served, path: str) -> socket.socket:
    """A client that asks for a stream and reads nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (HOST, served.port))
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock


async def what_came(sock: socket.socket) -> list[ServerSentEvent]:
    """What the system still had for it when it was cut."""
    loop = asyncio.get_running_loop()
    answer = bytearray()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while data := await loop.sock_recv(sock, 1 << 20):
                answer += data
    except ConnectionError:
        pass
    body = bytes(answer).partition(b"\r\n\r\n")[2]
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        if not body:
            break
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return Decoder().feed(bytes(whole))


class Live:
    """A viewer that reads, and counts what it has read."""

    def __init__(self) -> None:
        self.seen = 0
        self.over = False

    async def watch(self, served: Served, path: str) -> None:
        async with (
            httpx2.AsyncClient(base_url=served.url, trust_env=False, timeout=None) as client,
            client.stream("GET", path) as answer,
        ):
            decoder = Decoder()
            async for chunk in answer.aiter_bytes():
                for event in decoder.feed(chunk):
                    self.seen = int(event.id or self.seen)
                    self.over = self.over or event.event == "end"


@asynccontextmanager
async def live_viewers(served: Served, path: str) -> AsyncGenerator[list[Live]]:
    viewers = [Live() for _ in range(LIVE)]
    async with asyncio.TaskGroup() as group:
        for viewer in viewers:
            group.create_task(viewer.watch(served, path))
        yield viewers


@pytest.mark.usefixtures("descriptors")
async def test_a_thousand_viewers_that_do_not_read_are_bounded_cut_and_lose_nothing() -> None:
    """G10, G1: others are served meanwhile; who was cut comes back with its cursor."""
    async with serving(patience=150, write_timeout=2, max_streams=None) as served:
        worker = Worker(store=served.store, run_id=await chat(served))
        await worker.execute()
        path = f"{API}/runs/{worker.run_id}/events?compact=0"
        sockets = [await stalled(served, path) for _ in range(STALLED)]
        await eventually(lambda: served.tails.viewers >= STALLED)
        before = psutil.Process().memory_info().rss
        most = 0
        async with live_viewers(served, path) as viewers:
            await eventually(lambda: all(viewer.seen for viewer in viewers))
            for number in range(1, ENTRIES + 1):
                await worker.say(WORDS)
                if number % 10 == 0:  # all of it reaches all who read, whatever the others do
                    await eventually(lambda seq=number + 2: all(viewer.seen >= seq for viewer in viewers))
                assert served.tails.waiting_bytes <= (STALLED + LIVE) * HELD
                most = max(most, psutil.Process().memory_info().rss - before)
            assert served.tails.viewers <= STALLED + LIVE
            await eventually(lambda: served.tails.viewers == LIVE)
            await worker.complete()
        assert all(viewer.over for viewer in viewers)
        # A queue for each would hold 6 GB; one copy for each of what a tail holds, 1 GB.
        assert most < STALLED * HELD
        assert served.site.counts.cut["stalled"] == STALLED
        await eventually(lambda: served.site.crowd.streams == 0)
        for sock in sockets[:: STALLED // 5]:
            seen = [int(event.id) for event in await what_came(sock) if event.id]
            async with httpx2.AsyncClient(base_url=served.url, trust_env=False) as client:
                answer = await client.get(path, headers={"last-event-id": str(seen[-1])})
            seen += [int(event.id) for event in Decoder().feed(answer.content) if event.id]
            assert seen == list(range(1, ENTRIES + 4))
        for sock in sockets:
            sock.close()


async def test_what_waits_for_each_of_them_is_bounded() -> None:
    """G10: by the transport, whose bound is passed by one write at most."""
    async with serving(write_timeout=3600) as served:
        worker = Worker(store=served.store, run_id=await chat(served))
        await worker.execute()
        path = f"{API}/runs/{worker.run_id}/events"
        sockets = [await stalled(served, f"{path}?compact={i % 2}") for i in range(10)]
        await eventually(lambda: served.tails.viewers == 10)
        for _ in range(ENTRIES):
            await worker.say(WORDS)
        sockets += [await stalled(served, f"{path}?after=0&compact={i % 2}") for i in range(10)]
        await eventually(lambda: served.tails.viewers == 20)
        for _ in range(20):  # whatever turn it is taken in
            await eventually(lambda: served.tails.waiting_bytes > 0)
            assert served.tails.waiting_bytes <= 20 * HELD
        for sock in sockets:
            sock.close()


async def test_an_answer_that_nobody_takes_is_cut_too() -> None:
    """G12: a page of entries is no stream, and waits in the same place."""
    async with serving(write_timeout=0.5) as served:
        worker = Worker(store=served.store, run_id=await chat(served))
        await worker.execute()
        for _ in range(ENTRIES):
            await worker.say(WORDS)
        sock = await stalled(served, "/healthz")
        page = f"GET {API}/runs/{worker.run_id}/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\n"
        page += "Accept: application/json\r\n\r\n"
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, page.encode() * 20)
        await eventually(lambda: served.site.counts.cut["stalled"] == 1)
        await eventually(lambda: served.site.crowd.connections == 0)
        sock.close()


async def test_under_another_server_a_viewer_that_takes_nothing_is_let_go() -> None:
    """G10: where there is only ASGI's `send`; it comes back, and has lost nothing."""
    async with running(write_timeout=0.1) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        path = f"{API}/runs/{run_id}/events"
        async with setup.client.open("GET", path, reading=False) as exchange:
            await worker.say("a")
            await eventually(lambda: exchange.is_over)
            assert setup.site.counts.cut["stalled"] == 1
            assert setup.site.tails.viewers == 0
            assert setup.site.crowd.streams == 0
        await worker.complete()
        events = await setup.client.events(run_id)
        assert [data_of(event)["text"] for event in events if event.event == "token"] == ["a"]


async def test_who_reads_slowly_is_not_stalled() -> None:
    """G10: a byte taken is enough, however long all of it takes."""
    left = itertools.count(10_000, -1)
    asked: list[int] = []
    cut: list[bool] = []

    def waiting() -> int:
        asked.append(next(left))
        return asked[-1]

    stall = Stall(0.02, waiting, lambda: cut.append(True))
    stall.begin()
    await eventually(lambda: len(asked) > 40)
    assert not cut
    stall.close()


async def test_who_takes_nothing_is_cut_once_and_who_does_again_is_not() -> None:
    cut: list[str] = []
    gone = Stall(0.05, lambda: 7, lambda: cut.append("gone"))
    gone.begin()
    back = Stall(0.05, lambda: 7, lambda: cut.append("back"))
    back.begin()
    back.over()
    closed = Stall(0.05, lambda: 7, lambda: cut.append("closed"))
    closed.begin()
    closed.close()
    again = Stall(0.1, lambda: 7, lambda: cut.append("again"))
    again.begin()
    again.over()
    again.begin()
    await eventually(lambda: "again" in cut)
    assert sorted(cut) == ["again", "gone"]


async def test_the_system_looks_after_each_connection_too() -> None:
    """A peer that vanished: keep-alive finds it at rest, the user time-out while bytes are under way."""
    [listener] = listen(HOST, 0)
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
            values = [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options]
            assert values == [30, 10, 3, 120_000]
