"""What an agent may say and do while it drives a run.

Everything goes through the run's journal, so all of it stands in the log before anything depends
on it: a tool call is recorded as started before it starts (G6), never after a stop was accepted
(G4), and an approval parks the run (G5). After a takeover, results that stand in the log are
given again instead of being made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NoReturn

import msgspec
from msgspec import UNSET, Struct, UnsetType

from jackline.answers import UNANSWERED
from jackline.endings import CallEnd
from jackline.errors import (
    AgentError,
    Fenced,
    IllegalTransition,
    LimitReached,
    RunClosed,
    StopRequested,
    ToolFailed,
)
from jackline.events import (
    Approval,
    ErrorInfo,
    Json,
    Retry,
    Token,
    Tool,
    Usage,
    Workflow,
    is_stand_in,
    timestamp,
)
from jackline.ids import artifact_id as artifact_id_of
from jackline.ids import call_id as make_call_id
from jackline.ids import number_of
from jackline.log.base import KEEP, NEVER, Artifact
from jackline.processes import running_call
from jackline.remote import asks
from jackline.tools import ToolSpec
from jackline.values import clean, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.clock import StoreClock
    from jackline.events import Event, Message
    from jackline.journal import Journal
    from jackline.limits import RunLimits
    from jackline.log.base import Due, Store
    from jackline.remote import Ask
    from jackline.run import Call, RunState
    from jackline.threads import CallThreads
    from jackline.tools import ToolSpec

PREVIEW_CHARACTERS: Final = 1000
"""How much of a value that is stored aside its entry shows at most."""


TURN_PIECES: Final = 64
"""Pieces of text after which the worker's loop gets a turn: well under a millisecond. The first one too, so
that it is on its way at once."""


class Envelope(Struct, frozen=True, kw_only=True):
    """A checkpoint as it is stored: the agent's own bytes, and how many of the model's messages the
    run had begun by then (those begun later are said again after a takeover)."""

    messages: int
    agent: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousRun:
    """An earlier run of the conversation, for the agent's history. `state`: its fold;
    `checkpoint`: what the agent saved last, if it did."""

    run_id: str
    state: RunState
    checkpoint: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRequest:
    """A call that the model asks for. `call_id` is from `RunContext.new_calls`."""

    call_id: str
    args: Json
    spec: ToolSpec
    verifies: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a person (or the expiry) said about a call. `args`: the edited ones, where edited."""

    approved: bool
    by: str
    reason: str | None
    args: Json | UnsetType


class RunContext:
    """See the module. Made by the worker, one per run that it drives.

    No method returns normally once the run is being stopped, parked, or handed back: it waits
    until the worker cancels the agent's task. So an agent that catches its own errors broadly
    cannot go on by mistake.
    """

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        clock: StoreClock,
        limits: RunLimits,
        checkpoint: bytes | None,
        previous: Sequence[PreviousRun],
        threads: CallThreads,
        max_entry: int,
        approval_expiry: float | None,
        on_expiry: Literal["deny", "approve"],
    ) -> None:
        self.limits = limits
        self.previous = tuple(previous)
        self.threads = threads
        self.halted = asyncio.Event()
        """Set when the agent's task waits to be cancelled: parked, after a step's stop, or leaving."""
        self.parked = False
        self.over = False
        """Set by the worker when it cancels the agent: whatever still calls is cancelled at once."""
        self.limit: LimitReached | None = None
        """The limit that was reached: it ends the run, whatever the agent makes of the error."""
        self.leaving = False
        """Set by the worker that is told to go: no call and no step begins any more."""
        self.running: dict[str, float] = {}
        """Calls invoked in this process and not ended, with the time (monotonic, s) they began."""
        self.invoked: set[str] = set()
        """Calls that were really begun by this context."""
        self.quiet = asyncio.Event()
        """Set while no call runs, or all that run wait in `halt` and will not end by themselves."""
        self.quiet.set()
        self._stuck: set[str] = set()
        self.in_threads: set[str] = set()
        """Calls that were in a thread when they were cut off: their ends are the threads' ends."""
        self.ends: dict[str, CallEnd] = {}
        """How calls ended that were cut off, for the receipt."""
        self.asks: dict[str, list[Ask]] = {}
        """What can be asked elsewhere about calls that were cut off."""
        self.model_open = False
        """Whether a model request is under way."""
        self._store = store
        self._journal = journal
        self._now = clock.ts
        envelope = msgspec.msgpack.decode(checkpoint, type=Envelope) if checkpoint is not None else None
        self.checkpoint = envelope.agent if envelope is not None else None
        """What the agent saved last, None at the beginning."""
        self._max_entry = max_entry
        # A character takes six bytes at worst, and the preview must fit where the value did not.
        self._preview = min(PREVIEW_CHARACTERS, max_entry // 64)
        self._approval_expiry, self._on_expiry = approval_expiry, on_expiry
        # In the order of their first pieces. Ids may have been given out and never used, so what is
        # begun is counted apart from what is numbered.
        self._begun = {key[0]: None for key, said in self.state.said.items() if said.role == "assistant"}
        self._pieces, self._messages = 0, max(map(_message_number, self._begun), default=0)
        self._calls = max(map(number_of, self.state.calls), default=0)

    # What the run is

    @property
    def state(self) -> RunState:
        """The fold of the run's log as far as it was read here. Read it; never change it."""
        return self._journal.state

    @property
    def run_id(self) -> str:
        """The run's id. `run_id:call_id` is the idempotency key of a call."""
        return self.state.run_id

    @property
    def conversation_id(self) -> str:
        """The conversation's id."""
        return self.state.conversation_id

    @property
    def attempt(self) -> int:
        """1, and one more after each takeover."""
        return self.state.attempt

    @property
    def input(self) -> tuple[Message, ...]:
        """The new messages of this run."""
        return self.state.input

    @property
    def metadata(self) -> Json:
        """What the chat sent along."""
        return self.state.metadata

    # Saying

    def new_message(self) -> str:
        """A new message's id, unique in the run."""
        self._messages += 1
        return f"m{self._messages}"

    async def say(self, text: str, *, message_id: str, kind: str = "text") -> None:
        """Stream a piece of text. It is on its way at once; this waits only while the store lags."""
        journal = self._journal
        # The same as `_go_on` looks at: nearly always there is nothing, and a token is said every few µs.
        if self.over or self.limit is not None or journal.state.stop is not None or journal.lost.is_set():
            await self._go_on(beside=True)
        limit = self._max_entry // 8  # six bytes a character at worst, and the rest of the entry
        text = clean(text)
        if text:
            self._begun[message_id] = None
        for start in range(0, len(text), limit):
            piece = text if len(text) <= limit else text[start : start + limit]
            of = "reasoning" if kind == "reasoning" else "text"
            journal.put(Token(ts=self._now(), text=piece, kind=of, message_id=message_id))
            if journal.full:
                await journal.room()
            if self._pieces % TURN_PIECES == 0:
                # An agent that has it all at once must not keep other runs, or its own stop, from their turn.
                await asyncio.sleep(0)
            self._pieces += 1
        self._check_size()

    # Steps: one model request each

    async def begin_step(self, *, model: str | None = None) -> int:
        """A model request is about to be made. Returns its number, from 1. Raises `LimitReached`."""
        await self._go_on(new_work=True)
        step = self.state.step + 1
        if step > self.limits.steps:
            raise self._reached("steps", self.limits.steps)
        await self._commit([self._executing(step=step)], expect=True)
        self.model_open = True
        return step

    async def end_step(self, usage: Usage | None = None) -> None:
        """The model has answered. Raises `LimitReached` when the run has used up its tokens."""
        self.model_open = False
        if usage is None:
            return
        self._journal.put(self._executing(step=self.state.step, usage=usage), unless_stopping=True)
        used = self.state.usage
        total = used.input_tokens + used.output_tokens + usage.input_tokens + usage.output_tokens
        if total > self.limits.tokens:
            raise self._reached("tokens", self.limits.tokens)

    async def pause(self, seconds: float, error: str, *, supersedes: Sequence[str] = ()) -> None:
        """Sleep before the model is asked again, because of `error`. A stop ends the sleep.
        `supersedes`: the messages that the failed request had begun; they will be said again."""
        self.model_open = False
        retry = Retry(after_ms=round(seconds * 1000), error=clean(error[:1000]))
        await self._commit([self._executing(retry=retry, supersedes=supersedes)], expect=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._journal.stopping.wait()
        await self._go_on(new_work=True)

    async def supersede(self, messages: Sequence[str]) -> None:
        """Take back what was said in these messages: it will be said again, under new ids."""
        await self._commit([self._executing(supersedes=messages)], expect=True)

    async def save(self, checkpoint: bytes) -> None:
        """Replace the checkpoint. What was finished before it is never said or done again."""
        await self._commit([], checkpoint=checkpoint)

    # Tools

    def new_calls(self, count: int) -> list[str]:
        """Ids for the next `count` calls."""
        first = self._calls + 1
        self._calls += count
        return [make_call_id(self.run_id, number) for number in range(first, first + count)]

    async def request(self, calls: Sequence[CallRequest], *, checkpoint: bytes | None = None) -> None:
        """Record the calls of one model response together with the checkpoint, in one append,
        before any of them starts. Calls that the policy denies are closed at once."""
        events: list[Event] = []
        for call in calls:
            args = await self._aside(call.args, f"{call.call_id}:args")
            events.append(
                Tool(
                    ts=self._now(),
                    call_id=call.call_id,
                    name=call.spec.name,
                    state="requested",
                    args=args,
                    effect=call.spec.effect,
                    verifies=call.verifies or self._verified_by(call.spec),
                )
            )
            if call.spec.approval == "deny":
                events.append(
                    Tool(
                        ts=self._now(),
                        call_id=call.call_id,
                        name=call.spec.name,
                        state="denied",
                        error=ErrorInfo(
                            type="denied_by_policy", message="the operator does not allow this tool"
                        ),
                    )
                )
        await self._commit(events, expect=True, checkpoint=checkpoint)

    def answer(self, call_id: str) -> Answer | None:
        """The answer to the newest question about whether the call may run; None without one."""
        # A later question about an unknown outcome leaves the approval, and its edited arguments, standing.
        asked = [q for q in self.state.questions.values() if q.call_id == call_id and q.kind == "call"]
        question = asked[-1] if asked else None
        if question is None or question.state in {"pending", "withdrawn"}:
            return None
        return Answer(
            approved=question.state == "granted",
            by=question.by or "",
            reason=question.answer_reason or (UNANSWERED if question.state == "expired" else None),
            args=UNSET if question.granted_args == question.args else question.granted_args,
        )

    async def ask(
        self, calls: Sequence[CallRequest], *, checkpoint: bytes | None = None, reason: str | None = None
    ) -> None:
        """Ask a person about calls that were requested, all of a step in one append, and park.

        Never returns: the worker lets the run go, and some worker begins it anew from the
        checkpoint once every question is answered (G5).
        """
        expires = None
        if self._approval_expiry is not None:
            expires = await self._journal.patiently(self._store.now_ms)
            expires += round(self._approval_expiry * 1000)
        events: list[Event] = []
        for call in calls:
            last = self.state.last_question(call.call_id)
            events.append(
                Approval(
                    ts=self._now(),
                    call_id=call.call_id,
                    round=1 if last is None else last.round + 1,
                    kind="call",
                    name=call.spec.name,
                    state="pending",
                    args=await self._aside(call.args, f"{call.call_id}:args"),
                    args_schema=await self._schema(call),
                    reason=None if reason is None else clean(reason[: self._max_entry // 64]),
                    expires_at=None if expires is None else timestamp(expires / 1000),
                    on_expiry=None if expires is None else self._on_expiry,
                )
            )
        events.append(Workflow(ts=self._now(), state="awaiting_approval", attempt=self.attempt))
        due = NEVER if expires is None else expires
        await self._go_on()
        # Before the append and not after it: whatever runs beside this must not write between the two.
        self.parked = True
        try:
            await self._written(events, expect=True, checkpoint=checkpoint, due=due)
        except BaseException:
            self.parked = False
            raise
        await self.halt()

    async def _schema(self, call: CallRequest) -> Json | UnsetType:
        """What edited arguments are checked against; some servers' schemas are larger than an entry."""
        if call.spec.schema is None:
            return UNSET
        return await self._aside(call.spec.schema, f"{call.call_id}:schema", self._max_entry // 4)

    async def run_tool(
        self,
        call_id: str,
        invoke: Callable[[Json], Awaitable[object]],
        *,
        args: Json | UnsetType = UNSET,
    ) -> Json:
        """Run a requested call once and return its result, which then stands in the log (G6).

        `invoke` gets the arguments that stand in the log: `args`, else the edited ones of the
        approval, else the requested ones. A call that has ended already is not run: its logged
        result is returned. Raises `ToolFailed` when the tool failed (now or then) or was denied,
        `LimitReached` when it took longer than it may.
        """
        call = self.state.calls[call_id]
        match call.state:
            case "finished":
                return await self._recall(call)
            case "failed" | "denied" | "cancelled":
                error = call.error or ErrorInfo(type=call.state, message=f"the call was {call.state}")
                raise ToolFailed(error.message, error.type)
            case _:
                pass
        await self._go_on(new_work=True)
        answer = self.answer(call_id)
        if args is UNSET:
            edited = answer is not None and answer.args is not UNSET
            args = answer.args if answer is not None and edited else call.requested_args
        args = await self._whole(args, f"{call_id}:args")
        shown = await self._aside(args, f"{call_id}:executed")
        started = Tool(
            ts=self._now(),
            call_id=call_id,
            name=call.name,
            state="started",
            args=shown,
            verifies=call.verifies,
        )
        # It counts as running from before it is recorded until its end is: whoever waits for quiet
        # must not cut off what lies between the call and the log.
        await self._go_on(new_work=True)
        self.running[call_id] = time.monotonic()
        self.quiet.clear()
        try:
            if await self._written([started], expect=True) and not self._journal.immediate.is_set():
                return await self._invoke(call, invoke, args)
        finally:
            self.running.pop(call_id, None)
            self._note_quiet()
        return await self.halt()

    async def refuse(self, call_id: str, error: ErrorInfo) -> None:
        """End a requested call that will not be run, because of `error`."""
        call = self.state.calls[call_id]
        failed = Tool(ts=self._now(), call_id=call_id, name=call.name, state="failed", error=error)
        await self._commit([failed])

    async def progress(self, call_id: str, progress: Json) -> None:
        """Tell how far a running call is."""
        if self.over:
            await self.halt()
        call = self.state.calls[call_id]
        value = await self._aside(progress, f"{call_id}:progress")
        told = Tool(ts=self._now(), call_id=call_id, name=call.name, state="progress", progress=value)
        self._journal.put(told)
        self._check_size()
        await self._journal.room()

    async def _invoke(
        self, call: Call, invoke: Callable[[Json], Awaitable[object]], args: Json | UnsetType
    ) -> Json:
        begun = time.monotonic()
        self.invoked.add(call.call_id)
        token = running_call.set(call.call_id)
        asked = asks.set(self.asks.setdefault(call.call_id, []))
        limit = asyncio.timeout(self.limits.tool_seconds)
        # Also of a tool that does not let go before its process does.
        late = asyncio.get_running_loop().call_later(
            self.limits.tool_seconds, self.threads.processes.end, call.call_id
        )
        try:
            async with limit:
                result = to_json(await invoke(None if args is UNSET else args))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() or self.over:
                self._cut_off(call, begun)
                raise
            # Nobody cancelled us: the tool let a cancellation of its own making out.
            raise await self._failed(call, begun, "CancelledError", "it was cancelled from within") from error
        except (Exception, SystemExit) as error:
            # A tool is foreign code: whatever it raises is the call's outcome, not the worker's.
            if isinstance(error, TimeoutError) and limit.expired():
                self._cut_off(call, begun)
                raise self._reached("tool_seconds", self.limits.tool_seconds) from None
            kind = error.kind if isinstance(error, AgentError) else type(error).__name__
            raise await self._failed(call, begun, kind, str(error)) from error
        finally:
            late.cancel()
            asks.reset(asked)
            running_call.reset(token)
        try:
            shown = await self._aside(result, f"{call.call_id}:result")
        except LimitReached:
            # It has run, and the log must say so; the run ends at its next step.
            shown = {"dropped": "the run reached its limit of bytes"}
        await self._end(
            call, CallEnd(outcome="finished_before_stop", result=shown, duration_ms=_since(begun))
        )
        return result

    async def _failed(self, call: Call, begun: float, kind: str, message: str) -> ToolFailed:
        message = clean(message[:4000]) or kind
        error = ErrorInfo(type=kind, message=message)
        await self._end(call, CallEnd(outcome="finished_before_stop", error=error, duration_ms=_since(begun)))
        return ToolFailed(message, kind)

    def _cut_off(self, call: Call, begun: float) -> None:
        """It was cancelled. By the worker: the run's ending tells it. By the agent itself, which goes
        on: it is told now, unless a thread of the call still runs."""
        self.threads.processes.end(call.call_id)
        killed = self.threads.processes.killed(call.call_id)
        end = CallEnd(outcome="killed" if killed else "cancelled", duration_ms=_since(begun))
        self.ends[call.call_id] = end
        if self.threads.awaited(call.call_id):
            self.in_threads.add(call.call_id)
        elif not self.over:
            self._put_end(call, end, "cancelled")

    async def _end(self, call: Call, end: CallEnd) -> None:
        if self.over and self.threads.processes.killed(call.call_id):
            # It made something of its cancellation, or of its process' death: both were our doing.
            self.ends[call.call_id] = CallEnd(outcome="killed", duration_ms=end.duration_ms)
            await self.halt()
        # Put in before it is waited for: a stop that cuts this wait off does not lose the end.
        self.ends[call.call_id] = end
        self._put_end(call, end, "failed" if end.error is not None else "finished")
        self.threads.forget(call.call_id)
        await self._written([])

    def _put_end(self, call: Call, end: CallEnd, state: Literal["finished", "failed", "cancelled"]) -> None:
        self._journal.put(
            Tool(
                ts=self._now(),
                call_id=call.call_id,
                name=call.name,
                state=state,
                result=end.result,
                error=end.error,
                duration_ms=end.duration_ms,
                verifies=call.verifies,
            )
        )

    def _verified_by(self, spec: ToolSpec) -> str | None:
        """The call whose effect a call of this tool checks: the last one of the tool it names."""
        if spec.verifies is None:
            return None
        done = [
            call.call_id
            for call in self.state.calls.values()
            if call.name == spec.verifies and call.state in {"finished", "failed", "unknown"}
        ]
        return done[-1] if done else None

    # Values too large for an entry

    async def stored_aside(self, value: Json, name: str) -> Json:
        """`value`, or where it is too large for an entry a small stand-in for it (artifact, bytes,
        preview), once the value itself is stored. Raises `LimitReached` when that would be more than
        the run may have."""
        return await self._aside(value, name)

    async def _aside(self, value: Json | UnsetType, name: str, limit: int = 0) -> Json:
        if value is UNSET:
            return None
        data = msgspec.json.encode(value)
        # The rest of an entry needs room too: names, ids, an approval's schema.
        if len(data) <= (limit or self._max_entry // 2):
            return value
        artifact_id = artifact_id_of(self.run_id, name)
        text = value if isinstance(value, str) else data.decode()
        media_type = "text/plain; charset=utf-8" if isinstance(value, str) else "application/json"
        raw = value.encode("utf-8", "replace") if isinstance(value, str) else data
        self._check_size(len(raw))
        artifact = Artifact(media_type=media_type, data=raw)
        await self._journal.store_aside(artifact_id, artifact)
        return {"artifact": artifact_id, "bytes": len(raw), "preview": text[: self._preview]}

    async def _recall(self, call: Call) -> Json:
        result = None if isinstance(call.result, UnsetType) else call.result
        return await self._whole(result, f"{call.call_id}:result")

    async def _whole(self, value: Json | UnsetType, name: str) -> Json:
        """The value that `_aside` stored under `name`, where `value` is its stand-in."""
        if isinstance(value, UnsetType):
            return None
        artifact_id = artifact_id_of(self.run_id, name)
        if not is_stand_in(value, artifact_id):
            return value
        artifact = await self._journal.patiently(lambda: self._store.artifact(self.run_id, artifact_id))
        if artifact is None:
            return value
        if artifact.media_type.startswith("text/plain"):
            return artifact.data.decode()
        return msgspec.json.decode(artifact.data)

    # Going on, or not

    async def halt(self) -> NoReturn:
        """Wait to be cancelled by the worker."""
        if self.over:
            # It was cancelled and goes on all the same. No pause, or it would use up the stop's grace.
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        self.halted.set()
        self._stuck.add(running_call.get(""))
        self._note_quiet()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    def _note_quiet(self) -> None:
        if self.running.keys() <= self._stuck:
            self.quiet.set()

    async def _go_on(self, *, new_work: bool = False, beside: bool = False) -> None:
        """`beside`: what a call that still runs may do while the run is parked."""
        if self.over or self._journal.lost.is_set() or (self.parked and not beside):
            await self.halt()
        stop = self.state.stop
        if stop is not None and (new_work or stop.mode == "immediate"):
            await self.halt()
        if new_work and self.leaving:
            await self.halt()
        if self.limit is not None:
            raise LimitReached(self.limit.limit, self.limit.value)

    def _reached(self, limit: str, value: float) -> LimitReached:
        self.limit = LimitReached(limit, value)
        return self.limit

    def _check_size(self, more: int = 0) -> None:
        try:
            self._journal.check_size(more)
        except LimitReached as error:
            self.limit = error
            raise

    async def _commit(
        self, events: Sequence[Event], *, expect: bool = False, checkpoint: bytes | None = None
    ) -> None:
        if self.parked or self.over:
            await self.halt()
        self._check_size()
        if not await self._written(events, expect=expect, checkpoint=checkpoint):
            await self.halt()

    async def _written(
        self,
        events: Sequence[Event],
        *,
        expect: bool = False,
        checkpoint: bytes | None = None,
        due: Due = KEEP,
    ) -> bool:
        """Whether `events` stand in the log; if not, what is left is to wait for the cancellation."""
        wrapped = None
        if checkpoint is not None:
            wrapped = msgspec.msgpack.encode(Envelope(messages=len(self._begun), agent=checkpoint))
        try:
            await self._journal.commit(events, expect=expect, checkpoint=wrapped, due=due)
        except (StopRequested, Fenced, RunClosed):
            return False
        except IllegalTransition:
            if not self.parked or due is not KEEP:
                raise
            return False  # it came too late: beside it a question was asked
        return True

    def _executing(
        self,
        *,
        step: int | None = None,
        usage: Usage | None = None,
        retry: Retry | None = None,
        supersedes: Sequence[str] = (),
    ) -> Workflow:
        return Workflow(
            ts=self._now(),
            state="executing",
            attempt=self.attempt,
            step=step,
            usage=usage,
            retry=retry,
            supersedes=tuple(supersedes) or None,
        )


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _message_number(message_id: str) -> int:
    digits = message_id.removeprefix("m")
    return int(digits[:9]) if digits.isdecimal() else 0
