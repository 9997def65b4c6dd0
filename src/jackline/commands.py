"""Start, decide, stop: one append each. Nobody here waits for effects."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import UNSET

from jackline.answers import (
    SYSTEM,
    Decided,
    Decision,
    answer_to,
    expired_answer,
    field_of,
    is_late,
    one_run,
    too_large,
)
from jackline.edited import Edit, EditedArguments
from jackline.endings import stop_entries
from jackline.errors import (
    Busy,
    Conflict,
    EntryTooLarge,
    Fenced,
    FieldError,
    IllegalTransition,
    InDoubt,
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
    Receipt,
    StopMode,
    Workflow,
    decode,
    encode,
    is_stand_in,
    timestamp,
)
from jackline.ids import artifact_id, is_run_id, new_conversation_id
from jackline.log.base import KEEP, NOBODY, NOW, Reservation, Start
from jackline.run import RunState, stop_name, weight
from jackline.summary import after, encode_summary, read_summary, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from jackline.events import Event
    from jackline.log.base import Appended, Due, EventLog, Head, Nobody, Store
    from jackline.pressure import Pressure

MAX_TRIES: Final = 50
"""How often a command reads again because the log moved on under it, before it says so."""

PATIENT_TRIES: Final = 5
"""Tries of a stop to end an unattended run whose log keeps moving, before it only asks for it."""

SWEEP_RUNS: Final = 1000
"""Due runs a sweep looks at: more than may wait for a free worker, or these would hide the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A run that was started. `last`: the seq of its newest entry known."""

    run_id: str
    conversation_id: str
    state: str
    repeated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A stop's answer: `stopping`, or the final state when the run had ended (then with its receipt,
    if it was stopped)."""

    run_id: str
    state: str
    receipt: Receipt | None


class Commands:
    """What people can do to runs. Who may do what is checked before, in one place of the web."""

    def __init__(
        self, store: Store, pressure: Pressure | None = None, edited: EditedArguments | None = None
    ) -> None:
        """`pressure`: whether the store has room for new runs; without it there always is. `edited`: who
        checks edited arguments."""
        self._store = store
        self._pressure = pressure
        self._edited = edited or EditedArguments()

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
        one decision), `Overloaded` (too many edited arguments are being checked)."""
        run_id = one_run(decisions)
        checked: set[tuple[int, int]] = set()
        for _ in range(MAX_TRIES):
            state = await read_state(self._store, run_id)
            now = await self._store.now_ms()
            answers = [
                answer_to(state, decision, by=by, now_ms=now, field=field_of(decisions, at))
                for at, decision in enumerate(decisions)
            ]
            edits = await self._edits(state, decisions, answers, checked)
            if edits:
                # Once for all tries: what moves on meanwhile is the log and the clock, not what is asked.
                # Those are read anew: a check may take a while, and the question's time may be over.
                await self._edited.check(list(edits.values()), by=by)
                checked |= edits.keys()
                continue
            news = [answer for answer in answers if isinstance(answer, Approval)]
            standing = [answer for answer in answers if isinstance(answer, Decided)]
            if not news:
                return standing
            expired = any(answer.by == SYSTEM for answer in news)
            if expired:
                news = [answer for answer in news if answer.by == SYSTEM]
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
                raise Invalid(*[too_large(decisions, at, error) for at in range(len(decisions))]) from None
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

    async def _edits(
        self,
        state: RunState,
        decisions: Sequence[Decision],
        answers: Sequence[Approval | Decided],
        checked: Set[tuple[int, int]],
    ) -> dict[tuple[int, int], Edit]:
        """The edited arguments of what is answered now, with their tools' schemas, but for those that are
        `checked`: by the decision's place, and the round. Raises `Invalid`."""
        edits: dict[tuple[int, int], Edit] = {}
        for at, (decision, answer) in enumerate(zip(decisions, answers, strict=True)):
            if decision.args is UNSET or not isinstance(answer, Approval) or answer.by == SYSTEM:
                continue
            if (at, answer.round) in checked:
                continue
            schema = state.questions[answer.call_id, answer.round].args_schema
            aside = artifact_id(state.run_id, f"{answer.call_id}:schema")
            field = field_of(decisions, at)
            if is_stand_in(schema, aside):
                schema = await self._schema(state.run_id, aside, field)
            edits[at, answer.round] = Edit(schema=schema, args=decision.args, field=field)
        return edits

    async def _schema(self, run_id: str, aside: str, field: str) -> Json:
        """A schema that was stored aside. Nothing unchecked may pass, so it must be there."""
        found = await self._store.artifact(run_id, aside)
        if found is None:
            detail = "cannot be checked, the tool's schema is gone; approve or deny it unedited"
            raise Invalid(FieldError(field=f"{field}args", detail=detail))
        return msgspec.json.decode(found.data)

    async def stop(
        self,
        run_id: str,
        *,
        by: str,
        reason: str | None = None,
        mode: StopMode = "immediate",
        head: Head | None = None,
    ) -> Stopped:
        """Ask a run to stop (G4). Idempotent, valid in every state. `head`: where the caller has just
        read it. Raises `NotFound`."""
        for tries in range(MAX_TRIES):
            if head is None:
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
                head = None
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
        event = _stopping(summary.attempt, by, reason, mode, timestamp(head.read_ms / 1000))
        # No `expect`: a stop is true whatever else has happened, short of the ending.
        await self._store.append(
            head.run_id,
            [encode(event)],
            once=[stop_name(mode)],
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
            except (Moved, Fenced, RunClosed, UnknownRun, NotFound, InDoubt):
                continue  # somebody else was faster, which is as good; or it is its worker's turn first
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
            once.append(stop_name(mode))
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
    """The fold of a run's whole log. Raises `NotFound`, and `InDoubt` where entries are missing from it."""
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
        if not page.entries:
            raise InDoubt(run_id)


def _stopping(attempt: int, by: str, reason: str | None, mode: StopMode, ts: str) -> Workflow:
    return Workflow(ts=ts, state="stopping", attempt=attempt, by=by, reason=reason, mode=mode)
