"""A run's snapshot: what its entries come to, as one JSON object. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from jackline.events import (
    ApprovalStateName,
    Effect,
    ErrorInfo,
    Json,
    Receipt,
    RunStateName,
    StopMode,
    ToolStateName,
)
from jackline.ids import conversation_of, run_of
from jackline.web.waiting import Waiting

if TYPE_CHECKING:
    from jackline.run import Call, Question, RunState


class SaidItem(Struct, frozen=True, kw_only=True):
    """One message of the transcript. `seq`: where it begins. Superseded messages are left out."""

    role: Literal["user", "assistant"]
    message_id: str
    seq: int
    kind: Literal["text", "reasoning"]
    text: str


class ToolItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool call. `seq`: where it was requested; `args`: those really executed, once it has started."""

    call_id: str
    seq: int
    name: str
    state: ToolStateName
    args: Json
    result: Json | UnsetType = UNSET
    progress: Json | UnsetType = UNSET
    error: ErrorInfo | None = None
    duration_ms: int | None = None
    verifies: str | None = None
    effect: Effect | None = None
    started_at: str | None = None


class ApprovalItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to a person. `granted_args`: the arguments that were approved."""

    run_id: str
    conversation_id: str
    call_id: str
    round: int
    kind: Literal["call", "outcome"]
    name: str
    state: ApprovalStateName
    requested_at: str
    seq: int
    args: Json | UnsetType = UNSET
    args_schema: Json | UnsetType = UNSET
    choices: tuple[str, ...] = ()
    question: str | None = None
    expires_at: str | None = None
    on_expiry: str | None = None
    outcome: str | None = None
    result: Json | UnsetType = UNSET
    granted_args: Json | UnsetType = UNSET
    by: str | None = None
    at: str | None = None
    reason: str | None = None


class StopItem(Struct, frozen=True, kw_only=True):
    """A stop that was accepted."""

    mode: StopMode
    by: str
    requested_at: str
    reason: str | None


class UsageItem(Struct, frozen=True, kw_only=True):
    """What the run's model requests cost together; time to the first token and model of the last."""

    input_tokens: int
    output_tokens: int
    ttft_ms: int | None
    model: str | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """What a run's entries up to `seq` come to."""

    run_id: str
    conversation_id: str
    state: RunStateName
    attempt: int
    step: int
    seq: int
    agent: str
    by: str
    created_at: str
    updated_at: str
    transcript: list[SaidItem]
    tools: list[ToolItem]
    approvals: list[ApprovalItem]
    usage: UsageItem
    metadata: Json
    limits: Json
    output: Json
    error: ErrorInfo | None
    stop: StopItem | None
    receipt: Receipt | None


class RunSnapshot(Snapshot, frozen=True, kw_only=True):
    """A snapshot, and why the run waits, if it does."""

    waiting: Waiting | None


def with_reason(snapshot: Snapshot, waiting: Waiting | None) -> RunSnapshot:
    """The snapshot with the reason for which the run waits."""
    return RunSnapshot(**structs.asdict(snapshot), waiting=waiting)


def snapshot(state: RunState) -> Snapshot:
    """The snapshot of a folded run."""
    return Snapshot(
        run_id=state.run_id,
        conversation_id=state.conversation_id,
        state=state.state or "queued",
        attempt=state.attempt,
        step=state.step,
        seq=state.seq,
        agent=state.agent,
        by=state.owner,
        created_at=state.created_at,
        updated_at=state.updated_at,
        transcript=transcript(state),
        tools=[_tool(call) for call in state.calls.values()],
        approvals=[approval(question) for question in state.questions.values()],
        usage=UsageItem(
            input_tokens=state.usage.input_tokens,
            output_tokens=state.usage.output_tokens,
            ttft_ms=state.usage.ttft_ms,
            model=state.usage.model,
        ),
        metadata=state.metadata,
        limits=state.limits,
        output=None if state.output is UNSET else state.output,
        error=state.error,
        stop=_stop(state),
        receipt=state.receipt,
    )


def transcript(state: RunState) -> list[SaidItem]:
    """What was said and still counts."""
    return [
        SaidItem(role=said.role, message_id=said.message_id, seq=said.seq, kind=said.kind, text=said.text)
        for said in state.said.values()
        if not said.superseded
    ]


def approval(question: Question) -> ApprovalItem:
    """One question, with its answer if it has one."""
    run_id = run_of(question.call_id)
    return ApprovalItem(
        run_id=run_id,
        conversation_id=conversation_of(run_id),
        call_id=question.call_id,
        round=question.round,
        kind=question.kind,
        name=question.name,
        state=question.state,
        requested_at=question.requested_at,
        seq=question.pending_seq,
        args=question.args,
        args_schema=question.args_schema,
        choices=question.choices,
        question=question.reason,
        expires_at=question.expires_at,
        on_expiry=question.on_expiry,
        outcome=question.outcome,
        result=question.result,
        granted_args=question.granted_args,
        by=question.by,
        at=question.at,
        reason=question.answer_reason,
    )


def _tool(call: Call) -> ToolItem:
    return ToolItem(
        call_id=call.call_id,
        seq=call.requested_seq,
        name=call.name,
        state=call.state,
        args=call.args,
        result=call.result,
        progress=call.progress,
        error=call.error,
        duration_ms=call.duration_ms,
        verifies=call.verifies,
        effect=call.effect,
        started_at=call.started_at,
    )


def _stop(state: RunState) -> StopItem | None:
    stop = state.stop
    if stop is None:
        return None
    return StopItem(mode=stop.mode, by=stop.by, requested_at=stop.requested_at, reason=stop.reason)
