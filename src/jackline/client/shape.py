"""JSON whose shape is not known yet."""

from __future__ import annotations

from typing import Any, cast


def members(value: object) -> dict[str, Any] | None:
    """The members of a decoded JSON object, None for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def items(value: object) -> list[object]:
    """The items of a decoded JSON array, none for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def is_stand_in(value: object) -> bool:
    """Whether `value` only says where one is stored that is too large for an entry."""
    made = members(value)
    # Others may happen to have these names: what cannot be a stand-in is what it is.
    return (
        made is not None
        and made.keys() == {"artifact", "bytes", "preview"}
        and isinstance(made["artifact"], str)
        and isinstance(made["bytes"], int)
    )
