"""The page's fold of a run: the same as the server's, however the frames come."""

from __future__ import annotations

import json
from collections.abc import Generator
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackline.sse import ServerSentEvent
from tests.ui.logs import RUN, Frame, folded, frames, gap, told, write
from tests.ui.node import Model, model
from tests.web.harness import API, running
from tests.web.test_protocol_document import documented_run

chance = st.randoms(use_true_random=False)
lengths = st.integers(0, 80)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def node() -> Generator[Model]:
    with model() as it:
        yield it


def entry(seq: int, type_: str, ts: str = "2026-11-22T12:00:00.000Z", **data: Any) -> Frame:
    data = {"run_id": RUN, "seq": seq, "ts": ts, **data}
    return {"kind": "entry", "type": type_, "seq": seq, "first": seq, "id": str(seq), "data": data}


def at(seconds: float) -> str:
    return f"2026-11-22T12:{int(seconds // 60):02d}:{seconds % 60:06.3f}Z"


@many
@given(random=chance, length=lengths)
def test_it_comes_to_what_the_server_says(node: Model, random: Random, length: int) -> None:
    """G1: the page shows the run that there is. Entries one by one, and merged as replays are."""
    entries = write(random, length)
    expected = told(folded(entries))
    for compact in (False, True):
        seen = node.fold(frames(entries, compact=compact))
        assert seen["snapshot"] == expected
        assert seen["newest"] == len(entries)


@many
@given(random=chance, length=lengths, cut=st.floats(0, 1))
def test_it_goes_on_where_it_was_cut_off(node: Model, random: Random, length: int, cut: float) -> None:
    """G1: after a cut the rest comes merged; what comes twice counts once."""
    entries = write(random, length)
    after = round(len(entries) * cut)
    again = frames(entries[:after])[-3:]
    ready = {
        "kind": "ready",
        "data": {"run_id": RUN, "seq": after, "newest": len(entries), "state": "executing"},
    }
    seen = node.fold([*frames(entries[:after]), ready, *again, *frames(entries, after=after, compact=True)])
    assert seen["snapshot"] == told(folded(entries))


@many
@given(random=chance, length=lengths, cut=st.floats(0, 1), before=st.booleans())
def test_a_gaps_snapshot_stands_for_what_it_replaces(
    node: Model, random: Random, length: int, cut: float, before: bool
) -> None:
    """G1: what was there before is dropped, and the entries after it go on from there."""
    entries = write(random, length)
    upto = max(1, round(len(entries) * cut))
    other = frames(write(Random(1), 30)) if before else []
    seen = node.fold([*other, gap(entries, upto), *frames(entries, after=upto, compact=True)])
    assert seen["snapshot"] == told(folded(entries))
    seqs = [item["key"] for item in seen["items"]]
    assert len(seqs) == len(set(seqs))
    assert endings(seen) == endings(node.fold(frames(entries))), (
        "the receipt and the error stand at the ending"
    )
    assert seen["byStep"] is None, "how many requests there were is not known"


def endings(seen: Any) -> list[str]:
    return [item["note"] for item in seen["items"] if item.get("note") in {"stopped", "completed", "failed"}]


@many
@given(random=chance, length=lengths)
def test_every_entry_changes_the_version_and_no_key_comes_twice(
    node: Model, random: Random, length: int
) -> None:
    entries = write(random, length)
    seen = node.fold(frames(entries))
    assert seen["versions"] == sorted(set(seen["versions"]))
    keys = [item["key"] for item in seen["items"]]
    assert len(keys) == len(set(keys))
    spans = [span["key"] for span in seen["timeline"]]
    assert len(spans) == len(set(spans))


@many
@given(random=chance, length=lengths)
def test_no_time_is_lost_or_counted_twice(node: Model, random: Random, length: int) -> None:
    """The run's own spans follow one another, and once it has ended nothing lasts."""
    entries = write(random, length)
    state = folded(entries)
    seen = node.fold(frames(entries), now=2_000_000_000_000)
    own = [span for span in seen["timeline"] if span["kind"] != "tool"]
    for one, following in pairwise(own):
        assert one["end"] is not None
        assert one["start"] <= one["end"] <= following["start"]
    lasting = [span for span in seen["timeline"] if span["end"] is None]
    if state.ended:
        assert lasting == []
    else:
        assert {span["callId"] for span in lasting if span["kind"] == "tool"} == {
            call.call_id for call in state.open_calls if call.state == "started"
        } or state.attempt > 1
        assert lasting


def test_the_documented_kinds_of_time_are_told_apart(node: Model) -> None:
    call = {"call_id": f"{RUN}.1", "name": "df"}
    seen = node.fold(
        [
            entry(1, "workflow", at(0), state="queued", attempt=0, input=[{"role": "user", "content": "x"}]),
            entry(2, "workflow", at(1), state="executing", attempt=1),
            entry(3, "workflow", at(1), state="executing", attempt=1, step=1),
            entry(
                4, "workflow", at(2), state="executing", attempt=1, retry={"after_ms": 3000, "error": "429"}
            ),
            entry(5, "workflow", at(5), state="executing", attempt=1, step=2),
            entry(6, "token", at(6), text="hm", kind="text", message_id="m1"),
            entry(
                7,
                "workflow",
                at(9),
                state="executing",
                attempt=1,
                step=2,
                usage={"input_tokens": 1, "output_tokens": 2},
            ),
            entry(8, "tool", at(9), state="requested", args={}, **call),
            entry(9, "approval", at(9), state="pending", round=1, kind="call", args={}, **call),
            entry(10, "workflow", at(9), state="awaiting_approval", attempt=1),
            entry(11, "approval", at(29), state="granted", round=1, kind="call", args={}, by="b", **call),
            entry(12, "workflow", at(30), state="executing", attempt=1),
            entry(13, "tool", at(30), state="started", args={}, **call),
            entry(14, "workflow", at(40), state="executing", attempt=2, reason="takeover"),
            entry(15, "tool", at(40), state="started", args={}, **call),
            entry(16, "tool", at(44), state="finished", result=1, duration_ms=4000, **call),
            entry(17, "workflow", at(46), state="stopping", attempt=2, by="b", mode="immediate"),
            entry(18, "workflow", at(47), state="stopped", attempt=2),
        ]
    )
    told_spans = [(span["kind"], span["length"] / 1000) for span in seen["timeline"]]
    assert told_spans == [
        ("queued", 1),
        ("model", 1),
        ("retry", 3),
        ("model", 4),
        ("person", 20),
        ("worker", 1),
        ("tool", 10),
        ("lost", 10),
        ("tool", 4),
        ("agent", 2),
        ("stopping", 1),
    ]
    assert seen["times"]["tool"] == 4000
    assert sum(seen["times"].values()) == 47_000


def test_what_a_takeover_supersedes_goes_and_a_note_says_so(node: Model) -> None:
    """G7: the boundary is visible, and nothing is said twice."""
    seen = node.fold(
        [
            entry(1, "workflow", state="queued", attempt=0, input=[{"role": "user", "content": "x"}]),
            entry(2, "workflow", state="executing", attempt=1, step=1),
            entry(3, "token", text="half", kind="text", message_id="m1"),
            entry(4, "token", text="thought", kind="reasoning", message_id="m1"),
            entry(5, "workflow", state="executing", attempt=2, reason="takeover", supersedes=["m1"]),
            entry(6, "token", text="whole", kind="text", message_id="m2"),
        ]
    )
    assert [(item["kind"], item.get("text") or item.get("note")) for item in seen["items"]] == [
        ("user", "x"),
        ("note", "takeover"),
        ("text", "whole"),
    ]


def test_a_message_is_open_until_something_else_comes(node: Model) -> None:
    first = [
        entry(1, "workflow", state="queued", attempt=0, input=[{"role": "user", "content": "x"}]),
        entry(2, "workflow", state="executing", attempt=1, step=1),
        entry(3, "token", text="a", kind="reasoning", message_id="m1"),
        entry(4, "token", text="b", kind="text", message_id="m1"),
    ]
    assert [item.get("open") for item in node.fold(first)["items"]] == [False, False, True]
    asked = entry(5, "tool", state="requested", call_id=f"{RUN}.1", name="df", args={})
    assert [item.get("open") for item in node.fold([*first, asked])["items"]] == [False, False, False, None]


def test_only_what_changes_gets_a_new_version(node: Model) -> None:
    """So that a page of ten thousand items shows only what is new."""
    random = Random(7)
    entries = write(random, 60)
    shown = frames(entries)
    before = {item["key"]: item["version"] for item in node.fold(shown[:-1])["items"]}
    after = {item["key"]: item["version"] for item in node.fold(shown)["items"]}
    assert sum(before[key] != after[key] for key in before if key in after) <= 3


@pytest.mark.parametrize(
    "frame",
    [
        entry(3, "mood", mood="good"),
        entry(3, "workflow", state="dreaming", attempt=1),
        entry(3, "tool", state="teleported", call_id=f"{RUN}.1", name="df"),
        entry(3, "approval", state="pondered", call_id=f"{RUN}.1", name="df", round=1, kind="call"),
        entry(3, "token", text=5, kind="text", message_id="m1"),
        entry(3, "token", text="x", kind="song", message_id="m1"),
        {"kind": "shutdown", "data": {"retry_ms": 5}},
        {"kind": "later", "data": {}},
    ],
)
def test_what_a_later_version_says_changes_nothing(node: Model, frame: Frame) -> None:
    known = [
        entry(1, "workflow", state="queued", attempt=0, input=[{"role": "user", "content": "x"}]),
        entry(2, "workflow", state="executing", attempt=1),
    ]
    seen, expected = node.fold([*known, frame]), node.fold(known)
    for told_ in (seen, expected):
        del told_["versions"], told_["newest"], told_["snapshot"]["seq"]
    assert seen == expected


def test_a_heartbeat_tells_of_the_worker_and_of_the_servers_clock(node: Model) -> None:
    now = 1_795_348_800_000  # 12:00:00
    seen = node.fold(
        [
            {"kind": "ready", "data": {"run_id": RUN, "seq": 0, "newest": 7}, "now": now},
            entry(1, "workflow", at(0), state="queued", attempt=0, input=[]) | {"now": now + 60_000},
            {
                "kind": "heartbeat",
                "data": {"ts": at(90), "seq": 9, "worker": "lost", "idle_ms": 4000, "store": "away"},
                "now": now + 30_000,
            },
        ]
    )
    assert (seen["worker"], seen["idleMs"], seen["store"]) == ("lost", 4000, "away")
    assert (seen["newest"], seen["skewMs"]) == (9, 60_000)


def test_pending_questions_are_those_without_an_answer(node: Model) -> None:
    """G5."""
    random = Random(3)
    asked = 0
    for _ in range(60):
        entries = write(random, 60)
        state = folded(entries)
        expected = sorted((question.call_id, question.round) for question in state.pending)
        assert sorted((call, round_) for call, round_ in node.fold(frames(entries))["pending"]) == expected
        asked += len(expected)
    assert asked > 0


@pytest.mark.anyio
async def test_the_documents_run_is_what_its_snapshot_says(node: Model) -> None:
    async with running() as setup:
        run_id = await documented_run(setup)
        for query in ("", "?compact=0", "?after=4"):
            answer = await setup.client.get(f"{API}/runs/{run_id}/events{query}")
            shown = [as_frame(event) for event in answer.events()]
            if "after" in query:
                before = await setup.client.get(f"{API}/runs/{run_id}/events?compact=0")
                shown = [as_frame(event) for event in before.events()][:5] + shown
            expected = (await setup.client.get(f"{API}/runs/{run_id}")).json()
            del expected["waiting"]
            seen = node.fold(shown, run_id=run_id)
            assert seen["snapshot"] == expected
            assert seen["title"] == "restart web"


def as_frame(event: ServerSentEvent) -> Frame:
    data: Any = json.loads(event.data)
    if event.event in {"ready", "end", "heartbeat"}:
        return {"kind": event.event, "data": data}
    return {"kind": "entry", "type": event.event, "seq": data["seq"], "data": data}
