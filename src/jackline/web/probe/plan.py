"""What a probe's stream is asked to do, and its frames. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from jackline import sse
from jackline.errors import FieldError
from jackline.web.problems import field_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

Ending = Literal["frame", "silent", "cut"]
"""How a stream ends: with `end` as its last frame, without one, or cut in the middle of the answer."""

Protection = Literal["no-store", "no-transform", "x-accel-buffering"]
"""What of a stream's headers keeps proxies from caching, compressing, buffering it."""

Mode = Literal["ok", "503", "slow", "cut"]

MAX_EVENTS: Final = 100
MAX_PAD: Final = 8192
MAX_BYTES: Final = 128 * 1024
"""Padding of one stream, in all."""
MAX_MS: Final = 1_200_000
"""Twenty minutes: longer than the longest cap that clouds document (15 min)."""
MIN_BEAT_MS: Final = 200
MAX_BODY: Final = 64 * 1024

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_STEP: Final = re.compile(r"(0|[1-9][0-9]{0,6}):(0|[1-9][0-9]{0,3})", re.ASCII)
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,6}", re.ASCII)
_PLAN_CHARACTERS: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One event: `at_ms` after the request's arrival, with `pad` bytes of padding."""

    at_ms: int
    pad: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A stream. `name` is what its report is asked for by. `delay_ms`: before the headers. `beat_ms`: between
    heartbeats, 0 for none. `without`: protections to leave out. `identity`: say `Content-Encoding:
    identity`."""

    name: str
    steps: tuple[Step, ...]
    delay_ms: int = 0
    beat_ms: int = 0
    ending: Ending = "frame"
    without: frozenset[Protection] = frozenset()
    identity: bool = False


class ProbeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A planned event. `n`: 0, 1, 2 …; `at`: ms since the request arrived; `nonce`: what this very request
    carried in `X-Probe-Nonce`; `pad`: padding."""

    n: int
    at: float
    nonce: str
    pad: str


class ProbeBeat(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: ms since the request arrived."""

    at: float


class ProbeEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last frame. `n`: how many planned events there were."""

    n: int
    at: float


def event(n: int, at: float, nonce: str, pad: int) -> bytes:
    """A planned event's frame."""
    data = ProbeEvent(n=n, at=round(at, 3), nonce=nonce, pad="x" * pad)
    return sse.encode(event="probe", data=msgspec.json.encode(data))


def beat(at: float) -> bytes:
    """A heartbeat's frame."""
    return sse.encode(event="heartbeat", data=msgspec.json.encode(ProbeBeat(at=round(at, 3))))


def end(n: int, at: float) -> bytes:
    """The last frame."""
    return sse.encode(event="end", data=msgspec.json.encode(ProbeEnd(n=n, at=round(at, 3))))


def read_name(field: str, text: str | None) -> str:
    """The name of a probe, which its sender makes up. Raises a 422 problem."""
    if text is None or not _NAME.fullmatch(text):
        raise _bad(field, "8 to 64 characters of A-Z a-z 0-9 _ -")
    return text


def read_nonce(text: str | None) -> str:
    """`X-Probe-Nonce`, empty where there is none. It goes back to its sender, so nothing else may be in it.
    Raises a 422 problem."""
    return "" if text is None else read_name("X-Probe-Nonce", text)


def read_mode(text: str | None) -> Mode:
    """`?mode=`. Raises a 422 problem."""
    for mode in get_args(Mode):
        if (text or "ok") == mode:
            return mode
    raise _bad("mode", "one of " + ", ".join(get_args(Mode)))


def read_ms(params: Mapping[str, str], name: str, *, at_least: int = 0) -> int:
    """Milliseconds, 0 where they are not given. Raises a 422 problem."""
    text = params.get(name, "0")
    if not _NUMBER.fullmatch(text) or not (text == "0" or at_least <= int(text) <= MAX_MS):
        raise _bad(name, f"a whole number of milliseconds from {at_least} to {MAX_MS}, or 0")
    return int(text)


def read_plan(params: Mapping[str, str]) -> Plan:
    """The plan of a request's query. Raises a 422 problem that names what is at fault."""
    plan = Plan(
        name=read_name("id", params.get("id")),
        steps=_steps(params.get("plan", "")),
        delay_ms=read_ms(params, "delay"),
        beat_ms=read_ms(params, "beat", at_least=MIN_BEAT_MS),
        ending=_ending(params.get("ending", "frame")),
        without=_without(params.get("without", "")),
        identity=params.get("identity") == "1",
    )
    if plan.delay_ms + plan.steps[-1].at_ms > MAX_MS:
        raise _bad("plan", f"delay and plan last at most {MAX_MS} ms")
    return plan


def _steps(text: str) -> tuple[Step, ...]:
    parts = text.split(",") if len(text) <= _PLAN_CHARACTERS else []
    found = [_STEP.fullmatch(part) for part in parts]
    steps = tuple(Step(at_ms=int(match[1]), pad=int(match[2])) for match in found if match is not None)
    if not 0 < len(steps) == len(found) <= MAX_EVENTS:
        raise _bad("plan", f"1 to {MAX_EVENTS} events OFFSET_MS:PADDING, separated by commas")
    offsets = [step.at_ms for step in steps]
    if offsets != sorted(offsets) or offsets[-1] > MAX_MS:
        raise _bad("plan", f"offsets rise, up to {MAX_MS} ms")
    if max(step.pad for step in steps) > MAX_PAD or sum(step.pad for step in steps) > MAX_BYTES:
        raise _bad("plan", f"at most {MAX_PAD} bytes of padding in an event, {MAX_BYTES} in all")
    return steps


def _ending(text: str) -> Ending:
    for ending in get_args(Ending):
        if text == ending:
            return ending
    raise _bad("ending", "one of " + ", ".join(get_args(Ending)))


def _without(text: str) -> frozenset[Protection]:
    names: tuple[Protection, ...] = get_args(Protection)
    parts = [part for part in text.split(",") if part]
    if not set(parts) <= set(names):
        raise _bad("without", "some of " + ", ".join(names))
    return frozenset(name for name in names if name in parts)


def raw_target(scope: Scope) -> str:
    """Path and query as they arrived, byte by byte."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (raw.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1")


def _bad(field: str, detail: str) -> Exception:
    return field_problem(FieldError(field=field, detail=detail), in_body=False)
