"""The shape of a stream's arrival, judged by order and by shares of its own time, so that a slow machine is
not taken for a bad proxy. Pure."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.doctor.record import Arrival, Stream

Shape = Literal["live", "held", "one-behind", "blocks", "whole", "none"]
"""As written; each a fixed time late; each with the next; several at a time; all at once; nothing came."""

_TOGETHER: Final = 0.3
"""Two events arrived together when so small a share of the time between their writing lies between them."""
_BURST_SHARE: Final = 0.3
"""All came at once when they came within this share of the time that writing them took."""
_PAUSE_MS: Final = 400
"""A pause of the plan: an event before it that has not come by its end is not merely slow."""
_HELD_MS: Final = (150, 350)
"""Around the 200 ms for which a kernel holds what its sender says is not all yet (MSG_MORE)."""
_BEHIND: Final = 0.8
_MANY: Final = 0.5


def late(events: Sequence[Arrival]) -> list[float]:
    """How late each event came, in ms, against the one that came the soonest after it was written. The clocks
    of both sides are never compared, and a slow start counts for nothing."""
    if not events:
        return []
    offsets = [event.arrived - event.at for event in events]
    return [offset - min(offsets) for offset in offsets]


def shape_of(stream: Stream) -> Shape:
    """How its events arrived."""
    events = stream.events
    if not events:
        return "none"
    if len(events) == 1:
        return "live"
    span = events[-1].at - events[0].at
    lateness = late(events)
    if events[-1].arrived - events[0].arrived <= _BURST_SHARE * span and lateness[0] > span / 2:
        return "whole"
    if (paused := _paused(stream.events, lateness)) is not None:
        return paused
    if _pairs_together(events) > _MANY:
        return "blocks"
    return "live"


def burst_bytes(stream: Stream, event_bytes: int) -> int:
    """About how many bytes came at a time: those of the largest group."""
    largest = size = 1
    for one, next_ in _pairs(stream.events):
        size = size + 1 if _is_together(one, next_) else 1
        largest = max(largest, size)
    return largest * event_bytes


def _paused(events: Sequence[Arrival], lateness: Sequence[float]) -> Shape | None:
    """What the events before pauses tell."""
    pauses = [
        (lateness[n], next_.at - one.at)
        for n, (one, next_) in enumerate(_pairs(events))
        if next_.at - one.at >= _PAUSE_MS
    ]
    if not pauses:
        return None
    if median(by / pause for by, pause in pauses) >= _BEHIND:
        return "one-behind" if max(by / pause for by, pause in pauses) < 1 + _BEHIND else "blocks"
    low, high = _HELD_MS
    # The first of them may have been held together with the event before it.
    waited = [by for by, _ in pauses]
    return "held" if low <= median(waited) and max(waited) <= high else None


def _pairs(events: Sequence[Arrival]) -> list[tuple[Arrival, Arrival]]:
    return list(pairwise(events))


def _is_together(one: Arrival, next_: Arrival) -> bool:
    return next_.arrived - one.arrived < _TOGETHER * (next_.at - one.at)


def _pairs_together(events: Sequence[Arrival]) -> float:
    pairs = _pairs(events)
    return sum(_is_together(one, next_) for one, next_ in pairs) / len(pairs)
