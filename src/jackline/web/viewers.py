"""A viewer: a cursor into its run's tail, and what it writes to its connection.

What it sends (G1): the entries after its cursor, in order, none twice, none missing; where the log
no longer has them, a `gap`. What lies before the tail's end when it comes, and what it has to read
again because it fell behind the ring, is a replay: consecutive tokens go as one frame, unless it
asked for `compact=0`. Live entries are never merged.

A viewer is no task: the tail calls `look` when there is news, its connection when it can write again.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from jackline.errors import StoreUnavailable, UnknownRun
from jackline.web import frames
from jackline.web.pages import PAGE_BYTES
from jackline.web.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.web.crowd import Seat
    from jackline.web.pages import Leaf
    from jackline.web.ring import Joined
    from jackline.web.tail import Tail
    from jackline.web.tails import Tails

_AWAY_PAUSE_SECONDS: Final = 0.5

_DRAIN_PER_SECOND: Final = 500
"""Viewers told to go per second, so that they do not all come back in the same moment."""

_RETRY_MS: Final = (500, 2500)
_RETRY_MORE_MS: Final = 10_000
POLL_RETRY_MS: Final = 100

# Why a viewer does not go on by itself: each is ended by who began it.
_FULL: Final = 1  # its connection takes no more
_READING: Final = 2  # a page, or what the run has come to, is read from the log
_RESTING: Final = 4  # the store was away
_QUEUED: Final = 8  # others that are behind have their turn first
_OVER: Final = 16  # its last frame is written, or will be at its time


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


class Connection(Protocol):
    """Where a viewer writes. Nothing is queued here: when it takes no more it calls `hold`, and `go_on`
    when it does again. It calls `close` once when it is gone, whoever ended it."""

    def send(self, joined: Joined) -> None:
        """Write frames that others write too."""
        ...

    def write(self, data: bytes) -> None:
        """Write frames of this viewer's own."""
        ...

    def end(self) -> None:
        """All is written."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def waiting(self) -> int:
        """How many bytes were written here and have not left the process."""
        ...


class Writing(Protocol):
    """Who writes to a `Connection`, and is told by it how it is."""

    def begin(self, connection: Connection) -> None:
        """Write to `connection`, until the last frame or until it is closed."""
        ...

    def close(self) -> None:
        """The connection is gone."""
        ...

    def hold(self) -> None:
        """The connection takes no more."""
        ...

    def go_on(self) -> None:
        """The connection takes more again."""
        ...


def spread_seconds(tails: Tails, drain_seconds: float) -> float:
    """In how many seconds all viewers are told to go."""
    return min(drain_seconds / 2, tails.viewers / _DRAIN_PER_SECOND)


def retry_ms(tails: Tails) -> int:
    """When a viewer that was told to go may come back: each at a time of its own."""
    shortest, longest = _RETRY_MS
    return random.randint(shortest, longest + min(_RETRY_MORE_MS, tails.viewers))


class Viewer:
    """One stream, from `begin` to `close`."""

    __slots__ = (
        "_beats",
        "_compact",
        "_connection",
        "_drain_seconds",
        "_epoch",
        "_first",
        "_held",
        "_poll",
        "_replay_to",
        "_seat",
        "_tail",
        "_tails",
        "_tick",
        "_timer",
        "_until_pause",
        "cursor",
    )

    def __init__(
        self, tails: Tails, tail: Tail, wish: Wish, *, drain_seconds: float, seat: Seat | None = None
    ) -> None:
        self.cursor = self._first = wish.after
        self._seat = seat
        self._tails = tails
        self._tail = tail
        self._compact = wish.compact
        self._until_pause = wish.until_pause
        self._tick = wish.tick
        self._poll: Literal["no", "silent", "said"] = "silent" if wish.poll else "no"
        self._drain_seconds = drain_seconds
        self._epoch = wish.epoch
        self._beats = tail.beats
        self._replay_to = tail.last
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None

    def begin(self, connection: Connection) -> None:
        """Write the stream to `connection`, until its last frame or until it is closed."""
        self._connection = connection
        self._tail.join(self, self._tick)
        connection.write(frames.opening(self._tail.run_id, self._tail.name, self.cursor, self._tail.last))
        self.look()

    def close(self) -> None:
        """The connection is gone."""
        self._held |= _OVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection = None
            self._tail.leave(self, self._tick)
            self._tails.leave(self._tail)
            self._tails.delivered += self.delivered
            if self._seat is not None:
                self._seat.leave()

    @property
    def delivered(self) -> int:
        """How many entries were written to it; merged ones count one by one."""
        return self.cursor - self._first

    @property
    def waiting(self) -> int:
        """How many bytes wait in this process for it to take them."""
        return 0 if self._connection is None else self._connection.waiting()

    def abort(self) -> None:
        """End it without another word."""
        if self._connection is not None:
            self._connection.abort()

    def hold(self) -> None:
        """The connection takes no more."""
        self._held |= _FULL

    def go_on(self) -> None:
        """The connection takes more again."""
        self._held &= ~_FULL
        self.look()

    def turn(self) -> None:
        """It is this viewer's turn among those that are behind."""
        self._held &= ~_QUEUED
        self.look()

    def look(self) -> None:
        """Write what there is to write."""
        while not self._held and self._connection is not None:
            tail, connection = self._tail, self._connection
            if self._tails.draining or tail.gone:
                self._leave()
                return
            wrote = self._write_next(connection)
            if self._held & _READING:
                return
            if self._beats != tail.beats:
                self._beats = tail.beats
                connection.write(tail.beat)
                wrote = True
            if self._ended:
                self._held |= _OVER
                connection.write(frames.end(tail.run_id, tail.name, tail.last))
                connection.end()
                return
            if wrote and self._poll == "silent":
                self._poll = "said"
            if not wrote or self.cursor >= tail.ring.last:
                if self._poll == "said":
                    self._held |= _OVER
                    connection.write(frames.shutdown(POLL_RETRY_MS))
                    connection.end()
                return
            if not self._held:
                self._held |= _QUEUED
                self._tails.later(self)

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
                self._held |= _READING
                self._tails.pages.fetch(tail, self.cursor, self)
                return False
            joined = leaf.joined(self.cursor, self._replay_to, compact=self._compact)
        self.cursor = joined.last
        connection.send(joined)
        return True

    def arrived(self, leaf: Leaf | None) -> None:
        """What was asked of `Pages.fetch` was read; None: the store is away, or is being healed."""
        self._held &= ~_READING
        if self._connection is None:
            return
        if leaf is None and not self._tail.gone:
            self._rest()
        elif leaf is not None and leaf.epoch == self._epoch and leaf.hole <= self.cursor + 1 < leaf.first:
            self._read_gap(self.cursor + 1)
        elif not self._held:
            self._held |= _QUEUED  # with many others, most likely
            self._tails.later(self)

    def _rest(self) -> None:
        self._held |= _RESTING
        self._after(_AWAY_PAUSE_SECONDS, self._rested)

    def _rested(self) -> None:
        self._held &= ~_RESTING
        self.look()

    def _read_gap(self, first: int) -> None:
        self._held |= _READING
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
            self._held &= ~_READING
        if self._connection is None:
            return
        epoch = tail.fold.epoch
        if state is not None and epoch >= tail.epoch:
            until = max(self.cursor, state.seq)
            self._first += state.seq - self.cursor
            self._epoch, self.cursor = epoch, state.seq
            self._connection.write(frames.gap(first, until, snapshot(state), epoch))
            if self._poll == "silent":
                self._poll = "said"
        self.look()

    def _leave(self) -> None:
        """Write the `shutdown` frame, each viewer's at its own time and with its own way back."""
        self._held |= _OVER
        self._after(random.uniform(0, spread_seconds(self._tails, self._drain_seconds)), self._goodbye)

    def _goodbye(self) -> None:
        if self._connection is not None:
            self._connection.write(frames.shutdown(retry_ms(self._tails)))
            self._connection.end()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)
