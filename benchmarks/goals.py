"""The goals: what Jackline is held to, as ratios to others in the same run or as bounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Figure

PATTERN: Final = "pattern"
SSE: Final = "sse-starlette"
_BOUND_MS: Final = 50.0


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A goal and what was measured: `value` is None where one of its figures is missing."""

    text: str
    unit: str
    sense: Literal["at least", "at most"]
    bound: float
    value: float | None
    held: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Goal:
    """`of` is (scenario, contestant, value's name); `to` the same of what it is divided by, if it is a
    ratio."""

    text: str
    sense: Literal["at least", "at most"]
    bound: float
    of: tuple[str, str, str]
    to: tuple[str, str, str] | None = None
    unit: str = "×"


def _ratio(
    text: str, sense: Literal["at least", "at most"], bound: float, place: tuple[str, str], to: str
) -> _Goal:
    """Jackline's figure divided by another contestant's."""
    scenario, name = place
    return _Goal(
        text=text, sense=sense, bound=bound, of=(scenario, "jackline", name), to=(scenario, to, name)
    )


def _merged(who: str, bound: float, to: str) -> _Goal:
    """The time of a replay with merged tokens: ten times better than what is asked of one without."""
    return _Goal(
        text=f"replay of 100,000, merged, time, to {who}",
        sense="at most",
        bound=bound,
        of=("replay", "jackline merged", "seconds"),
        to=("replay", to, "seconds"),
    )


def _bound(
    text: str, sense: Literal["at least", "at most"], bound: float, unit: str, of: tuple[str, str, str]
) -> _Goal:
    return _Goal(text=text, sense=sense, bound=bound, unit=unit, of=of)


_FLOOD: Final = ("1000x500", "delivered_per_s")
_CPU: Final = ("1000x50", "cpu_us_per_entry")
_IDLE: Final = ("idle", "bytes_per_viewer")
_MANY: Final = ("1000 runs x60", "delivered_per_s")
_BURST: Final = ("burst", "entries_per_s")

GOALS: Final = (
    _ratio("flood, delivered/s, to Nchan", "at least", 3, _FLOOD, "nchan"),
    _ratio("flood, delivered/s, to sse-starlette", "at least", 30, _FLOOD, SSE),
    _ratio("flood, delivered/s, to the pattern", "at least", 60, _FLOOD, PATTERN),
    _ratio("flood, p99, to Nchan", "at most", 0.1, ("1000x500", "p99_ms"), "nchan"),
    _ratio("CPU per delivered entry, 1,000 × 50/s, to Nchan", "at most", 0.8, _CPU, "nchan"),
    _ratio("CPU per delivered entry, 1,000 × 50/s, to sse-starlette", "at most", 1 / 6, _CPU, SSE),
    _Goal(
        text="CPU per delivered entry, 1,000 × 100/s, a tick of 20 ms to none",
        sense="at most",
        bound=0.45,
        of=("1000x100", "jackline tick", "cpu_us_per_entry"),
        to=("1000x100", "jackline", "cpu_us_per_entry"),
    ),
    _ratio("memory per idle viewer, to Nchan", "at most", 0.25, _IDLE, "nchan"),
    _ratio("memory per idle viewer, to sse-starlette", "at most", 0.05, _IDLE, SSE),
    _Goal(
        text="1,000 runs × 60/s, delivered of what was published",
        sense="at least",
        bound=0.97,
        of=("1000 runs x60", "jackline", "delivered_per_s"),
        to=("1000 runs x60", "jackline", "offered_per_s"),
    ),
    _bound("1,000 runs × 60/s, p99", "at most", 60, "ms", ("1000 runs x60", "jackline", "p99_ms")),
    _ratio("1,000 runs × 60/s, delivered/s, to sse-starlette", "at least", 4, _MANY, SSE),
    _ratio("1,000 runs × 60/s, delivered/s, to Nchan", "at least", 2.5, _MANY, "nchan"),
    _bound("1,000 runs × 20/s, p99", "at most", 10, "ms", ("1000 runs x20", "jackline", "p99_ms")),
    _bound("paced runs on one core at p99 ≤ 50 ms", "at least", 400, "runs", ("paced", "jackline", "kept")),
    _ratio("paced runs on one core, to the pattern", "at least", 6, ("paced", "kept"), PATTERN),
    _ratio("50 runs at once, entries/s, to agno", "at least", 15, _BURST, "agno"),
    _ratio("50 runs at once, entries/s, to LangGraph", "at least", 15, _BURST, "langgraph"),
    _ratio("50 runs at once, first event, to agno", "at most", 1 / 6, ("burst", "event_p50_ms"), "agno"),
    _bound("worker commit, Redis", "at least", 50_000, "/s", ("commit", "jackline", "best")),
    _bound("worker commit, Redis, CPU of each", "at most", 25, "µs", ("commit", "jackline", "least_cpu")),
    _bound("worker commit, SQLite FULL", "at least", 25_000, "/s", ("commit", "jackline embedded", "best")),
    _ratio("replay of 100,000, time, to sse-starlette", "at most", 1 / 25, ("replay", "seconds"), SSE),
    _ratio("replay of 100,000, time, to pages", "at most", 1 / 3, ("replay", "seconds"), "starlette pages"),
    _merged("sse-starlette", 1 / 250, SSE),
    _merged("pages", 1 / 30, "starlette pages"),
    _ratio("storm of 1,000, time, to sse-starlette", "at most", 1 / 25, ("storm", "seconds"), SSE),
    _bound("storm of 1,000, refused", "at most", 0, "", ("storm", "jackline", "refused")),
    _Goal(
        text="storm of 1,000, live viewers' p99, meanwhile to before",
        sense="at most",
        bound=2,
        of=("storm", "jackline", "live_p99_meanwhile_ms"),
        to=("storm", "jackline", "live_p99_before_ms"),
    ),
    _bound("stop to `stopping`, p99", "at most", 5, "ms", ("stop", "jackline: silent model", "told_p99_ms")),
    _bound(
        "stop to `stopping` at 2,500 tokens/s, p99",
        "at most",
        15,
        "ms",
        ("stop", "jackline: 2,500 tokens/s", "told_p99_ms"),
    ),
    _bound(
        "embedded, model chunk to viewer, p50", "at most", 1, "ms", ("one run", "jackline embedded", "p50_ms")
    ),
    _bound("`jackline --help`", "at most", 0.3, "s", ("start", "jackline", "help_s")),
    _bound("`jackline serve` to ready", "at most", 1.5, "s", ("start", "jackline", "serve_ready_s")),
)


def judged(figures: Sequence[Figure]) -> list[Judged]:
    """Each goal of which at least one figure was measured."""
    known = values(figures)
    return [_judge(goal, known) for goal in GOALS if goal.of in known]


def values(figures: Sequence[Figure]) -> dict[tuple[str, str, str], float]:
    """Every value by scenario, contestant and name; of a scenario with several figures what they come
    to: `kept`, the most paced runs within the bound; `best` and `least_cpu` of the commits."""
    known: dict[tuple[str, str, str], float] = {}

    def best(key: tuple[str, str, str], value: float, *, lower: bool = False) -> None:
        known[key] = min(known.get(key, value), value) if lower else max(known.get(key, value), value)

    for figure in figures:
        place = (figure.scenario, figure.contestant)
        if figure.scenario == "paced" and figure.values:
            kept = figure.values["p99_ms"] <= _BOUND_MS and not figure.values["missing"]
            best((*place, "kept"), figure.values["runs"] if kept else 0)
        elif figure.scenario == "commit" and figure.values:
            best((*place, "best"), figure.values["entries_per_s"])
            best((*place, "least_cpu"), figure.values["cpu_us_per_entry"], lower=True)
        else:
            known.update({(*place, name): value for name, value in figure.values.items()})
    return known


def _judge(goal: _Goal, known: dict[tuple[str, str, str], float]) -> Judged:
    value: float | None = known[goal.of]
    if goal.to is not None:
        base = known.get(goal.to)
        value = known[goal.of] / base if base else None
    held = None
    if value is not None:
        held = value >= goal.bound if goal.sense == "at least" else value <= goal.bound
    return Judged(text=goal.text, unit=goal.unit, sense=goal.sense, bound=goal.bound, value=value, held=held)
