"""The verdict notices each thing that can go wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jackline.drill.judge import LogEntry, Verdict, judge_run, judge_viewer
from jackline.drill.people import Promises
from jackline.drill.viewers import Seen, Viewer

RUN = "c.1"
CALL = "c.1.1"


def log(*entries: tuple[str, dict[str, Any]]) -> list[LogEntry]:
    return [(seq, kind, data) for seq, (kind, data) in enumerate(entries, 1)]


def token(text: str, message: str = "m1") -> tuple[str, dict[str, Any]]:
    return "token", {"text": text, "message_id": message}


def workflow(state: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "workflow", {"state": state, **more}


def tool(state: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "tool", {"call_id": CALL, "state": state, **more}


def answer(state: str) -> tuple[str, dict[str, Any]]:
    return "approval", {"call_id": CALL, "round": 1, "state": state}


GOOD = log(
    workflow("queued"),
    token("a "),
    tool("requested", effect="writes"),
    answer("pending"),
    answer("granted"),
    tool("started"),
    tool("finished"),
    token("b "),
    workflow("completed"),
)


def judged(
    entries: list[LogEntry], promises: Promises | None = None, effects: dict[str, int] | None = None
) -> Verdict:
    verdict = Verdict()
    judge_run(
        verdict,
        promises or Promises(run_id=RUN),
        entries,
        effects=effects or {CALL: 1},
        says=["a ", "b "],
    )
    return verdict


def test_a_good_run_is_good() -> None:
    verdict = judged(GOOD)
    assert verdict.broken == []
    assert verdict.endings == {"completed": 1}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (GOOD[:-1], "G3: c.1 has 0 endings"),
        ([*GOOD, (10, "workflow", {"state": "failed"})], "G3: c.1 has 2 endings"),
        ([*GOOD[:4], *GOOD[5:]], "G1: the log of c.1 has a hole"),
        ([*GOOD[:7], (8, "tool", GOOD[5][2]), (9, *GOOD[8][1:])], "G6: c.1.1 ran 2 times"),
        ([*GOOD[:7], (8, *GOOD[1][1:]), (9, *GOOD[8][1:])], "G1: c.1 lost 1 words"),
        ([*GOOD[:5], (6, "approval", answer("denied")[1])], "G5: c.1.1 was answered 2 times"),
    ],
)
def test_a_bad_log_is_noticed(entries: list[LogEntry], said: str) -> None:
    assert any(what.startswith(said) for what in judged(entries).broken)


def test_an_effect_twice_is_noticed_though_the_log_knows_of_one() -> None:
    """G6."""
    verdict = judged(GOOD, effects={CALL: 2})
    assert verdict.tools_twice == 1
    assert verdict.broken == ["G6: c.1.1 ran 2 times"]


def test_an_effect_of_a_call_that_was_never_started_is_noticed() -> None:
    """G6."""
    assert judged(GOOD, effects={CALL: 1, "c.1.2": 1}).broken == [
        "G6: c.1.2 took effect, and the log does not say that it was started"
    ]


def test_a_promise_that_was_not_kept_is_noticed() -> None:
    """G4, G5."""
    promises = Promises(run_id=RUN, stopped=True, answers={(CALL, 1): "denied"})
    assert judged(GOOD, promises).broken == [
        "G4: c.1 was stopped, and is completed",
        "G5: c.1.1 was denied, and the log says ['granted']",
    ]


def test_a_call_after_the_stop_is_noticed() -> None:
    """G4."""
    entries = log(
        *[entry[1:] for entry in GOOD[:5]], workflow("stopping"), tool("started"), workflow("stopped")
    )
    assert "G4: c.1.1 was started after the stop" in judged(entries).broken


def viewer(*seqs: int, base: int = 0, over: bool = True) -> Viewer:
    made = Viewer(run_id=RUN, urls=[], base=base, over=over)
    made.seen = [Seen(seq=seq, type=GOOD[seq - 1][1], data=json.dumps(GOOD[seq - 1][2])) for seq in seqs]
    return made


@pytest.mark.parametrize(
    ("seen", "lost", "twice"),
    [
        (viewer(*range(1, 10)), 0, 0),
        (viewer(*range(5, 10), base=4), 0, 0),
        (viewer(*range(1, 9)), 1, 0),
        (viewer(*range(1, 10), 9), 0, 1),
    ],
)
def test_what_a_viewer_missed_or_got_twice_is_counted(seen: Viewer, lost: int, twice: int) -> None:
    """G1."""
    verdict = Verdict()
    judge_viewer(verdict, seen, GOOD)
    assert (verdict.lost, verdict.twice) == (lost, twice)
    assert bool(verdict.broken) == bool(lost or twice)


def test_what_a_viewer_saw_and_the_log_lost_is_noticed() -> None:
    """G1, G8."""
    verdict = Verdict()
    judge_viewer(verdict, viewer(*range(1, 10)), GOOD[:-1])
    assert verdict.lost == 1


def test_a_viewer_that_was_never_told_the_end_is_noticed() -> None:
    """G9."""
    verdict = Verdict()
    judge_viewer(verdict, viewer(*range(1, 10), over=False), GOOD)
    assert verdict.broken == ["G9: a viewer of c.1 was never told that it has ended"]
