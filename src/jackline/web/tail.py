"""One watched run: a tail follows its log and holds the newest entries as encoded frames in a ring.

Viewers (`viewers.py`) are cursors into it. Nothing is queued for anybody: a viewer that does not read
costs nobody anything and, once it is older than the ring, reads the log again (G2, G10).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jackline import summary as summaries
from jackline.errors import InDoubt, RunClosed, StoreUnavailable, UnknownRun
from jackline.events import Workflow, decode, timestamp
from jackline.web import frames
from jackline.web.flock import Watched
from jackline.web.fold import Fold
from jackline.web.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackline.events import Entry, Receipt
    from jackline.log.base import EventLog, Head, News, Page
    from jackline.summary import Summary

POLL_SECONDS: Final = 5.0
"""About the most that a lost hint can cost; twice that where one was heard just before."""

_WARM_ENTRIES: Final = 256
"""How many of the newest entries a new tail reads."""

_LOG: Final = logging.getLogger(__name__)
_AWAY_PAUSE_SECONDS: Final = 0.25
_HEAD_TIMEOUT_SECONDS: Final = (0.5, 5.0)
"""How long a heartbeat may wait for the store, at least and at most, before it says `away`."""


class Tail(Watched):
    """One run, followed."""

    def __init__(
        self, log: EventLog, run_id: str, *, heartbeat: float, now: Callable[[], float], ring_bytes: int
    ) -> None:
        super().__init__()
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
        self.watchers = 0
        self.beats = 0
        self.beat = b""
        self.heartbeat: frames.Heartbeat | None = None
        """The newest one, which `beat` is the frame of."""
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
                    if not self.closed:
                        await self._poked()
                except StoreUnavailable:
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
        self.heartbeat = self._make_beat(reachable=reachable)
        self.beat = frames.heartbeat(self.heartbeat)
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
