"""A viewer of the feed: a cursor, whose entries it may see, and what it writes to its connection.

While the feed's tail holds what comes after its cursor it is told of news like a run's viewer; else it
reads pages from the store until it has come to the tail. Entries come at least once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import StoreUnavailable
from jackline.log.feed import FeedPage
from jackline.web import frames
from jackline.web.feed import Slot, slot
from jackline.web.pages import PAGE_BYTES
from jackline.web.writing import AWAY_PAUSE_SECONDS, OVER, READING, Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jackline.web.crowd import Seat
    from jackline.web.feed import FeedTail
    from jackline.web.tails import Tails
    from jackline.web.writing import Connection

_LOG: Final = logging.getLogger(__name__)
_UNSETTLED_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedWish:
    """What a viewer asks for. `cursor`: after which it begins; `page`: what follows it, where that was read
    already, and where the feed's tail was before that: its place and its `era`; `sees`: of whose runs it may
    know."""

    cursor: str
    page: FeedPage | None
    place: int
    era: int
    sees: Callable[[str], bool]
    tick: int = 0
    poll: bool = False


class FeedViewer(Writing):
    """One stream of the feed, from `begin` to `close`."""

    def __init__(
        self, tails: Tails, wish: FeedWish, *, drain_seconds: float, seat: Seat | None = None
    ) -> None:
        super().__init__(tails, poll=wish.poll, drain_seconds=drain_seconds, seat=seat)
        self.cursor = wish.cursor
        self._delivered = 0
        self._tails = tails
        self._feed: FeedTail = tails.feed
        self._sees = wish.sees
        self._tick = wish.tick
        self._page: FeedPage | None = wish.page
        self._place = self._feed.place_after(wish.cursor) if wish.page is None else None
        self._read_to, self._era = wish.place, wish.era
        self._given: set[tuple[str, int]] = set()
        self._beats = self._feed.beats
        self._told = wish.cursor
        """The newest cursor that was written."""
        self._behind = wish.cursor != self._feed.cursor

    @property
    def delivered(self) -> int:
        """See `Writing`."""
        return self._delivered

    def begin(self, connection: Connection) -> None:
        """Write the stream to `connection`, until its last frame or until it is closed."""
        self._connection = connection
        self._feed.join(self, self._tick)
        connection.write(frames.feed_opening(self.cursor, self._feed.cursor))
        self.look()

    def _part(self) -> None:
        self._feed.part(self, self._tick)
        self._feed.leave()

    def look(self) -> None:
        """Write what there is to write."""
        while not self._held and self._connection is not None:
            if self._tails.draining:
                self._leave()
                return
            if not self._feed.followed:  # the tail has failed: who comes back begins with a new one
                self.abort()
                return
            wrote = self._write_next(self._connection)
            if self._held & READING:
                return
            wrote = self._write_beat(self._connection) or wrote
            if wrote:
                self._spoke()
            if self._place == self._feed.last and not self._held & OVER:
                self._end_poll(self._connection)
                return

    def _write_beat(self, connection: Connection) -> bool:
        feed = self._feed
        if self._beats == feed.beats:
            return False
        self._beats = feed.beats
        connection.write(feed.beat if self._place == feed.beat_at else feed.plain_beat)
        return True

    def _write_next(self, connection: Connection) -> bool:
        """Write the next entries; whether there were any that it may see."""
        feed = self._feed
        if self._place is not None and (self._era != feed.era or self._place + 1 < feed.first):
            self._place = None  # it is late, or there is a gap: the store says
            self._given.clear()
        if self._place is None:
            page, self._page = self._page, None
            if page is not None:
                return self._write_page(connection, page)
            self._held |= READING
            self._read_to, self._era = feed.last, feed.era
            feed.spawn(self._read())
            return False
        if self._place == feed.last:
            self._at_the_end(connection)
            return False
        wrote, self._place = self._write(connection, feed.slots(self._place), self._place)
        if self._place == feed.last:
            self._at_the_end(connection)
        return wrote

    def _at_the_end(self, connection: Connection) -> None:
        self.cursor = self._feed.cursor
        self._given.clear()
        if self._behind:
            # The newest entry may be none that it may see: all the same it is to know that it has all.
            self._behind = False
            if self._told != self._feed.cursor:
                connection.write(self._feed.caught_up())

    def _write_page(self, connection: Connection, page: FeedPage) -> bool:
        """Write a page from the store. It was read when the tail had come to `_read_to`: if it is the last
        one, what the tail has or will have after that is the rest, and some of it may be in the page."""
        if page.gap:
            connection.write(frames.feed_gap(frames.FeedGap(from_=self.cursor, to=page.start)))
        slots = [slot(item) for item in page.items]
        wrote, _ = self._write(connection, slots, 0, limit=None)
        self.cursor = page.next
        if not page.more:
            self._place = self._read_to
            self._given = {(each.run_id, each.seq) for each in slots}
        return wrote or page.gap

    def _write(
        self, connection: Connection, slots: Iterable[Slot], place: int, limit: int | None = PAGE_BYTES
    ) -> tuple[bool, int]:
        """Write those of the slots that it may see; whether there were any, and the place it has come to."""
        parts: list[bytes] = []
        size = 0
        for each in slots:
            place += 1
            self.cursor = each.cursor
            if self._sees(each.owner) and (each.run_id, each.seq) not in self._given:
                parts.append(each.frame)
                self._told = each.cursor
                size += len(each.frame)
                if limit is not None and size > limit:
                    break
        if parts:
            connection.write(b"".join(parts))
            self._delivered += len(parts)
        return bool(parts), place

    async def _read(self) -> None:
        """Read a page and go on with it. A fault with one viewer must not end the others."""
        try:
            self._arrived(await self._next_page())
        except Exception:  # noqa: BLE001 (whatever it is, it is this viewer's alone)
            _LOG.exception("a viewer of the feed failed, and is cut off: it comes back with its cursor")
            self.abort()

    async def _next_page(self) -> FeedPage | float:
        """The page after the cursor; or for how long (seconds) there is none."""
        try:
            page = await self._feed.read(self.cursor)
        except StoreUnavailable:
            return AWAY_PAUSE_SECONDS
        except ValueError:  # another store answers by now: who comes back is told so
            self.abort()
            return AWAY_PAUSE_SECONDS
        if page.more and page.next == self.cursor:
            return _UNSETTLED_PAUSE_SECONDS
        return page

    def _arrived(self, page: FeedPage | float) -> None:
        self._held &= ~READING
        if self._connection is None:
            return
        if isinstance(page, FeedPage):
            self._page = page
        else:
            self._rest(page)
        self.look()
