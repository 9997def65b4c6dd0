"""Care for connections, before and beside the app: deadlines for a request's head and body and for who does
not read, limits, and a problem document for what is no HTTP (G11, G12).

uvicorn's protocol has one deadline, for a connection at rest; each byte, whatever it is, turns it off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from jackline.web.problems import Problem
from jackline.web.stall import Stall, waiting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import MutableMapping

    from uvicorn.server import ServerState

    from jackline.settings import Settings
    from jackline.web.counts import Counts, Refusal
    from jackline.web.crowd import Crowd

OVER: Final = "jackline.over"
"""Name of the ASGI extension of a connection above a limit: the reason."""

PIPELINED: Final = 100
"""Requests on one connection that may wait for the answers before theirs."""

_UNWANTED_BYTES: Final = 16 << 20
"""So much of a body comes in vain after its request was answered; then it is no honest client."""

_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 1 << 20
"""How long, and for how much, a refused client is listened to: a connection that is closed with bytes
unread is reset, and the answer lost (RFC 9112, section 9.6)."""

_OVERHEAD: Final = 8
"""Bytes on the wire per byte of a body, at most: a chunk of one byte takes six. What is more is an endless
chunk extension or trailer."""

_Part = Literal["", "head", "body"]
_Deadline = Literal["", "head", "body", "linger"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Care:
    """What connections are held to. Times in seconds, sizes in bytes."""

    head_timeout: float
    body_timeout: float
    write_timeout: float
    max_head: int
    crowd: Crowd
    counts: Counts


def care_of(settings: Settings, crowd: Crowd, counts: Counts) -> Care:
    """As the settings say."""
    return Care(
        head_timeout=settings.head_timeout,
        body_timeout=settings.body_timeout,
        write_timeout=settings.write_timeout,
        max_head=settings.max_head,
        crowd=crowd,
        counts=counts,
    )


class Config(uvicorn.Config):
    """uvicorn's, with what its protocols are to be held to."""

    def __init__(self, care: Care, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.care = care


class _Refused(Exception):  # noqa: N818
    """Ends the parsing of a request that has its problem already."""


class Place:
    """A connection's place among those there may be, whichever protocol has it."""

    __slots__ = ("_crowd", "_name", "beyond", "reason")

    def __init__(self, crowd: Crowd, peer: str | None) -> None:
        self._crowd = crowd
        self._name = crowd.name(peer)
        self.reason, self.beyond = crowd.come(self._name)

    def leave(self) -> None:
        """The connection is gone."""
        self._crowd.go(self._name)


class CarefulHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with deadlines and limits. A request that breaks one is answered in its turn, then
    the connection ends."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.careful = config
        self.care = config.care
        self.place: Place | None = None
        self._part: _Part = ""
        """What of a request is under way."""
        self._armed: _Deadline = ""
        self._timer: asyncio.TimerHandle | None = None
        self._stall: Stall | None = None
        self._requests = 0
        self._unanswered = 0
        self._rested = False
        """A request has become whole: the connection may rest again once it is answered."""
        self._bytes = 0
        self._payload = 0
        self._fault: tuple[Problem, Refusal] | None = None
        self._last_word: Problem | None = None
        """What is answered after the requests before it, and nothing then."""
        self._closing = False

    # -- the connection --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client has come, or a viewer has given its connection back."""
        super().connection_made(transport)
        if self.place is None:
            self.place = Place(self.care.crowd, self.client[0] if self.client else None)
            if self.place.beyond:
                transport.abort()
                return
            self._arm("head")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self.end_care()
        if self.place is not None:
            self.place.leave()
            self.place = None

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    def end_care(self) -> None:
        """The connection is gone, or somebody else's."""
        self._arm("")
        if self._stall is not None:
            self._stall.close()
            self._stall = None

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or what calls itself one."""
        if self._over:
            self._bytes += len(data)
            if self._bytes > _LINGER_BYTES:
                self.transport.abort()
            return
        requests, part = self._requests, self._part
        super().data_received(data)
        if self._over or self.transport.is_closing():
            return
        # Whether all of it was one request's.
        alone = self._requests == requests + 1 if not part else self._requests == requests
        if alone and self._part and part in ("", self._part):
            self._bytes += len(data)
            self._check_size()
        if not self._over:
            self._await_more()

    @property
    def _over(self) -> bool:
        """Nothing that comes now is looked at."""
        return self._closing or self._last_word is not None

    def _check_size(self) -> None:
        """No part of a request that comes in pieces may come without end."""
        if self._part == "head" and self._bytes > self.care.max_head:
            self._give_up(self._too_large(), "head_size")
        elif self._part == "body" and self._bytes > _OVERHEAD * self._payload + self.care.max_head:
            self._give_up(Problem(400, "the chunks of the body hold hardly anything"), "malformed")

    def _await_more(self) -> None:
        """Set the deadline of what is under way."""
        if self._part == "body":
            self._arm("body")
        elif self._unanswered:
            pass  # it is the app's turn; the next head has its time after the answer
        elif self._part == "head" or not self._rested:
            self._arm("head")  # line breaks between requests count too: they turn uvicorn's deadline off
        else:
            # The rest of a body whose request was answered before: uvicorn sets no deadline after it.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        self._rested = False

    # -- deadlines -------------------------------------------------------------------------------

    def _arm(self, deadline: _Deadline) -> None:
        if self._armed == deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        seconds = {
            "head": self.care.head_timeout,
            "body": self.care.body_timeout,
            "linger": _LINGER_SECONDS,
        }.get(deadline)
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        late, self._armed, self._timer = self._armed, "", None
        if late == "linger":
            self.transport.abort()
        elif late == "body":
            self._give_up(Problem(408, "the request's body did not arrive in time"), "body_timeout")
        elif self._part == "head":
            self._give_up(Problem(408, "the request's head did not arrive in time"), "head_timeout")
        else:
            # It has asked nothing. A browser that connects in advance would take this for an answer.
            self.care.counts.refused["silent"] += 1
            self.transport.close()

    def pause_writing(self) -> None:
        """The socket takes no more."""
        super().pause_writing()
        if self._stall is None:
            self._stall = Stall(self.care.write_timeout, partial(waiting, self.transport), self._stalled)
        self._stall.begin()

    def resume_writing(self) -> None:
        """The socket takes more again."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.over()

    def _stalled(self) -> None:
        self.care.counts.cut["stalled"] += 1
        self.transport.abort()

    # -- called by the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._part = "head"
        self._requests += 1
        self._bytes = self._payload = 0
        super().on_message_begin()
        if self.place is not None and self.place.reason is not None:
            scope = cast("MutableMapping[str, Any]", self.scope)
            scope["extensions"] = {OVER: self.place.reason}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. One of a trailer is none: what a proxy has taken out of the head must not
        come in behind the body (RFC 9110, section 6.5.1)."""
        if self._part == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request may be answered, or not."""
        self._arm("")
        self._fault = self._fault_of_head()
        if self._fault is not None:
            raise _Refused
        super().on_headers_complete()
        self._part = "body"
        self._bytes = 0
        self._unanswered += 1
        if self._upgrades or (self.place is not None and self.place.reason is not None):
            self.cycle.keep_alive = False

    @property
    def _upgrades(self) -> bool:
        assert self.parser is not None
        return self.parser.should_upgrade()

    def _fault_of_head(self) -> tuple[Problem, Refusal] | None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.care.max_head:
            return self._too_large(), "head_size"
        if len(self.pipeline) >= PIPELINED:
            return Problem(429, "too many requests at once on one connection"), "pipelined"
        names = [name for name, _ in self.headers]
        assert self.parser is not None
        if names.count(b"host") != 1 and (b"host" in names or self.parser.get_http_version() != "1.0"):
            return Problem(400, "a request has exactly one Host"), "malformed"
        if self._upgrades and (b"content-length" in names or b"transfer-encoding" in names):
            # The parser passes over the body of such a request: it would be taken for the next one.
            return Problem(400, "nothing here can be upgraded to; leave Upgrade out"), "malformed"
        return None

    def _too_large(self) -> Problem:
        limit = self.care.max_head
        if len(self.url) > limit:
            return Problem(414, f"the request's target is larger than {limit} bytes")
        return Problem(431, f"the request's head is larger than {limit} bytes")

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._payload += len(body)
        if self._payload > _UNWANTED_BYTES and self.cycle.response_complete:
            self.transport.abort()  # it was told, and sends on
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._part = ""
        self._rested = True
        self._arm("")

    # -- answers ---------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """An answer is written."""
        self._unanswered = max(0, self._unanswered - 1)  # none is open where a viewer gives back
        super().on_response_complete()
        if self.transport.is_closing() or self._unanswered:
            return
        if self._last_word is not None:
            self._answer(self._last_word)
        elif self._part == "head":
            self._unset_keepalive_if_required()
            self._arm("head")
        elif self._part == "body":
            self._unset_keepalive_if_required()  # the body's own deadline goes on

    def send_400_response(self, msg: str) -> None:
        """The parser has found a fault, or was told of one."""
        del msg
        fault, self._fault = self._fault, None
        self._give_up(*(fault or (Problem(400, "this is no HTTP/1.1 request"), "malformed")))

    def _give_up(self, problem: Problem, reason: Refusal) -> None:
        """Answer the request at fault in its turn, and then no more."""
        self.care.counts.refused[reason] += 1
        self._arm("")
        if self._part == "body":
            if self.pipeline:  # the newest request waits behind others: it is the one at fault
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self.transport.close()
                return
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._unanswered -= 1
        self._bytes = 0
        if self._unanswered:
            self._last_word = problem
        else:
            self._answer(problem)

    def _answer(self, problem: Problem) -> None:
        """The last answer on this connection."""
        self._closing = True
        self._unset_keepalive_if_required()
        response = problem.response()
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % (name, value) for name, value in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[problem.status], lines, bytes(response.body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._arm("linger")
