"""The limits of one run. They end it `failed` with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.events import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLimits:
    """The limits of one run: the settings', lowered by what the chat asked for."""

    wall_seconds: float
    steps: int
    tokens: int
    tool_seconds: float
    bytes: int


def merge_limits(upper: Mapping[str, float], asked: Json) -> RunLimits:
    """The settings' limits, lowered by what the chat asked for."""
    given = asked if isinstance(asked, dict) else {}
    merged = {
        name: min(value, float(more)) if isinstance(more := given.get(name), (int, float)) else value
        for name, value in upper.items()
    }
    return RunLimits(
        wall_seconds=merged["wall_seconds"],
        steps=int(merged["steps"]),
        tokens=int(merged["tokens"]),
        tool_seconds=merged["tool_seconds"],
        bytes=int(merged["bytes"]),
    )
