"""A diagnosis for people: what was measured, the verdict, who it may be, and what to paste. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from jackline.doctor.ending import not_measured
from jackline.doctor.shape import late, shape_of
from jackline.errors import ConfigError
from jackline.proxies import Wish, render

if TYPE_CHECKING:
    from jackline.doctor.finding import Diagnosis, Finding, Verdict
    from jackline.doctor.record import Measurements, Stream
    from jackline.doctor.shape import Shape

_COLUMNS: Final = 100
_WIDTH: Final = 56
_SHOWN: Final = (
    ("get", "GET"),
    ("post", "POST"),
    ("gzip", "GET, gzip"),
    ("gzip-first", "… large begin"),
    ("blocks", "GET, 14 KiB"),
    ("no-no-store", "without no-store"),
    ("no-no-transform", "no no-transform"),
    ("no-x-accel-buffering", "no X-Accel-…"),
    ("plain", "no protection"),
    ("plain-gzip", "… and gzip"),
)
_LABEL: Final = 17
_SHAPES: Final[dict[Shape, str]] = {
    "live": "live",
    "held": "about 200 ms late",
    "one-behind": "with the next one",
    "blocks": "in blocks",
    "whole": "all at the end",
    "none": "nothing came",
}
_VERDICTS: Final[dict[Verdict, str]] = {
    "good": "GOOD: streams pass this path as they are sent.",
    "degraded": "DEGRADED: streams work here, with what is told below.",
    "broken": "BROKEN: streams do not work on this path.",
    "dangerous": "DANGEROUS: what is sent once happens twice, or one client gets another's stream.",
}
_SURE: Final = ((0.8, "very likely"), (0.5, "probably"), (0.0, "perhaps"))


def report(measured: Measurements, diagnosis: Diagnosis, baseline: Diagnosis | None = None) -> list[str]:
    """The lines of it. `baseline`: the diagnosis without the proxy."""
    lines = [f"{measured.url} · {measured.seconds:.0f} s · round trip {measured.echo.rtt_ms:.1f} ms", ""]
    lines += _pictures(measured)
    lines += ["", _VERDICTS[diagnosis.verdict]]
    for finding in diagnosis.findings:
        lines += _wrapped(f"{finding.code} ({finding.severity}): {finding.text}", "  ")
        lines.append(f"      → {finding.fix}")
    lines += _without_proxy(baseline.findings if baseline is not None else [])
    lines += [f"  Not measured: {what}." for what in not_measured(measured)]
    if measured.echo.host_changed:
        lines.append("  Host does not arrive as it was sent. Have it passed on where the server checks it.")
    return [*lines, "", *_proxy(diagnosis)]


def _without_proxy(findings: list[Finding]) -> list[str]:
    """What the server does by itself."""
    worse = [f"{finding.code} ({finding.severity})" for finding in findings if finding.severity != "degraded"]
    same = [finding.code for finding in findings if finding.severity == "degraded"]
    lines = [f"  Broken without the proxy too, mend that first: {', '.join(worse)}."] if worse else []
    return [
        *lines,
        *([f"  Found without the proxy too, and not counted: {', '.join(same)}."] if same else []),
    ]


def _pictures(measured: Measurements) -> list[str]:
    """Each stream as a line of time: a letter where an event arrived."""
    streams = [(label, stream) for name, label in _SHOWN if (stream := measured.stream(name)) is not None]
    if not streams:
        return []
    whole = max(_end_of(stream) for _, stream in streams)
    get = streams[0][1]
    lines = [f"{'sent':{_LABEL}} {_line([float(at) for at in get.plan], whole)} {whole / 1000:.1f} s"]
    for label, stream in streams:
        arrived = [event.at + by for event, by in zip(stream.events, late(stream.events), strict=True)]
        how = _SHAPES[shape_of(stream)] if stream.status == 200 else f"answered {stream.status}"  # noqa: PLR2004
        lines.append(f"{label:{_LABEL}} {_line(arrived, whole)} {how}")
    return lines


def _wrapped(text: str, indent: str = "") -> list[str]:
    return wrap(text, _COLUMNS, initial_indent=indent, subsequent_indent=indent)


def _end_of(stream: Stream) -> float:
    after = [event.at + by for event, by in zip(stream.events, late(stream.events), strict=True)]
    return max([*after, float(stream.plan[-1])])


def _line(times: list[float], whole: float) -> str:
    """`.` for silence, `o` for one event, `8` for two to eight, `@` for more."""
    cells = [0] * _WIDTH
    for time in times:
        cells[min(_WIDTH - 1, int(time / whole * (_WIDTH - 1)))] += 1
    return "".join("." if not count else "o" if count == 1 else "8" if count <= 8 else "@" for count in cells)  # noqa: PLR2004


def _proxy(diagnosis: Diagnosis) -> list[str]:
    guess = diagnosis.proxy
    if guess is None:
        return ["Which proxy it is cannot be told: nothing in the way gives itself away."]
    sure = next(word for least, word in _SURE if guess.score >= least)
    others = ", ".join(f"{one.name} {one.score:.0%}" for one in diagnosis.guesses[1:4])
    lines = _wrapped(f"It is {sure} {guess.name} ({guess.score:.0%}): {'; '.join(guess.because)}.")
    if others:
        lines.append(f"Or: {others}.")
    text = paste(diagnosis)
    if text:
        lines += ["", f"To paste or to set (jackline proxy {guess.name}):", "", *text.splitlines()]
    return lines


def paste(diagnosis: Diagnosis) -> str:
    """A configuration of the likeliest proxy; empty where all is good or there is none."""
    guess = diagnosis.proxy
    if guess is None or not diagnosis.findings:
        return ""
    try:
        return render(guess.name, Wish())
    except ConfigError:
        return ""
