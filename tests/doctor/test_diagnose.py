"""What is found in measurements: those recorded behind real proxies, and some that were changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from jackline.doctor.diagnose import diagnose
from jackline.doctor.finding import EXIT_CODES, Code, Diagnosis, Severity
from jackline.doctor.fixes import GENERAL, SPECIAL
from jackline.doctor.present import report
from jackline.doctor.record import Arrival, Count, Execution, Measurements, Seen, Stream

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> Measurements:
    """What was measured behind a real proxy."""
    return msgspec.json.decode((RECORDED / f"{name}.json").read_bytes(), type=Measurements)


def severities(diagnosis: Diagnosis) -> dict[Code, Severity]:
    return {finding.code: finding.severity for finding in diagnosis.findings}


def change(measured: Measurements, change_one: Callable[[Stream], Stream]) -> Measurements:
    """The same with each stream changed."""
    return msgspec.structs.replace(measured, streams=[change_one(stream) for stream in measured.streams])


def only(names: str, change_one: Callable[[Stream], Stream]) -> Callable[[Stream], Stream]:
    """A change of the streams whose names begin with one of `names`."""
    return lambda stream: change_one(stream) if stream.name.startswith(tuple(names.split())) else stream


def burst(stream: Stream) -> Stream:
    """All of its events at its end."""
    end = stream.ended_ms
    events = [Arrival(at=event.at, arrived=end, nonce=event.nonce) for event in stream.events]
    return msgspec.structs.replace(stream, events=events)


@pytest.mark.parametrize(
    ("name", "proxy", "found"),
    [
        ("nginx", "nginx", {}),
        (
            "nginx-http10-ignoring",
            "nginx",
            {"buffered-http10": "broken", "accel-stripped": "degraded", "masked-end": "degraded"},
        ),
        ("nginx-http10", "nginx", {"buffered-http10": "degraded", "masked-end": "degraded"}),
        ("nginx-gzip", "nginx", {"compressed-late": "broken"}),
        ("nginx-retries", "nginx", {"repeated-request": "dangerous"}),
        ("nginx-cache", "nginx", {"shared-stream": "dangerous", "cached": "dangerous"}),
        ("nginx-strips", "nginx", {"rewritten": "degraded"}),
        ("nginx-silence", "nginx", {"idle-limit": "broken", "error-before-headers": "degraded"}),
        ("haproxy-2.6-delay", "haproxy", {"held-200ms": "degraded"}),
        ("haproxy-2.8-delay", "haproxy", {"held-200ms": "degraded"}),
        ("haproxy-2.6-gzip", "haproxy", {"one-behind": "degraded"}),
        ("caddy-2.6-encode", "caddy", {"first-write": "broken", "masked-end": "degraded"}),
        (
            "caddy-2.6-silence",
            "caddy",
            {"idle-limit": "broken", "masked-end": "degraded", "error-before-headers": "degraded"},
        ),
        ("apache-four-threads", "apache", {"worker-cap": "broken"}),
        ("varnish-default", "varnish", {"shared-stream": "degraded", "cached": "degraded"}),
        ("varnish-whole", "varnish", {"buffered-whole": "broken"}),
        ("lighttpd-default", "lighttpd", {"buffered-whole": "broken", "masked-end": "degraded"}),
        ("envoy-cap", "envoy", {"lifetime-cap": "broken", "error-before-headers": "degraded"}),
        ("envoy-retries", "envoy", {"repeated-request": "dangerous"}),
        ("traefik", "traefik", {}),
        ("traefik-buffering", "traefik", {"buffered-whole": "broken"}),
        ("squid-silence", "squid", {"idle-limit": "broken", "error-before-headers": "degraded"}),
        ("express", "express", {"zombie": "degraded", "compressed-early": "degraded"}),
        ("mitmproxy", "mitmproxy", {"buffered-whole": "broken"}),
    ],
)
def test_each_real_proxy_is_named_with_its_fault(name: str, proxy: str, found: dict[Code, Severity]) -> None:
    diagnosis = diagnose(recorded(name))
    assert severities(diagnosis) == found
    assert diagnosis.proxy is not None
    assert diagnosis.proxy.name == proxy
    worst = [
        word for word in ("dangerous", "broken", "degraded", "good") if word in {*found.values(), "good"}
    ]
    assert diagnosis.verdict == worst[0]


def test_every_recording_is_diagnosed() -> None:
    used = {
        value
        for mark in test_each_real_proxy_is_named_with_its_fault.pytestmark  # type: ignore[attr-defined]
        for value, *_ in mark.args[1]
    }
    assert {path.stem for path in RECORDED.glob("*.json")} == used


def test_the_same_path_is_broken_for_a_service_that_sends_no_protecting_headers() -> None:
    """Debian's NGINX as it comes: X-Accel-Buffering alone keeps it from holding everything back."""
    measured = recorded("nginx-http10")
    assert diagnose(measured).verdict == "degraded"
    plain = diagnose(measured, plain=True)
    assert severities(plain)["buffered-http10"] == "broken"
    assert "x-accel-buffering alone" in plain.findings[0].text
    assert diagnose(recorded("varnish-default"), plain=True).verdict == "dangerous"


def test_what_is_found_without_the_proxy_too_is_not_the_proxys() -> None:
    measured = recorded("nginx-strips")
    baseline = diagnose(measured)
    assert baseline.verdict == "degraded"
    assert diagnose(measured, baseline).verdict == "good"
    assert diagnose(recorded("nginx-cache"), baseline).verdict == "dangerous"


def test_a_server_that_breaks_streams_by_itself_makes_no_path_good() -> None:
    for name in ("nginx-gzip", "nginx-cache"):
        measured = recorded(name)
        baseline = diagnose(measured)
        diagnosis = diagnose(measured, baseline)
        assert diagnosis.verdict == baseline.verdict != "good"
        assert "Broken without the proxy too" in "\n".join(report(measured, diagnosis, baseline))


# -- signatures of what cannot be run here ---------------------------------------------------------


def changed(*changes: Callable[[Stream], Stream], name: str = "nginx") -> Diagnosis:
    """The diagnosis of a good path that was changed."""
    measured = recorded(name)
    for one in changes:
        measured = change(measured, one)
    return diagnose(measured)


def test_a_quick_tunnel_holds_a_get_and_streams_a_post() -> None:
    diagnosis = changed(only("get gzip blocks no- plain", burst))
    assert severities(diagnosis) == {"get-only": "broken"}


def test_blocks_are_told_where_the_proxy_speaks_http_1_1() -> None:
    def modern(stream: Stream) -> Stream:
        seen = [msgspec.structs.replace(one, http="1.1") for one in stream.server.seen]
        return msgspec.structs.replace(stream, server=Seen(executions=1, seen=seen))

    diagnosis = changed(modern, name="nginx-http10-ignoring")
    assert severities(diagnosis)["buffered-blocks"] == "broken"
    assert "about 4 KiB" in diagnosis.findings[0].text


def test_a_stream_held_only_when_it_is_large_is_found() -> None:
    diagnosis = changed(only("blocks", burst))
    assert diagnosis.verdict == "broken"


def test_an_event_that_comes_with_the_next_one_is_not_taken_for_a_fixed_delay() -> None:
    def behind(stream: Stream) -> Stream:
        following = [event.arrived for event in stream.events[1:]] + [stream.ended_ms]
        events = [
            Arrival(at=event.at, arrived=arrived)
            for event, arrived in zip(stream.events, following, strict=True)
        ]
        return msgspec.structs.replace(stream, events=events)

    assert severities(changed(only("get post", behind))) == {"one-behind": "broken"}


def test_what_cuts_silence_and_what_cuts_everything_are_told_apart() -> None:
    """A heartbeat stream that goes on means idle; one that is cut at the same time means a cap."""
    silent = Stream(name="silent", plan=[0, 150_000], status=200, ended="cut", ended_ms=60_000)
    beats = Stream(
        name="beats", plan=[0, 150_000], status=200, ended="clean", ended_ms=150_100, last_frame=True
    )
    good = recorded("nginx")

    def with_streams(*streams: Stream) -> Diagnosis:
        return diagnose(msgspec.structs.replace(good, streams=[*good.streams, *streams]))

    idle = with_streams(silent, beats)
    assert severities(idle) == {"idle-limit": "degraded"}
    assert "60 s" in idle.findings[0].text
    shorter = msgspec.structs.replace(silent, ended_ms=20_000)
    assert severities(with_streams(shorter, beats)) == {"idle-limit": "broken"}
    cap = msgspec.structs.replace(beats, ended="cut", ended_ms=60_400, last_frame=False)
    assert severities(with_streams(silent, cap)) == {"lifetime-cap": "degraded"}
    both = msgspec.structs.replace(cap, ended_ms=100_000)
    assert severities(with_streams(silent, both)) == {"lifetime-cap": "degraded", "idle-limit": "degraded"}


def test_a_client_that_is_left_hanging_is_found() -> None:
    """http-proxy's `proxyTimeout` closes the server's side alone."""
    gone = Seen(executions=1, seen=[Execution(method="GET", http="1.1", ended="left", ms=2000, sent=1)])
    silent = Stream(name="silent", plan=[0, 12_000], status=200, ended="open", ended_ms=22_000, server=gone)
    beats = Stream(
        name="beats", plan=[0, 12_000], status=200, ended="clean", ended_ms=12_100, last_frame=True
    )
    good = recorded("nginx")
    diagnosis = diagnose(msgspec.structs.replace(good, streams=[*good.streams, silent, beats]))
    assert severities(diagnosis) == {"zombie": "broken"}


def test_an_error_in_the_place_of_every_stream_is_told_and_nothing_else_of_streams() -> None:
    def failed(stream: Stream) -> Stream:
        return Stream(name=stream.name, method=stream.method, plan=stream.plan, status=504, ended="clean")

    diagnosis = changed(failed)
    assert severities(diagnosis) == {"error-before-headers": "broken"}
    assert "504" in diagnosis.findings[0].text


def test_a_setting_of_ours_is_named_where_it_was_seen_to_help() -> None:
    """Against a compressor that cannot be changed."""
    measured = recorded("caddy-2.6-encode")
    live, held = measured.stream("gzip"), measured.stream("gzip-first")
    assert live is not None
    assert held is not None
    for stream, helps in ((live, True), (held, False)):
        said = msgspec.structs.replace(stream, name="identity", identity=True)
        found = diagnose(msgspec.structs.replace(measured, streams=[*measured.streams, said]))
        assert ("encoding_identity" in found.findings[0].fix) is helps


def test_a_repeated_get_is_nobodys_harm_unless_a_service_begins_its_work_by_it() -> None:
    measured = msgspec.structs.replace(
        recorded("nginx"), counts=[Count(method="GET", mode="cut", status=502, executions=12)]
    )
    assert diagnose(measured).verdict == "good"
    assert severities(diagnose(measured, plain=True)) == {"repeated-request": "degraded"}


def test_a_slow_machine_is_not_taken_for_a_bad_proxy() -> None:
    """Every stream starts seconds late, and stalls as often as it does not."""

    def slow(stream: Stream) -> Stream:
        events = [
            Arrival(at=event.at, arrived=event.arrived + 3000 + (70 if n % 2 else 0), nonce=event.nonce)
            for n, event in enumerate(stream.events)
        ]
        ended_ms = stream.ended_ms + 3000
        return msgspec.structs.replace(stream, events=events, ended_ms=ended_ms)

    assert changed(slow).findings == []


def test_every_finding_has_a_fix_and_an_exit_code() -> None:
    codes = set(get_args(Code))
    assert set(GENERAL) == codes
    assert {code for _, code in SPECIAL} <= codes
    assert EXIT_CODES == {"good": 0, "degraded": 10, "broken": 20, "dangerous": 30}
