"""The four entry types and their JSON codec. No I/O.

A body is one JSON object on one line, without `run_id` and `seq`: those are where it stands in
which log, and are put in when a process frames it for its viewers. Readers ignore fields and
types that they do not know; raw bodies are passed on as they are, so nothing unknown is lost.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    type_json = None | bool | int | float | str
    Json = type_json | Sequence["Json"] | Mapping[str, "Json"]
else:
    Json = Any

RunStateName = Literal[
    "queued", "executing", "awaiting_approval", "stopping", "stopped", "completed", "failed"
]
ToolStateName = Literal[
    "requested", "started", "progress", "finished", "failed", "denied", "cancelled", "unknown"
]
ApprovalStateName = Literal["pending", "granted", "denied", "answered", "expired", "withdrawn"]
Outcome = Literal["retry", "done", "abort"]
StopMode = Literal["immediate", "after_step"]
Effect = Literal["read_only", "idempotent", "writes"]
CallOutcome = Literal["not_started", "cancelled", "killed", "finished_before_stop", "unknown"]

TERMINAL: frozenset[str] = frozenset({"stopped", "completed", "failed"})


class Entry(NamedTuple):
    """What the log stores: the type's name and the one-line JSON body."""

    type: str
    body: bytes


class Message(Struct, frozen=True, kw_only=True):
    """One message of a person's to the agent."""

    role: Literal["user"]
    content: str


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What model requests cost. Tokens are counted as the provider counts them."""

    input_tokens: int
    output_tokens: int
    ttft_ms: int | None = None
    model: str | None = None


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """A failure: a stable `type` for programs, a `message` for people."""

    type: str
    message: str


class Retry(Struct, frozen=True, kw_only=True):
    """The run sleeps `after_ms` before it asks the model again, because of `error`."""

    after_ms: int
    error: str


class ReceiptCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one call of the step in progress when the stop came. `answer`: what the server of
    a remote call still said after it was told of the stop."""

    call_id: str
    name: str
    outcome: CallOutcome
    answer: Json | UnsetType = UNSET


class Receipt(Struct, frozen=True, kw_only=True):
    """What a stop really did (G4). `quiet_ms`: from the request until nothing ran any more."""

    by: str
    requested_at: str
    quiet_ms: int
    model: Literal["closed", "none"]
    tools: tuple[ReceiptCall, ...]


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of text of the model's. `merged_from`: the first seq it stands for, where merged."""

    ts: str
    text: str
    kind: Literal["text", "reasoning"]
    message_id: str
    merged_from: int | None = None


class Workflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of the run's state, or a step within `executing`."""

    ts: str
    state: RunStateName
    attempt: int
    by: str | None = None
    reason: str | None = None
    conversation_id: str | None = None
    agent: str | None = None
    input: tuple[Message, ...] | None = None
    metadata: Json = None
    limits: Json = None
    step: int | None = None
    usage: Usage | None = None
    retry: Retry | None = None
    supersedes: tuple[str, ...] | None = None
    output: Json | UnsetType = UNSET
    error: ErrorInfo | None = None
    mode: StopMode | None = None
    receipt: Receipt | None = None


class Tool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of one tool call's state. `effect`: what the tool is declared to do (on `requested`)."""

    ts: str
    call_id: str
    name: str
    state: ToolStateName
    args: Json | UnsetType = UNSET
    effect: Effect | None = None
    result: Json | UnsetType = UNSET
    progress: Json | UnsetType = UNSET
    error: ErrorInfo | None = None
    duration_ms: int | None = None
    verifies: str | None = None


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question to a person about one call, or its answer. `args_schema` may be the stand-in of a
    schema that is stored aside. `on_expiry` (on `pending`): what no answer means, `deny` or `approve`;
    whatever else stands there means `deny`."""

    ts: str
    call_id: str
    round: int
    kind: Literal["call", "outcome"]
    name: str
    state: ApprovalStateName
    args: Json | UnsetType = UNSET
    args_schema: Json | UnsetType = UNSET
    choices: tuple[str, ...] = ()
    outcome: Outcome | None = None
    result: Json | UnsetType = UNSET
    by: str | None = None
    reason: str | None = None
    expires_at: str | None = None
    # Any text: a later version's word for it must not make the question unreadable.
    on_expiry: str | None = None


class Unknown(NamedTuple):
    """An entry of a type that this version does not know. It is kept and passed on."""

    type: str
    body: bytes


Event = Token | Workflow | Tool | Approval

_ENCODER = msgspec.json.Encoder()
_KINDS: dict[str, type[Event]] = {"token": Token, "workflow": Workflow, "tool": Tool, "approval": Approval}
TYPES: Final = frozenset(_KINDS)
"""The types of entries that this version knows."""

_IN_FEED: Final = frozenset({"workflow", "approval"})

_NAMES: dict[type[Event], str] = {kind: name for name, kind in _KINDS.items()}
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()
}

_DECIDING = frozenset({"input", "outcome"})
"""Fields without which an entry would mean something else: what to do, what to make of a call."""


def type_of(event: Event) -> str:
    """The SSE event name of an entry."""
    return _NAMES[type(event)]


def in_feed(entry: Entry) -> bool:
    """Whether an entry is in the feed of all runs: what a list of runs has to know, and no more."""
    return entry.type in _IN_FEED


def encode(event: Event) -> Entry:
    """An event as the log stores it. Raises `TypeError` for a value that JSON cannot carry."""
    return Entry(_NAMES[type(event)], _ENCODER.encode(event))


def decode(entry: Entry) -> Event | Unknown:
    """The event of a stored entry. Of a later version's, what is not known is passed over: a field that
    may be missing, or else the entry (`Unknown`). An ending is an ending, whatever its receipt says."""
    decoder = _DECODERS.get(entry.type)
    if decoder is None:
        return Unknown(entry.type, entry.body)
    try:
        event: Event = decoder.decode(entry.body)
    except msgspec.ValidationError:
        return _known_part(entry)
    return event


def _known_part(entry: Entry) -> Event | Unknown:
    kind = _KINDS[entry.type]
    unknown = Unknown(entry.type, entry.body)
    try:
        given = msgspec.json.decode(entry.body, type=dict[str, Any])
    except msgspec.ValidationError:
        return unknown
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in given:
            continue
        try:
            known[field.name] = msgspec.convert(given[field.encode_name], field.type)
        except msgspec.ValidationError:
            if field.required or field.name in _DECIDING:
                return unknown
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    return kind(**known) if required <= known.keys() else unknown


def frame_data(run_id: str, seq: int, body: bytes) -> bytes:
    """The `data` of an entry on the wire: its body with `run_id` and `seq` in front."""
    return b'{"run_id":"%b","seq":%d,%b' % (run_id.encode(), seq, body[1:])


def is_stand_in(value: Json | UnsetType, artifact_id: str) -> bool:
    """Whether `value` only says where a value that is too large for an entry is stored."""
    return (
        isinstance(value, dict)
        and value.keys() == {"artifact", "bytes", "preview"}
        and value["artifact"] == artifact_id
    )


def timestamp(seconds: float) -> str:
    """RFC 3339, UTC, milliseconds, of a POSIX time in seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_timestamp(text: str) -> float:
    """POSIX seconds of an RFC 3339 time. Raises `ValueError`."""
    return datetime.fromisoformat(text).timestamp()
