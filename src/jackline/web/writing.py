"""What the viewers of a run and those of the feed have in common: a connection that takes more or does not,
what holds them up meanwhile, and their ways to end."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, Literal, Protocol

from jackline.web import frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.web.crowd import Seat
    from jackline.web.ring import Joined

AWAY_PAUSE_SECONDS: Final = 0.5

_DRAIN_PER_SECOND: Final = 500
"""Viewers told to go per second, so that they do not all come back in the same moment."""

_RETRY_MS: Final = (500, 2500)
_RETRY_MORE_MS: Final = 10_000
_POLL_RETRY_MS: Final = 100

# Why a viewer does not go on by itself: each is ended by who began it.
FULL: Final = 1  # its connection takes no more
READING: Final = 2  # what it needs is read from the store
RESTING: Final = 4  # the store was away
OVER: Final = 8  # its last frame is written, or will be at its time
QUEUED: Final = 16  # others that are behind have their turn first


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


class Audience(Protocol):
    """All the viewers of this process together."""

    delivered: int
    """Entries that were written to viewers who have gone."""

    @property
    def viewers(self) -> int:
        """How many there are."""
        ...


class Writing:
    """Who writes to a `Connection`, and is told by it how it is."""

    __slots__ = ("_audience", "_connection", "_drain_seconds", "_held", "_poll", "_seat", "_timer")

    def __init__(self, audience: Audience, *, poll: bool, drain_seconds: float, seat: Seat | None) -> None:
        """`poll`: it is to end once it has said something, for a client that must poll."""
        self._audience = audience
        self._poll: Literal["no", "silent", "said"] = "silent" if poll else "no"
        self._drain_seconds = drain_seconds
        self._seat = seat
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None

    # -- of each kind of viewer --------------------------------------------------------------------

    @property
    def delivered(self) -> int:
        """How many entries were written to it."""
        raise NotImplementedError

    def begin(self, connection: Connection) -> None:
        """Write to `connection`, until the last frame or until it is closed."""
        raise NotImplementedError

    def look(self) -> None:
        """Write what there is to write."""
        raise NotImplementedError

    def _part(self) -> None:
        """Be told of no more news."""
        raise NotImplementedError

    # -- the connection ----------------------------------------------------------------------------

    def close(self) -> None:
        """The connection is gone."""
        self._held |= OVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection = None
            self._part()
            self._audience.delivered += self.delivered
            if self._seat is not None:
                self._seat.leave()

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
        self._held |= FULL

    def go_on(self) -> None:
        """The connection takes more again."""
        self._held &= ~FULL
        self.look()

    # -- what holds it up --------------------------------------------------------------------------

    def _rest(self, seconds: float = AWAY_PAUSE_SECONDS) -> None:
        """Look again in a while."""
        self._held |= RESTING
        self._after(seconds, self._rested)

    def _rested(self) -> None:
        self._held &= ~RESTING
        self.look()

    # -- how it ends -------------------------------------------------------------------------------

    def _spoke(self) -> None:
        if self._poll == "silent":
            self._poll = "said"

    def _end_poll(self, connection: Connection) -> None:
        """All that there is is written: who polls comes back for the rest."""
        if self._poll == "said":
            self._finish(connection, frames.shutdown(_POLL_RETRY_MS))

    def _finish(self, connection: Connection, last: bytes) -> None:
        self._held |= OVER
        connection.write(last)
        connection.end()

    def _leave(self) -> None:
        """Write the `shutdown` frame, each viewer's at its own time and with its own way back."""
        self._held |= OVER
        spread = min(self._drain_seconds / 2, self._audience.viewers / _DRAIN_PER_SECOND)
        self._after(random.uniform(0, spread), self._goodbye)

    def _goodbye(self) -> None:
        if self._connection is not None:
            shortest, longest = _RETRY_MS
            retry_ms = random.randint(shortest, longest + min(_RETRY_MORE_MS, self._audience.viewers))
            self._finish(self._connection, frames.shutdown(retry_ms))

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)
