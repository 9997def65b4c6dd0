"""Text of models, tools and servers, made safe for a terminal. Pure.

None of it is trusted: an escape sequence could rewrite what stands above, a bidirectional mark
could make arguments read as others than those that will be executed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from re import Match

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and LF
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of text
    "\u200b\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible ones
    "\ud800-\udfff]"  # halves of characters, which cannot be printed at all
)
_MINUTE_S: Final = 60


def plain(text: str) -> str:
    """`text` without what a terminal would obey."""
    return _UNSAFE.sub("", text)


def visible(text: str) -> str:
    """`text` with what a terminal would obey written out as an escape: for what a person decides on."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004 - two hex digits


def one_line(text: str) -> str:
    """`text` on one line."""
    return " ".join(plain(text).split())


def compact(value: object) -> str:
    """A JSON value on one line; a string as itself."""
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def pretty(value: object) -> str:
    """A JSON value over several lines, nothing left out."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, and how many more there are."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … ({len(text) - limit} characters more; --full shows all)"


def duration(ms: float) -> str:
    """`12 ms`, `1.5 s`, `2 min 5 s`."""
    if ms < 1000:  # noqa: PLR2004 - a second
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE_S)} min {int(seconds % _MINUTE_S)} s"
