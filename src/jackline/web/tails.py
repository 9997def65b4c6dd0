"""The tails of the runs that are watched here: one per process and run, however many viewers.

A tail follows its run's log, folds it, and holds the newest entries as encoded frames in a ring.
Viewers (`viewers.py`) are cursors into it. Nothing is queued for anybody: a viewer that does not
read costs nobody anything and, once it is older than the ring, reads the log again (G2, G10).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from jackline.errors import IllegalTransition, InDoubt, RunClosed, StoreUnavailable, UnknownRun
from jackline.events import decode, timestamp
from jackline.run import RunState
from jackline.web import frames

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from jackline.events import Entry
    from jackline.log.base import EventLog, Head, Page

RING_BYTES: Final = 1 << 20
"""What a tail holds of its run: enough for a viewer that is a second late in a fast run."""

RING_ENTRIES: Final = 4096
LINGER_SECONDS: Final = 5.0
"""A tail stays so long after its last viewer, so that a reconnection finds it warm."""

POLL_SECONDS: Final = 5.0
"""The most that a lost hint can cost."""

_AWAY_PAUSE_SECONDS: Final = 0.25
_HEAD_TIMEOUT_SECONDS: Final = (0.5, 5.0)
"""How long a heartbeat may wait for the store, at least and at most, before it says `away`."""

_LOG = logging.getLogger(__name__)


class Slot(NamedTuple):
    """An entry in the ring, with its frame."""

    seq: int
    entry: Entry
    frame: bytes


class Tail:
    """One run, followed. `news` is set, and replaced by a new event, whenever something changed:
    take it before you look, and no change is missed."""

    def __init__(
        self, log: EventLog, run_id: str, *, heartbeat: float, now: Callable[[], float], ring_bytes: int
    ) -> None:
        self.run_id = run_id
        self.state = RunState(run_id)
        self.last = 0
        self.epoch = -1
        """-1 until the first page was read."""
        self.cuts: tuple[int, ...] = ()
        """Where the log ended each time that it came back shorter for good."""
        self.doubt = False
        """The log came back, and its worker has not yet said whether anything is missing."""
        self.restored = False
        """The log came back, and nothing was written since."""
        self.held_from = 1
        """The oldest entry that the log still had when it was first read here."""
        self.closed = False
        self.stale = False
        """The log came back shorter, and has not been read again yet: nothing here can be told."""
        self.gone = False
        self.away = False
        self.viewers = 0
        self.beats = 0
        self.beat = b""
        self.news = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self._log = log
        self._heartbeat = heartbeat
        self._now = now
        self._head: Head | None = None
        self._ring: list[Slot] = []
        self._ring_bytes = 0
        self._ring_limit = ring_bytes
        self._joined: tuple[int, int, bytes] = (0, 0, b"")

    @property
    def name(self) -> str:
        """The name of the run's state."""
        return self.state.state or "queued"

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.state.paused

    @property
    def ring_from(self) -> int:
        """The seq of the oldest entry in the ring; one more than the last when it is empty."""
        return self._ring[0].seq if self._ring else self.last + 1

    def wake(self) -> None:
        """Have every viewer look again."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    async def refresh(self) -> None:
        """Read up to the log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        while True:
            after = self.last
            page = await self._log.read(self.run_id, after)
            if self.last < after:
                continue  # the tail started over meanwhile: this page is of no use
            self.take(page)
            if page.epoch == self.epoch and await self._ahead(self.last, page):
                continue
            if self.last >= page.last:
                break
        if self.stale:
            self.stale = False
            self.wake()

    async def seen(self, seq: int) -> None:
        """A client has seen entry `seq` in this epoch. Should the log have come back without it, for
        good, it is cut. Raises as `refresh` does."""
        if seq > self.last and self.restored and not self.doubt:
            await self._ahead(seq, await self._log.read(self.run_id, self.last, 1))
            await self.refresh()

    async def _ahead(self, seq: int, page: Page) -> bool:
        """Whether entry `seq`, which was seen, is gone for good: then the log was cut."""
        if page.last >= seq or not page.restored or page.doubt:
            return False
        with suppress(InDoubt, RunClosed):
            await self._log.cut(self.run_id, page)
        return True

    def take(self, page: Page) -> None:
        """Take in a page, whoever read it; what is known already is passed over."""
        if page.epoch < self.epoch:
            return
        self.doubt, self.restored = page.doubt, page.restored
        if page.epoch > self.epoch:
            known, self.epoch, self.cuts = self.epoch, page.epoch, page.cuts
            if known != -1:
                self._start_over()
                self.stale = True
                return  # the page was read after a cursor of the old epoch
        before = self.last, self.closed
        for seq, entry in enumerate(page.entries, page.first):
            if seq > self.last:
                self._fold(seq, entry)
                if page.last - seq < RING_ENTRIES:
                    self._keep(seq, entry)
        self._trim()
        self.closed = page.closed and self.last >= page.last
        if before != (self.last, self.closed):
            self.wake()

    def joined(self, after: int, limit: int) -> tuple[int, bytes]:
        """The frames after `after` that the ring holds, up to about `limit` bytes, and the seq
        that they reach. `after + 1` must not be older than the ring."""
        start = after + 1 - self.ring_from
        end, size = start, 0
        while end < len(self._ring) and (size == 0 or size + len(self._ring[end].frame) <= limit):
            size += len(self._ring[end].frame)
            end += 1
        last = after + end - start
        if self._joined[:2] != (after, last):
            # Viewers that are up to date all ask for the same bytes.
            self._joined = (after, last, b"".join(slot.frame for slot in self._ring[start:end]))
        return last, self._joined[2]

    def entries(self, after: int, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """Up to `limit` entries and about `max_bytes` after `after` from the ring, in which `after + 1`
        must be; at least one."""
        start = after + 1 - self.ring_from
        found: list[tuple[int, Entry]] = []
        size = 0
        for slot in self._ring[start : start + limit]:
            size += len(slot.frame)
            if found and size > max_bytes:
                break
            found.append((slot.seq, slot.entry))
        return found

    async def read(self, after: int, limit: int, max_bytes: int) -> Page:
        """Entries that the ring no longer has, from the log. Raises as `EventLog.read` does."""
        return await self._log.read(self.run_id, after, limit, max_bytes)

    @property
    def followed(self) -> bool:
        """Whether it was followed to the end. A store that came back without the ending opens it again."""
        return any(task.done() for task in self.tasks)

    def stop(self) -> None:
        """End the tasks."""
        for task in self.tasks:
            task.cancel()

    async def follow(self) -> None:
        """Read whatever comes, until the run has ended."""
        while not self.closed:
            try:
                await self.refresh()
                self.away = False
                if not self.closed:
                    await self._log.wait(self.run_id, self.last, POLL_SECONDS)
            except StoreUnavailable:
                self.away = True
                await asyncio.sleep(_AWAY_PAUSE_SECONDS)
            except UnknownRun:
                self.gone = True
                self.wake()
                return

    async def pulse(self) -> None:
        """Make one heartbeat per interval for all viewers, by the wall clock (G9)."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat
        while not self.gone:
            await asyncio.sleep(due - loop.time())
            reachable = await self._read_head()
            self.beat = frames.heartbeat(self._make_beat(reachable=reachable))
            self.beats += 1
            self.wake()
            missed = max(0.0, loop.time() - due) // self._heartbeat
            due += (missed + 1) * self._heartbeat

    async def _read_head(self) -> bool:
        shortest, longest = _HEAD_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout(max(shortest, min(longest, self._heartbeat / 2))):
                self._head = await self._log.head(self.run_id)
        except (StoreUnavailable, TimeoutError):
            return False
        except UnknownRun:
            self.gone = True
        return True

    def _make_beat(self, *, reachable: bool) -> frames.Heartbeat:
        head, now = self._head, self._now()
        worker = "none" if head is None else head.worker
        idle_ms = 0 if head is None else head.idle_ms
        if (
            head is not None
            and worker == "none"
            and not head.closed
            and self.name in {"executing", "stopping"}
        ):
            # Its worker has died or was killed, and its lease was given up at once.
            worker, idle_ms = "lost", max(0, round(now * 1000) - head.updated_ms)
        return frames.Heartbeat(
            ts=timestamp(now),
            run_id=self.run_id,
            state=self.name,
            seq=self.last,
            worker=worker,
            idle_ms=idle_ms,
            store="away" if not reachable else "doubt" if self.doubt else None,
        )

    def _fold(self, seq: int, entry: Entry) -> None:
        if seq != self.last + 1:
            # The log no longer holds what lies between. What is left is folded as well as it can.
            self._start_over(held_from=seq)
            self.state.state = "executing"
            self.state.seq = seq - 1
        try:
            self.state.apply(seq, decode(entry))
        except (IllegalTransition, ValueError):
            # The log is what viewers are shown, whatever the fold thinks of it (a time that is none).
            self.state.seq = seq
        self.last = seq

    def _keep(self, seq: int, entry: Entry) -> None:
        slot = Slot(seq, entry, frames.entry(self.run_id, seq, entry, self.epoch))
        self._ring.append(slot)
        self._ring_bytes += len(slot.frame)

    def _trim(self) -> None:
        drop = max(0, len(self._ring) - RING_ENTRIES)
        size = self._ring_bytes - sum(len(slot.frame) for slot in self._ring[:drop])
        while size > self._ring_limit and drop < len(self._ring) - 1:
            size -= len(self._ring[drop].frame)
            drop += 1
        del self._ring[:drop]
        self._ring_bytes = size

    def _start_over(self, held_from: int = 1) -> None:
        self.state = RunState(self.run_id)
        self.last = 0
        self.held_from = held_from
        self.closed = False
        self._ring = []
        self._ring_bytes = 0
        self._joined = (0, 0, b"")


class Tails:
    """The tails of this process."""

    def __init__(
        self,
        log: EventLog,
        *,
        heartbeat: float,
        now: Callable[[], float],
        ring_bytes: int = RING_BYTES,
        linger: float = LINGER_SECONDS,
    ) -> None:
        self.draining = False
        self._log = log
        self._heartbeat = heartbeat
        self._now = now
        self._ring_bytes = ring_bytes
        self._linger = linger
        self._tails: dict[str, Tail] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Within it runs can be watched."""
        async with asyncio.TaskGroup() as self._tasks:
            yield
            for tail in list(self._tails.values()):
                self._drop(tail)
        self._tasks = None

    @property
    def viewers(self) -> int:
        """How many viewers there are."""
        return sum(tail.viewers for tail in self._tails.values())

    @property
    def watched(self) -> tuple[str, ...]:
        """The runs that have a tail."""
        return tuple(self._tails)

    def drain(self) -> None:
        """The server is going: every viewer says `shutdown` and ends."""
        self.draining = True
        for tail in self._tails.values():
            tail.wake()

    @asynccontextmanager
    async def watch(self, run_id: str) -> AsyncGenerator[Tail, None]:
        """The run's tail, read up to the log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        if self._tasks is None:
            raise RuntimeError("the app is not running: nothing can be watched")
        tail = self._tails.get(run_id)
        if tail is None:
            tail = self._tails[run_id] = self._make(run_id)
        tail.viewers += 1
        try:
            await tail.refresh()
            if not tail.tasks or (tail.followed and not tail.closed):
                tail.stop()
                tail.tasks = [
                    self._tasks.create_task(self._guard(tail, work)) for work in (tail.follow(), tail.pulse())
                ]
            yield tail
        finally:
            tail.viewers -= 1
            if not tail.viewers:
                linger = self._linger if tail.tasks else 0
                asyncio.get_running_loop().call_later(linger, self._drop_idle, tail)

    async def state(self, run_id: str) -> RunState:
        """The fold of a run up to its log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        tail = self._tails.get(run_id) or self._make(run_id)
        await tail.refresh()
        return tail.state

    def forget(self, run_id: str) -> None:
        """Let go of a run that was deleted."""
        tail = self._tails.get(run_id)
        if tail is not None:
            tail.gone = True
            tail.wake()
            self._drop(tail)

    def _make(self, run_id: str) -> Tail:
        return Tail(self._log, run_id, heartbeat=self._heartbeat, now=self._now, ring_bytes=self._ring_bytes)

    async def _guard(self, tail: Tail, work: Coroutine[None, None, None]) -> None:
        """The top of a tail's task. A fault in one run's tail must not end the other runs' viewers."""
        try:
            await work
        except Exception:  # noqa: BLE001 (this is a task's top)
            _LOG.exception("the tail of run %s failed", tail.run_id)
            tail.gone = True
            tail.wake()
        if tail.gone:
            self._drop(tail)

    def _drop_idle(self, tail: Tail) -> None:
        if not tail.viewers and self._tails.get(tail.run_id) is tail:
            self._drop(tail)

    def _drop(self, tail: Tail) -> None:
        if self._tails.get(tail.run_id) is tail:
            del self._tails[tail.run_id]
        tail.stop()
