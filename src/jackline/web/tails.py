"""The tails of the runs that are watched here: one per process and run, however many viewers.

A tail follows its run's log and holds the newest entries as encoded frames in a ring. Viewers
(`viewers.py`) are cursors into it. Nothing is queued for anybody: a viewer that does not read costs
nobody anything and, once it is older than the ring, reads the log again (G2, G10).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from jackline import summary as summaries
from jackline.errors import InDoubt, RunClosed, StoreUnavailable, UnknownRun
from jackline.events import Workflow, decode, timestamp
from jackline.web import frames
from jackline.web.fold import Fold
from jackline.web.pages import CACHE_BYTES, Pages
from jackline.web.ring import RING_BYTES, Ring

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from jackline.events import Entry, Receipt
    from jackline.log.base import EventLog, Head, News, Page
    from jackline.run import RunState
    from jackline.summary import Summary
    from jackline.web.viewers import Viewer

LINGER_SECONDS: Final = 5.0

POLL_SECONDS: Final = 5.0
"""The most that a lost hint can cost."""

_WARM_ENTRIES: Final = 256
"""How many of the newest entries a new tail reads."""

_PORTION: Final = 256
"""Viewers served in one turn of the loop: requests and other runs are not kept waiting by a crowd."""

_BEHIND: Final = 8
"""Viewers served in one turn of the loop that are behind: each may take a whole page."""

_TOGETHER: Final = 0.02
"""Heartbeats that are due within this part of their interval are made together."""

_AWAY_PAUSE_SECONDS: Final = 0.25
_HEAD_TIMEOUT_SECONDS: Final = (0.5, 5.0)
"""How long a heartbeat may wait for the store, at least and at most, before it says `away`."""

_LOG = logging.getLogger(__name__)


class Flock:
    """The viewers of one tail that are told of news together: at once, or every `tick` ms."""

    def __init__(self, tick: int) -> None:
        self.viewers: dict[Viewer, None] = {}
        self._tick = tick
        self._handle: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Something is new."""
        if self._handle is None and self.viewers:
            ring = self._loop.call_soon if not self._tick else self._later
            self._handle = ring(self._serve)

    def end(self) -> None:
        """Tell nobody any more."""
        if self._handle is not None:
            self._handle.cancel()

    def _later(self, serve: Callable[[], None]) -> asyncio.Handle:
        return self._loop.call_later(self._tick / 1000, serve)

    def _serve(self) -> None:
        self._handle = None
        if len(self.viewers) <= _PORTION:
            for viewer in tuple(self.viewers):
                viewer.look()
        else:
            self._portion(tuple(self.viewers), 0)

    def _portion(self, viewers: Sequence[Viewer], at: int) -> None:
        for viewer in viewers[at : at + _PORTION]:
            viewer.look()
        if at + _PORTION < len(viewers):
            self._loop.call_soon(self._portion, viewers, at + _PORTION)


class Tail:
    """One run, followed. `news` is set, and replaced by a new event, whenever something changed:
    take it before you look, and no change is missed. Viewers in `flocks` are told."""

    def __init__(
        self, log: EventLog, run_id: str, *, heartbeat: float, now: Callable[[], float], ring_bytes: int
    ) -> None:
        self.run_id = run_id
        self.ring = Ring(run_id, ring_bytes)
        self.fold = Fold(log, run_id)
        self.epoch = -1
        """-1 until the first page was read."""
        self.cuts: tuple[int, ...] = ()
        """Where the log ended each time that it came back shorter for good."""
        self.doubt = False
        """The log came back, and its worker has not yet said whether anything is missing."""
        self.restored = False
        """The log came back, and nothing was written since."""
        self.closed = False
        self.stale = False
        """The log came back shorter, and has not been read again yet: nothing here can be told."""
        self.gone = False
        self.away = False
        self.watchers = 0
        self.beats = 0
        self.beat = b""
        self.flocks: dict[int, Flock] = {}
        self.following: asyncio.Task[None] | None = None
        self.reading: asyncio.Future[None] | None = None
        """The next reading of the log's end, shared by all who came since the last one began."""
        self.busy = False
        """Somebody reads for those."""
        self._log = log
        self._heartbeat = heartbeat
        self._now = now
        self._head: Head | None = None
        self._summary: Summary | None = None
        self._news: asyncio.Event | None = None
        self._poke = asyncio.Event()
        self._heard = False
        self._told = 0
        """How often a hint told of something new."""

    @property
    def last(self) -> int:
        """The newest entry that is known here."""
        return self.ring.last

    @property
    def name(self) -> str:
        """The name of the run's state."""
        return self._summary.state if self._summary is not None else "queued"

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person."""
        return self._summary is not None and self.name == "awaiting_approval" and bool(self._summary.waiting)

    @property
    def receipt(self) -> Receipt | None:
        """What the run's ending says that a stop has done; None before it has ended."""
        if not self.closed or self.last < self.ring.first:
            return None
        ending = decode(self.ring.entries(self.last - 1, 1, 1)[0][1])
        return ending.receipt if isinstance(ending, Workflow) else None

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change."""
        if self._news is None:
            self._news = asyncio.Event()
        return self._news

    def wake(self) -> None:
        """Have everybody look again."""
        if self._news is not None:
            self._news.set()
            self._news = None
        for flock in self.flocks.values():
            flock.ring()

    def join(self, viewer: Viewer, tick: int) -> None:
        """Tell a viewer of news, `tick` ms after the first of them at the latest."""
        self.flocks.setdefault(tick, Flock(tick)).viewers[viewer] = None

    def leave(self, viewer: Viewer, tick: int) -> None:
        """Tell it no more."""
        flock = self.flocks[tick]
        del flock.viewers[viewer]
        if not flock.viewers:
            flock.end()
            del self.flocks[tick]

    async def refresh(self) -> None:
        """Read up to the log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        while True:
            if self.epoch == -1 or self.stale:
                page = await self._open()
            else:
                after, epoch, told = self.last, self.epoch, self._told
                page = await self._log.read(self.run_id, after)
                if self.epoch != epoch or self.last < after:
                    continue  # the tail started over meanwhile: this page is of no use
                self._take(page, told)
            if self.stale or (page.epoch == self.epoch and await self._ahead(self.last, page)):
                continue
            if self.last >= page.last:
                return

    async def _open(self) -> Page:
        """Begin near the log's end: what lies before it is read by who needs it."""
        told = self._told
        head = await self._log.head(self.run_id)
        page = await self._log.read(self.run_id, max(0, head.last - _WARM_ENTRIES))
        seq, summary = head.last, _summary(head)
        if summary is None:
            state = await self.fold.refresh()
            seq, summary = state.seq, summaries.read_summary(summaries.summarise(state))
        if self.epoch != -1 and not self.stale:
            self._take(page, told)  # another reader was first
            return page
        self.epoch, self.cuts = page.epoch, page.cuts
        self.doubt, self.restored = page.doubt, page.restored
        self.ring.begin(page.first)
        for at, entry in enumerate(page.entries, page.first):
            self.ring.add(entry, self.epoch)
            summary = _after(summary, entry) if at > seq else summary
        self._summary = summary
        self.closed = page.closed and self.last >= page.last
        self.stale = False
        self.wake()
        return page

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

    def _take(self, page: Page, told: int) -> None:
        """Take in a page, whoever read it, that was asked for when `_told` was `told`; what is known already
        is passed over."""
        if page.epoch < self.epoch or self.epoch == -1 or self.stale:
            return
        if told != self._told and page.last < self.last:
            return  # it is from before what was heard since, perhaps the ending
        self.doubt, self.restored = page.doubt, page.restored
        if page.epoch > self.epoch:
            self._start_over(page)
            return
        before = self.last, self.closed
        if self.last + 1 < page.first <= page.last + 1:
            self.ring.begin(page.first)  # the log no longer holds what lies between
        self._add(page.first, page.entries)
        self.closed = page.closed and self.last >= page.last
        if before != (self.last, self.closed):
            self.wake()

    def hear(self, news: News | None) -> None:
        """Take in what a hint carried; have the log read where that does not follow on what is known."""
        if news is None or news.epoch != self.epoch or self.stale or news.first > self.last + 1:
            self._heard = False
            self._poke.set()
            return
        last = news.first + len(news.entries) - 1
        if last <= self.last:
            return
        # Whoever appends speaks for the log: nothing is missing from it.
        self.doubt = self.restored = False
        self._heard = True
        self._told += 1
        self._add(news.first, news.entries)
        if news.closed:
            self.closed = True
            self._poke.set()
        self.wake()

    def _add(self, first: int, entries: Sequence[Entry]) -> None:
        for seq, entry in enumerate(entries, first):
            if seq > self.last:
                self.ring.add(entry, self.epoch)
                if entry.type != "token" and self._summary is not None:
                    self._summary = _after(self._summary, entry)

    def _start_over(self, page: Page) -> None:
        """The log came back shorter: the page was read after a cursor of the old epoch."""
        self.epoch, self.cuts = page.epoch, page.cuts
        self.stale, self.closed = True, False
        self.ring.begin(1)

    async def read(self, after: int, limit: int, max_bytes: int) -> Page:
        """Entries that the ring no longer has, from the log; what is new in them is taken in. Raises as
        `EventLog.read` does."""
        told = self._told
        page = await self._log.read(self.run_id, after, limit, max_bytes)
        self._take(page, told)
        return page

    async def follow(self) -> None:
        """Take in whatever comes, until the run has ended."""
        with self._log.listen(self.run_id, self.hear):
            while not self.closed:
                self._poke.clear()
                try:
                    await self.refresh()
                    self.away = False
                    if not self.closed:
                        await self._poked()
                except StoreUnavailable:
                    self.away = True
                    await asyncio.sleep(_AWAY_PAUSE_SECONDS)
                except UnknownRun:
                    self.gone = True
                    self.wake()
                    return

    async def _poked(self) -> None:
        """Until there is something to read; at the latest when nothing was heard for `POLL_SECONDS`."""
        while True:
            self._heard = False
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._poke.wait()
            # While hints come, none was lost: the next one would not follow on the one before it.
            if self._poke.is_set() or not self._heard:
                return

    async def pulse(self) -> None:
        """Make a heartbeat."""
        reachable = await self._read_head()
        self.beat = frames.heartbeat(self._make_beat(reachable=reachable))
        self.beats += 1
        self.wake()

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


def _summary(head: Head) -> Summary | None:
    """The summary beside the log; None where it has none that can be read."""
    try:
        return summaries.read_summary(head.summary)
    except ValueError:
        return None


def _after(summary: Summary, entry: Entry) -> Summary:
    try:
        return summaries.after(summary, [decode(entry)])
    except ValueError:
        return summary  # viewers are shown what the log has, whatever it says


class Tails:
    """The tails of this process. `linger`: seconds that a tail stays after its last viewer, so that a
    reconnection finds it warm."""

    def __init__(
        self,
        log: EventLog,
        *,
        heartbeat: float,
        now: Callable[[], float],
        ring_bytes: int = RING_BYTES,
        linger: float = LINGER_SECONDS,
        page_bytes: int = CACHE_BYTES,
    ) -> None:
        self.draining = False
        self.pages = Pages(self.spawn, page_bytes)
        self._log = log
        self._heartbeat = heartbeat
        self._now = now
        self._ring_bytes = ring_bytes
        self._linger = linger
        self._tails: dict[str, Tail] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._behind: deque[Viewer] = deque()
        self._beats: deque[tuple[float, Tail]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Within it runs can be watched."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    yield
                finally:
                    self._end()
        finally:
            self._tasks = None

    def _end(self) -> None:
        """Let go of all viewers and tails."""
        for tail in list(self._tails.values()):
            for flock in tuple(tail.flocks.values()):
                for viewer in tuple(flock.viewers):
                    viewer.abort()
            self._drop(tail)
        self._beats.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def viewers(self) -> int:
        """How many viewers there are, and who waits for an ending."""
        return sum(tail.watchers for tail in self._tails.values())

    @property
    def watched(self) -> tuple[str, ...]:
        """The runs that have a tail."""
        return tuple(self._tails)

    def spawn(self, tail: Tail, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task for a tail. It ends with `running` at the latest; a fault in it is no other run's matter."""
        if self._tasks is None:
            work.close()
            raise RuntimeError("the app is not running: nothing can be watched")
        task = self._tasks.create_task(self._guard(tail, work))
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before its first step
        return task

    def drain(self) -> None:
        """The server is going: every viewer says `shutdown` and ends."""
        self.draining = True
        for tail in self._tails.values():
            tail.wake()

    async def enter(self, run_id: str) -> Tail:
        """The run's tail, read up to the log's end. It is held until `leave`, unless this raises:
        `StoreUnavailable`, `UnknownRun`."""
        tail = self._tails.get(run_id)
        if tail is None:
            tail = self._tails[run_id] = self._make(run_id)
        tail.watchers += 1
        try:
            await self._refreshed(tail)
            if tail.following is None or (tail.following.done() and not tail.closed):
                # A store that came back without the ending opens the run again.
                if tail.following is None:
                    self._beats.append((asyncio.get_running_loop().time() + self._heartbeat, tail))
                    self._await_beat()
                tail.following = self.spawn(tail, tail.follow())
        except BaseException:
            self.leave(tail)
            raise
        return tail

    def leave(self, tail: Tail) -> None:
        """Let go of what `enter` gave."""
        tail.watchers -= 1
        if not tail.watchers:
            linger = self._linger if tail.following is not None else 0
            asyncio.get_running_loop().call_later(linger, self._drop_idle, tail)

    @asynccontextmanager
    async def watch(self, run_id: str) -> AsyncGenerator[Tail, None]:
        """`enter` and `leave`."""
        tail = await self.enter(run_id)
        try:
            yield tail
        finally:
            self.leave(tail)

    def later(self, viewer: Viewer) -> None:
        """Have a viewer that is behind look again, when those before it had their turn (G10: who
        replays does not keep the others waiting)."""
        if not self._behind:
            asyncio.get_running_loop().call_soon(self._serve_behind)
        self._behind.append(viewer)

    def _serve_behind(self) -> None:
        for _ in range(min(_BEHIND, len(self._behind))):
            self._behind.popleft().turn()
        if self._behind:
            asyncio.get_running_loop().call_soon(self._serve_behind)

    async def state(self, run_id: str) -> RunState:
        """The fold of a run up to its log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        tail = self._tails.get(run_id)
        return await (Fold(self._log, run_id) if tail is None else tail.fold).refresh()

    def forget(self, run_id: str) -> None:
        """Let go of a run that was deleted."""
        tail = self._tails.get(run_id)
        if tail is not None:
            tail.gone = True
            tail.wake()
            self._drop(tail)

    def _make(self, run_id: str) -> Tail:
        return Tail(self._log, run_id, heartbeat=self._heartbeat, now=self._now, ring_bytes=self._ring_bytes)

    async def _refreshed(self, tail: Tail) -> None:
        """Wait for a reading of the log's end that began after this call: one for all who wait."""
        if tail.reading is None:
            tail.reading = asyncio.get_running_loop().create_future()
            if not tail.busy:
                tail.busy = True
                self.spawn(tail, self._readings(tail))
        await asyncio.shield(tail.reading)

    async def _readings(self, tail: Tail) -> None:
        try:
            while tail.reading is not None:
                reading, tail.reading = tail.reading, None
                try:
                    await tail.refresh()
                    reading.set_result(None)
                except Exception as error:  # noqa: BLE001 (whatever it is, it is told to those who wait)
                    reading.set_exception(error)
                    reading.exception()  # those who asked may all be gone
                finally:
                    reading.cancel()  # unless it is done
        finally:
            tail.busy = False

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

    # -- heartbeats: one timer for all (G9) ------------------------------------------------------

    def _await_beat(self) -> None:
        if self._timer is None and self._beats:
            self._timer = asyncio.get_running_loop().call_at(self._beats[0][0], self._beat)

    def _beat(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._beats and self._beats[0][0] <= now + self._heartbeat * _TOGETHER:
            due, tail = self._beats.popleft()
            if self._tails.get(tail.run_id) is tail:
                self.spawn(tail, tail.pulse())
                missed = max(0.0, now - due) // self._heartbeat
                self._beats.append((due + (missed + 1) * self._heartbeat, tail))
        self._await_beat()

    def _drop_idle(self, tail: Tail) -> None:
        if not tail.watchers and self._tails.get(tail.run_id) is tail:
            self._drop(tail)

    def _drop(self, tail: Tail) -> None:
        if self._tails.get(tail.run_id) is tail:
            del self._tails[tail.run_id]
            self.pages.forget(tail.run_id)
        if tail.following is not None:
            tail.following.cancel()
