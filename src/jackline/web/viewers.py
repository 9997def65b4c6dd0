"""A viewer: a cursor into its run's tail, and what it writes to its connection.

What it sends (G1): the entries after its cursor, in order, none twice, none missing; where the log
no longer has them, a `gap`. What lies before the tail's end when it comes, and what it has to read
again because it fell behind the ring, is a replay: consecutive tokens go as one frame, unless it
asked for `compact=0`. Live entries are never merged.

A viewer is no task: the tail calls `look` when there is news, its connection when it can write again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackline.errors import StoreUnavailable, UnknownRun
from jackline.web import frames
from jackline.web.pages import PAGE_BYTES
from jackline.web.snapshot import snapshot
from jackline.web.writing import QUEUED, READING, Writing

if TYPE_CHECKING:
    from jackline.web.crowd import Seat
    from jackline.web.pages import Leaf
    from jackline.web.tail import Tail
    from jackline.web.tails import Tails
    from jackline.web.writing import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a viewer asks for. `after`: the seq of the entry after which it begins; `epoch`: of the
    log that gave it this cursor; `tick`: it is told of news only every so many ms; `poll`: it is to end
    once it has said something, for a client that must poll."""

    after: int
    epoch: int
    compact: bool = True
    until_pause: bool = False
    tick: int = 0
    poll: bool = False


class Viewer(Writing):
    """One stream, from `begin` to `close`."""

    __slots__ = (
        "_beats",
        "_compact",
        "_epoch",
        "_first",
        "_replay_to",
        "_tail",
        "_tails",
        "_tick",
        "_until_pause",
        "cursor",
    )

    def __init__(
        self, tails: Tails, tail: Tail, wish: Wish, *, drain_seconds: float, seat: Seat | None = None
    ) -> None:
        super().__init__(tails, poll=wish.poll, drain_seconds=drain_seconds, seat=seat)
        self.cursor = self._first = wish.after
        self._tails = tails
        self._tail = tail
        self._compact = wish.compact
        self._until_pause = wish.until_pause
        self._tick = wish.tick
        self._epoch = wish.epoch
        self._beats = tail.beats
        self._replay_to = tail.last

    def begin(self, connection: Connection) -> None:
        """Write the stream to `connection`, until its last frame or until it is closed."""
        self._connection = connection
        self._tail.join(self, self._tick)
        connection.write(frames.opening(self._tail.run_id, self._tail.name, self.cursor, self._tail.last))
        self.look()

    def _part(self) -> None:
        self._tail.part(self, self._tick)
        self._tails.leave(self._tail)

    @property
    def delivered(self) -> int:
        """How many entries were written to it; merged ones count one by one."""
        return self.cursor - self._first

    def turn(self) -> None:
        """It is this viewer's turn among those that are behind."""
        self._held &= ~QUEUED
        self.look()

    def look(self) -> None:
        """Write what there is to write."""
        while not self._held and self._connection is not None:
            tail, connection = self._tail, self._connection
            if self._tails.draining or tail.gone:
                self._leave()
                return
            wrote = self._write_next(connection)
            if self._held & READING:
                return
            if self._beats != tail.beats:
                self._beats = tail.beats
                connection.write(tail.beat)
                wrote = True
            if self._ended:
                self._finish(connection, frames.end(tail.run_id, tail.name, tail.last))
                return
            if wrote:
                self._spoke()
            if not wrote or self.cursor >= tail.ring.last:
                self._end_poll(connection)
                return
            if not self._held:
                self._held |= QUEUED
                self._tails.later(self.turn)

    @property
    def _ended(self) -> bool:
        tail = self._tail
        if not (tail.closed or self._until_pause):
            return False
        if self.cursor != tail.last or self._epoch != tail.epoch or tail.stale:
            return False
        return tail.closed or tail.paused

    def _write_next(self, connection: Connection) -> bool:
        """Write the next frames of the log; whether there were any."""
        tail = self._tail
        if tail.stale:
            return False
        if self._epoch > tail.epoch:
            return False  # a gap has told it of a cut that the tail is about to read
        if self._epoch != tail.epoch:
            cut = min(tail.cuts[self._epoch :])
            if self.cursor > cut:
                self._read_gap(cut + 1)
                return False
            self._epoch = tail.epoch  # what it has seen was not lost
        ring = tail.ring
        if self.cursor >= ring.last:
            return False
        replayed = self.cursor < self._replay_to
        if self.cursor + 1 >= ring.first and not (replayed and self._compact):
            joined = ring.joined(self.cursor, PAGE_BYTES)
        else:
            self._replay_to = max(self._replay_to, ring.first - 1)
            leaf = self._tails.pages.find(tail, self.cursor)
            if leaf is None:
                self._held |= READING
                self._tails.pages.fetch(tail, self.cursor, self.arrived)
                return False
            joined = leaf.joined(self.cursor, self._replay_to, compact=self._compact)
        self.cursor = joined.last
        connection.send(joined)
        return True

    def arrived(self, leaf: Leaf | None) -> None:
        """What was asked of `Pages.fetch` was read; None: the store is away, or is being healed."""
        self._held &= ~READING
        if self._connection is None:
            return
        if leaf is None and not self._tail.gone:
            self._rest()
        elif leaf is not None and leaf.epoch == self._epoch and leaf.hole <= self.cursor + 1 < leaf.first:
            self._read_gap(self.cursor + 1)
        elif not self._held:
            self._held |= QUEUED  # with many others, most likely
            self._tails.later(self.turn)

    def _read_gap(self, first: int) -> None:
        self._held |= READING
        self._tails.spawn(self._tail, self._gap(first))

    async def _gap(self, first: int) -> None:
        """Write a `gap` frame: what the run has come to stands for what is not there."""
        tail = self._tail
        try:
            state = await tail.fold.refresh()
        except StoreUnavailable:
            if self._connection is not None:
                self._rest()
            return
        except UnknownRun:
            tail.gone = True
            state = None
        finally:
            self._held &= ~READING
        if self._connection is None:
            return
        epoch = tail.fold.epoch
        if state is not None and epoch >= tail.epoch:
            until = max(self.cursor, state.seq)
            self._first += state.seq - self.cursor
            self._epoch, self.cursor = epoch, state.seq
            self._connection.write(frames.gap(first, until, snapshot(state), epoch))
            self._spoke()
        self.look()
