"""Waking those who wait: in this process directly, in others by a small datagram on the loopback.

A datagram carries digests, never ids: a port may by now belong to another user's process. One
that is lost, or forged, costs a needless or a later look at the file and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import sqlite3
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from jackline.log.base import News
    from jackline.log.sqlite_lane import Changed, Step

_LOOPBACK: Final = "127.0.0.1"
_DIGEST: Final = 8
"""Bytes of a digest: two runs of the same one would only wake each other's readers."""
_DATAGRAM: Final = 128 * _DIGEST
"""Bytes of a datagram: below every loopback's limit, and few."""

_NOTHING: Final[Mapping[str, News | None]] = MappingProxyType({})

DUE: Final = bytes(_DIGEST)
"""Runs can be claimed that could not before."""


def digest(run_id: str) -> bytes:
    """What stands for a run in a datagram."""
    return hashlib.blake2b(run_id.encode(), digest_size=_DIGEST).digest()


def digests(changed: Changed) -> list[bytes]:
    """What stands for all that a transaction changed."""
    return [*map(digest, changed.runs), *([DUE] if changed.due else [])]


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """Somebody who waits for entries of `run_id` after `after`."""

    run_id: str
    after: int
    woken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class Listener:
    """Somebody who hears whatever happens to `run_id`, and has read it up to `after`."""

    run_id: str
    hear: Callable[[News | None], None]
    after: int = 0


_W = TypeVar("_W", Waiter, Listener)


@contextlib.contextmanager
def _entered(by_digest: dict[bytes, set[_W]], who: _W) -> Generator[None]:
    """Somebody is found under the run's digest inside of this block."""
    key = digest(who.run_id)
    by_digest.setdefault(key, set()).add(who)
    try:
        yield
    finally:
        by_digest[key].discard(who)
        if not by_digest[key]:
            del by_digest[key]


class Waiters:
    """Who waits in this process. Only for the event loop's thread."""

    def __init__(self) -> None:
        self._listeners: dict[bytes, set[Listener]] = {}
        self._by_digest: dict[bytes, set[Waiter]] = {}
        self._for_due: set[asyncio.Event] = set()
        self.due_changes = 0
        """How often runs became due, as far as hints told."""

    @contextlib.contextmanager
    def waiting(self, run_id: str, after: int) -> Generator[Waiter]:
        """Somebody waits for a run inside of this block."""
        waiter = Waiter(run_id, after)
        with _entered(self._by_digest, waiter):
            yield waiter

    @contextlib.contextmanager
    def listening(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        """Somebody listens to a run inside of this block."""
        with _entered(self._listeners, Listener(run_id, hear)):
            yield

    def was_read(self, run_id: str, last: int) -> None:
        """A run was read up to `last`: who listens to it need not be told of that again."""
        if self._listeners:
            for listener in self._listeners.get(digest(run_id), ()):
                listener.after = max(listener.after, last)

    @contextlib.contextmanager
    def waiting_for_due(self) -> Generator[asyncio.Event]:
        """Somebody waits for a run to become due inside of this block."""
        woken = asyncio.Event()
        self._for_due.add(woken)
        try:
            yield woken
        finally:
            self._for_due.discard(woken)

    def wake(self, hints: Iterable[bytes], carried: Mapping[str, News | None] = _NOTHING) -> None:
        """Wake those whom the digests concern. `carried`: what was appended, where that is known here."""
        for hint in hints:
            if hint == DUE:
                self.due_changes += 1
                for woken in self._for_due:
                    woken.set()
            for waiter in self._by_digest.get(hint, ()):
                waiter.woken.set()
            for listener in tuple(self._listeners.get(hint, ())):
                news = carried.get(listener.run_id)
                if news is not None and news.first <= listener.after + 1:
                    listener.after = max(listener.after, news.first + len(news.entries) - 1)
                listener.hear(news)

    def wake_all(self) -> None:
        """Wake everybody: the store closes."""
        self.wake([DUE, *self._by_digest, *self._listeners])

    @property
    def runs(self) -> list[tuple[str, int]]:
        """The runs waited for, each with the seq from which on somebody waits."""
        waiting = [
            (waiter.run_id, waiter.after) for waiters in self._by_digest.values() for waiter in waiters
        ]
        listening = [(each.run_id, each.after) for found in self._listeners.values() for each in found]
        return waiting + listening

    @property
    def any_for_due(self) -> bool:
        """Whether somebody waits for a run to become due."""
        return bool(self._for_due)


class Receiver(asyncio.DatagramProtocol):
    """Takes other processes' hints."""

    def __init__(self, waiters: Waiters) -> None:
        self._waiters = waiters

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Wake those whom it concerns; what is no datagram of ours wakes nobody."""
        self._waiters.wake(data[i : i + _DIGEST] for i in range(0, len(data), _DIGEST))


async def listen(waiters: Waiters) -> tuple[asyncio.DatagramTransport, int]:
    """Open this process's port for hints. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Receiver(waiters), local_addr=(_LOOPBACK, 0))
    port: int = transport.get_extra_info("sockname")[1]
    return transport, port


class Sender:
    """Tells other processes. Only for the writer's thread, save `close`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.own_port = 0
        """The port of this process, which is told directly."""

    def send(self, sql: sqlite3.Connection, hints: list[bytes]) -> None:
        """Send the hints to every other registered process."""
        try:
            rows = sql.execute("SELECT port FROM listeners WHERE port != ?", (self.own_port,)).fetchall()
        except sqlite3.Error:
            return  # what was asked for is written already; the others' polls find it
        data = b"".join(hints)
        for (port,) in rows:
            for i in range(0, len(data), _DATAGRAM):
                # A full buffer or a port gone: the other's poll finds what the hint would have told.
                with contextlib.suppress(OSError):
                    self._socket.sendto(data[i : i + _DATAGRAM], (_LOOPBACK, port))

    def close(self) -> None:
        """After the writer's thread has ended."""
        self._socket.close()


def register(step: Step, port: int) -> None:
    """Enter this process's port, and remove those of processes that ended without `unregister`."""
    rows = step.sql.execute("SELECT port, pid FROM listeners").fetchall()
    for other, pid in rows:
        if not _lives(pid):
            step.sql.execute("DELETE FROM listeners WHERE port = ?", (other,))
    step.sql.execute("INSERT OR REPLACE INTO listeners (port, pid) VALUES (?, ?)", (port, os.getpid()))


def unregister(step: Step, port: int) -> None:
    """Remove this process's port."""
    step.sql.execute("DELETE FROM listeners WHERE port = ?", (port,))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
