"""Logs as the server may write them, by chance, and the frames that a viewer gets of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from msgspec import UNSET

from jackline.endings import CallEnd, close_calls, stop_entries
from jackline.errors import IllegalTransition
from jackline.events import (
    Approval,
    Entry,
    ErrorInfo,
    Event,
    Json,
    Message,
    Retry,
    Token,
    Tool,
    Unknown,
    Usage,
    Workflow,
    decode,
    encode,
    frame_data,
    timestamp,
)
from jackline.run import HANDED_BACK, TAKEOVER, Call, RunState
from jackline.web.frames import merged
from jackline.web.snapshot import snapshot

RUN = "aaaaaaaaaaaaaaaaaaaa.1"
Frame = dict[str, Any]
_WORDS = ("", "a", " b\n", "ü", "\U0001d6fc", '"', "\\", "```", "</script>", "\u2028")
_VALUES: tuple[Json, ...] = (None, 0, 1.5, True, "x", "", [1, [2]], {"a": {"b": None}}, {"artifact": "r"})


@dataclass(kw_only=True)
class Writer:
    """Writes one log: what is drawn is appended where it is legal, and else left."""

    random: Random
    state: RunState = field(default_factory=lambda: RunState(RUN))
    entries: list[Entry] = field(default_factory=list[Entry])
    now: float = 1_795_348_800.0
    begun: int = 0
    """What was superseded is said again under other ids."""

    def ts(self) -> str:
        self.now += self.random.choice((0, 0.001, 0.03, 2.5))
        return timestamp(self.now)

    def put(self, *events: Event) -> bool:
        """Append them, all or none."""
        try:
            self.state.check(events)
        except IllegalTransition:
            return False
        for event in events:
            self._append(encode(event))
        return True

    def _append(self, entry: Entry) -> None:
        if self.random.random() < 0.05:  # a field of a later version's
            entry = Entry(entry.type, entry.body[:-1] + b',"later":{"x":[1]}}')
        self.state.apply(self.state.seq + 1, decode(entry))
        self.entries.append(entry)

    def workflow(self, state: Any, **more: Any) -> Workflow:
        return Workflow(ts=self.ts(), state=state, attempt=self.state.attempt, **more)

    def value(self) -> Json:
        return self.random.choice(_VALUES)

    def call(self) -> Call | None:
        return self.random.choice(list(self.state.calls.values()) or [None])

    # What may happen

    def begin(self) -> None:
        words = tuple(
            Message(role="user", content=self.random.choice(("do it", " much\n space ", "x" * 200)))
            for _ in range(self.random.choice((1, 1, 2)))
        )
        more: dict[str, Any] = (
            {} if self.random.random() < 0.5 else {"metadata": {"t": 1}, "limits": {"steps": 3}}
        )
        conversation = RUN.partition(".")[0]
        self.put(
            self.workflow(
                "queued", by="user:ana", agent="a", conversation_id=conversation, input=words, **more
            )
        )
        if self.random.random() < 0.9:
            self.put(Workflow(ts=self.ts(), state="executing", attempt=1))

    def step(self) -> None:
        self.put(self.workflow("executing", step=self.state.step + 1))

    def speak(self) -> None:
        kind = self.random.choice(("text", "text", "reasoning"))
        name = f"m{self.state.step}-{self.begun}{self.random.choice(('', 'b'))}"
        for _ in range(self.random.randrange(1, 5)):
            self.put(Token(ts=self.ts(), text=self.random.choice(_WORDS), kind=kind, message_id=name))

    def cost(self) -> None:
        usage = Usage(
            input_tokens=self.random.randrange(500),
            output_tokens=self.random.randrange(90),
            ttft_ms=self.random.choice((None, 80)),
            model=self.random.choice((None, "one", "two")),
        )
        self.put(self.workflow("executing", step=self.state.step, usage=usage))

    def request(self) -> None:
        number = len(self.state.calls) + 1
        self.put(
            Tool(
                ts=self.ts(),
                call_id=f"{RUN}.{number}",
                name=self.random.choice(("df", "restart")),
                state="requested",
                args=self.value(),
                effect=self.random.choice((None, "read_only", "writes")),
                verifies=self.random.choice((None, f"{RUN}.1")),
            )
        )

    def tool(self, state: Any, **more: Any) -> None:
        call = self.call()
        if call is not None:
            self.put(Tool(ts=self.ts(), call_id=call.call_id, name=call.name, state=state, **more))

    def start(self) -> None:
        self.tool("started", **self.random.choice(({}, {"args": self.value()})))

    def progress(self) -> None:
        self.tool("progress", progress=self.value())

    def finish(self) -> None:
        self.tool("finished", **self.random.choice(({}, {"result": self.value()})), duration_ms=7)

    def fail_call(self) -> None:
        state = self.random.choice(("failed", "denied", "cancelled", "unknown"))
        self.tool(state, error=self.random.choice((None, ErrorInfo(type="no", message="it failed"))))

    def ask(self) -> None:
        call = self.call()
        if call is None:
            return
        rounds = [
            question.round for question in self.state.questions.values() if question.call_id == call.call_id
        ]
        outcome = call.state == "unknown"
        self.put(
            Approval(
                ts=self.ts(),
                call_id=call.call_id,
                round=max(rounds, default=0) + 1,
                kind="outcome" if outcome else "call",
                name=call.name,
                state="pending",
                args=call.args,
                args_schema={"type": "object"},
                choices=("retry", "done", "abort") if outcome else ("approve", "deny"),
                reason=self.random.choice((None, "why not")),
                expires_at=self.random.choice((None, timestamp(self.now + 60))),
                on_expiry=self.random.choice((None, "deny", "approve")),
            )
        )
        if self.random.random() < 0.8:
            self.put(self.workflow("awaiting_approval"))

    def answer(self) -> None:
        pending = self.state.pending
        if not pending:
            return
        question = self.random.choice(pending)
        state = self.random.choice(("granted", "denied", "answered", "expired"))
        self.put(
            Approval(
                ts=self.ts(),
                call_id=question.call_id,
                round=question.round,
                kind=question.kind,
                name=question.name,
                state=state,
                args=self.value() if state == "granted" else question.args,
                outcome=self.random.choice(("retry", "done", "abort")) if state == "answered" else None,
                by="user:bob",
                reason=self.random.choice((None, "since")),
                result=self.value() if state == "answered" else UNSET,
            )
        )

    def resume(self) -> None:
        if not self.state.pending:
            self.put(self.workflow("executing"))

    def retry(self) -> None:
        names = tuple(
            dict.fromkeys(said.message_id for said in self.state.said.values() if said.role == "assistant")
        )
        self.begun += 1
        retry = Retry(after_ms=500, error="429")
        self.put(self.workflow("executing", retry=retry, supersedes=names[-1:] or None))

    def take_over(self) -> None:
        self.begun += 1
        names = tuple({said.message_id for said in self.state.said.values() if said.role == "assistant"})
        self.put(
            Workflow(
                ts=self.ts(),
                state="executing",
                attempt=self.state.attempt + 1,
                reason=TAKEOVER,
                supersedes=names[: self.random.randrange(3)] or None,
            )
        )

    def hand_back(self) -> None:
        self.put(self.workflow("executing", reason=HANDED_BACK))

    def stop(self) -> None:
        if self.random.random() < 0.3:
            mode = self.random.choice((None, "immediate", "after_step"))
            self.put(self.workflow("stopping", by="user:ana", reason="enough", mode=mode))

    def later(self) -> None:
        """What only a later version knows."""
        self._append(Entry("mood", b'{"ts":"2027-01-01T00:00:00.000Z","mood":"good"}'))

    def end(self) -> None:
        if self.random.random() < 0.2:
            ends = {
                call.call_id: CallEnd(
                    outcome=self.random.choice(("cancelled", "killed", "unknown")), answer={"text": "x"}
                )
                for call in self.state.open_calls
                if call.state == "started"
            }
            if self.state.state == "stopping":
                self.put(*stop_entries(self.state, ts=self.ts(), model="closed", ends=ends))
            elif self.state.state == "executing" and not self.state.pending:
                error = ErrorInfo(type="model_error", message="it broke")
                last = self.random.choice(
                    (self.workflow("completed", output=self.value()), self.workflow("failed", error=error))
                )
                self.put(*close_calls(self.state, ts=self.ts(), ends=ends), last)


def write(random: Random, length: int) -> list[Entry]:
    """A log of about this many entries, finished or not."""
    writer = Writer(random=random)
    writer.begin()
    often: list[Callable[[], None]] = [writer.speak, writer.step, writer.request, writer.start, writer.finish]
    seldom: list[Callable[[], None]] = [
        writer.cost,
        writer.progress,
        writer.fail_call,
        writer.ask,
        writer.answer,
        writer.answer,
        writer.resume,
        writer.retry,
        writer.take_over,
        writer.hand_back,
        writer.stop,
        writer.later,
        writer.end,
    ]
    for _ in range(length):
        if writer.state.ended:
            break
        random.choice(often * 2 + seldom)()
    return writer.entries


def folded(entries: Sequence[Entry]) -> RunState:
    """What the server makes of them."""
    state = RunState(RUN)
    for seq, entry in enumerate(entries, 1):
        event: Event | Unknown = decode(entry)
        state.apply(seq, event)
    return state


def told(state: RunState) -> dict[str, Any]:
    """The snapshot, as JSON."""
    return json.loads(msgspec.json.encode(snapshot(state)))


def frames(entries: Sequence[Entry], *, after: int = 0, compact: bool = False) -> list[Frame]:
    """The entries after a cursor, as jackline.js hands them out."""
    numbered = list(enumerate(entries, 1))[after:]
    result: list[Frame] = []
    for seq, entry in merged(numbered) if compact else numbered:
        data = json.loads(frame_data(RUN, seq, entry.body))
        first = data.get("merged_from") or seq
        result.append(
            {"kind": "entry", "type": entry.type, "seq": seq, "first": first, "id": str(seq), "data": data}
        )
    return result


def gap(entries: Sequence[Entry], upto: int) -> Frame:
    """What a viewer gets instead of the first entries."""
    data = {"from": 1, "to": upto, "snapshot": told(folded(entries[:upto]))}
    return {"kind": "gap", "id": str(upto), "data": data}
