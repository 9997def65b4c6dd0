"""What every contestant carries: one token entry as Jackline stores it, with the time of its making.

A mark is `@`, nineteen digits, `;`: the ns of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import time
from typing import Final

from jackline.events import Token, encode

BEFORE: Final = b"@"
AFTER: Final = b";"
_PLACE: Final = "@MARK;"


class Marks:
    """Makes marks that rise, as the client asks."""

    def __init__(self) -> None:
        self._newest = 0

    def next(self) -> int:
        """Now, or just after the last one."""
        self._newest = max(self._newest + 1, time.monotonic_ns())
        return self._newest

    def text(self) -> str:
        """A token's text: its mark and a word."""
        return f"@{self.next():019d};word "


def _halves() -> tuple[bytes, bytes]:
    token = Token(ts="2026-11-22T12:00:00.123Z", text=f"{_PLACE}word ", kind="text", message_id="m1")
    before, _, after = encode(token).body.partition(_PLACE.encode())
    return before + BEFORE, AFTER + after


_HEAD, _TAIL = _halves()


def body(mark: int) -> bytes:
    """A token entry's body, as small and as large as Jackline's own."""
    return b"%b%019d%b" % (_HEAD, mark, _TAIL)
