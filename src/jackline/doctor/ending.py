"""Streams that did not come to their end, and measurements that tell nothing of the path. Pure."""

from __future__ import annotations

from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from jackline.doctor.shape import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackline.doctor.finding import Code, Severity
    from jackline.doctor.record import Measurements, Stream

_JUDGED: Final = ("get", "post", "gzip", "gzip-first", "blocks")
_HELD_BACK: Final = frozenset({"whole", "blocks", "none"})
_PAUSE_MS: Final = 400
"""A silence that the plan has on purpose is at least so long."""


def early_ends(measured: Measurements) -> Iterable[tuple[Code, Severity, str]]:
    """What the streams as they ship lack at their end. One that is held back altogether is another's
    matter."""
    streams = [stream for name in _JUDGED if (stream := measured.stream(name)) is not None]
    came = [one for one in streams if one.status == HTTPStatus.OK and shape_of(one) not in _HELD_BACK]
    cut = [stream for stream in came if not stream.last_frame and stream.ended != "open"]
    if cut:
        yield _cut(measured, cut)
    for stream in came:
        missing = len(stream.plan) - len(stream.events)
        if stream.last_frame and missing > 0:
            yield (
                "rewritten",
                "broken",
                f"{missing} of {len(stream.plan)} events are missing in a whole stream",
            )
        elif stream.ended == "open" and not stream.last_frame:
            text = f"after {len(stream.events)} of {len(stream.plan)} events nothing comes, not even the end"
            yield "zombie", "broken", text


def _cut(measured: Measurements, cut: list[Stream]) -> tuple[Code, Severity, str]:
    """By its silence or by its age: by that which all have in common, and silence is it only where no stream
    outlived a longer one."""
    silence = min(_silence(stream) for stream in cut)
    outlived = max((_outlived(stream) for stream in measured.streams), default=0.0)
    others = [stream for stream in measured.streams if _is_cut(stream)]
    alike = _spread([_silence(stream) for stream in others]) < _spread([one.ended_ms for one in others])
    if alike and silence > max(outlived, _PAUSE_MS) and all(_in_a_pause(stream) for stream in cut):
        return "idle-limit", "broken", f"a stream that is silent for {silence / 1000:.1f} s is cut"
    first, last = (bound(stream.ended_ms for stream in cut) / 1000 for bound in (min, max))
    when = f"{first:.1f} s" if f"{first:.1f}" == f"{last:.1f}" else f"{first:.1f} to {last:.1f} s"
    return "lifetime-cap", "broken", f"streams are cut after {when}, while events are coming"


def _is_cut(stream: Stream) -> bool:
    """Whether somebody else than the server, which cuts one of them as planned, has ended it."""
    ended = stream.ended in ("cut", "clean") and not stream.last_frame
    return ended and bool(stream.events) and len(stream.events) < len(stream.plan)


def _spread(times: list[float]) -> float:
    return (max(times) - min(times)) / max(times) if times else 0.0


def _silence(stream: Stream) -> float:
    return stream.ended_ms - stream.events[-1].arrived


def _in_a_pause(stream: Stream) -> bool:
    """Whether the plan says nothing for a while after the last event that came."""
    after = len(stream.events)
    return after < len(stream.plan) and stream.plan[after] - stream.plan[after - 1] >= _PAUSE_MS


def _outlived(stream: Stream) -> float:
    """The longest silence after which the stream went on, in ms."""
    heard = sorted([*(event.arrived for event in stream.events), *stream.beats])
    return max((later - one for one, later in pairwise(heard)), default=0.0)


def went_away(measured: Measurements) -> bool:
    """Whether the server ended meanwhile: it says so, or nobody knows of a single probe, or of none of the
    last ones."""
    if any(one.ended == "drained" for stream in measured.streams for one in stream.server.seen):
        return True
    last = [stream for stream in measured.streams if stream.name.startswith("parallel-")]
    told = [stream.server.read for stream in last or measured.streams]
    told += [count.read for count in measured.counts]
    return bool(told) and not any(told)


def busy(measured: Measurements) -> bool:
    """Whether the probes themselves refused one because there are too many."""
    return any(
        stream.status == HTTPStatus.TOO_MANY_REQUESTS
        and stream.header("content-type").startswith("application/problem+json")
        for stream in measured.streams
    )


def not_measured(measured: Measurements) -> list[str]:
    """Counts of which nothing is known: no server could be asked, or none has seen the request."""
    return [
        f"how often a {count.method} is executed ({count.mode})"
        for count in measured.counts
        if not count.read or not count.executions
    ]
