"""The report: ratios first, then a table for each scenario; as Markdown, and its pictures as SVG. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.bench import Figure
from benchmarks.goals import Judged
from benchmarks.plot import Bar, Curve, bars, curves, document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHOWN: Final = (
    ("at", "size"),
    ("runs", "runs"),
    ("group", "group"),
    ("delivered_per_s", "delivered/s"),
    ("offered_per_s", "offered/s"),
    ("entries_per_s", "entries/s"),
    ("seconds", "s"),
    ("first_seconds", "the first time, s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("event_p50_ms", "first event p50 ms"),
    ("first_p50_ms", "first entry p50 ms"),
    ("cpu_us_per_entry", "CPU µs/entry"),
    ("server_cpu_share", "server's core"),
    ("redis_us_per_published", "Redis µs/published"),
    ("bytes_per_viewer", "bytes/viewer"),
    ("missing", "missing"),
    ("refused", "refused"),
    ("failed", "failed"),
    ("live_p99_before_ms", "live p99 before, ms"),
    ("live_p99_meanwhile_ms", "live p99 meanwhile, ms"),
    ("accepted_p50_ms", "202 p50 ms"),
    ("accepted_p99_ms", "202 p99 ms"),
    ("stopping_p50_ms", "stopping p50 ms"),
    ("stopping_p99_ms", "stopping p99 ms"),
    ("told_p50_ms", "stopping from its time p50 ms"),
    ("told_p99_ms", "stopping from its time p99 ms"),
    ("ending_p99_ms", "ending p99 ms"),
    ("help_s", "--help s"),
    ("serve_ready_s", "serve to ready s"),
    ("append_us_per_entry", "append CPU µs"),
    ("append_wall_us_per_entry", "append µs"),
    ("first_look_ms", "first look at the last 100, ms"),
    ("read_last_100_ms", "again, ms"),
    ("replay_us_per_entry", "replay µs/entry"),
    ("replay_cpu_us_per_entry", "replay CPU µs/entry"),
    ("client_cpu_share", "client's core"),
    ("publisher_cpu_share", "publisher's core"),
)
"""Values that the tables show, in this order, with their heads; the JSON has all."""

CURVES: Final = {
    "grow viewers": "cpu_us_per_entry",
    "grow runs": "cpu_us_per_entry",
    "grow entries": "first_look_ms",
    "paced": "p99_ms",
}
_MANY: Final = 100


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run of the benchmark."""

    machine: dict[str, str]
    quick: bool
    titles: dict[str, str]
    goals: list[Judged]
    figures: list[Figure]


def number(value: float) -> str:
    """Three digits that count, thousands parted."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(report: Report) -> str:
    """For people."""
    lines = ["# Benchmark", ""]
    if report.quick:
        lines += ["A quick run: smaller numbers than the titles say, good for a look and nothing else.", ""]
    lines += [f"- {name}: {value}" for name, value in report.machine.items()]
    if report.goals:
        lines += ["", "## Ratios and bounds", ""]
        lines += table(("goal", "wanted", "measured", "held"), [_goal(goal) for goal in report.goals])
    for scenario, title in report.titles.items():
        lines += ["", f"## {scenario}", "", f"{title[0].upper()}{title[1:]}.", ""]
        lines += _scenario([figure for figure in report.figures if figure.scenario == scenario])
    return "\n".join(lines) + "\n"


def _goal(goal: Judged) -> list[str]:
    sense = "≥" if goal.sense == "at least" else "≤"
    measured = "not measured" if goal.value is None else f"{number(goal.value)} {goal.unit}"
    held = {None: "", True: "yes", False: "**no**"}[goal.held]
    return [goal.text, f"{sense} {number(goal.bound)} {goal.unit}".strip(), measured.strip(), held]


def _scenario(figures: Sequence[Figure]) -> Iterator[str]:
    shown = [(name, head) for name, head in SHOWN if any(name in _values(figure) for figure in figures)]
    heads = ("", *(head for _, head in shown))
    rows = [[figure.contestant, *_cells(figure, [name for name, _ in shown])] for figure in figures]
    yield from table(heads, rows)
    notes = [(figure, note) for figure in figures for note in figure.notes]
    if notes:
        yield ""
    for figure, note in notes:
        at = "" if figure.at is None else f" at {number(figure.at)}"
        yield f"- {figure.contestant}{at}: {note}"


def _values(figure: Figure) -> dict[str, float]:
    sized = figure.at is not None and not {"runs", "group"} & figure.values.keys()
    return figure.values | ({"at": figure.at} if sized and figure.at is not None else {})


def _cells(figure: Figure, names: Sequence[str]) -> list[str]:
    values = _values(figure)
    return [number(values[name]) if name in values else "" for name in names]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of Markdown."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "/") for cell in row) + " |"


def picture(report: Report) -> str:
    """An SVG: how far each goal was reached (1 is the goal, further right is better), and the curves."""
    reached = [
        Bar(label=goal.text, value=_reached(goal, goal.value), good=bool(goal.held))
        for goal in report.goals
        if goal.value is not None
    ]
    parts = [bars("times the goal", reached)] if reached else []
    for scenario, name in CURVES.items():
        found = list(_curves(report.figures, scenario, name))
        if found:
            parts.append(curves(f"{report.titles[scenario]}: {dict(SHOWN)[name]}", found))
    return document(parts)


def _reached(goal: Judged, value: float) -> float:
    best, worst = (value, goal.bound) if goal.sense == "at least" else (goal.bound, value)
    return best / worst if worst else 1.0


def _curves(figures: Sequence[Figure], scenario: str, name: str) -> Iterator[Curve]:
    mine = [figure for figure in figures if figure.scenario == scenario and name in figure.values]
    for contestant in dict.fromkeys(figure.contestant for figure in mine):
        points = tuple(
            (figure.at, figure.values[name])
            for figure in mine
            if figure.contestant == contestant and figure.at is not None
        )
        yield Curve(label=contestant, points=points)
