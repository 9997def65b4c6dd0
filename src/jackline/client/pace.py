"""How long to wait: before trying again, and for a sign of life. Pure; times are seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """The client's times, in seconds.

    `heartbeat_s` is what is assumed until the server has shown its own; a stream silent for
    `silent_heartbeats` of them is taken for dead. `first_budget_s` is how long a request, or a
    stream that never opened, keeps being tried, `connect_budget_s` the same while there is no
    connection at all, `follow_budget_s` for a stream that was open once (with `waits`: for every
    stream, once the server has answered anything). Tries are `backoff_s`
    apart (or what `retry:` asks for), doubling up to `backoff_cap_s`, each with up to half as much
    again by chance, so that the viewers that one outage cut do not come back in one moment. For a
    command the cap is `command_cap_s`: a stop is not to wait for long once the server is back.
    """

    heartbeat_s: float = 15.0
    silent_heartbeats: float = 2.5
    request_s: float = 30.0
    """For how long nothing may come of an answer to a request that is no stream."""
    stop_s: float = 5.0
    """The same for the first try of a stop, twice as long for each one after it, up to `request_s`. It is
    accepted at once, so silence means that its connection is dead; on a new one it may arrive."""
    first_budget_s: float = 30.0
    connect_budget_s: float = 30.0
    follow_budget_s: float = 300.0
    waits: bool = False
    connect_s: float = 10.0
    ready_s: float = 10.0
    """How long a stream's first frame may take. A path that has none by then may hold streams back: the
    run is followed by polling if that works."""
    again_s: float = 300.0
    """While it is polled, how often a stream is tried again."""
    backoff_s: float = 0.5
    backoff_cap_s: float = 20.0
    command_cap_s: float = 2.0
    tick_s: float = 1.0
    """How often the clock is looked at; what a laptop's sleep can cost after it has ended."""

    def first_budget(self, connected: bool) -> float:
        """The budget before anything was accepted."""
        return self.first_budget_s if connected else self.connect_budget_s


class Backoff:
    """The waits between tries. `chance` returns a number from 0 to 1."""

    def __init__(self, pace: Pace, chance: Callable[[], float]) -> None:
        self._pace = pace
        self._chance = chance
        self._failures = 0
        self.base_s: float | None = None
        """What the server's `retry:` asks for."""

    def progress(self) -> None:
        """The stream works: the next failure is a first one."""
        self._failures = 0

    def next(self, at_least_s: float = 0.0, *, command: bool = False) -> float:
        """Seconds to wait now. Never less than `at_least_s` (what the server asked for)."""
        pace = self._pace
        base = pace.backoff_s if self.base_s is None else self.base_s
        cap = min(pace.command_cap_s, pace.backoff_cap_s) if command else pace.backoff_cap_s
        # 2**10 times any base is above every sensible cap; without a bound the number grows for ever.
        wait = min(base * 2 ** min(self._failures, 10), max(cap, base))
        self._failures += 1
        return max(wait, at_least_s) * (1 + self._chance() / 2)


_FLOOR_S: Final = 0.2
"""No server beats faster on purpose; two heartbeats in one burst must not shrink the patience to nothing."""
_CEILING_S: Final = 300.0


class Pulse:
    """Learns the server's heartbeat and tells when a stream has been silent for too long.

    Goes by the wall clock: a monotonic one stands still while a laptop sleeps, and the stream it
    wakes up with would look alive.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._interval = pace.heartbeat_s
        self._seen: deque[float] = deque(maxlen=3)
        self._last_beat: float | None = None
        self._heard = 0.0

    @property
    def limit_s(self) -> float:
        """How much silence is too much."""
        return self._interval * self._pace.silent_heartbeats

    def opened(self, now: float) -> None:
        """A new connection."""
        self._heard = now
        self._last_beat = None

    def heard(self, now: float) -> None:
        """Something came, or the reader only now begins to listen."""
        self._heard = now

    def beat(self, sent: float) -> None:
        """A heartbeat that the server sent at `sent`, by its own clock: neither the network nor a slow
        reader changes what lies between two of them."""
        last, self._last_beat = self._last_beat, sent
        if last is None or sent <= last:
            return
        self._seen.append(min(max(sent - last, _FLOOR_S), _CEILING_S))
        # The longest of the last few: one that came early must not make the next look late.
        self._interval = max(self._seen)

    def silent(self, now: float, limit_s: float) -> bool:
        """Whether there was nothing for so long."""
        self._heard = min(self._heard, now)  # the clock may have been set back
        return now - self._heard > limit_s

    def gave_up(self) -> None:
        """A connection was given up. If no heartbeat was ever timed, the server's may be slower than
        assumed: wait twice as long the next time, else a slow one is never learned."""
        if not self._seen:
            self._interval = min(self._interval * 2, _CEILING_S)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header (RFC 9110, 10.2.3) asks for; None where it cannot be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())


def sent_at(ts: object, now: float) -> float:
    """POSIX seconds of an RFC 3339 time, `now` where it is none."""
    if not isinstance(ts, str):
        return now
    try:
        return datetime.fromisoformat(ts).timestamp()
    except ValueError:
        return now
