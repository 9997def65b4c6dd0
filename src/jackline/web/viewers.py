"""A viewer: a cursor into its run's tail, and what it writes to its connection.

What it sends (G1): the entries after its cursor, in order, none twice, none missing; where the log
no longer has them, a `gap`. What lies before the tail's end when it comes, and what it has to read
again because it fell behind the ring, is a replay: consecutive tokens go as one frame, unless it
asked for `compact=0`. Live entries are never merged.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import StoreUnavailable, UnknownRun
from jackline.web import frames
from jackline.web.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.events import Entry
    from jackline.web.tails import Tail, Tails

CHUNK_BYTES: Final = 128 * 1024
"""The most that one write carries, about. With the transport's own buffer it bounds what a viewer
that does not read can hold of this process's memory (G10)."""

PAGE_ENTRIES: Final = 1000
_AWAY_PAUSE_SECONDS: Final = 0.5

_DRAIN_PER_SECOND: Final = 500
"""Viewers told to go per second, so that they do not all come back in the same moment."""

_RETRY_MS: Final = (500, 2500)
_RETRY_MORE_MS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a viewer asks for. `after`: the seq of the entry after which it begins; `epoch`: of the
    log that gave it this cursor."""

    after: int
    epoch: int
    compact: bool = True
    until_pause: bool = False


class Viewer:
    """One stream. `run` writes it, until its last frame or until it is cancelled."""

    def __init__(self, tails: Tails, tail: Tail, wish: Wish, *, drain_seconds: float) -> None:
        self.cursor = wish.after
        self._tails = tails
        self._tail = tail
        self._compact = wish.compact
        self._until_pause = wish.until_pause
        self._drain_seconds = drain_seconds
        self._epoch = wish.epoch
        self._beats = tail.beats
        self._replay_to = tail.last
        self._away = False

    async def run(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write the stream. `write` returns when more can be written; nothing is queued here."""
        tail = self._tail
        await write(frames.opening(tail.run_id, tail.name, self.cursor))
        while True:
            news = tail.news
            if self._tails.draining or tail.gone:
                await write(await self._goodbye())
                return
            chunk = await self._next()
            if self._beats != tail.beats:
                self._beats = tail.beats
                chunk += tail.beat
            if self._over:
                await write(chunk + frames.end(tail.run_id, tail.name, tail.last))
                return
            if chunk:
                await write(chunk)
            elif self._away:
                await _either(news, _AWAY_PAUSE_SECONDS)
            else:
                await news.wait()

    @property
    def _over(self) -> bool:
        tail = self._tail
        if self.cursor < tail.last or self._epoch != tail.epoch or self._away:
            return False
        return tail.closed or (self._until_pause and tail.paused)

    async def _next(self) -> bytes:
        """The next frames of the log, b"" when there are none for now."""
        tail = self._tail
        if tail.stale:
            return b""
        if self._epoch != tail.epoch:
            cut = min(tail.cuts[self._epoch :])
            if self.cursor > cut:
                return self._gap(cut + 1)
            self._epoch = tail.epoch  # what it has seen was not lost
        if self.cursor >= tail.last:
            return b""
        replayed = self._compact and self.cursor < self._replay_to
        if self.cursor + 1 < tail.ring_from:
            return await self._from_log()
        if replayed:
            limit = min(PAGE_ENTRIES, self._replay_to - self.cursor)
            entries = tail.entries(self.cursor, limit, CHUNK_BYTES)
            return self._framed(entries)
        self.cursor, chunk = tail.joined(self.cursor, CHUNK_BYTES)
        return chunk

    async def _from_log(self) -> bytes:
        tail = self._tail
        self._replay_to = max(self._replay_to, tail.ring_from - 1)
        limit = min(PAGE_ENTRIES, self._replay_to - self.cursor)
        try:
            page = await tail.read(self.cursor, limit, CHUNK_BYTES)
        except StoreUnavailable:
            self._away = True
            return b""
        except UnknownRun:
            tail.gone = True
            tail.wake()
            return b""
        tail.take(page)
        # Without entries the log is shorter than the tail: it is being healed, or has started over.
        self._away = not page.entries and page.epoch == self._epoch
        if self._away or page.epoch != self._epoch:
            return b""
        if page.first > self.cursor + 1:
            return self._gap(self.cursor + 1)
        return self._framed(list(enumerate(page.entries, page.first)))

    def _framed(self, entries: list[tuple[int, Entry]]) -> bytes:
        run_id = self._tail.run_id
        self.cursor = entries[-1][0]
        shown = frames.merged(entries) if self._compact else entries
        return b"".join(frames.entry(run_id, seq, entry, self._epoch) for seq, entry in shown)

    def _gap(self, first: int) -> bytes:
        tail = self._tail
        until = max(self.cursor, tail.last)
        self._epoch = tail.epoch
        self.cursor = tail.last
        return frames.gap(first, until, snapshot(tail.state), tail.epoch)

    async def _goodbye(self) -> bytes:
        """The `shutdown` frame, each viewer's at its own time and with its own way back."""
        viewers = self._tails.viewers
        spread = min(self._drain_seconds / 2, viewers / _DRAIN_PER_SECOND)
        await asyncio.sleep(random.uniform(0, spread))
        shortest, longest = _RETRY_MS
        return frames.shutdown(random.randint(shortest, longest + min(_RETRY_MORE_MS, viewers)))


async def _either(news: asyncio.Event, seconds: float) -> None:
    """Return at the news, at the latest after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
