"""What a run is: a fold over its entries. Pure; no `await`.

```
queued ──► executing ◄──► awaiting_approval
   │          │  │                │
   │          │  └─► completed    │
   │          └────► failed       │
   └────► stopping ◄──────────────┘
              └────► stopped
```
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, assert_never

from msgspec import UNSET, UnsetType

from jackline.errors import IllegalTransition
from jackline.events import (
    TERMINAL,
    Approval,
    ApprovalStateName,
    Effect,
    ErrorInfo,
    Json,
    Message,
    Receipt,
    RunStateName,
    StopMode,
    Token,
    Tool,
    ToolStateName,
    Unknown,
    Usage,
    Workflow,
    parse_timestamp,
)
from jackline.ids import conversation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jackline.events import Entry, Event

LEGAL: Final[Mapping[RunStateName, frozenset[RunStateName]]] = {
    "queued": frozenset({"executing", "stopping"}),
    "executing": frozenset({"executing", "awaiting_approval", "stopping", "completed", "failed"}),
    "awaiting_approval": frozenset({"executing", "stopping"}),
    "stopping": frozenset({"stopping", "stopped"}),
    "stopped": frozenset(),
    "completed": frozenset(),
    "failed": frozenset(),
}
"""From each state, the states a `workflow` entry may carry next."""

SPEAKING: Final[frozenset[RunStateName]] = frozenset({"executing", "awaiting_approval", "stopping"})
"""States in which text may come: a call that runs beside a question, or beside a stop, may still speak."""

ENDED_CALL: Final[frozenset[ToolStateName]] = frozenset(
    {"finished", "failed", "denied", "cancelled", "unknown"}
)
_AFTER: Final[Mapping[ToolStateName, frozenset[ToolStateName]]] = {
    "requested": frozenset({"started", "failed", "denied", "cancelled"}),
    "started": frozenset({"progress", "finished", "failed", "cancelled", "unknown"}),
    # A person decides what an unknown outcome was: retry it, or say its result, or give up.
    "unknown": frozenset({"started", "finished", "failed"}),
    "progress": frozenset(),
    "finished": frozenset(),
    "failed": frozenset(),
    "denied": frozenset(),
    "cancelled": frozenset(),
}


@dataclass(kw_only=True, slots=True)
class Call:
    """One tool call as the log tells it. `args`: those really executed, once it has started."""

    call_id: str
    name: str
    state: ToolStateName
    requested_args: Json
    args: Json
    step: int
    effect: Effect | None
    requested_seq: int
    attempt: int = 0
    result: Json | UnsetType = UNSET
    progress: Json | UnsetType = UNSET
    error: ErrorInfo | None = None
    duration_ms: int | None = None
    verifies: str | None = None
    started_at: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the call has a state that needs nothing more before the run may end."""
        return self.state in ENDED_CALL


@dataclass(kw_only=True, slots=True)
class Question:
    """One question to a person, by call and round."""

    call_id: str
    round: int
    kind: Literal["call", "outcome"]
    name: str
    state: ApprovalStateName
    args: Json | UnsetType
    args_schema: Json | UnsetType
    choices: tuple[str, ...]
    requested_at: str
    pending_seq: int
    reason: str | None = None
    expires_at: str | None = None
    on_expiry: str | None = None
    outcome: str | None = None
    result: Json | UnsetType = UNSET
    granted_args: Json | UnsetType = UNSET
    by: str | None = None
    at: str | None = None
    answer_reason: str | None = None
    answer_seq: int | None = None

    @property
    def once(self) -> str:
        """The name under which exactly one answer can be appended (G5)."""
        return _answer_name(self.call_id, self.round)


@dataclass(kw_only=True, slots=True)
class Said:
    """One message of the transcript: a person's, or the model's. `texts` are its pieces in order."""

    role: Literal["user", "assistant"]
    message_id: str
    seq: int
    kind: Literal["text", "reasoning"] = "text"
    texts: list[str] = field(default_factory=list[str])
    superseded: bool = False

    @property
    def text(self) -> str:
        """The pieces joined."""
        return "".join(self.texts)


@dataclass(kw_only=True, slots=True)
class Stop:
    """A stop that was accepted: the strongest mode asked for so far."""

    mode: StopMode
    by: str
    requested_at: str
    reason: str | None


class RunState:
    """The fold. `apply` one entry after the other; a refused entry changes nothing.

    Guarantees: no illegal transition can be folded, and there is exactly one ending (G3).
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.state: RunStateName | None = None
        self.seq = 0
        self.attempt = 0
        self.step = 0
        self.agent = ""
        self.owner = ""
        self.input: tuple[Message, ...] = ()
        self.metadata: Json = None
        self.limits: Json = None
        self.said: dict[tuple[str, str], Said] = {}
        self.calls: dict[str, Call] = {}
        self.questions: dict[tuple[str, int], Question] = {}
        self.usage = Usage(input_tokens=0, output_tokens=0)
        self.output: Json | UnsetType = UNSET
        self.error: ErrorInfo | None = None
        self.receipt: Receipt | None = None
        self.stop: Stop | None = None
        self.reason: str | None = None
        self.created_at = ""
        self.updated_at = ""
        self.handed_back = 0
        self.bytes = 0
        """Size of the entries' bodies, counted by whoever reads them from the log."""
        self.executing_seconds = 0.0
        self._workflow_at = ""

    @property
    def conversation_id(self) -> str:
        """The conversation that the run belongs to."""
        return conversation_of(self.run_id)

    @property
    def ended(self) -> bool:
        """Whether the run has its ending."""
        return self.state in TERMINAL

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person who has not answered yet."""
        return self.state == "awaiting_approval" and bool(self.pending)

    @property
    def pending(self) -> list[Question]:
        """The questions without an answer, oldest first."""
        return [question for question in self.questions.values() if question.state == "pending"]

    @property
    def open_calls(self) -> list[Call]:
        """The calls that have not come to an end, oldest first."""
        return [call for call in self.calls.values() if not call.ended]

    def last_question(self, call_id: str) -> Question | None:
        """The newest question about a call."""
        found = [question for key, question in self.questions.items() if key[0] == call_id]
        return found[-1] if found else None

    def apply(self, seq: int, event: Event | Unknown) -> None:
        """Fold one entry. Raises `IllegalTransition`, and changes nothing, when it may not stand there."""
        if seq != self.seq + 1:
            raise IllegalTransition(f"entry {seq} after entry {self.seq}")
        if self.ended:
            raise IllegalTransition(f"entry {seq} after the run's ending")
        if self.state is None and not (isinstance(event, Workflow) and event.state == "queued"):
            raise IllegalTransition("a run begins with workflow queued")
        match event:
            case Token():
                self._token(seq, event)
            case Workflow():
                self._workflow(event, seq)
            case Tool():
                self._tool(seq, event)
            case Approval():
                self._approval(seq, event)
            case Unknown():
                pass
            case _:
                assert_never(event)
        self.seq = seq
        if not isinstance(event, Unknown):
            self.updated_at = event.ts

    def check(self, events: Iterable[Event | Unknown]) -> None:
        """Raise `IllegalTransition` if `events` may not follow, one after the other; change nothing.

        An entry that was written and cannot be folded would make the run unreadable for everybody.
        """
        events = list(events)
        if self.state in SPEAKING and only_tokens(events):
            return  # nearly all there is, and nothing about it to be tried out
        touched = {event.call_id for event in events if isinstance(event, (Tool, Approval))}
        trial = copy.copy(self)
        trial.said = {}
        trial.stop = copy.copy(self.stop)
        trial.calls = {at: copy.copy(call) if at in touched else call for at, call in self.calls.items()}
        trial.questions = {
            at: copy.copy(question) if at[0] in touched else question
            for at, question in self.questions.items()
        }
        for event in events:
            trial.apply(trial.seq + 1, event)

    def _token(self, seq: int, event: Token) -> None:
        if self.state not in SPEAKING:
            raise IllegalTransition(f"a token while the run is {self.state}")
        key = (event.message_id, event.kind)
        said = self.said.get(key)
        if said is None:
            said = Said(role="assistant", message_id=event.message_id, seq=seq, kind=event.kind)
            self.said[key] = said
        said.texts.append(event.text)

    def _workflow(self, event: Workflow, seq: int) -> None:
        if self.state is None:
            self._begin(event, seq)
            return
        if event.state not in LEGAL[self.state]:
            raise IllegalTransition(f"workflow {event.state} after {self.state}")
        if event.state in TERMINAL and self.open_calls:
            raise IllegalTransition(f"workflow {event.state} while {self.open_calls[0].call_id} is open")
        if event.state in TERMINAL and self.pending:
            raise IllegalTransition(f"workflow {event.state} while {self.pending[0].call_id} waits")
        if event.state == "awaiting_approval" and not self.pending:
            raise IllegalTransition("workflow awaiting_approval without a question")
        if self.state == "executing":
            # While nobody drove it, no time was spent: until a takeover only what was seen counts.
            until = self.updated_at if event.reason == TAKEOVER else event.ts
            spent = parse_timestamp(until) - parse_timestamp(self._workflow_at)
            self.executing_seconds += max(0.0, spent)
        self._workflow_at = event.ts
        self.state = event.state
        self.attempt = max(self.attempt, event.attempt)
        self.step = event.step if event.step is not None else self.step
        self.reason = event.reason
        for said in self.said.values():
            if said.message_id in (event.supersedes or ()):
                said.superseded = True
        if event.usage is not None:
            self.usage = add_usage(self.usage, event.usage)
        if event.reason == HANDED_BACK:
            self.handed_back += 1
        if event.state == "stopping":
            self._stopping(event)
        if event.output is not UNSET:
            self.output = event.output
        self.error = event.error or self.error
        self.receipt = event.receipt or self.receipt

    def _begin(self, event: Workflow, seq: int) -> None:
        self.state = "queued"
        self.agent = event.agent or ""
        self.owner = event.by or ""
        self.input = event.input or ()
        self.metadata = event.metadata
        self.limits = event.limits
        self.created_at = event.ts
        self._workflow_at = event.ts
        for number, message in enumerate(self.input):
            said = Said(role="user", message_id=f"u{number + 1}", seq=seq, texts=[message.content])
            self.said[said.message_id, "text"] = said

    def _stopping(self, event: Workflow) -> None:
        mode = event.mode or "immediate"
        if self.stop is None:
            self.stop = Stop(mode=mode, by=event.by or "", requested_at=event.ts, reason=event.reason)
        elif mode == "immediate":
            self.stop.mode = "immediate"

    def _tool(self, seq: int, event: Tool) -> None:
        call = self.calls.get(event.call_id)
        if event.state == "requested":
            if call is not None:
                raise IllegalTransition(f"{event.call_id} requested twice")
            if self.state != "executing":
                raise IllegalTransition(f"a tool call requested while the run is {self.state}")
            args = None if event.args is UNSET else event.args
            self.calls[event.call_id] = Call(
                call_id=event.call_id,
                name=event.name,
                state="requested",
                requested_args=args,
                args=args,
                step=self.step,
                effect=event.effect,
                requested_seq=seq,
                verifies=event.verifies,
            )
            return
        if call is None:
            raise IllegalTransition(f"{event.call_id} {event.state} before it was requested")
        self._check_tool(call, event)
        if event.state == "progress":
            call.progress = event.progress
            return
        call.state = event.state
        if event.state == "started":
            call.attempt = self.attempt
            call.started_at = event.ts
            call.args = call.requested_args if event.args is UNSET else event.args
        call.result = event.result
        call.error = event.error
        call.duration_ms = event.duration_ms
        call.verifies = event.verifies or call.verifies

    def _check_tool(self, call: Call, event: Tool) -> None:
        if event.state == "started":
            if self.state != "executing":
                raise IllegalTransition(f"{call.call_id} started while the run is {self.state}")
            question = self.last_question(call.call_id)
            if question is not None and question.state not in {"granted", "answered"}:
                raise IllegalTransition(f"{call.call_id} started while its approval is {question.state}")
            if call.state == "started" and self.attempt > call.attempt:
                return  # a new attempt repeats a call that is declared safe to repeat
        if event.state not in _AFTER[call.state]:
            raise IllegalTransition(f"{call.call_id} {event.state} after {call.state}")

    def _approval(self, seq: int, event: Approval) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            raise IllegalTransition(f"an approval of {event.call_id}, which was never requested")
        key = (event.call_id, event.round)
        question = self.questions.get(key)
        if event.state == "pending":
            last = self.last_question(event.call_id)
            if question is not None or event.round != (1 if last is None else last.round + 1):
                raise IllegalTransition(f"round {event.round} of {event.call_id} out of order")
            if last is not None and last.state == "pending":
                raise IllegalTransition(f"{event.call_id} is asked twice at once")
            if self.state != "executing" or call.state not in {"requested", "unknown"}:
                raise IllegalTransition(f"{event.call_id} asked for while {self.state}, {call.state}")
            self.questions[key] = Question(
                call_id=event.call_id,
                round=event.round,
                kind=event.kind,
                name=event.name,
                state="pending",
                args=event.args,
                args_schema=event.args_schema,
                choices=event.choices,
                requested_at=event.ts,
                pending_seq=seq,
                reason=event.reason,
                expires_at=event.expires_at,
                on_expiry=event.on_expiry,
            )
            return
        self._answer(seq, event, question)

    def _answer(self, seq: int, event: Approval, question: Question | None) -> None:
        if question is None or question.state != "pending":
            raise IllegalTransition(
                f"{event.call_id} round {event.round} {event.state}, but it does not wait"
            )
        allowed = {"stopping"} if event.state == "withdrawn" else {"executing", "awaiting_approval"}
        if self.state not in allowed:
            raise IllegalTransition(f"approval {event.state} while the run is {self.state}")
        question.state = event.state
        question.outcome = event.outcome
        question.result = event.result
        question.by = event.by
        question.at = event.ts
        question.answer_reason = event.reason
        question.answer_seq = seq
        if event.state == "granted":
            question.granted_args = event.args

    def copy_text(self) -> str:
        """What the model has said that still counts, joined."""
        return "".join(
            said.text
            for said in self.said.values()
            if said.role == "assistant" and said.kind == "text" and not said.superseded
        )


HANDED_BACK: Final = "handed back"
"""The `reason` of the `workflow executing` entry with which a worker that is told to go lets a run go."""

TAKEOVER: Final = "takeover"
"""The `reason` of the `workflow executing` entry that opens a new attempt."""


def fold(run_id: str, entries: Iterable[Event | Unknown]) -> RunState:
    """The state of a run after `entries`, which begin with its first."""
    state = RunState(run_id)
    for seq, event in enumerate(entries, 1):
        state.apply(seq, event)
    return state


def only_tokens(events: Iterable[Event | Unknown]) -> bool:
    """Whether there is nothing but text in them. A loop, because it is asked for every group of entries."""
    for event in events:  # noqa: SIM110
        if type(event) is not Token:
            return False
    return True


def names_of(event: Event | Unknown) -> tuple[str, ...]:
    """The names under which an entry of a command was appended once, should they have to be put
    back with it."""
    match event:
        case Workflow(state="stopping"):
            return (stop_name(event.mode or "immediate"),)
        case Approval(state="granted" | "denied" | "answered" | "expired"):
            return (_answer_name(event.call_id, event.round),)
        case _:
            return ()


def stop_name(mode: StopMode) -> str:
    """The name under which exactly one stop of a mode can be appended (G4)."""
    return f"stop:{mode}"


def _answer_name(call_id: str, number: int) -> str:
    return f"approval:{call_id}:{number}"


def weight(entry: Entry, event: Event | Unknown) -> int:
    """How many bytes an entry counts for in the run's limit: its body, and what it has stored aside."""
    if b'"artifact":' not in entry.body:
        return len(entry.body)
    match event:
        case Tool():
            values = (event.args, event.result, event.progress)
        case Workflow():
            values = (event.output,)
        case _:
            values = ()
    stored = (value["bytes"] for value in values if isinstance(value, dict) and value.keys() == _STAND_IN)
    return len(entry.body) + sum(size for size in stored if isinstance(size, int) and size > 0)


_STAND_IN: Final = {"artifact", "bytes", "preview"}
"""The members of what stands for a value that is stored aside."""


def add_usage(total: Usage, more: Usage) -> Usage:
    """The sum of the tokens, and of the costs if all are known; the time to the first token and the model are
    the later one's."""
    return Usage(
        input_tokens=total.input_tokens + more.input_tokens,
        output_tokens=total.output_tokens + more.output_tokens,
        ttft_ms=more.ttft_ms if more.ttft_ms is not None else total.ttft_ms,
        model=more.model or total.model,
        cost_usd=_cost(total, more),
    )


def _cost(total: Usage, more: Usage) -> float | None:
    if total.model is None and not (total.input_tokens or total.output_tokens):
        return more.cost_usd  # nothing was asked before
    if total.cost_usd is None or more.cost_usd is None:
        return None
    return total.cost_usd + more.cost_usd
