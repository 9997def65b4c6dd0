"""Streams that own their connection: after the headers the server hands the transport over.

An ASGI response is a task, a queue and an event per viewer, woken for every write; here a viewer is
one small object, and what it writes goes to the socket in the call that found it (`viewers.py`).
Under any other server the same viewers write through ASGI's `send` (`stream.py`).

uvicorn has no public way to let a connection go. What is used of it here is public by name in the
version that is locked, except `_unset_keepalive_if_required`; the tests would tell.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from jackline.web.care import CarefulHttp
from jackline.web.ring import as_chunk
from jackline.web.stall import Stall, waiting

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from jackline.web.counts import Cut
    from jackline.web.ring import Joined
    from jackline.web.writing import Writing

_LOG: Final = logging.getLogger(__name__)
HANDOVER: Final = "jackline.handover"
"""Name of the ASGI extension: a `Handover` that is good for this request."""

_LAST_CHUNK: Final = b"0\r\n\r\n"
_UNREAD_BYTES: Final = 64 * 1024
"""What a client may send after its request while that is answered: more is no client's."""


class Connection(asyncio.Protocol):
    """A viewer's connection, from the end of the headers to the end of the body; then it is the server's
    again, if the client keeps it. A client that closes its half is gone."""

    __slots__ = (
        "_chunked",
        "_config",
        "_full",
        "_keeps",
        "_place",
        "_server",
        "_stall",
        "_state",
        "_transport",
        "_unread",
        "_viewer",
    )

    def __init__(self, http: Http, viewer: Writing) -> None:
        cycle = http.cycle
        self._transport = http.transport
        self._viewer = viewer
        self._config, self._server, self._state = http.careful, http.server_state, http.app_state
        self._place = http.place
        self._stall: Stall | None = None
        self._chunked = cycle.chunked_encoding is not False
        self._keeps = self._chunked and cycle.keep_alive
        self._full = http.flow.write_paused
        self._unread = b""

    def send(self, joined: Joined) -> None:
        """See `viewers.Connection`."""
        self._transport.write(joined.chunk if self._chunked else joined.data)

    def write(self, data: bytes) -> None:
        """See `viewers.Connection`."""
        self._transport.write(as_chunk(data) if self._chunked else data)

    def end(self) -> None:
        """See `viewers.Connection`."""
        if self._chunked:
            self._transport.write(_LAST_CHUNK)
        if not self._keeps:
            self._transport.close()
        elif not self._transport.is_closing():
            self._server.connections.discard(cast("Any", self))
            self._viewer.close()
            self._end_stall()
            self._give_back()

    def abort(self) -> None:
        """See `viewers.Connection`."""
        self._transport.abort()

    def waiting(self) -> int:
        """See `viewers.Connection`."""
        return self._transport.get_write_buffer_size()

    def _give_back(self) -> None:
        http = Http(self._config, self._server, self._state)
        http.place = self._place
        http.connection_made(self._transport)
        self._transport.set_protocol(http)
        if self._full:
            http.pause_writing()
        http.on_response_complete()  # the next request must come before keep-alive ends
        if self._unread:
            http.data_received(self._unread)

    def shutdown(self) -> None:
        """The server asks its connections to end; viewers hear of it from their tail."""
        self._keeps = False

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._full = True
        self._viewer.hold()
        if self._stall is None:
            # It is bounded what waits here for a viewer that does not read, and for how long.
            seconds = self._config.care.write_timeout
            self._stall = Stall(seconds, partial(waiting, self._transport), partial(self._cut, "stalled"))
        self._stall.begin()

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._full = False
        if self._stall is not None:
            self._stall.over()
        self._viewer.go_on()

    def data_received(self, data: bytes) -> None:
        """The next request has its turn after the stream."""
        self._unread += data
        if len(self._unread) > _UNREAD_BYTES:
            self._cut("flooding")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or all is written."""
        del exc
        self._server.connections.discard(cast("Any", self))
        self._viewer.close()
        self._end_stall()
        if self._place is not None:
            self._place.leave()

    def _cut(self, reason: Cut) -> None:
        if not self._transport.is_closing() or reason == "stalled":
            self._config.care.counts.cut[reason] += 1
        self._transport.abort()

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.close()
            self._stall = None


class Handover:
    """The hand-over of one request's connection."""

    def __init__(self, protocol: Http) -> None:
        self._protocol: Http | None = protocol

    def prepare(self) -> None:
        """To be called before the headers are sent."""
        if self._protocol is not None and self._protocol.scope["http_version"] == "1.0":
            self._protocol.cycle.chunked_encoding = False  # such a client does not know chunks

    def prepare_sends(self) -> bool:
        """The same for an answer that goes through ASGI's `send`: whether its end is told by `cut` alone."""
        self.prepare()
        if self._protocol is None or self._protocol.cycle.chunked_encoding is not False:
            return False
        self._protocol.cycle.expected_content_length = sys.maxsize  # what is not counted has no length
        return True

    @property
    def possible(self) -> bool:
        """Whether the server has nothing else to do with the connection. It has while the request's body
        is under way, which would be taken for the next request, and once that has begun to arrive. A
        connection that ends with the stream has no next one."""
        protocol = self._protocol
        if protocol is None or protocol.handover is not self:
            return False
        return not (protocol.cycle.keep_alive and protocol.cycle.more_body)

    def take(self, viewer: Writing) -> bool:
        """After the headers were sent, where it is `possible`: begin `viewer` on the connection. False when
        the client is gone."""
        # The request's scope holds this: it must not keep the server's part of the connection alive.
        protocol, self._protocol = self._protocol, None
        if protocol is None or protocol.cycle.disconnected or protocol.transport.is_closing():
            return False
        connection = Connection(protocol, viewer)
        protocol.place = None
        protocol.let_go()
        protocol.connections.add(cast("Any", connection))  # a server that ends waits for all of these
        protocol.transport.set_protocol(connection)
        if protocol.flow.write_paused:
            connection.pause_writing()
        try:
            viewer.begin(connection)
        except Exception:  # noqa: BLE001 (whoever has the connection ends it: the request must not, too)
            _LOG.exception("a viewer could not begin, and is cut off")
            connection.abort()
        return True

    def cut(self) -> None:
        """End the connection in the middle of the answer, or before it, as a server does that is killed:
        what was written leaves, and nothing says that it is not all."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None and not protocol.cycle.disconnected:
            protocol.let_go()
            protocol.transport.close()


class Http(CarefulHttp):
    """uvicorn's HTTP/1.1, with the hand-over in each request's scope."""

    handover: Handover | None = None
    """Of the newest request, of which perhaps only a part has come."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        scope = cast("MutableMapping[str, Any]", self.scope)
        self.handover = Handover(self)
        scope["extensions"] = {**scope.get("extensions", {}), HANDOVER: self.handover}

    def let_go(self) -> None:
        """Have nothing to do with the connection any more; the response's task ends by itself."""
        self._unset_keepalive_if_required()
        self.end_care()
        self.connections.discard(self)
        self.flow.resume_reading()
        self.cycle.disconnected = True  # what is sent goes nowhere, and nothing is missed
        self.cycle.message_event.set()
        self.parser = None
        self.handover = None
