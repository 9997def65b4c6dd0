"""Streams that did not come to their end, and measurements that tell nothing of the path."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from jackline.cli.diagnosis import explain
from jackline.client.errors import Refused
from jackline.doctor.diagnose import diagnose
from jackline.doctor.ending import busy, not_measured, went_away
from jackline.doctor.present import report
from jackline.doctor.record import Ended, Execution, Measurements, Seen, Stream
from tests.doctor.test_diagnose import change, only, recorded, severities

SHIPPED = "get post gzip blocks"


def cut_at(stream: Stream, ms: float, ended: Ended = "cut") -> Stream:
    """The stream as it is when it ends at `ms`; shorter ones are not touched."""
    if stream.ended_ms <= ms:
        return stream
    events = [event for event in stream.events if event.arrived < ms]
    return msgspec.structs.replace(stream, events=events, last_frame=False, ended=ended, ended_ms=ms)


def unseen(measured: Measurements, names: str = "") -> Measurements:
    """The same where no server could be asked of the streams named so, nor of counts."""
    gone = only(names, lambda stream: msgspec.structs.replace(stream, server=Seen(read=False)))
    counts = [msgspec.structs.replace(count, executions=0, read=False) for count in measured.counts]
    return msgspec.structs.replace(change(measured, gone), counts=counts)


@pytest.mark.parametrize("ended", ["cut", "clean"])
def test_streams_that_are_cut_at_one_age_are_broken_however_live_they_were(ended: Ended) -> None:
    diagnosis = diagnose(change(recorded("nginx"), only(SHIPPED, lambda one: cut_at(one, 650, ended))))
    assert severities(diagnosis)["lifetime-cap"] == "broken"
    assert diagnosis.verdict == "broken"


def test_one_stream_that_is_cut_is_not_good() -> None:
    for name in ("get", "post"):
        measured = change(recorded("traefik"), only(name, lambda one: cut_at(one, 650)))
        assert diagnose(measured).verdict == "broken"


def test_streams_that_are_cut_in_a_pause_that_none_outlives_are_idle() -> None:
    """Those that have longer pauses are cut in them too."""
    limit = 450.0

    def idle(stream: Stream) -> Stream:
        heard = [event.arrived for event in stream.events]
        ends = [one + limit for one, later in pairwise(heard) if later - one > limit]
        return cut_at(stream, ends[0]) if ends else stream

    diagnosis = diagnose(change(recorded("nginx"), idle))
    assert severities(diagnosis)["idle-limit"] == "broken"
    assert "lifetime-cap" not in severities(diagnosis)


def test_events_that_are_missing_and_streams_that_stall_are_broken() -> None:
    lost = only("get", lambda one: msgspec.structs.replace(one, events=one.events[:5] + one.events[6:]))
    assert severities(diagnose(change(recorded("nginx"), lost))) == {"rewritten": "broken"}
    stalled = only("post", lambda one: cut_at(one, 650, "open"))
    assert severities(diagnose(change(recorded("nginx"), stalled))) == {"zombie": "broken"}


def test_a_server_that_goes_meanwhile_is_no_verdict_on_the_path() -> None:
    measured = recorded("nginx")
    assert not went_away(measured)
    drained = Seen(
        executions=1, seen=[Execution(method="GET", http="1.1", ended="drained", ms=900.0, sent=3)]
    )
    assert went_away(change(measured, only("get", lambda one: msgspec.structs.replace(one, server=drained))))
    assert went_away(unseen(measured, "get post gzip blocks cut no- plain readers parallel- identity"))
    assert went_away(unseen(measured, "parallel-"))
    assert not went_away(unseen(measured, "get post"))


def test_probes_that_have_enough_to_do_are_no_verdict_on_the_path() -> None:
    def refused(kind: str) -> Measurements:
        return change(
            recorded("nginx"),
            only("get", lambda one: Stream(name=one.name, status=429, headers=[("content-type", kind)])),
        )

    assert busy(refused("application/problem+json"))
    assert not busy(refused("text/html"))
    assert not busy(recorded("nginx"))
    told = explain(Refused(429, {"detail": "40 probes at once are enough"}))
    assert told == ("busy with other diagnoses, try again in 30 s", 1)


def test_a_count_that_nobody_could_read_is_told() -> None:
    measured = unseen(recorded("nginx"), "get")
    assert not not_measured(recorded("nginx"))
    assert len(not_measured(measured)) == len(measured.counts) > 0
    assert "Not measured: how often a POST is executed" in "\n".join(report(measured, diagnose(measured)))
