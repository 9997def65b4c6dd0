"""An HTTP/1.1 response as it arrives (RFC 9112), chunk by chunk: whatever is put right for an ordinary client
is what a diagnosis needs to see. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

Framing = Literal["chunked", "length", "close", "none"]
"""How the end of the body is told: by a last chunk, a length, the connection's end, or there is no body."""

_HEAD_BYTES: Final = 64 * 1024
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")
_STATUS: Final = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: .*)?")
_SIZES_KEPT: Final = 20
_NO_BODY: Final = frozenset({204, 304})
_INFORMATIONAL: Final = 100
_SUCCESS: Final = 200


class BadAnswer(Exception):  # noqa: N818
    """What arrived is no HTTP/1.1 response."""


class Reader:
    """Reads one response to a GET or POST. Feed it what arrives; it returns what that adds to the body."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.version = ""
        self.headers: list[tuple[str, str]] = []
        """In order, names in lower case."""
        self.framing: Framing = "none"
        self.sizes: list[str] = []
        """The first chunks' sizes, as they are spelled."""
        self.complete = False
        """Whether the end of the response has arrived, as its framing tells it."""
        self._held = b""
        self._left = 0
        self._in: Literal["head", "size", "chunk", "after", "trailer", "length", "close"] = "head"

    def header(self, name: str) -> str:
        """A header's values, joined by commas; empty where there is none."""
        return ", ".join(value for known, value in self.headers if known == name)

    def feed(self, data: bytes) -> bytes:
        """Bytes that arrived. Raises `BadAnswer`."""
        self._held += data
        body: list[bytes] = []
        while not self.complete and self._step(body):
            pass
        return b"".join(body)

    def eof(self) -> None:
        """The connection ended."""
        if self.status is not None and self._in == "close":
            self.complete = True

    def _step(self, body: list[bytes]) -> bool:
        """One step; False when more must arrive."""
        match self._in:
            case "head":
                return self._head()
            case "close":
                return self._take(body, len(self._held))
            case "length" | "chunk":
                return self._counted(body)
            case "size" | "after" | "trailer":
                return self._line()

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > _HEAD_BYTES:
                raise BadAnswer("headers without an end")
            return False
        first, *lines = self._held[:end].split(b"\r\n")
        self._held = self._held[end + 4 :]
        match = _STATUS.fullmatch(first)
        if match is None:
            raise BadAnswer(f"not an HTTP/1.1 answer: {first[:60]!r}")
        status = int(match[2])
        if _INFORMATIONAL <= status < _SUCCESS:
            return True
        self.version, self.status = match[1].decode(), status
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadAnswer(f"a header without a colon: {line[:60]!r}")
            self.headers.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
        self._frame()
        return True

    def _frame(self) -> None:
        length = self.header("content-length")
        if self.status in _NO_BODY:
            self.complete = True
        elif "chunked" in self.header("transfer-encoding").lower():
            self.framing, self._in = "chunked", "size"
        elif length:
            if not length.isascii() or not length.isdigit():
                raise BadAnswer(f"Content-Length: {length[:60]}")
            self.framing, self._in, self._left = "length", "length", int(length)
            self.complete = not self._left
        else:
            self.framing, self._in = "close", "close"

    def _take(self, body: list[bytes], count: int) -> bool:
        body.append(self._held[:count])
        self._held = self._held[count:]
        return False

    def _counted(self, body: list[bytes]) -> bool:
        taken = min(self._left, len(self._held))
        self._take(body, taken)
        self._left -= taken
        if self._left:
            return False
        if self._in == "length":
            self.complete = True
        else:
            self._in = "after"
        return True

    def _line(self) -> bool:
        line, found, rest = self._held.partition(b"\r\n")
        if not found:
            if len(line) > _HEAD_BYTES:
                raise BadAnswer("a line without an end")
            return False
        self._held = rest
        match self._in:
            case "size":
                self._size(line)
            case "after":
                if line:
                    raise BadAnswer("a chunk is longer than it says")
                self._in = "size"
            case _:
                self.complete = not line
        return True

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadAnswer(f"not a chunk's size: {line[:60]!r}")
        if len(self.sizes) < _SIZES_KEPT:
            self.sizes.append(match[1].decode())
        self._left = int(match[1], 16)
        self._in = "chunk" if self._left else "trailer"
