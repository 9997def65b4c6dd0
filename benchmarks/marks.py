"""What every contestant carries: one token entry as Jackline stores it, with the time of its making.

The mark is the speaker's: see `jackline.bench.speaker.Marks`.
"""

from __future__ import annotations

from typing import Final

from jackline.events import Token, encode

BEFORE: Final = b"@"
AFTER: Final = b";"
_PLACE: Final = "@MARK;"


def _halves() -> tuple[bytes, bytes]:
    token = Token(ts="2026-11-22T12:00:00.123Z", text=f"{_PLACE}word ", kind="text", message_id="m1")
    before, _, after = encode(token).body.partition(_PLACE.encode())
    return before + BEFORE, AFTER + after


_HEAD, _TAIL = _halves()


def body(mark: int) -> bytes:
    """A token entry's body, as small and as large as Jackline's own."""
    return b"%b%019d%b" % (_HEAD, mark, _TAIL)
