"""From measurements to findings. Pure: the same measurements give the same diagnosis, anywhere.

What a path does to streams with all of Jackline's headers is judged as it is. What it does only once a
header is taken off is `degraded`: one header carries the load, and other services behind the same proxy do
without it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from jackline.doctor.ending import early_ends
from jackline.doctor.finding import Diagnosis, Finding, verdict_of
from jackline.doctor.fixes import fix_for
from jackline.doctor.naming import accel_stripped, guesses
from jackline.doctor.shape import Shape, burst_bytes, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackline.doctor.finding import Code, Severity
    from jackline.doctor.record import Count, Measurements, Stream

HEARTBEAT_S: Final = 15.0
"""Jackline's own, by default."""

_KNOWN_FROM: Final = 0.5
"""A proxy's own words are only told where it is so likely that one."""
_BUFFERED: Final[frozenset[Shape]] = frozenset({"whole", "blocks", "none"})
_FRAME_BYTES: Final = 680
"""A frame of the probe with large events."""
_EARLY: Final = 0.5
_END_SHARE: Final = 0.9
"""A stream that ended before this share of its plan was cut."""
_SAME_TIME: Final = 0.15
_SHORT_LIFE_S: Final = 60.0
_GET_REPEATS: Final = 2
"""HTTP allows to repeat a GET, and many proxies do once, on a connection that turns out to be dead. Nothing
of Jackline's begins by a GET; other services' work does."""

_COMPRESSION: Final = frozenset({"compressed-early", "compressed-late", "first-write", "one-behind"})

_Found = tuple["Code", "Severity", str]


def diagnose(measured: Measurements, baseline: Diagnosis | None = None, *, plain: bool = False) -> Diagnosis:
    """Every finding, the worst first, and who may have caused it. `baseline`: of the same server without the
    proxy; what only degrades there too is not counted. What is worse there stays: no path is good whose
    server breaks streams by itself. `plain`: for a service that sends none of the headers that protect a
    stream; without them is then how it is."""
    ranked = guesses(measured)
    name = ranked[0].name if ranked and ranked[0].score >= _KNOWN_FROM else None
    found: dict[Code, Finding] = {}
    order: tuple[Severity, ...] = ("dangerous", "broken", "degraded")
    everything = [
        *_shipped(measured),
        *_once(measured, plain=plain),
        *_long(measured),
        *_taken_off(measured, plain=plain),
    ]
    for severity in order:
        for code, its_severity, text in everything:
            if its_severity == severity and code not in found:
                fix = fix_for(code, name) + _or_identity(measured, code)
                found[code] = Finding(code=code, severity=severity, text=text, fix=fix)
    known = baseline.findings if baseline is not None else []
    without = {finding.code for finding in known}
    findings = [one for one in found.values() if one.severity != "degraded" or one.code not in without]
    return Diagnosis(verdict=verdict_of(findings), findings=findings, guesses=ranked)


# -- what is held back -----------------------------------------------------------------------------


def _shipped(measured: Measurements) -> Iterable[_Found]:
    """Streams with all of their headers."""
    get, post = measured.stream("get"), measured.stream("post")
    if get is None or post is None:
        return
    if (refused := _refused(get) or _refused(post)) is not None:
        yield refused
        return
    yield from early_ends(measured)
    shapes = shape_of(get), shape_of(post)
    if shapes[0] in _BUFFERED and shapes[1] not in _BUFFERED:
        yield "get-only", "broken", "a GET is held back until its end, a POST streams"
    elif shapes[0] in _BUFFERED:
        yield _buffered(measured, get, "broken")
        if accel_stripped(measured):
            yield (
                "accel-stripped",
                "degraded",
                "X-Accel-Buffering: no was sent, did not arrive, and did not help",
            )
    elif shapes == ("held", "held"):  # what stalls once by chance seldom does so twice
        yield "held-200ms", "degraded", "each event comes about 200 ms late"
    elif shapes[0] == "one-behind":
        yield "one-behind", "broken", "each event comes only with the next one"
    else:
        yield from _larger(measured, "broken")
        yield from _compressed(measured, "broken")


def _refused(stream: Stream) -> _Found | None:
    """No stream came at all."""
    if stream.status == HTTPStatus.OK or stream.events:
        return None
    what = (
        f"the answer is {stream.status}" if stream.status else f"no answer ({stream.error or stream.ended})"
    )
    return "error-before-headers", "broken", f"no stream comes: {what}"


def _buffered(measured: Measurements, stream: Stream, severity: Severity) -> _Found:
    """How a stream is held back."""
    large = measured.stream("blocks") if stream.name == "get" else None
    http = stream.server.seen[0].http if stream.server.seen else measured.echo.http
    if http == "1.0":
        return "buffered-http10", severity, "the proxy speaks HTTP/1.0 to the server, and holds events back"
    if large is not None and shape_of(large) == "blocks":
        about = burst_bytes(large, _FRAME_BYTES)
        return "buffered-blocks", severity, f"events come in blocks of about {about / 1024:.0f} KiB"
    if shape_of(stream) == "blocks":
        return "buffered-blocks", severity, "events come several at a time"
    how = " with a Content-Length" if stream.framing == "length" else ""
    none = "nothing comes" if shape_of(stream) == "none" else "all events come at once, at the end"
    return "buffered-whole", severity, none + how


def _larger(measured: Measurements, severity: Severity) -> Iterable[_Found]:
    """Small streams pass, large ones do not."""
    large = measured.stream("blocks")
    if large is not None and large.status == HTTPStatus.OK and shape_of(large) in _BUFFERED:
        yield _buffered(measured, large, severity)


def _compressed(measured: Measurements, severity: Severity) -> Iterable[_Found]:
    """What is held back only when the client offers to take it compressed."""
    small, large = measured.stream("gzip"), measured.stream("gzip-first")
    if small is None or large is None:
        return
    found = _held_by_compression(small, severity)
    if found is None and _held_by_compression(large, severity) is not None:
        found = "first-write", severity, "a stream that begins with a large event is held back until its end"
    if found is not None:
        yield found


def _held_by_compression(stream: Stream, severity: Severity) -> _Found | None:
    if stream.status != HTTPStatus.OK:
        return None
    coding = stream.header("content-encoding") or "no Content-Encoding"
    match shape_of(stream):
        case "one-behind":
            return "one-behind", severity, f"each event comes only with the next one ({coding})"
        case "whole" | "blocks" | "none":
            early = (stream.headers_ms or 0.0) < _EARLY * stream.plan[-1]
            when = "the headers come at once, the events at the end" if early else "all comes at the end"
            code = "compressed-early" if early else "compressed-late"
            return code, severity, f"to a client that takes gzip {when} ({coding})"
        case "held" | "live":
            return None


def _taken_off(measured: Measurements, *, plain: bool) -> Iterable[_Found]:
    """What happens without the headers."""
    severity: Severity = "broken" if plain else "degraded"
    bare, zipped = measured.stream("plain"), measured.stream("plain-gzip")
    get = measured.stream("get")
    sound = get is not None and shape_of(get) not in _BUFFERED
    note = "without the headers that protect a stream, "
    if sound and bare is not None and bare.status == HTTPStatus.OK:
        if shape_of(bare) in _BUFFERED:
            code, _, text = _buffered(measured, bare, severity)
            yield code, severity, note + text + _carrier(measured)
        elif zipped is not None and (held := _held_by_compression(zipped, severity)) is not None:
            yield held[0], severity, note + held[2] + _carrier(measured)
    for code, text in _leaks(measured, "plain-readers"):
        yield code, "dangerous" if plain else "degraded", note + text


def _carrier(measured: Measurements) -> str:
    """Which single header's absence is enough."""
    carriers = [
        stream.without[0]
        for stream in measured.streams
        if len(stream.without) == 1 and stream.name.startswith("no-") and shape_of(stream) in _BUFFERED
    ]
    return f"; {' and '.join(carriers)} alone keeps it from that" if carriers else ""


def _or_identity(measured: Measurements, code: Code) -> str:
    """Whether Jackline's own setting helps against a compressor that cannot be changed."""
    said = measured.stream("identity")
    if code not in _COMPRESSION or said is None or shape_of(said) != "live":
        return ""
    return "; or the setting `encoding_identity` of Jackline, which helps here"


# -- what is right once, and only once -------------------------------------------------------------


def _once(measured: Measurements, *, plain: bool) -> Iterable[_Found]:
    """Leaks, repetitions, truncation, workers, rewriting."""
    for code, text in _leaks(measured, "readers"):
        yield code, "dangerous", text
    yield from _repeated(measured.counts, plain=plain)
    for stream in measured.streams:
        own = stream.server.executions
        if stream.method == "POST" and own > 1:
            yield "repeated-request", "dangerous", f"a POST that was sent once was executed {own} times"
    yield from _truncated(measured)
    yield from _parallel(measured)
    if measured.echo.changed:
        changed = [*measured.echo.changed, *(["Host"] if measured.echo.host_changed else [])]
        yield "rewritten", "degraded", f"changed or dropped on the way: {', '.join(changed)}"


def _leaks(measured: Measurements, name: str) -> Iterable[tuple[Code, str]]:
    """Whether a reader was given what another one's request made."""
    kinds: tuple[tuple[int, Code, str], ...] = (
        (2, "shared-stream", "a second client was given the stream of the first"),
        (3, "cached", "a client was given the stream of one that had left, from a cache"),
    )
    for number, code, text in kinds:
        stream = measured.stream(f"{name}-{number}")
        if stream is not None and any(event.nonce != stream.nonce for event in stream.events):
            yield code, text


def _repeated(counts: Iterable[Count], *, plain: bool) -> Iterable[_Found]:
    how = {
        "503": "answered with 503",
        "cut": "cut before its answer",
        "slow": "answered late",
        "ok": "answered",
    }
    for count in counts:
        text = f"a {count.method} that was {how[count.mode]} was executed {count.executions} times"
        if count.method == "POST" and count.executions > 1:
            yield "repeated-request", "dangerous", text
        elif plain and count.executions > _GET_REPEATS:
            yield "repeated-request", "degraded", text


def _truncated(measured: Measurements) -> Iterable[_Found]:
    """Whether a stream that the server cut in the middle looks cut."""
    stream = measured.stream("cut")
    if stream is None or stream.status != HTTPStatus.OK or not stream.events:
        return
    if stream.ended == "clean":
        yield "masked-end", "degraded", "a stream that the server cut in the middle ends as if it were whole"
    elif stream.ended == "open":
        yield "zombie", "degraded", "the server's side is closed, the client's stays open and silent"


def _parallel(measured: Measurements) -> Iterable[_Found]:
    """Whether streams wait for others to end."""
    streams = [stream for stream in measured.streams if stream.name.startswith("parallel-")]
    ours = [stream for stream in streams if stream.status != HTTPStatus.TOO_MANY_REQUESTS]
    ends = [stream.ended_ms for stream in ours if stream.last_frame]
    get = measured.stream("get")
    if not ours or not ends or get is None or shape_of(get) in _BUFFERED:
        return
    waited = [stream for stream in ours if not stream.events or stream.events[0].arrived >= min(ends)]
    if waited:
        most = len(ours) - len(waited)
        yield (
            "worker-cap",
            "broken",
            f"of {len(ours)} streams at once {most} came, the others waited or failed",
        )


# -- what only time shows --------------------------------------------------------------------------


def _long(measured: Measurements) -> Iterable[_Found]:
    silent, beats, late = (measured.stream(name) for name in ("silent", "beats", "late"))
    if silent is None or beats is None:
        return
    idle, life = _cut_after(silent), _cut_after(beats)
    if life is not None:
        severity: Severity = "broken" if life < _SHORT_LIFE_S else "degraded"
        yield "lifetime-cap", severity, f"every stream is cut after {_s(life)}, heartbeats or not"
    if idle is not None and (life is None or idle < life * (1 - _SAME_TIME)):
        severity = "broken" if idle < 2 * HEARTBEAT_S else "degraded"
        yield "idle-limit", severity, f"a stream that is silent for {_s(idle)} is cut"
    for stream in (silent, beats):
        if _cut_after(stream) is not None and stream.ended == "clean":
            yield "masked-end", "degraded", "a stream that the proxy cuts ends as if it were whole"
        left = [
            one for one in stream.server.seen if one.ended == "left" and one.ms < _END_SHARE * stream.plan[-1]
        ]
        if left and stream.ended == "open":
            text = f"after {_s(left[0].ms / 1000)} the server's side was closed, the client's stayed open"
            yield "zombie", "broken", text
    if late is not None and not late.events:
        what = f"{late.status}" if late.status else "the end of the connection"
        at = _s(late.ended_ms / 1000)
        yield (
            "error-before-headers",
            "degraded",
            f"a stream that begins late is answered with {what} after {at}",
        )


def _cut_after(stream: Stream) -> float | None:
    """When a long stream ended before its time, in seconds; None when it did not."""
    if stream.last_frame or stream.ended == "open" or stream.ended_ms >= _END_SHARE * stream.plan[-1]:
        return None
    return stream.ended_ms / 1000


def _s(seconds: float) -> str:
    """Seconds as people say them."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
