"""Server-Sent Events: an encoder and an incremental decoder. Pure: bytes in, events out.

The decoder does what the WHATWG HTML standard ("server-sent events", parsing and interpreting an
event stream) says, and where that leaves room, what Chromium's EventSource does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN: Final = re.compile("[\r\n\0]")
_BOM: Final = b"\xef\xbb\xbf"
_MAX_EVENT_BYTES: Final = 64 << 20
_MAX_RETRY_DIGITS: Final = 15
"""A longer number of milliseconds is no waiting time (30,000 years), and `int` would work on it for long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSentEvent:
    """One dispatched event.

    `event` is "message" where the stream names none. `id` is the id that this very event carried,
    None where it carried none; `last_event_id` is what EventSource reports as `lastEventId`, which
    outlives the event that set it. `retry` is the reconnection time in ms that this event carried.
    """

    event: str
    data: str
    id: str | None = None
    last_event_id: str = ""
    retry: int | None = None


class EventTooLarge(ValueError):  # noqa: N818
    """The stream has an event larger than the decoder's limit; the stream cannot be read on."""


def encode(
    *,
    event: str | None,
    data: bytes | str,
    id: str | None = None,  # noqa: A002 - the field's own name
    retry: int | None = None,
) -> bytes:
    """One event, with the blank line that dispatches it.

    Raises `ValueError` for CR, LF or NUL in `event` or `id` (they would end the field, or make
    readers drop it), for a negative `retry` (ms) and for a `str` that UTF-8 cannot carry. Data of
    several lines becomes several `data` fields; its line ends arrive as LF whatever they were.
    """
    lines: list[bytes] = []
    if retry is not None:
        if retry < 0:
            raise ValueError(f"retry is {retry}; a reconnection time is not negative")
        lines.append(b"retry: %d" % retry)
    if id is not None:
        lines.append(b"id: " + _field("id", id))
    if event is not None:
        lines.append(b"event: " + _field("event", event))
    raw = data.encode() if isinstance(data, str) else data
    if b"\n" in raw or b"\r" in raw:
        lines.extend(b"data: " + line for line in _LINE_END.split(raw))
    else:
        lines.append(b"data: " + raw)
    lines.append(b"\n")
    return b"\n".join(lines)


def _field(name: str, value: str) -> bytes:
    if _FORBIDDEN.search(value):
        raise ValueError(f"{name} holds a line break or NUL: {value!r}")
    return value.encode()


class Decoder:
    """Reads one stream, however it was cut into chunks.

    `last_event_id` is the id to start from, as EventSource keeps it over reconnections. A new
    connection needs a new decoder: what an old one holds of an unfinished event is void.
    """

    def __init__(self, last_event_id: str = "", *, limit: int = _MAX_EVENT_BYTES) -> None:
        self.last_event_id = last_event_id
        """The id of the last finished record; what a reconnection sends as `Last-Event-ID`."""
        self.retry_ms: int | None = None
        """The reconnection time that the stream asks for; None for the client's own."""
        self._limit = limit
        self._head: bytes | None = b""
        self._partial = bytearray()
        self._after_cr = False
        self._id = last_event_id
        self._size = 0
        self._data: list[bytes] = []
        self._event = b""
        self._own_id: str | None = None
        self._own_retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes, in order.

        Raises `EventTooLarge` when an unfinished event outgrows the limit: without one a broken
        server could fill the reader's memory.
        """
        if self._head is not None:
            chunk = self._without_bom(self._head + chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        events: list[ServerSentEvent] = []
        start = 0
        for end in _LINE_END.finditer(chunk):
            line = chunk[start : end.start()]
            if self._partial:
                line = bytes(self._partial) + line
                self._partial.clear()
            start = end.end()
            event = self._line(line)
            if event is not None:
                events.append(event)
        # A CR ends its line at once; whether it was half of a CRLF only the next chunk tells.
        self._after_cr = self._after_cr or (start == len(chunk) and chunk.endswith(b"\r"))
        self._partial += chunk[start:]
        if self._size + len(self._partial) > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
        return events

    def _without_bom(self, head: bytes) -> bytes:
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        self._set(name, value.removeprefix(b" "))
        return None

    def _set(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(value) + 1
                if self._size > self._limit:
                    raise EventTooLarge(f"an event is larger than {self._limit} bytes")
            case b"event":
                self._event = value
            case b"id":
                if b"\0" not in value:
                    self._id = self._own_id = value.decode(errors="replace")
            case b"retry":
                self._retry(value)
            case _:
                pass  # a comment (its name is empty), or a field of a later standard

    def _retry(self, value: bytes) -> None:
        if not value:
            self.retry_ms = self._own_retry = None
        elif value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry_ms = self._own_retry = int(value)

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_event_id = self._id
        event = None
        if self._data:
            event = ServerSentEvent(
                event=self._event.decode(errors="replace") or "message",
                data=b"\n".join(self._data).decode(errors="replace"),
                id=self._own_id,
                last_event_id=self._id,
                retry=self._own_retry,
            )
        self._data = []
        self._size = 0
        self._event = b""
        self._own_id = self._own_retry = None
        return event
