"""Start, decide, stop: one append each. Nobody here waits for effects."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from msgspec import UNSET, UnsetType

from jackline.endings import stop_entries
from jackline.errors import (
    Busy,
    Conflict,
    EntryTooLarge,
    Fenced,
    FieldError,
    IllegalTransition,
    Invalid,
    Moved,
    NotFound,
    RunClosed,
    UnknownRun,
)
from jackline.events import (
    Approval,
    Json,
    Message,
    Outcome,
    Receipt,
    StopMode,
    Workflow,
    decode,
    encode,
    parse_timestamp,
    timestamp,
)
from jackline.ids import is_call_id, is_run_id, new_conversation_id, run_of
from jackline.log.base import KEEP, NOBODY, NOW, Reservation, Start
from jackline.run import RunState, weight
from jackline.summary import after, encode_summary, read_summary, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonschema import ValidationError

    from jackline.events import Event
    from jackline.log.base import Appended, Due, EventLog, Head, Nobody, Store
    from jackline.pressure import Pressure
    from jackline.run import Question

MAX_TRIES: Final = 50
"""How often a command reads again because the log moved on under it, before it says so."""

PATIENT_TRIES: Final = 5
"""Tries of a stop to end an unattended run whose log keeps moving, before it only asks for it."""

SWEEP_RUNS: Final = 1000
"""Due runs a sweep looks at: more than may wait for a free worker, or these would hide the others."""

SYSTEM: Final = "system"
"""The `by` of what the server does itself: expiries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A run that was started. `last`: the seq of its newest entry known."""

    run_id: str
    conversation_id: str
    state: str
    repeated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One answer: `approve` for a question of kind `call`, `outcome` for one of kind `outcome`."""

    call_id: str
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A stop's answer: `stopping`, or the final state when the run had ended (then with its receipt,
    if it was stopped)."""

    run_id: str
    state: str
    receipt: Receipt | None


class Commands:
    """What people can do to runs. Who may do what is checked before, in one place of the web."""

    def __init__(self, store: Store, pressure: Pressure | None = None) -> None:
        """`pressure`: whether the store has room for new runs; without it there always is."""
        self._store = store
        self._pressure = pressure

    async def start(
        self,
        *,
        by: str,
        agent: str,
        messages: Sequence[Message],
        conversation_id: str | None = None,
        on_busy: Literal["reject", "queue", "stop"] = "reject",
        metadata: Mapping[str, Json] | None = None,
        limits: Mapping[str, float] | None = None,
        key: str | None = None,
        digest: str = "",
    ) -> Started:
        """Start a run. `key`: the idempotency key, already bound to the principal; `digest`: of
        method, path and body. Raises `Conflict` (with `run_id`) when the conversation is busy,
        `NotFound`, `Invalid` (field `Idempotency-Key`) when the key came with another body,
        `StoreFull`."""
        target = conversation_id or new_conversation_id()
        token = secrets.token_hex(16)
        if key is not None:
            held = await self._store.reserve(key, Reservation(digest=digest, target=target))
            if held.digest != digest:
                raise Invalid(
                    FieldError(field="Idempotency-Key", detail="was used for another request; send a new key")
                )
            target, token = held.target, key
        if self._pressure is not None and not (conversation_id is None and await self._is_there(target)):
            await self._pressure.check()
        now = await self._store.now_ms()
        queued = Workflow(
            ts=timestamp(now / 1000),
            state="queued",
            attempt=0,
            by=by,
            agent=agent,
            conversation_id=target,
            input=tuple(messages),
            metadata=metadata,
            limits=limits,
        )
        # The run's number is not known before it is made, and nothing in the summary needs it.
        summary = summarise(RunState(f"{target}.1"), [queued])
        start = Start(
            conversation_id=target,
            new_conversation=conversation_id is None,
            token=token,
            agent=agent,
            owner=by,
            entries=[encode(queued)],
            summary=summary,
            queue=on_busy != "reject",
        )
        try:
            begun = await self._store.begin(start)
        except Busy as busy:
            raise Conflict(
                "the conversation has an active run; stop it, wait for it, or send on_busy",
                run_id=busy.run_id,
            ) from None
        except UnknownRun:
            raise NotFound(f"no conversation {target}") from None
        if on_busy == "stop" and begun.active is not None:
            await self.stop(begun.active, by=by, reason="a new message takes its place")
        state = "queued"
        if begun.repeated:
            state = read_summary((await self._store.head(begun.run_id)).summary).state
        return Started(run_id=begun.run_id, conversation_id=target, state=state, repeated=begun.repeated)

    async def _is_there(self, conversation_id: str) -> bool:
        """Whether a start with the same key has made it already: then it is no new one."""
        try:
            await self._store.conversation(conversation_id)
        except UnknownRun:
            return False
        return True

    async def decide(self, decisions: Sequence[Decision], *, by: str) -> list[Decided]:
        """Answer questions of one run, all or none (G5). The same answers again give the same.
        Raises `NotFound` (unknown call, or no question about it), `Conflict` (decided otherwise,
        expired, withdrawn; with `by`, `at`, `state`), `Invalid` (edited arguments against the
        schema, several runs, wrong kind of answer; fields `decisions.0.args` …, or `args` … with
        one decision)."""
        run_id = _one_run(decisions)
        for _ in range(MAX_TRIES):
            state = await read_state(self._store, run_id)
            now = await self._store.now_ms()
            answers = [
                _answer(state, decision, by=by, now_ms=now, field=_field(decisions, at))
                for at, decision in enumerate(decisions)
            ]
            news = [answer for answer in answers if isinstance(answer, Approval)]
            standing = [answer for answer in answers if isinstance(answer, Decided)]
            if not news:
                return standing
            expired = any(answer.state == "expired" for answer in news)
            if expired:
                news = [answer for answer in news if answer.state == "expired"]
            try:
                appended = await self._append(
                    state,
                    news,
                    expect=state.seq,
                    once=[f"approval:{answer.call_id}:{answer.round}" for answer in news],
                    due=NOW,
                )
            except (Moved, RunClosed):
                continue
            except EntryTooLarge as error:
                raise Invalid(*[_too_large(decisions, at, error) for at in range(len(decisions))]) from None
            if appended.repeated or expired:
                continue  # read what stands there now, and answer from that
            places = {answer.call_id: appended.first + at for at, answer in enumerate(news)}
            made = {
                answer.call_id: Decided(
                    run_id=run_id,
                    call_id=answer.call_id,
                    state=answer.state,
                    by=by,
                    seq=places[answer.call_id],
                )
                for answer in news
            }
            made |= {decided.call_id: decided for decided in standing}
            return [made[decision.call_id] for decision in decisions]
        raise Conflict("the run changes too fast; try again", run_id=run_id)

    async def stop(
        self, run_id: str, *, by: str, reason: str | None = None, mode: StopMode = "immediate"
    ) -> Stopped:
        """Ask a run to stop (G4). Idempotent, valid in every state. Raises `NotFound`."""
        for tries in range(MAX_TRIES):
            head = await self._head(run_id)
            try:
                if head.closed:
                    return await self._final(head)
                if head.worker == "alive" or tries >= PATIENT_TRIES:
                    await self._ask_to_stop(head, by=by, reason=reason, mode=mode)
                else:
                    state = await read_state(self._store, run_id)
                    await self._end_unattended(state, by=by, reason=reason, mode=mode)
            except (Moved, Fenced, RunClosed):
                await asyncio.sleep(0)
                continue
            return Stopped(run_id=run_id, state="stopping", receipt=None)
        raise Conflict("the run changes too fast; try again", run_id=run_id)

    async def _head(self, run_id: str) -> Head:
        if not is_run_id(run_id):
            raise NotFound(f"no run {run_id}")
        try:
            return await self._store.head(run_id)
        except UnknownRun:
            raise NotFound(f"no run {run_id}") from None

    async def _final(self, head: Head) -> Stopped:
        """How the run ended: its last entry tells, however long the log is."""
        page = await self._store.read(head.run_id, head.last - 1, 1)
        ending = decode(page.entries[-1])
        receipt = ending.receipt if isinstance(ending, Workflow) else None
        return Stopped(run_id=head.run_id, state=read_summary(head.summary).state, receipt=receipt)

    async def _ask_to_stop(self, head: Head, *, by: str, reason: str | None, mode: StopMode) -> None:
        """Append the intent. Its cost does not grow with the run: nothing is read but its head."""
        summary = read_summary(head.summary)
        if summary.stop_mode in {"immediate", mode}:
            return
        event = _stopping(summary.attempt, by, reason, mode, await self._ts())
        # No `expect`: a stop is true whatever else has happened, short of the ending.
        await self._store.append(
            head.run_id,
            [encode(event)],
            once=[f"stop:{mode}"],
            summary=encode_summary(after(summary, [event])),
            due=NOW,
        )

    async def sweep(self) -> int:
        """Do what time has made due where no worker does it: expire questions, end runs that were
        being stopped when their worker died. Returns how many runs were changed."""
        changed = 0
        for head in await self._store.overdue(SWEEP_RUNS):
            summary = read_summary(head.summary)
            if summary.state != "stopping" and not summary.waiting:
                continue
            try:
                state = await read_state(self._store, head.run_id)
                if state.stop is not None and not state.ended:
                    await self._end_unattended(state, by=state.stop.by, reason=None, mode=state.stop.mode)
                    changed += 1
                elif await self._expire(state):
                    changed += 1
            except (Moved, Fenced, RunClosed, UnknownRun, NotFound):
                continue  # somebody else was faster, which is as good
            except IllegalTransition:
                continue  # a log that cannot be read must not keep the others from their ending
        return changed

    async def _expire(self, state: RunState) -> bool:
        now = await self._store.now_ms()
        late = [question for question in state.pending if is_late(question, now)]
        if not late:
            return False
        await self._append(
            state,
            [expired_answer(question, now) for question in late],
            expect=state.seq,
            once=[question.once for question in late],
            due=NOW,
        )
        return True

    async def _end_unattended(self, state: RunState, *, by: str, reason: str | None, mode: StopMode) -> None:
        """No worker stands behind the run: the stop and its ending are one append."""
        ts = await self._ts()
        read = state.seq
        events: list[Event] = []
        once: list[str] = []
        if state.stop is None:
            events.append(_stopping(state.attempt, by, reason, mode, ts))
            once.append(f"stop:{mode}")
            state.apply(read + 1, events[0])
        events += stop_entries(state, ts=ts)
        await self._append(state, events, fence=NOBODY, expect=read, once=once, close=True)

    async def _append(
        self,
        state: RunState,
        events: Sequence[Event],
        *,
        fence: Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        due: Due = KEEP,
        close: bool = False,
    ) -> Appended:
        return await self._store.append(
            state.run_id,
            [encode(event) for event in events],
            fence=fence,
            expect=expect,
            once=once,
            summary=summarise(state, events),
            due=due,
            close=close,
        )

    async def _ts(self) -> str:
        return timestamp(await self._store.now_ms() / 1000)


async def read_state(log: EventLog, run_id: str) -> RunState:
    """The fold of a run's whole log. Raises `NotFound`."""
    state = RunState(run_id)
    if not is_run_id(run_id):
        raise NotFound(f"no run {run_id}")
    while True:
        try:
            page = await log.read(run_id, state.seq)
        except UnknownRun:
            raise NotFound(f"no run {run_id}") from None
        for seq, entry in enumerate(page.entries, page.first):
            state.apply(seq, event := decode(entry))
            state.bytes += weight(entry, event)
        if state.seq >= page.last:
            return state


def _stopping(attempt: int, by: str, reason: str | None, mode: StopMode, ts: str) -> Workflow:
    return Workflow(ts=ts, state="stopping", attempt=attempt, by=by, reason=reason, mode=mode)


def _one_run(decisions: Sequence[Decision]) -> str:
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


def _too_large(decisions: Sequence[Decision], at: int, error: EntryTooLarge) -> FieldError:
    name = "result" if decisions[at].result is not UNSET else "args"
    return FieldError(field=f"{_field(decisions, at)}{name}", detail=f"at most {error.limit} bytes")


def _field(decisions: Sequence[Decision], at: int) -> str:
    return f"decisions.{at}." if len(decisions) > 1 else ""


def is_late(question: Question, now_ms: int) -> bool:
    """Whether the question's time is over, by the store's clock."""
    return question.expires_at is not None and parse_timestamp(question.expires_at) * 1000 <= now_ms


def expired_answer(question: Question, now_ms: int) -> Approval:
    """The entry that says that nobody answered in time."""
    return Approval(
        ts=timestamp(now_ms / 1000),
        call_id=question.call_id,
        round=question.round,
        kind=question.kind,
        name=question.name,
        state="expired",
        args=question.args,
        by=SYSTEM,
    )


def _answer(state: RunState, decision: Decision, *, by: str, now_ms: int, field: str) -> Approval | Decided:
    """The entry that the decision makes, or the same one that stands already."""
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
    if decision.args is not UNSET:
        _check_args(question, decision.args, field)
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
    """The newest question that the decision can mean: an approval sent again is the answer to the
    question whether the call may run, also once another asks what became of it."""
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


def _path(error: ValidationError) -> list[str]:
    """Where the fault is: the member itself, also where it is missing."""
    path = [str(step) for step in error.absolute_path]
    missing = re.fullmatch(r"'(.+)' is a required property", error.message)
    return [*path, missing[1]] if missing is not None else path


def _check_args(question: Question, args: Json | UnsetType, field: str) -> None:
    if not isinstance(args, dict):
        raise Invalid(FieldError(field=f"{field}args", detail="must be an object"))
    schema = question.args_schema
    if schema is UNSET or not isinstance(schema, dict):
        return
    validator = validator_for(schema, default=Draft202012Validator)(schema)
    try:
        errors = [
            FieldError(field=".".join([f"{field}args", *_path(error)]), detail=error.message)
            for error in validator.iter_errors(args)
        ]
    except Exception as error:
        # The schema is the tool's own: one that cannot be followed must not let anything through.
        detail = f"cannot be checked against the tool's schema ({error}); approve or deny it unedited"
        raise Invalid(FieldError(field=f"{field}args", detail=detail)) from error
    if errors:
        raise Invalid(*errors)
