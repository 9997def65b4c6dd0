"""Real proxies: a generated configuration carries whole runs; a broken one fails as it is known to."""

from __future__ import annotations

from collections.abc import Callable

from tests.blackbox.conftest import World
from tests.proxies import facts
from tests.proxies.case import Case
from tests.proxies.conftest import before
from tests.proxies.facts import Place
from tests.proxies.matrix import Column

Holds = Callable[[Column, str], None]


def test_entries_arrive_as_they_are_made(place: Place, holds: Holds) -> None:
    """G9: no proxy holds back what the run says."""
    holds("live", facts.live(place))


def test_heartbeats_keep_a_silent_stream_open(case: Case, lively: World, holds: Holds) -> None:
    """G9: however long a run is silent, its viewers stay."""
    with before(lively, case, scaled=True) as place:
        holds("idle", facts.idle(place))


def test_a_viewer_comes_back_over_a_restart(place: Place, holds: Holds) -> None:
    """G1, G2: the proxy is killed in the middle of a stream."""
    holds("resume", facts.resume(place))


def test_a_post_is_carried_out_once(place: Place, holds: Holds) -> None:
    """G6: a proxy that tries again starts a second run."""
    holds("duplicates", facts.duplicates(place))


def test_approvals_and_stops_pass(place: Place, holds: Holds) -> None:
    """G4, G5: a person sees a question and answers it, and sees what becomes of the run."""
    holds("acts", facts.acts(place))


def test_the_doctor_names_what_is_wrong(case: Case, place: Place, holds: Holds) -> None:
    """What is good it calls good."""
    holds("doctor", facts.doctor(place, case.expects("doctor"), seconds=case.long))
