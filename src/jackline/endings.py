"""The entries that end a run early: an ending for each open call, and the receipt of a stop. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, assert_never

from msgspec import UNSET, UnsetType

from jackline.errors import IllegalTransition
from jackline.events import (
    Approval,
    CallOutcome,
    ErrorInfo,
    Json,
    Receipt,
    ReceiptCall,
    Tool,
    ToolStateName,
    Workflow,
    parse_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.events import Event
    from jackline.run import Call, RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class CallEnd:
    """What became of a call that was still open when its run was stopped. `answer`: what the server
    of a remote call still said after it was told of the stop."""

    outcome: CallOutcome
    result: Json | UnsetType = UNSET
    error: ErrorInfo | None = None
    duration_ms: int | None = None
    answer: Json | UnsetType = UNSET


_STATE_OF: Final[Mapping[CallOutcome, ToolStateName]] = {
    "not_started": "cancelled",
    "cancelled": "cancelled",
    "killed": "cancelled",
    "finished_before_stop": "finished",
    "unknown": "unknown",
}


def _end_of(call: Call, ends: Mapping[str, CallEnd] | None) -> CallEnd:
    default = CallEnd(outcome="not_started" if call.state == "requested" else "unknown")
    return (ends or {}).get(call.call_id, default)


def close_calls(
    state: RunState, *, ts: str, by: str | None = None, ends: Mapping[str, CallEnd] | None = None
) -> list[Event]:
    """One ending for each open call, and each open question withdrawn: what any early ending needs."""
    events: list[Event] = []
    for call in state.open_calls:
        end = _end_of(call, ends)
        events.append(
            Tool(
                ts=ts,
                call_id=call.call_id,
                name=call.name,
                state="failed" if end.error is not None else _STATE_OF[end.outcome],
                result=end.result,
                error=end.error,
                duration_ms=end.duration_ms,
            )
        )
    events.extend(
        Approval(
            ts=ts,
            call_id=question.call_id,
            round=question.round,
            kind=question.kind,
            name=question.name,
            state="withdrawn",
            args=question.args,
            by=by,
        )
        for question in state.pending
    )
    return events


def stop_entries(
    state: RunState,
    *,
    ts: str,
    model: Literal["closed", "none"] = "none",
    ends: Mapping[str, CallEnd] | None = None,
) -> list[Event]:
    """The entries that end a stopping run: one ending per open call, withdrawn questions, `stopped`.

    `ends` tells what really became of calls that had started; one that is not in it is `unknown`,
    because nobody saw its end. G4: no call is left open, and the receipt is true.
    """
    if state.stop is None:
        raise IllegalTransition("the run is not stopping")
    outcomes: dict[str, CallOutcome] = {
        call.call_id: _end_of(call, ends).outcome for call in state.open_calls
    }
    events = close_calls(state, ts=ts, by=state.stop.by, ends=ends)
    receipt = Receipt(
        by=state.stop.by,
        requested_at=state.stop.requested_at,
        quiet_ms=max(0, round((parse_timestamp(ts) - parse_timestamp(state.stop.requested_at)) * 1000)),
        model=model,
        tools=tuple(
            ReceiptCall(
                call_id=call.call_id,
                name=call.name,
                outcome=outcomes.get(call.call_id) or _outcome_of(call),
                answer=ends[call.call_id].answer if ends and call.call_id in ends else UNSET,
            )
            for call in state.calls.values()
            if call.step == state.step
        ),
    )
    events.append(
        Workflow(ts=ts, state="stopped", attempt=state.attempt, reason=state.stop.reason, receipt=receipt)
    )
    return events


LOG_LOST: Final = "log_lost"
"""The error's type of a run whose store came back without entries that could not be put back."""


def lost_error(state: RunState, lost: RunState) -> ErrorInfo:
    """Why a run ends whose log is `state`, although it had come to `lost`: what is not told any more."""
    gone = [f"{call.call_id} {call.name} ({call.state})" for call in lost.calls.values()]
    gone = gone[len(state.calls) :]
    calls = f"; calls made in them: {', '.join(gone)}" if gone else ""
    return ErrorInfo(
        type=LOG_LOST,
        message=f"the store came back without entries {state.seq + 1} to {lost.seq}, and they could not "
        f"be put back; check what the run did before you start it again{calls}",
    )


def lost_ends(state: RunState, lost: RunState) -> dict[str, CallEnd]:
    """What became of the calls that are open in `state`, by what was known of them in `lost`."""
    ends: dict[str, CallEnd] = {}
    for call in state.open_calls:
        known = lost.calls.get(call.call_id)
        if known is None or known.state == call.state:
            continue
        told = f"it had {'ended' if known.ended else 'begun'} ({known.state}); the store lost the record"
        ends[call.call_id] = CallEnd(outcome="unknown", error=ErrorInfo(type=LOG_LOST, message=told))
    return ends


def _outcome_of(call: Call) -> CallOutcome:
    match call.state:
        case "finished" | "failed":
            return "finished_before_stop" if call.started_at else "not_started"
        case "requested" | "denied":
            return "not_started"
        case "cancelled":
            return "cancelled" if call.started_at else "not_started"
        case "started" | "progress" | "unknown":
            return "unknown"
        case _:
            assert_never(call.state)
