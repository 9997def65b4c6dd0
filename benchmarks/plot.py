"""Pictures in SVG, without a library: bars and curves on logarithmic scales. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 860
_LEFT: Final = 400
_ROW: Final = 20
_PLOT: Final = 220
_MARGIN: Final = 60
_COLOURS: Final = ("#0b6e4f", "#c1440e", "#2f4b7c", "#a05195", "#8d6e00")
_SMALLEST: Final = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """`good` decides its colour."""

    label: str
    value: float
    good: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points, x rising."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A piece of a picture, drawn from 0, 0."""

    height: int
    body: str


def document(parts: Sequence[Part]) -> str:
    """The parts one under the other."""
    at, groups = 10, list[str]()
    for part in parts:
        groups.append(f'<g transform="translate(0 {at})">{part.body}</g>')
        at += part.height + 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at}" viewBox="0 0 {WIDTH} {at}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'{head} {style}><rect width="100%" height="100%" fill="#fff"/>{"".join(groups)}</svg>\n'


def bars(title: str, rows: Sequence[Bar]) -> Part:
    """A bar to the right of 1 for what is better, to the left for what is worse."""
    reach = max([0.5, *(abs(_log(row.value)) for row in rows)])
    middle = _LEFT + (WIDTH - _LEFT - 60) / 2
    scale = (WIDTH - _LEFT - 60) / 2 / reach
    drawn = [_text(10, 15, title, bold=True)]
    for place, row in enumerate(rows):
        top = 25 + place * _ROW
        end = middle + _log(row.value) * scale
        colour = _COLOURS[0] if row.good else _COLOURS[1]
        left, width = min(middle, end), max(1.0, abs(end - middle))
        drawn.append(_text(10, top + 13, row.label))
        drawn.append(
            f'<rect x="{left:.1f}" y="{top + 3}" width="{width:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
        )
        drawn.append(_text(max(end, middle) + 4, top + 13, f"{row.value:.3g}"))
    height = 25 + len(rows) * _ROW
    drawn.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="22" y2="{height}" stroke="#333"/>')
    return Part(height=height, body="".join(drawn))


def curves(title: str, lines: Sequence[Curve]) -> Part:
    """Both scales logarithmic."""
    xs = [_log(x) for line in lines for x, _ in line.points]
    ys = [_log(y) for line in lines for _, y in line.points]
    left, right = min(xs), max(*xs, min(xs) + 1e-9)
    low = math.floor(min(ys))
    high = max(low + 1, *(math.ceil(y) for y in ys))

    def at(x: float, y: float) -> tuple[float, float]:
        across = _MARGIN + (_log(x) - left) / (right - left) * (WIDTH - 2 * _MARGIN - 120)
        return across, 30 + (high - _log(y)) / (high - low) * (_PLOT - 60)

    drawn = [_text(10, 15, title, bold=True)]
    for power in range(low, high + 1):
        _, y = at(10**left, 10**power)
        drawn.append(f'<line x1="{_MARGIN}" x2="{WIDTH - 170}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        drawn.append(_text(10, y + 4, f"{10**power:g}"))
    sizes = sorted({x for line in lines for x, _ in line.points})
    drawn += [_text(at(x, 10**low)[0] - 8, _PLOT - 12, f"{x:g}") for x in sizes]
    for place, line in enumerate(lines):
        colour = _COLOURS[place % len(_COLOURS)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line.points))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(_text(WIDTH - 160, 40 + place * 18, line.label, colour=colour))
    return Part(height=_PLOT, body="".join(drawn))


def _log(value: float) -> float:
    return math.log10(max(value, _SMALLEST))


def _text(x: float, y: float, text: str, *, bold: bool = False, colour: str = "#222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{escape(text)}</text>'
