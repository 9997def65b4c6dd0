"""Where the publisher's entries go: Jackline's store, Nchan's publishing address, a Redis, a socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlsplit

from benchmarks.marks import body
from jackline.bench.speaker import Marks
from jackline.commands import Commands
from jackline.events import Entry, Message
from jackline.log.base import Serves
from jackline.log.redis import RedisStore
from jackline.log.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from jackline.log.base import Lease, Store

PRINCIPAL: Final = "user:bench"
AGENT: Final = "speaker"

_LEASE_SECONDS: Final = 3600.0
_GROUP: Final = 1000
"""Entries of one append when a run is filled."""

_AT_ONCE: Final = 100
"""Runs that are begun at once: each waits for the disk."""

_BUFFER_BYTES: Final = 200
"""About what an entry takes in a socket's buffer."""


class Sink(Protocol):
    """Takes entries and never blocks. Channels have numbers from 0; an entry comes with its channel's."""

    async def open(self, channels: int, fill: int) -> list[str]:
        """Make the channels, each with `fill` entries; their names."""
        ...

    def send(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """Hand entries over."""
        ...

    def waiting(self) -> int:
        """Entries that were handed over and not taken yet, about."""
        ...


@asynccontextmanager
async def sink_of(kind: str, target: str) -> AsyncGenerator[Sink]:
    """`store`: a Redis' URL or SQLite's folder; `nchan`, `lines`: a port; `publish` (PUBLISH alone) and
    `history` (PUBLISH and a list of all): a Redis' URL."""
    if kind == "store":
        is_redis = target.startswith("redis:")
        store = await (RedisStore.open(target) if is_redis else SqliteStore.open(Path(target)))
        try:
            async with asyncio.TaskGroup() as group:
                yield StoreSink(store, group)
        finally:
            await store.aclose()
        return
    port = urlsplit(target).port if "://" in target else int(target)
    assert port is not None
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(_Pipe, "127.0.0.1", port) for _ in range(4 if kind == "nchan" else 1)
    ]
    pipes = [pipe for _, pipe in made]
    try:
        yield WireSink(kind, pipes)
    finally:
        for pipe in pipes:
            pipe.transport.close()


class HeldRun:
    """What waits to be appended to a run; one append at a time, as a worker does it."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.last = lease.last
        self.entries: list[Entry] = []
        self.busy = False


class StoreSink:
    """Appends to runs by Jackline's own store: what gathers while an append is in flight goes in the next."""

    def __init__(self, store: Store, group: asyncio.TaskGroup) -> None:
        self._store = store
        self._group = group
        self.runs: list[HeldRun] = []
        """Those that `open` made."""
        self._waiting = 0

    async def open(self, channels: int, fill: int) -> list[str]:
        """Begin and claim as many runs."""
        turn = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            begun = [group.create_task(self._begin(turn)) for _ in range(channels)]
        self.runs = [task.result() for task in begun]
        for run in self.runs:
            await self._fill(run, fill)
        return [run.lease.run_id for run in self.runs]

    async def _begin(self, turn: asyncio.Semaphore) -> HeldRun:
        async with turn:
            message = Message(role="user", content="speak")
            await Commands(self._store).start(by=PRINCIPAL, agent=AGENT, messages=[message])
            serves = [Serves(name=AGENT, revision="1")]
            while (lease := await self._store.claim("bench", _LEASE_SECONDS, serves)) is None:
                await self._store.wait_due(1.0)
            return HeldRun(lease)

    async def _fill(self, run: HeldRun, fill: int) -> None:
        marks = Marks()
        for at in range(0, fill, _GROUP):
            count = min(_GROUP, fill - at)
            await self.append(run, [Entry("token", body(marks.next())) for _ in range(count)])

    def send(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """See `Sink`."""
        self._waiting += len(batch)
        for channel, data in batch:
            run = self.runs[channel]
            run.entries.append(Entry("token", data))
            if not run.busy:
                run.busy = True
                self._group.create_task(self._drain(run))

    async def _drain(self, run: HeldRun) -> None:
        while run.entries:
            entries, run.entries = run.entries, []
            await self.append(run, entries)
            self._waiting -= len(entries)
        run.busy = False

    async def append(self, run: HeldRun, entries: list[Entry]) -> None:
        """Append to a run that nothing is sent to, and wait until that is done."""
        appended = await self._store.append(
            run.lease.run_id, entries, fence=run.lease.generation, expect=run.last, lazy=True
        )
        run.last = appended.last

    def waiting(self) -> int:
        """See `Sink`."""
        return self._waiting


class _Pipe(asyncio.Protocol):
    """A connection whose answers are not read, only taken."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.room = asyncio.Event()
        """Set while what is written is taken."""
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not `isinstance`: uvloop's are of a class of its own.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        del data


class WireSink:
    """Writes requests and does not wait for their answers: the cheapest that a publisher can be."""

    def __init__(self, kind: str, pipes: list[_Pipe]) -> None:
        self._pipes = pipes
        self._kind = kind
        self._names: list[bytes] = []

    async def open(self, channels: int, fill: int) -> list[str]:
        """See `Sink`; `fill` makes entries of the stream `log:NAME` of a Redis."""
        self._names = [b"c%d" % n for n in range(channels)]
        transport, marks = self._pipes[0].transport, Marks()
        for name in self._names if fill else ():
            for at in range(0, fill, _GROUP):
                data = (body(marks.next()) for _ in range(min(_GROUP, fill - at)))
                adds = [_command(b"XADD", b"log:" + name, b"*", b"d", one) for one in data]
                transport.write(b"".join(adds))
                await self._pipes[0].room.wait()
        return [name.decode() for name in self._names]

    def send(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """See `Sink`."""
        parts: list[list[bytes]] = [[] for _ in self._pipes]
        for channel, data in batch:
            parts[channel % len(parts)].append(self._request(self._names[channel], data))
        for pipe, requests in zip(self._pipes, parts, strict=True):
            if requests:
                pipe.transport.write(b"".join(requests))

    def _request(self, name: bytes, data: bytes) -> bytes:
        match self._kind:
            case "nchan":
                head = b"POST /pub/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (name, len(data))
                return head + data
            case "lines":
                return b"%b %b\n" % (name, data)
            case "history":
                return _command(b"RPUSH", b"history:" + name, data) + _command(b"PUBLISH", name, data)
            case _:
                return _command(b"PUBLISH", name, data)

    def waiting(self) -> int:
        """See `Sink`."""
        return sum(pipe.transport.get_write_buffer_size() for pipe in self._pipes) // _BUFFER_BYTES


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
