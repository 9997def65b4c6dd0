"""How many connections and streams there may be: in the process, per address, per principal.

Over a limit nobody is kept waiting: the answer is a problem with `Retry-After`, or for `EventSource`,
which a status would end for good, a stream whose only frame sends it away for a while.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.responses import Response

from jackline.web import frames
from jackline.web.addresses import Proxies
from jackline.web.auth import LOCAL, PRINCIPAL, Principal
from jackline.web.headers import stream_headers
from jackline.web.problems import Problem

if TYPE_CHECKING:
    from starlette.types import Scope

    from jackline.settings import Settings
    from jackline.web.counts import Counts, Refusal

RETRY_SECONDS: Final = (5, 15)
"""When who was sent away may come back: each at a time of its own."""

SEAT: Final = "jackline.seat"
"""The scope's key under which a request's seat stands."""

_SPARE: Final = 64
_SPARE_ADDRESS: Final = 16
"""Connections above a limit that are still told why; more of them are dropped without a word."""

_TEXTS: Final[dict[Refusal, tuple[int, str]]] = {
    "connections": (503, "this server has as many connections as it can take"),
    "connections_address": (429, "there are too many connections from this address"),
    "streams": (503, "this server has as many streams as it can take; ask for JSON, or come back"),
    "streams_address": (429, "there are too many streams to this address; ask for JSON, or close some"),
    "streams_principal": (429, "there are too many streams of this principal; ask for JSON, or close some"),
}


class Full(Problem):
    """A limit is reached: 429 where it is the caller's own, 503 where it is the server's; for
    `EventSource` 200 with `shutdown` as the only frame, and a time of its own to come back."""

    def __init__(self, reason: Refusal, scope: Scope) -> None:
        status, detail = _TEXTS[reason]
        super().__init__(status, detail, headers={"Retry-After": str(random.randint(*RETRY_SECONDS))})
        self._event_source = is_event_source(scope)

    def response(self) -> Response:
        """The answer itself."""
        if not self._event_source:
            return super().response()
        shortest, longest = RETRY_SECONDS
        response = Response(frames.shutdown(random.randint(shortest * 1000, longest * 1000)))
        response.raw_headers.extend(stream_headers(identity=False))
        return response


def is_event_source(scope: Scope) -> bool:
    """Whether this may be an `EventSource`: it can only GET, and names its media type."""
    accept = ",".join(Headers(scope=scope).getlist("accept"))
    return scope["method"] == "GET" and "text/event-stream" in accept.lower()


class _Tally:
    """How many there are of each name. None as a name: not counted; as the limit: as many as will."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    def over(self, name: str | None) -> int:
        """How many more than the limit there would be with one more."""
        if self._limit is None or name is None:
            return 0
        return max(0, self._counts.get(name, 0) + 1 - self._limit)

    def enter(self, name: str | None) -> None:
        if name is not None:
            self._counts[name] = self._counts.get(name, 0) + 1

    def leave(self, name: str | None) -> None:
        if name is not None:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]


class Seat:
    """One stream's place among those there may be. `kept`: its viewer gives it back, not its request."""

    __slots__ = ("_address", "_crowd", "_principal", "kept")

    def __init__(self, crowd: Crowd, address: str | None, principal: str | None) -> None:
        self.kept = False
        self._crowd: Crowd | None = crowd
        self._address = address
        self._principal = principal

    def leave(self) -> None:
        """Give it back; a second time does nothing."""
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            crowd.give_back(self._address, self._principal)


class Crowd:
    """The connections and streams of one process. `connections` bounds the settings' own limit: what
    the system lets a process have."""

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self.connections = 0
        self.streams = 0
        self.max_connections = settings.max_connections
        self._max_streams = settings.max_streams
        self._counts = counts
        self._proxies = Proxies(settings.trusted_proxies)
        self._connections = _Tally(settings.max_connections_address)
        self._by_address = _Tally(settings.max_streams_address)
        self._by_principal = _Tally(settings.max_streams_principal)

    # -- connections -----------------------------------------------------------------------------

    def name(self, peer: str | None) -> str | None:
        """By what name a connection is counted; None for a proxy's: it is not one client."""
        return self._proxies.client(peer)

    def come(self, name: str | None) -> tuple[Refusal | None, bool]:
        """A connection has come, to be counted until `go`. Why it may only be told to go, if so; and
        whether there is not even room to tell it."""
        over = 0 if self.max_connections is None else self.connections + 1 - self.max_connections
        over_address = self._connections.over(name)
        self.connections += 1
        self._connections.enter(name)
        reason: Refusal | None = None
        if over > 0:
            reason = "connections"
        elif over_address:
            reason = "connections_address"
        if reason is not None:
            self._counts.refused[reason] += 1
        return reason, over > _SPARE or over_address > _SPARE_ADDRESS

    def go(self, name: str | None) -> None:
        """A connection is gone."""
        self.connections -= 1
        self._connections.leave(name)

    # -- streams ---------------------------------------------------------------------------------

    def sit(self, scope: Scope) -> None:
        """Take a seat for the request, or raise `Full`. Who answers the request gives it back."""
        peer = scope["client"][0] if scope.get("client") else None
        address = self._proxies.client(peer, Headers(scope=scope).getlist("x-forwarded-for"))
        caller = scope.get(PRINCIPAL)
        # Where there are no keys everybody is `local`: that tells nobody from anybody.
        principal = caller.name if isinstance(caller, Principal) and caller is not LOCAL else None
        reason: Refusal | None = None
        if self._max_streams is not None and self.streams >= self._max_streams:
            reason = "streams"
        elif self._by_address.over(address):
            reason = "streams_address"
        elif self._by_principal.over(principal):
            reason = "streams_principal"
        if reason is not None:
            self._counts.refused[reason] += 1
            raise Full(reason, scope)
        self.streams += 1
        self._by_address.enter(address)
        self._by_principal.enter(principal)
        scope[SEAT] = Seat(self, address, principal)

    def give_back(self, address: str | None, principal: str | None) -> None:
        """See `Seat.leave`."""
        self.streams -= 1
        self._by_address.leave(address)
        self._by_principal.leave(principal)


def leave_seat(scope: Scope) -> None:
    """The request is answered: its seat is free, unless a viewer has it."""
    seat = scope.get(SEAT)
    if isinstance(seat, Seat) and not seat.kept:
        seat.leave()
