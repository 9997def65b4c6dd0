"""Values of foreign code, made fit for an entry. Pure."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from jackline.events import Json


def to_json(value: object) -> Json:
    """A tool's result as JSON can carry it. Raises `TypeError` for what it cannot."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_encode_foreign))


def _encode_foreign(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not inspect.isclass(value):
        return dump(mode="json")
    raise TypeError(f"a tool's result must be JSON, not {type(value).__name__}")


def clean(text: str) -> str:
    """Text that JSON can carry: half of a surrogate pair (a file name, a broken chunk) is replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
