"""A run as a thread tells it: a fold over its entries, in the order in which they are told. Pure.

Keys of items are made of the `seq` that each began with: whoever reads the log again gets the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jackline.client.shape import items, members

if TYPE_CHECKING:
    from jackline.client.frames import Entry

ENDED: Final = frozenset({"completed", "failed", "stopped"})
_CALLS: Final = 8
"""Calls of one message: they share its rate and its room."""
_QUESTIONS: Final = 4


@dataclass(kw_only=True, slots=True)
class Say:
    """What the agent says, in one go. `gone`: superseded by an attempt that says it again."""

    key: str
    message_id: str
    text: str = ""
    gone: bool = False
    version: int = 0


@dataclass(kw_only=True, slots=True)
class Call:
    """A tool call."""

    call_id: str
    name: str
    state: str
    args: object = None
    result: object = None
    error: object = None
    progress: object = None
    duration_ms: float | None = None


@dataclass(kw_only=True, slots=True)
class Calls:
    """Calls that follow on each other."""

    key: str
    calls: list[Call] = field(default_factory=list[Call])
    version: int = 0


@dataclass(kw_only=True, slots=True)
class Question:
    """A question to a person, and its answer."""

    call_id: str
    round: int
    kind: str
    name: str
    state: str
    args: object = None
    granted: object = None
    outcome: str | None = None
    by: str | None = None
    why: str | None = None
    reason: str | None = None
    expires_at: str | None = None

    @property
    def pending(self) -> bool:
        """Whether it waits for its answer."""
        return self.state == "pending"


@dataclass(kw_only=True, slots=True)
class Questions:
    """Questions that were asked together."""

    key: str
    questions: list[Question] = field(default_factory=list[Question])
    version: int = 0


Item = Say | Calls | Questions


@dataclass(kw_only=True, slots=True)
class Story:
    """All of a run that its thread tells. `seq` is the newest entry in it."""

    run_id: str
    state: str = "queued"
    by: str = ""
    agent: str = ""
    asked: str = ""
    thread: str = ""
    """The thread that it was started from, "" where that was elsewhere."""
    attempt: int = 0
    reason: str = ""
    stopped_by: str = ""
    stopped_why: str = ""
    """The reason of the stop: who pressed, where several people share a key."""
    output: object = None
    error: dict[str, Any] | None = None
    receipt: dict[str, Any] | None = None
    tokens: int = 0
    seq: int = 0
    missing: bool = False
    """The log could not give all of it."""
    items: list[Item] = field(default_factory=list[Item])

    @property
    def ended(self) -> bool:
        """Whether the run has its ending."""
        return self.state in ENDED

    @property
    def pending(self) -> list[Question]:
        """The questions that wait for an answer."""
        found = (item.questions for item in self.items if isinstance(item, Questions))
        return [question for questions in found for question in questions if question.pending]

    @property
    def said(self) -> str:
        """The last thing the agent said."""
        says = [item.text for item in self.items if isinstance(item, Say) and not item.gone]
        return says[-1] if says else ""

    def question(self, call_id: str) -> Question | None:
        """The newest question about a call."""
        found = [item for item in self.items if isinstance(item, Questions)]
        every = [each for item in found for each in item.questions if each.call_id == call_id]
        return every[-1] if every else None

    def add(self, entry: Entry) -> None:
        """Take the next entry."""
        data = entry.data
        self.seq = entry.seq
        match entry.type:
            case "token":
                if data.get("kind", "text") == "text":
                    self._say(str(data.get("message_id", "")), str(data.get("text", "")), entry.first)
            case "tool":
                self._tool(data, entry.seq)
            case "approval":
                self._approval(data, entry.seq)
            case "workflow":
                self._workflow(data)
            case _:
                pass  # a type that a later version adds

    def take(self, snapshot: dict[str, Any]) -> None:
        """Take what the run has come to, where its entries cannot be had."""
        self.missing = True
        self.seq = int(snapshot.get("seq") or 0)
        # Its `by` is who began the run.
        self._stopping(members(snapshot.get("stop")) or {})
        self._workflow(snapshot)
        for each in map(members, items(snapshot.get("transcript"))):
            if each and each.get("role") == "assistant" and each.get("kind") == "text":
                self._say(str(each.get("message_id", "")), str(each.get("text", "")), int(each["seq"]))
        for number, each in enumerate(map(members, items(snapshot.get("tools")))):
            if each:
                self._tool(each, number)
        for each in map(members, items(snapshot.get("approvals"))):
            if each:
                self._approval(each, int(each.get("seq") or 0))

    # ------------------------------------------------------------------------------------------

    def _say(self, message_id: str, text: str, seq: int) -> None:
        last = self.items[-1] if self.items else None
        if not isinstance(last, Say) or last.message_id != message_id:
            last = Say(key=f"say.{seq}", message_id=message_id)
            self.items.append(last)
        last.text += text
        last.version += 1

    def _tool(self, data: dict[str, Any], seq: int) -> None:
        call_id, state = str(data.get("call_id", "")), str(data.get("state", ""))
        holder, call = self._call(call_id)
        if holder is None or call is None:
            holder = self.items[-1] if self.items else None
            if not isinstance(holder, Calls) or len(holder.calls) >= _CALLS:
                holder = Calls(key=f"calls.{seq}")
                self.items.append(holder)
            call = Call(call_id=call_id, name=str(data.get("name", "a tool")), state=state)
            holder.calls.append(call)
        call.state = "started" if state == "progress" else state
        call.args = data.get("args", call.args)
        call.result = data.get("result", call.result)
        call.error = data.get("error", call.error)
        call.progress = data.get("progress", call.progress)
        took = data.get("duration_ms")
        call.duration_ms = took if isinstance(took, int | float) else call.duration_ms
        holder.version += 1

    def _call(self, call_id: str) -> tuple[Calls | None, Call | None]:
        for item in reversed(self.items):
            if isinstance(item, Calls):
                for call in item.calls:
                    if call.call_id == call_id:
                        return item, call
        return None, None

    def _approval(self, data: dict[str, Any], seq: int) -> None:
        call_id, number = str(data.get("call_id", "")), int(data.get("round") or 1)
        holder, question = self._asked(call_id, number)
        if holder is None or question is None:
            holder = self.items[-1] if self.items else None
            if not isinstance(holder, Questions) or len(holder.questions) >= _QUESTIONS:
                holder = Questions(key=f"ask.{seq}")
                self.items.append(holder)
            question = Question(
                call_id=call_id,
                round=number,
                kind=str(data.get("kind", "call")),
                name=str(data.get("name", "the call")),
                state="pending",
                args=data.get("args"),
            )
            holder.questions.append(question)
        question.state = str(data.get("state", "pending"))
        if question.state == "granted":
            question.granted = data.get("granted_args", data.get("args"))
        question.by = _text(data.get("by")) or question.by
        question.outcome = _text(data.get("outcome")) or question.outcome
        question.expires_at = _text(data.get("expires_at")) or question.expires_at
        question.why = _text(data.get("question")) or question.why
        if question.pending:
            question.why = _text(data.get("reason")) or question.why
        else:
            question.reason = _text(data.get("reason")) or question.reason
        holder.version += 1

    def _asked(self, call_id: str, number: int) -> tuple[Questions | None, Question | None]:
        for item in reversed(self.items):
            if isinstance(item, Questions):
                for question in item.questions:
                    if (question.call_id, question.round) == (call_id, number):
                        return item, question
        return None, None

    def _workflow(self, data: dict[str, Any]) -> None:
        self.state = str(data.get("state") or self.state)
        self.attempt = int(data.get("attempt") or self.attempt)
        self.agent = str(data.get("agent") or self.agent)
        self.output = data.get("output", self.output)
        self.error = members(data.get("error")) or self.error
        self.receipt = members(data.get("receipt")) or self.receipt
        self.reason = str(data.get("reason") or "")
        if self.state == "queued":
            self.by = str(data.get("by") or self.by)
            asked = [str((members(each) or {}).get("content", "")) for each in items(data.get("input"))]
            self.asked = "\n".join(asked) or self.asked
            slack = members((members(data.get("metadata")) or {}).get("slack")) or {}
            self.thread = str(slack.get("thread", self.thread))
        if self.state == "stopping":
            self._stopping(data)
        usage = members(data.get("usage")) or {}
        for name in ("input_tokens", "output_tokens"):
            count = usage.get(name)
            self.tokens += count if isinstance(count, int) else 0
        superseded = {str(each) for each in items(data.get("supersedes"))}
        for item in self.items:
            if isinstance(item, Say) and item.message_id in superseded and not item.gone:
                item.gone = True
                item.version += 1

    def _stopping(self, data: dict[str, Any]) -> None:
        # Both of the first one, as in the receipt: a later stop is somebody else's.
        if not self.stopped_by:
            self.stopped_by = str(data.get("by") or "")
            self.stopped_why = str(data.get("reason") or "")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
