"""The embedded store: one SQLite file of one machine, shared by its web and worker processes.

Each process has a thread that writes, in groups, and one that reads. Hints to the other processes
go over the loopback; a poll of the file, only while somebody waits, makes up for lost ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError, EntryTooLarge
from jackline.events import in_feed
from jackline.log import sqlite_feed as feeding
from jackline.log import sqlite_keeping as keeping
from jackline.log import sqlite_reads as reads
from jackline.log import sqlite_writes as writes
from jackline.log.base import KEEP, MAX_ENTRY_BYTES, NeverShort
from jackline.log.feed import FEED_ENTRIES
from jackline.log.packing import chunks
from jackline.log.sqlite_hints import DUE, Sender, Waiters, digest, digests, listen, register, unregister
from jackline.log.sqlite_lane import Lane
from jackline.log.sqlite_schema import Synchronous, connect, prepare

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from jackline.events import Entry
    from jackline.log.base import (
        Appended,
        Artifact,
        Begun,
        Conversation,
        Due,
        Head,
        Lease,
        News,
        Nobody,
        Page,
        Reservation,
        Serves,
        Start,
    )
    from jackline.log.feed import FeedPage
    from jackline.log.sqlite_lane import Changed

_POLL_SECONDS: Final = 0.2
"""How long a lost hint can cost at most. A look at an unchanged file takes some 50 µs."""


class SqliteStore(NeverShort):
    """A `Store` in the file `jackline.db` of a directory; made by `open`.

    Durability (G8): with `synchronous="FULL"` an acknowledged append is on the disk, and survives
    `kill -9` and a power cut; with "NORMAL" it survives `kill -9` only.
    """

    def __init__(
        self,
        path: Path,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        *,
        clock: Callable[[], float],
        max_entry_bytes: int,
        disk_reserve: int,
        in_feed: Callable[[Entry], bool],
        feed_entries: int,
    ) -> None:
        """For `open` only."""
        self._in_feed = in_feed
        self._feed_entries = feed_entries
        self._path = path
        self._disk_reserve = disk_reserve
        self._max_entry_bytes = max_entry_bytes
        self._loop = asyncio.get_running_loop()
        self._waiters = Waiters()
        self._sender = Sender()
        self._writer = Lane(writing, path, begin="BEGIN IMMEDIATE", clock=clock, committed=self._tell)
        self._reader = Lane(reading, path, begin="BEGIN", clock=clock)
        self._receiving: asyncio.DatagramTransport | None = None
        self._version = 0
        self._polling: asyncio.TimerHandle | None = None
        self._closed = False
        # What the newest `claim` had seen. `wait_due` returns at once when a run became due between
        # the two; without it a run that came due just then would wait for the whole timeout.
        self._claimed_at = (0, 0)

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        synchronous: Synchronous = "FULL",
        clock: Callable[[], float] = time.time,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        disk_reserve: int = 0,
        feed: Callable[[Entry], bool] = in_feed,
        feed_entries: int = FEED_ENTRIES,
    ) -> SqliteStore:
        """Open or make the store of `directory`. `clock`: seconds since 1970. `disk_reserve`: bytes
        that must be free on its disk, or the store counts as full. `feed`: which entries are in the feed,
        which holds about the newest `feed_entries`.

        Raises `ConfigError`, which says what to do, when the directory or the file cannot be
        used or was written by a version too new.
        """
        path = await asyncio.to_thread(prepare, directory)
        writing = await asyncio.to_thread(connect, path, synchronous)
        try:
            reading = await asyncio.to_thread(connect, path, synchronous)
        except BaseException:
            writing.close()
            raise
        store = cls(
            path,
            writing,
            reading,
            clock=clock,
            max_entry_bytes=max_entry_bytes,
            disk_reserve=disk_reserve,
            in_feed=feed,
            feed_entries=feed_entries,
        )
        try:
            await store._listen()
        except BaseException:
            await store.aclose()
            raise
        return store

    async def _listen(self) -> None:
        try:
            self._receiving, port = await listen(self._waiters)
        except OSError as error:
            raise ConfigError(
                f"no UDP port could be opened on 127.0.0.1 ({error.strerror}), by which the processes of one "
                "store wake each other. Allow the loopback."
            ) from error
        self._sender.own_port = port
        await self._writer.submit(lambda step: register(step, port))

    # -- the log -----------------------------------------------------------------------------

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        """See `EventLog.append`."""
        del lazy  # a commit is a commit
        self._check_sizes(entries)
        if len(once) > len(entries) or len(set(once)) < len(once):
            raise ValueError("each name of `once` needs an entry of its own")
        what = writes.Append(
            run_id=run_id,
            entries=tuple(entries),
            fence=fence,
            expect=expect,
            once=tuple(once),
            checkpoint=checkpoint,
            summary=summary,
            due=due,
            close=close,
            in_feed=self._places(entries),
            feed_entries=self._feed_entries,
        )
        return await self._writer.submit(lambda step: writes.append(step, what))

    def _places(self, entries: Sequence[Entry]) -> list[int]:
        """Of the entries that belong in the feed."""
        return [at for at, entry in enumerate(entries) if self._in_feed(entry)]

    def _check_sizes(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if len(entry.body) > self._max_entry_bytes:
                raise EntryTooLarge(len(entry.body), self._max_entry_bytes)

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        """See `EventLog.read`."""
        page = await self._reader.submit(lambda step: reads.read(step, run_id, after, limit, max_bytes))
        self._waiters.was_read(run_id, page.last)
        return page

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        """See `EventLog.wait`."""
        # In this order: what comes between the look and the waiting wakes the waiter already.
        with self._waiters.waiting(run_id, after) as waiter:
            if not await self._reader.submit(lambda step: reads.has_moved(step, run_id, after)):
                await self._until(waiter.woken, timeout)

    @contextlib.contextmanager
    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        """See `EventLog.listen`."""
        with self._waiters.listening(run_id, hear):
            self._keep_polling()
            yield

    async def head(self, run_id: str) -> Head:
        """See `EventLog.head`."""
        return await self._reader.submit(lambda step: reads.head(step, run_id))

    async def checkpoint(self, run_id: str) -> bytes | None:
        """See `EventLog.checkpoint`."""
        return await self._reader.submit(lambda step: reads.checkpoint(step, run_id))

    # -- leases ------------------------------------------------------------------------------

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        """See `Leases.claim`."""
        changes = self._waiters.due_changes
        # A look first: idle workers must not take the write lock from those who have something to say.
        due = await self._reader.submit(lambda step: reads.due(step, step.now_ms))
        self._claimed_at = (changes, due.at_ms)
        if not due.now:
            return None
        serves = tuple(serves)
        return await self._writer.submit(lambda step: writes.claim(step, worker, ttl, serves))

    async def wait_due(self, timeout: float) -> None:
        """See `Leases.wait_due`."""
        changes, since_ms = self._claimed_at
        with self._waiters.waiting_for_due() as woken:
            due = await self._reader.submit(lambda step: reads.due(step, since_ms))
            if self._waiters.due_changes == changes:
                if due.next_ms is not None:
                    timeout = min(timeout, max(0, due.next_ms - due.at_ms) / 1000)
                await self._until(woken, timeout)
        self._claimed_at = (self._waiters.due_changes, await self.now_ms())

    async def renew(self, lease: Lease, ttl: float) -> None:
        """See `Leases.renew`."""
        await self._writer.submit(lambda step: writes.renew(step, lease, ttl))

    async def release(self, lease: Lease, due: Due, *, expect: int) -> None:
        """See `Leases.release`."""
        await self._writer.submit(lambda step: writes.release(step, lease, due, expect))

    async def beat(self, worker: str, ttl: float, *, idle_ms: int, catalogue: bytes | None = None) -> None:
        """See `Leases.beat`."""
        await self._writer.submit(lambda step: writes.beat(step, worker, ttl, idle_ms, catalogue))

    async def catalogues(self) -> list[bytes]:
        """See `Leases.catalogues`."""
        return await self._reader.submit(reads.catalogues)

    # -- the directory -----------------------------------------------------------------------

    async def begin(self, start: Start) -> Begun:
        """See `Directory.begin`."""
        places, held = self._places(start.entries), self._feed_entries
        return await self._writer.submit(lambda step: writes.begin(step, start, places, held))

    async def reserve(self, key: str, reservation: Reservation) -> Reservation:
        """See `Directory.reserve`."""
        return await self._writer.submit(lambda step: writes.reserve(step, key, reservation))

    async def conversation(self, conversation_id: str) -> Conversation:
        """See `Directory.conversation`."""
        return await self._reader.submit(lambda step: reads.conversation(step, conversation_id))

    async def runs(
        self, *, cursor: str = "", limit: int = 100, open_only: bool = False, conversation_id: str = ""
    ) -> tuple[list[Head], str]:
        """See `Directory.runs`. Raises `ValueError` for a cursor that is none of its own."""
        before = int(cursor) if cursor else None
        return await self._reader.submit(
            lambda step: reads.runs(step, before, limit, conversation_id, open_only=open_only)
        )

    async def conversations(self, *, cursor: str = "", limit: int = 100) -> tuple[list[Conversation], str]:
        """See `Directory.conversations`. Raises `ValueError` for a cursor that is none of its own."""
        before = int(cursor) if cursor else None
        return await self._reader.submit(lambda step: reads.conversations(step, before, limit))

    async def overdue(self, limit: int = 100) -> list[Head]:
        """See `Directory.overdue`."""
        return await self._reader.submit(lambda step: reads.overdue(step, limit))

    async def delete(self, run_or_conversation_id: str) -> None:
        """See `Directory.delete`."""
        await self._writer.submit(lambda step: writes.delete(step, run_or_conversation_id))

    # -- the feed ----------------------------------------------------------------------------

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        """See `Feed.read_feed`."""
        held = self._feed_entries
        page = await self._reader.submit(lambda step: feeding.read(step, cursor, limit, held))
        self._waiters.was_read(feeding.FEED, feeding.place(page.next))
        return page

    async def feed_end(self) -> str:
        """See `Feed.feed_end`."""
        return await self._reader.submit(feeding.end)

    @contextlib.contextmanager
    def listen_feed(self, hear: Callable[[], None]) -> Generator[None]:
        """See `Feed.listen_feed`."""
        with self.listen(feeding.FEED, lambda _: hear()):
            yield

    # -- artifacts ---------------------------------------------------------------------------

    async def put_artifact(self, run_id: str, artifact_id: str, artifact: Artifact) -> None:
        """See `Artifacts.put_artifact`."""
        await self._writer.submit(lambda step: writes.put_artifact(step, run_id, artifact_id, artifact))

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact | None:
        """See `Artifacts.artifact`."""
        return await self._reader.submit(lambda step: reads.artifact(step, run_id, artifact_id))

    # -- keeping -----------------------------------------------------------------------------

    async def ended(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.ended`."""
        return await self._reader.submit(lambda step: keeping.ended(step, before_ms, limit))

    async def forget(self, conversation_id: str, before_ms: int) -> bool:
        """See `Keeping.forget`."""
        return await self._writer.submit(lambda step: keeping.forget(step, conversation_id, before_ms))

    async def loose(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.loose`."""
        return await self._reader.submit(lambda step: keeping.loose(step, before_ms, limit))

    async def compact(self, run_id: str) -> None:
        """See `Keeping.compact`. In portions, so that the file is never locked for long."""
        while (portion := await self._reader.submit(lambda step: keeping.portion(step, run_id))) is not None:
            made = await asyncio.to_thread(list, chunks(portion))
            await self._writer.submit(lambda step, made=made: keeping.compact(step, run_id, made))

    async def hold(self, name: str, holder: str, ttl: float) -> bool:
        """See `Keeping.hold`."""
        return await self._writer.submit(lambda step: keeping.hold(step, name, holder, ttl))

    async def fullness(self) -> float | None:
        """See `Keeping.fullness`: of what its disk has for it."""
        reserve = self._disk_reserve
        return await self._reader.submit(lambda step: keeping.fullness(step, self._path, reserve))

    # -- the store ---------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """See `Store.now_ms`."""
        return await self._reader.submit(lambda step: step.now_ms)

    async def ping(self) -> None:
        """See `Store.ping`. Writes, so that a lock that is stuck shows, and a disk that is full."""
        await self._writer.submit(writes.ping)

    def describe(self) -> str:
        """See `Store.describe`."""
        return f"SQLite {self._path}"

    async def aclose(self) -> None:
        """See `Store.aclose`. Requests already made are still done, whatever happens to this call."""
        if not self._closed:
            self._closed = True
            port = self._sender.own_port
            # Its answer is of no interest: a port left behind is removed by who opens the store next.
            farewell = self._writer.submit(lambda step: unregister(step, port))
            farewell.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._writer.close()
            self._reader.close()
            if self._polling is not None:
                self._polling.cancel()
            if self._receiving is not None:
                self._receiving.close()
            self._waiters.wake_all()
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._writer.join()
        self._reader.join()
        self._sender.close()

    # -- waiting -----------------------------------------------------------------------------

    def _tell(self, sql: sqlite3.Connection, changed: Changed) -> None:
        """In the writer's thread, after a commit."""
        hints = digests(changed)
        # The others first: the loop's thread, once woken, would keep this one from running.
        self._sender.send(sql, hints)
        # A loop gone without `aclose` raises.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._waiters.wake, hints, changed.runs)

    async def _until(self, woken: asyncio.Event, timeout: float) -> None:
        self._keep_polling()
        try:
            async with asyncio.timeout(timeout):
                await woken.wait()
        except TimeoutError:
            return

    def _keep_polling(self) -> None:
        if self._polling is None and not self._closed:
            self._polling = self._loop.call_later(_POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        self._polling = None
        waiting = self._waiters.runs
        since_ms = self._claimed_at[1] if self._waiters.any_for_due else None
        if self._closed or (not waiting and since_ms is None):
            return
        version = self._version
        answer = self._reader.submit(lambda step: reads.news(step, version, waiting, since_ms))
        answer.add_done_callback(self._polled)

    def _polled(self, answer: asyncio.Future[reads.News]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            news = answer.result()
            self._version = news.version
            self._waiters.wake(map(digest, news.moved))
            if news.due:
                self._waiters.wake([DUE])
        if not self._closed:
            self._polling = self._loop.call_later(_POLL_SECONDS, self._poll)
