"""The feed's tail: what is new in all runs, read once for all who watch it in this process (G10)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from jackline import sse
from jackline.errors import StoreUnavailable
from jackline.events import frame_data, timestamp
from jackline.web import frames
from jackline.web.flock import Watched
from jackline.web.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jackline.log.feed import Feed, FeedItem, FeedPage

PAGE_ITEMS: Final = 256
"""Entries read at once: of those that there are most of, 100 KiB."""

POLL_SECONDS: Final = 5.0
"""The most that a lost hint can cost."""

_AGAIN_SECONDS: Final = (0.02, 1.0)
"""When what was announced and is not there is looked at again: first, and at the longest."""

_RING_SLOTS: Final = 4096
_RING_BYTES: Final = 1 << 20
"""What is held for viewers that are a little late; others read it from the store."""

_REMEMBERED: Final = 1024
"""Entries that are given once although the store repeats them, which it does at most shortly after."""

_READERS: Final = 4
"""Viewers that read from the store at the same time: those who come back after a deploy do not keep it
from the runs."""

_AWAY_PAUSE_SECONDS: Final = 0.25
_PROBE_SECONDS: Final = (0.5, 5.0)
"""How long a heartbeat may wait for the store, at least and at most, before it says `away`."""

_LOG: Final = logging.getLogger(__name__)


class Slot(NamedTuple):
    """An entry of the feed as a frame, and whose run it is of."""

    owner: str
    run_id: str
    seq: int
    cursor: str
    frame: bytes


def slot(item: FeedItem) -> Slot:
    """An item with its frame: the same data as on the stream of its run."""
    data = frame_data(item.run_id, item.seq, item.entry.body)
    frame = sse.encode(event=item.entry.type, data=data, id=item.cursor)
    return Slot(item.owner, item.run_id, item.seq, item.cursor, frame)


def bounded(page: FeedPage, cursor: str, size: int) -> FeedPage:
    """The page after `cursor` without what comes after its first `size` bytes, as far as it can be gone on
    from there."""
    for at, item in enumerate(page.items, 1):
        size -= len(item.entry.body)
        if size <= 0 and item.cursor not in (page.start, cursor) and at < len(page.items):
            return replace(page, items=page.items[:at], next=item.cursor, more=True)
    return page


class FeedTail(Watched):
    """The newest entries of the feed, `first` … `last` by a count of this process's. `spawn` starts a task
    that outlives its caller; `linger`: seconds that it goes on without viewers."""

    def __init__(
        self,
        store: Feed,
        *,
        heartbeat: float,
        now: Callable[[], float],
        linger: float,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        super().__init__()
        self.first, self.last = 1, 0
        self.cursor = ""
        """Of what comes after `last`; nothing before the first reading."""
        self.era = 0
        """How often what came next was not held any more."""
        self.beats = 0
        self.beat = b""
        """The newest heartbeat, for who has all entries up to `beat_at`; `plain_beat`, for others."""
        self.beat_at = 0
        self.plain_beat = b""
        self.heartbeat: frames.FeedHeartbeat | None = None
        self.reading = asyncio.Semaphore(_READERS)
        self.spawn = spawn
        self.watchers = 0
        self._store = store
        self._heartbeat = heartbeat
        self._now = now
        self._linger = linger
        self._slots: list[Slot] = []
        self._bytes = 0
        self._places: dict[str, int] = {}
        self._unsure = -1
        """A place whose cursor may not be its own."""
        self._bodies: dict[tuple[str, int], bytes] = {}
        self._opening = asyncio.Lock()
        self._poke = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    # -- who watches ---------------------------------------------------------------------------

    async def enter(self) -> None:
        """Have the feed followed until `leave`. Raises `StoreUnavailable`, and is not entered then."""
        self.watchers += 1
        try:
            if not self.cursor:
                async with self._opening:
                    if not self.cursor:
                        self._begin(await self._store.feed_end())
            if not self._tasks:
                self._tasks = (self.spawn(self._follow()), self.spawn(self._beats()))
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Let go of what `enter` has begun."""
        self.watchers -= 1
        if not self.watchers:
            asyncio.get_running_loop().call_later(self._linger, self._end_idle)

    def _end_idle(self) -> None:
        if not self.watchers:
            self.end()

    def end(self) -> None:
        """Follow it no longer; who comes next begins anew."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        self._forget()
        self.cursor = ""
        self.wake()

    @property
    def followed(self) -> bool:
        """Whether there will be news: not any more after `end`."""
        return bool(self._tasks)

    # -- what is held --------------------------------------------------------------------------

    def place_after(self, cursor: str) -> int | None:
        """The place of the entry after which `cursor` goes on; None where that is not known here."""
        if cursor == self.cursor:
            return self.last
        place = self._places.get(cursor)
        known = place is not None and place >= self.first - 1 and place != self._unsure
        return place if known else None

    def slots(self, after: int) -> Sequence[Slot]:
        """The entries after a place, which must be at least `first - 1`."""
        return self._slots[after + 1 - self.first :]

    def passed_over(self, cursor: str, sees: Callable[[str], bool]) -> str | None:
        """The newest cursor, where it is known here that nothing after `cursor` is for who `sees`."""
        place = self.place_after(cursor)
        if place is None or any(sees(each.owner) for each in self.slots(place)):
            return None
        return self.cursor

    async def read(self, cursor: str) -> FeedPage:
        """A page from the store, which a viewer can be made to hold. Raises `StoreUnavailable`,
        `ValueError`."""
        async with self.reading:
            return bounded(await self._store.read_feed(cursor, PAGE_ITEMS), cursor, PAGE_BYTES)

    def _take(self, page: FeedPage) -> None:
        if page.gap:
            self.era += 1
            self._forget()
            # It may have been appended with others, and have the cursor of what came before all of them.
            self._unsure = self.last + 1
        for item in page.items:
            if self._repeated(item):
                continue
            made = slot(item)
            self.last += 1
            self._slots.append(made)
            self._bytes += len(made.frame)
            self._places.setdefault(made.cursor, self.last)
        self.cursor = page.next
        if len(self._slots) > _RING_SLOTS * 5 // 4 or self._bytes > _RING_BYTES * 5 // 4:
            self._trim()
        if page.items or page.gap:
            self.wake()

    def _repeated(self, item: FeedItem) -> bool:
        """Whether this very entry has come just before: the store may give it more than once. A log that came
        back shorter has another one at the same place."""
        body, place = item.entry.body, (item.run_id, item.seq)
        if self._bodies.get(place) == body:
            return True
        self._bodies[place] = body
        if len(self._bodies) > _REMEMBERED:
            del self._bodies[next(iter(self._bodies))]
        return False

    def _trim(self) -> None:
        drop = 0
        while len(self._slots) - drop > _RING_SLOTS or (
            self._bytes > _RING_BYTES and drop < len(self._slots) - 1
        ):
            old = self._slots[drop]
            self._bytes -= len(old.frame)
            if self._places.get(old.cursor) == self.first + drop:
                del self._places[old.cursor]
            drop += 1
        del self._slots[:drop]
        self.first += drop

    def _begin(self, cursor: str) -> None:
        self._forget()
        self.cursor = cursor
        self._places[cursor] = self.last

    def _forget(self) -> None:
        self.first, self._unsure = self.last + 1, -1
        self._slots, self._bytes, self._places = [], 0, {}
        self._bodies.clear()

    # -- following -----------------------------------------------------------------------------

    async def _follow(self) -> None:
        shortest, longest = _AGAIN_SECONDS
        pause = shortest
        with self._store.listen_feed(self._poke.set):
            while True:
                self._poke.clear()
                before = self.cursor
                try:
                    page = await self._store.read_feed(before, PAGE_ITEMS)
                except StoreUnavailable:
                    await asyncio.sleep(_AWAY_PAUSE_SECONDS)
                    continue
                except ValueError:  # what answers now is not the store that gave this cursor
                    await self._begin_anew()
                    continue
                self._take(page)
                if page.more and page.next != before:
                    continue
                pause = min(2 * pause, longest) if page.unsettled else shortest
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause if page.unsettled else POLL_SECONDS):
                        await self._poke.wait()

    async def _begin_anew(self) -> None:
        with suppress(StoreUnavailable):
            self._begin(await self._store.feed_end())
            self.era += 1
            self.wake()

    async def _beats(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._heartbeat, loop.time())
            await asyncio.sleep(due - loop.time())
            away = not await self._reachable()
            self.heartbeat = frames.FeedHeartbeat(ts=timestamp(self._now()), store="away" if away else None)
            self.plain_beat = frames.feed_heartbeat(self.heartbeat)
            self.beat = frames.feed_heartbeat(msgspec.structs.replace(self.heartbeat, cursor=self.cursor))
            self.beat_at = self.last
            self.beats += 1
            self.wake()

    def caught_up(self) -> bytes:
        """A heartbeat for who has just had everything up to `last`."""
        return frames.feed_heartbeat(frames.FeedHeartbeat(ts=timestamp(self._now()), cursor=self.cursor))

    async def _reachable(self) -> bool:
        shortest, longest = _PROBE_SECONDS
        try:
            async with asyncio.timeout(max(shortest, min(longest, self._heartbeat / 2))):
                await self._store.read_feed(self.cursor, 1)
        except (StoreUnavailable, TimeoutError):
            return False
        except ValueError:
            return True
        return True
