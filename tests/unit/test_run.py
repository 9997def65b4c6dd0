"""The fold: legal transitions only, exactly one ending, a true receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from jackline.endings import CallEnd, close_calls, stop_entries
from jackline.errors import IllegalTransition
from jackline.events import (
    TERMINAL,
    Approval,
    ErrorInfo,
    Message,
    Token,
    Tool,
    Unknown,
    Usage,
    Workflow,
    decode,
    encode,
)
from jackline.run import RunState, fold
from jackline.summary import read_summary, summarise

if TYPE_CHECKING:
    from jackline.events import ApprovalStateName, Event, RunStateName, ToolStateName

RUN = "aaaaaaaaaaaaaaaaaaaa.1"
TS = "2026-11-22T12:00:00.000Z"
LATER = "2026-11-22T12:00:01.250Z"


def workflow(state: RunStateName, **fields: object) -> Workflow:
    return Workflow(ts=TS, state=state, attempt=1, **fields)  # type: ignore[arg-type]


def tool(number: int, state: ToolStateName, **fields: object) -> Tool:
    return Tool(ts=TS, call_id=f"{RUN}.{number}", name="act", state=state, **fields)  # type: ignore[arg-type]


def approval(number: int, state: ApprovalStateName, round_: int = 1, **fields: object) -> Approval:
    return Approval(
        ts=TS,
        call_id=f"{RUN}.{number}",
        round=round_,
        kind="call",
        name="act",
        state=state,
        **fields,  # type: ignore[arg-type]
    )


def token(text: str = "hi", message_id: str = "m1") -> Token:
    return Token(ts=TS, text=text, kind="text", message_id=message_id)


def queued() -> Workflow:
    return workflow("queued", by="local", agent="a", input=(Message(role="user", content="do it"),))


def some_call() -> st.SearchStrategy[int]:
    return st.integers(1, 3)


EVENTS: st.SearchStrategy[Event | Unknown] = st.one_of(
    st.builds(
        workflow,
        st.sampled_from(
            ["queued", "executing", "awaiting_approval", "stopping", "stopped", "completed", "failed"]
        ),
    ),
    st.builds(
        tool,
        some_call(),
        st.sampled_from(
            ["requested", "started", "progress", "finished", "failed", "denied", "cancelled", "unknown"]
        ),
    ),
    st.builds(
        approval,
        some_call(),
        st.sampled_from(["pending", "granted", "denied", "answered", "expired", "withdrawn"]),
        st.integers(1, 2),
    ),
    st.builds(token),
    st.just(Unknown("later", b"{}")),
)


def frozen(state: RunState) -> tuple[object, ...]:
    return (
        state.state,
        state.seq,
        [(call.call_id, call.state) for call in state.calls.values()],
        [(question.call_id, question.round, question.state) for question in state.questions.values()],
        [(said.message_id, said.text) for said in state.said.values()],
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_whatever_is_tried_only_legal_entries_are_folded_and_there_is_one_ending(
    tried: list[Event | Unknown],
) -> None:
    """G3: exactly one ending, it is the last entry, and it leaves no call and no question open."""
    state = RunState(RUN)
    accepted: list[Event | Unknown] = []
    for event in [queued(), *tried]:
        before = frozen(state)
        try:
            state.apply(state.seq + 1, event)
        except IllegalTransition:
            assert frozen(state) == before
        else:
            accepted.append(event)
    endings = [
        at for at, event in enumerate(accepted) if isinstance(event, Workflow) and event.state in TERMINAL
    ]
    assert len(endings) <= 1
    if endings:
        assert endings == [len(accepted) - 1]
        assert not state.open_calls
        assert not state.pending
    assert frozen(fold(RUN, accepted)) == frozen(state)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_no_call_starts_after_a_stop_or_without_its_approval(tried: list[Event | Unknown]) -> None:
    """G4, G5: once `stopping` stands no `started` follows; a call asked about starts only when granted."""
    state = RunState(RUN)
    stopped = False
    for event in [queued(), workflow("executing"), *tried]:
        try:
            state.apply(state.seq + 1, event)
        except IllegalTransition:
            continue
        if isinstance(event, Workflow) and event.state == "stopping":
            stopped = True
        if isinstance(event, Tool) and event.state == "started":
            assert not stopped
            question = state.last_question(event.call_id)
            assert question is None or question.state in {"granted", "answered"}


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_a_stop_can_end_a_run_from_every_state(tried: list[Event | Unknown]) -> None:
    """G4: a stop is valid in every state, and its ending is legal whatever stands before it."""
    state = RunState(RUN)
    for event in [queued(), *tried]:
        try:
            state.apply(state.seq + 1, event)
        except IllegalTransition:
            continue
    if state.ended:
        return
    if state.stop is None:
        state.apply(state.seq + 1, workflow("stopping", by="local", mode="immediate"))
    for event in stop_entries(state, ts=LATER):
        state.apply(state.seq + 1, event)
    assert state.state == "stopped"
    assert state.receipt is not None


def test_the_receipt_tells_what_became_of_each_call_of_the_step() -> None:
    """G4: cancelled, finished before the stop, never started, and unknown are told apart."""
    state = fold(
        RUN,
        [
            queued(),
            workflow("executing", step=1),
            tool(1, "requested"),
            tool(1, "started"),
            tool(1, "finished", result=1),
            workflow("executing", step=2),
            *(tool(number, "requested") for number in (2, 3, 4, 5)),
            *(tool(number, "started") for number in (2, 3, 4)),
            tool(2, "finished", result=2),
            workflow("stopping", by="user:ana", mode="immediate", reason="wrong host"),
        ],
    )
    ends = {f"{RUN}.3": CallEnd(outcome="cancelled", duration_ms=5)}
    for event in stop_entries(state, ts=LATER, model="closed", ends=ends):
        state.apply(state.seq + 1, event)
    assert state.receipt is not None
    assert {call.call_id[-1]: call.outcome for call in state.receipt.tools} == {
        "2": "finished_before_stop",
        "3": "cancelled",
        "4": "unknown",
        "5": "not_started",
    }
    assert (state.receipt.by, state.receipt.quiet_ms, state.receipt.model) == ("user:ana", 1250, "closed")
    assert state.calls[f"{RUN}.4"].state == "unknown"
    assert state.calls[f"{RUN}.5"].state == "cancelled"


def test_a_stop_withdraws_what_was_asked() -> None:
    """G4: pending approvals are withdrawn."""
    state = fold(
        RUN,
        [
            queued(),
            workflow("executing"),
            tool(1, "requested"),
            approval(1, "pending"),
            workflow("awaiting_approval"),
            workflow("stopping", by="local", mode="immediate"),
        ],
    )
    events = stop_entries(state, ts=LATER)
    assert [type(event).__name__ for event in events] == ["Tool", "Approval", "Workflow"]
    for event in events:
        state.apply(state.seq + 1, event)
    assert state.questions[f"{RUN}.1", 1].state == "withdrawn"


def test_a_superseded_message_is_no_part_of_what_was_said() -> None:
    """G7: what a dead attempt had begun to say is dropped."""
    state = fold(
        RUN,
        [
            queued(),
            workflow("executing"),
            token("half a sent", "m1"),
            Workflow(ts=TS, state="executing", attempt=2, reason="takeover", supersedes=("m1",)),
            token("half a sentence", "m2"),
        ],
    )
    assert state.attempt == 2
    assert state.copy_text() == "half a sentence"


def test_a_call_that_was_in_flight_can_be_started_anew_only_by_a_new_attempt() -> None:
    """G6: within one attempt nothing starts twice."""
    opening = [queued(), workflow("executing"), tool(1, "requested"), tool(1, "started")]
    with pytest.raises(IllegalTransition):
        fold(RUN, [*opening, tool(1, "started")])
    state = fold(
        RUN, [*opening, Workflow(ts=TS, state="executing", attempt=2, reason="takeover"), tool(1, "started")]
    )
    assert state.calls[f"{RUN}.1"].attempt == 2


def test_usage_is_summed_over_the_steps() -> None:
    state = fold(
        RUN,
        [
            queued(),
            workflow("executing", step=1, usage=Usage(input_tokens=3, output_tokens=4, model="m")),
            workflow("executing", step=2, usage=Usage(input_tokens=1, output_tokens=2)),
        ],
    )
    assert (state.usage.input_tokens, state.usage.output_tokens, state.usage.model) == (4, 6, "m")


def test_the_summary_follows_the_entries_that_change_it() -> None:
    state = fold(RUN, [queued(), workflow("executing"), tool(1, "requested")])
    asked = [approval(1, "pending"), workflow("awaiting_approval")]
    summary = read_summary(summarise(state, asked))
    assert (summary.state, summary.waiting, summary.title) == ("awaiting_approval", (f"{RUN}.1",), "do it")
    for event in asked:
        state.apply(state.seq + 1, event)
    summary = read_summary(summarise(state, [approval(1, "granted", by="local")]))
    assert summary.waiting == ()


def test_an_entry_out_of_order_is_refused() -> None:
    """G1: the fold takes entries in their order, none twice, none missing."""
    state = fold(RUN, [queued()])
    with pytest.raises(IllegalTransition):
        state.apply(1, workflow("executing"))
    with pytest.raises(IllegalTransition):
        state.apply(3, workflow("executing"))


@pytest.mark.parametrize(
    "event",
    [
        queued(),
        tool(1, "finished", result=None),
        tool(1, "failed", error=ErrorInfo(type="x", message="y"), duration_ms=3),
        approval(1, "pending", args={"a": 1}, args_schema={"type": "object"}, expires_at=LATER),
        token(),
        workflow("completed", output=None),
    ],
)
def test_an_entry_survives_its_codec(event: Event) -> None:
    assert decode(encode(event)) == event
    assert b"\n" not in encode(event).body


def test_entries_of_a_later_version_are_kept_as_they_are() -> None:
    """Readers ignore fields and types that they do not know."""
    entry = encode(token())
    more = entry._replace(body=entry.body[:-1] + b',"colour":"red"}')
    assert decode(more) == token()
    strange = entry._replace(type="metric")
    assert decode(strange) == Unknown("metric", entry.body)


def test_open_calls_of_a_failed_run_are_closed_too() -> None:
    """G3: no ending leaves a call open."""
    state = fold(
        RUN, [queued(), workflow("executing"), tool(1, "requested"), tool(2, "requested"), tool(1, "started")]
    )
    for event in [*close_calls(state, ts=LATER), workflow("failed", error=ErrorInfo(type="x", message="y"))]:
        state.apply(state.seq + 1, event)
    assert {call.call_id[-1]: call.state for call in state.calls.values()} == {
        "1": "unknown",
        "2": "cancelled",
    }
    assert state.output is UNSET
