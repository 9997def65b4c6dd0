"""Many viewers, slow ones, and a worker whose loop stands still."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httptools
import msgspec
import psutil
import pytest

from tests.blackbox.api import ROOT, Data, call, steps
from tests.blackbox.conftest import World
from tests.support.processes import HOST, PATIENCE, eventually

WATCHERS = 100
STALLED = 60
WORDS = "0123456789" * 800
"""One entry's worth, below what is cut in two."""

MEGABYTES_8 = 1000
"""So many of them. More than the system takes for a connection (4 MB) and a tail holds (1 MB)."""

TRANSPORT = 2 << 20
"""More than one write, its copy, and the transport's own buffer may hold of a viewer that does not read."""


@dataclass(kw_only=True)
class Piece:
    """What is read of an entry."""

    seq: int
    text: str = ""
    merged_from: int | None = None


DECODER = msgspec.json.Decoder(Piece)


class Reader(asyncio.Protocol):
    """A client of its own, fast enough for a hundred in one process: it keeps no text, only its sum."""

    def __init__(self, run_id: str) -> None:
        self.ready = asyncio.Event()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.following = 1
        self.size = 0
        self.sum = 0
        self.merged = 0
        self.last = ""
        self._run_id = run_id
        self._rest = b""
        self._event = ""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(f"GET {ROOT}/runs/{self._run_id}/events HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("cut"))

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        lines = (self._rest + body).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            name, _, value = line.partition(b": ")
            if name == b"event":
                self._event = value.decode()
            elif name == b"data":
                self._take(value)

    def on_message_complete(self) -> None:
        """Called by the parser at the last chunk: the server has ended the stream."""
        self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def _take(self, value: bytes) -> None:
        self.last = self._event
        self.ready.set()
        if self._event in {"token", "workflow", "tool", "approval"}:
            piece = DECODER.decode(value)
            first = piece.seq if piece.merged_from is None else piece.merged_from
            assert first == self.following, f"{first} after {self.following - 1}"
            self.following = piece.seq + 1
            self.merged += piece.merged_from is not None
            self.size += len(piece.text)
            self.sum = zlib.crc32(piece.text.encode(), self.sum)


async def connect(world: World, run_id: str) -> Reader:
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(lambda: Reader(run_id), HOST, world.port)
    await reader.ready.wait()
    return reader


def stall(world: World, run_id: str) -> socket.socket:
    """A viewer that asks, and then reads nothing at all."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect((HOST, world.port))
    viewer.sendall(f"GET {ROOT}/runs/{run_id}/events HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return viewer


async def wake(viewer: socket.socket, run_id: str) -> Reader:
    """It reads at last."""
    reader = Reader(run_id)
    viewer.setblocking(False)
    loop = asyncio.get_running_loop()
    while not reader.done.done():
        data = await loop.sock_recv(viewer, 1 << 20)
        assert data, "the stream was cut"
        reader.data_received(data)
    return reader


def speaking(world: World, gate: str, times: int) -> str:
    """A run that says much once the gate is open."""
    return world.api.start(steps({"gate": gate, **call("where")}, {"say": WORDS, "times": times}))


def whole(times: int) -> tuple[int, int]:
    """Length and sum of all that it says."""
    total = 0
    for _ in range(times):
        total = zlib.crc32(WORDS.encode(), total)
    return times * len(WORDS), total


@pytest.mark.anyio
async def test_a_viewer_that_reads_nothing_costs_the_others_nothing(embedded: World) -> None:
    """G1, G2, G10: a hundred others get everything to the end while it stands still; then it reads, and
    gets the whole text, merged where it had fallen behind."""
    run_id = speaking(embedded, "stalled", MEGABYTES_8)
    with stall(embedded, run_id) as stalled:
        readers = [await connect(embedded, run_id) for _ in range(WATCHERS)]
        embedded.open_gate("stalled")
        async with asyncio.timeout(PATIENCE * 2):
            await asyncio.gather(*(reader.done for reader in readers))
        async with asyncio.timeout(PATIENCE):
            late = await wake(stalled, run_id)
    last = embedded.api.snapshot(run_id)["seq"]
    assert last > MEGABYTES_8
    for reader in [*readers, late]:
        assert (reader.following, reader.last) == (last + 1, "end")
        assert (reader.size, reader.sum) == whole(MEGABYTES_8)
    assert late.merged > 0


def test_viewers_that_read_nothing_hold_no_memory(embedded: World) -> None:
    """G10: for each of them no more than a write and its transport's buffer, however much is said."""
    run_id = speaking(embedded, "hoarders", 2 * MEGABYTES_8)
    web = psutil.Process(embedded.server.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            # One byte: the server has made all that it needs for this viewer.
            assert stack.enter_context(stall(embedded, run_id)).recv(1) == b"H"
        before = web.memory_info().rss
        embedded.open_gate("hoarders")
        assert embedded.api.ended(run_id)["state"] == "completed"
        grown = web.memory_info().rss - before
    said, _ = whole(2 * MEGABYTES_8)
    # The run's own text is held once, for its snapshot, whoever watches.
    bound = 2 * said + STALLED * TRANSPORT
    assert bound < STALLED * said / 4
    assert grown < bound


def test_a_worker_that_stands_still_stops_nobody(anywhere: World) -> None:
    """G2, G4, G9: while a tool blocks the loop there are heartbeats that say so, other runs' viewers and
    commands go on, and the run is not taken from its worker, which lives."""
    api, other = anywhere.api, anywhere.other
    gate = f"standstill-{len(anywhere.servers)}"
    waiting = api.start(steps(call("delete", path="/beside")))
    api.until(waiting, "awaiting_approval")
    done = api.start("hello")
    api.ended(done)
    run_id = api.start(steps(call("block_for", name=gate), call("note", text=gate)))
    api.until_tool(run_id, "block_for", "started")
    beats: list[Data] = []
    with other.stream("GET", f"/runs/{run_id}/events") as frames:
        for frame in frames:
            if frame.event == "heartbeat" and frame.data["idle_ms"] > 1000:
                beats.append(frame.data)
            if len(beats) == 3:
                break
        # All of this while the loop stands still.
        with api.stream("GET", f"/runs/{waiting}/events") as others:
            assert next(frame for frame in others if frame.event == "heartbeat").data["run_id"] == waiting
            assert other.stop(waiting, wait=PATIENCE).json()["state"] == "stopped"
            assert list(others)[-1].event == "end"
        assert api.frames(done)[-1].event == "end"
        queued = other.start("hello", conversation_id=run_id.split(".")[0], on_busy="queue")
        assert other.stop(queued, wait=PATIENCE).json()["state"] == "stopped"
        if len(anywhere.workers) > 1:
            # The other worker works.
            assert api.ended(api.start("hello"))["state"] == "completed"
        assert api.snapshot(run_id)["tools"][0]["state"] == "started"
        anywhere.open_gate(gate)
        rest = list(frames)
    idle = [beat["idle_ms"] for beat in beats]
    assert idle == sorted(set(idle))
    assert {(beat["state"], beat["worker"]) for beat in beats} == {("executing", "alive")}
    assert len({beat["ts"] for beat in beats}) == len(beats)
    assert rest[-1].data["state"] == "completed"
    assert api.snapshot(run_id)["attempt"] == 1
    assert anywhere.effects.count(f"note {gate}") == 1


def test_heartbeats_come_whatever_the_traffic(anywhere: World) -> None:
    """G9: while the run is silent, while it speaks, and while it waits for a person."""
    api = anywhere.api
    gate = f"beats-{len(anywhere.servers)}"
    silent = api.start(steps({"gate": gate}))
    waiting = api.start(steps(call("delete", path="/beats")))
    speaking = api.start(steps({"say": "tick ", "times": 100_000, "pace": 0.005}))
    api.until(waiting, "awaiting_approval")

    def watch(run_id: str) -> list[Data]:
        beats: list[Data] = []
        with anywhere.client(anywhere.webs[-1].url).stream("GET", f"/runs/{run_id}/events") as frames:
            for frame in frames:
                if frame.event == "heartbeat":
                    assert frame.id is None
                    beats.append(frame.data)
                if len(beats) == 3:
                    break
        return beats

    with ThreadPoolExecutor(3) as pool:
        of_silent, of_waiting, of_speaking = pool.map(watch, (silent, waiting, speaking))
    assert {beat["worker"] for beat in of_silent} == {"alive"}
    assert {beat["state"] for beat in of_silent} == {"executing"}
    assert {(beat["worker"], beat["state"]) for beat in of_waiting} == {("none", "awaiting_approval")}
    assert len({beat["seq"] for beat in of_speaking}) == 3
    for run_id in (silent, waiting, speaking):
        eventually(lambda run_id=run_id: api.stop(run_id, wait=10).status_code == 200)
