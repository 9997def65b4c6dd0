"""What an answer to a question comes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from jackline.errors import Conflict, FieldError, Invalid, NotFound
from jackline.events import Approval, Json, Outcome, parse_timestamp, timestamp
from jackline.ids import is_call_id, run_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.errors import EntryTooLarge
    from jackline.run import Question, RunState

SYSTEM: Final = "system"
"""The `by` of what the server does itself: expiries. No principal has this name."""

UNANSWERED: Final = "nobody answered in time"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One answer: `approve` for a question of kind `call`, `outcome` for one of kind `outcome`. `round`:
    to this question about the call and no later one; None for the newest of its kind."""

    call_id: str
    round: int | None = None
    approve: bool | None = None
    args: Json | UnsetType = UNSET
    outcome: Outcome | None = None
    result: Json | UnsetType = UNSET
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """An answer that stands. `seq`: where it stands in the run's log."""

    run_id: str
    call_id: str
    state: str
    by: str
    seq: int


def one_run(decisions: Sequence[Decision]) -> str:
    """The run that all of them are about. Raises `Invalid`, `NotFound`."""
    if not decisions:
        raise Invalid(FieldError(field="decisions", detail="name at least one call"))
    for decision in decisions:
        if not is_call_id(decision.call_id):
            raise NotFound(f"no call {decision.call_id}")
    calls = [decision.call_id for decision in decisions]
    if len(set(calls)) != len(calls):
        raise Invalid(FieldError(field="decisions", detail="names a call twice"))
    runs = {run_of(call) for call in calls}
    if len(runs) > 1:
        raise Invalid(FieldError(field="decisions", detail="all calls must be of one run"))
    return runs.pop()


def too_large(decisions: Sequence[Decision], at: int, error: EntryTooLarge) -> FieldError:
    """The field that made an answer larger than an entry may be."""
    decision = decisions[at]
    name = "result" if decision.result is not UNSET else "args" if decision.args is not UNSET else "reason"
    return FieldError(field=f"{field_of(decisions, at)}{name}", detail=f"at most {error.limit} bytes")


def field_of(decisions: Sequence[Decision], at: int) -> str:
    """What the names of a decision's fields begin with in errors."""
    return f"decisions.{at}." if len(decisions) > 1 else ""


def is_late(question: Question, now_ms: int) -> bool:
    """Whether the question's time is over, by the store's clock."""
    return question.expires_at is not None and parse_timestamp(question.expires_at) * 1000 <= now_ms


def expired_answer(question: Question, now_ms: int) -> Approval:
    """The entry for a question that nobody answered in time. What that means was fixed when it was
    asked, so that all processes make the same of it, however they are set now."""
    granted = question.kind == "call" and question.on_expiry == "approve"
    return Approval(
        ts=timestamp(now_ms / 1000),
        call_id=question.call_id,
        round=question.round,
        kind=question.kind,
        name=question.name,
        state="granted" if granted else "expired",
        args=question.args,
        by=SYSTEM,
        reason=UNANSWERED if granted else None,
    )


def answer_to(state: RunState, decision: Decision, *, by: str, now_ms: int, field: str) -> Approval | Decided:
    """The entry that the decision makes, or the same answer where it stands already. An answer that
    comes too late makes the entry of the expiry, whose `by` is `SYSTEM`. Raises `NotFound`, `Conflict`,
    `Invalid`; edited arguments are not checked here."""
    question = _question(state, decision)
    _check_kind(question, decision, field)
    if question.state != "pending":
        return _standing(state, question, decision)
    if is_late(question, now_ms) and state.stop is None:
        return expired_answer(question, now_ms)
    if state.state != "awaiting_approval":
        raise Conflict(
            f"the run is {state.state}",
            run_id=state.run_id,
            state="withdrawn" if state.stop else question.state,
        )
    if question.kind == "outcome":
        return Approval(
            ts=timestamp(now_ms / 1000),
            call_id=question.call_id,
            round=question.round,
            kind="outcome",
            name=question.name,
            state="answered",
            args=question.args,
            outcome=decision.outcome,
            result=decision.result,
            by=by,
            reason=decision.reason,
        )
    return Approval(
        ts=timestamp(now_ms / 1000),
        call_id=question.call_id,
        round=question.round,
        kind="call",
        name=question.name,
        state="granted" if decision.approve else "denied",
        # What the tool will be run with stands in the answer, edited or not.
        args=question.args if decision.args is UNSET else decision.args,
        by=by,
        reason=decision.reason,
    )


def _question(state: RunState, decision: Decision) -> Question:
    """The question that the decision names, or else the newest that it can mean: an approval sent again is
    the answer to the question whether the call may run, also once another asks what became of it."""
    if decision.round is not None:
        named = state.questions.get((decision.call_id, decision.round))
        if named is None:
            raise NotFound(f"no question {decision.round} about call {decision.call_id}")
        return named
    newest = state.last_question(decision.call_id)
    if newest is None:
        raise NotFound(f"no question about call {decision.call_id}")
    kind = "call" if decision.approve is not None else "outcome"
    meant = [
        question
        for question in state.questions.values()
        if question.call_id == decision.call_id and question.kind == kind
    ]
    return meant[-1] if meant else newest


def _check_kind(question: Question, decision: Decision, field: str) -> None:
    if question.kind == "outcome":
        if decision.outcome is None:
            detail = "the outcome of this call is unknown: send retry, done or abort"
            raise Invalid(FieldError(field=f"{field}outcome", detail=detail))
        if decision.args is not UNSET:
            raise Invalid(FieldError(field=f"{field}args", detail="cannot be edited for an outcome"))
        if decision.result is not UNSET and decision.outcome != "done":
            raise Invalid(FieldError(field=f"{field}result", detail="goes with the outcome done only"))
        return
    if decision.approve is None:
        raise Invalid(FieldError(field=f"{field}approve", detail="send true or false"))
    if decision.args is not UNSET and not decision.approve:
        raise Invalid(FieldError(field=f"{field}args", detail="edited arguments go with approve true"))


def _standing(state: RunState, question: Question, decision: Decision) -> Decided:
    """The answer that stands, if the decision says the same; else `Conflict` tells whose it is."""
    match question.state:
        case "granted":
            wanted = question.args if decision.args is UNSET else decision.args
            same = decision.approve is True and wanted == question.granted_args
        case "denied":
            same = decision.approve is False
        case "answered":
            same = decision.outcome == question.outcome and decision.result == question.result
        case _:
            same = False
    if not same:
        raise Conflict(
            f"call {question.call_id} is already {question.state}",
            run_id=state.run_id,
            by=question.by or None,
            at=question.at,
            state=question.state,
        )
    return Decided(
        run_id=state.run_id,
        call_id=question.call_id,
        state=question.state,
        by=question.by or "",
        seq=question.answer_seq or 0,
    )
