"""Checkpoints of Pydantic AI agents, and the history that a conversation's next run begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from pydantic import TypeAdapter
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
    repair_messages,
)
from pydantic_ai.usage import RunUsage

from jackline.agents.naming import FORMAT
from jackline.agents.pydantic_values import from_log
from jackline.events import Json

if TYPE_CHECKING:
    from jackline.context import PreviousRun
    from jackline.run import Call, RunState

_USAGE: Final = TypeAdapter(RunUsage)


class _Stored(Struct, frozen=True, kw_only=True):
    format: int
    messages: msgspec.Raw
    calls: dict[str, list[str]]
    usage: msgspec.Raw
    said: int
    output: Json | UnsetType = UNSET


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Where a run stands: the model's messages, the newest of which may have calls without an answer.

    `calls`: the ids under which those calls stand in the log, by the model's own; a call that asked
    for approval while it ran has a second one. `said`: how many messages the run had said by then.
    `output`: set once the run has nothing more to do.
    """

    messages: list[ModelMessage]
    calls: Mapping[str, Sequence[str]]
    usage: RunUsage
    said: int
    output: Json | UnsetType = UNSET


def encode(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as the store keeps it."""
    return msgspec.json.encode(
        _Stored(
            format=FORMAT,
            messages=msgspec.Raw(ModelMessagesTypeAdapter.dump_json(checkpoint.messages)),
            calls={model_id: list(ids) for model_id, ids in checkpoint.calls.items()},
            usage=msgspec.Raw(_USAGE.dump_json(checkpoint.usage)),
            said=checkpoint.said,
            output=checkpoint.output,
        )
    )


def decode(data: bytes | None) -> Checkpoint | None:
    """The checkpoint; None when there is none, or another kind of agent made it."""
    if data is None:
        return None
    try:
        stored = msgspec.json.decode(data, type=_Stored)
        if stored.format != FORMAT:
            return None
        messages = ModelMessagesTypeAdapter.validate_json(bytes(stored.messages))
        usage = _USAGE.validate_json(bytes(stored.usage))
    except ValueError:  # what both decoders raise for bytes of another form
        return None
    return Checkpoint(
        messages=messages, calls=stored.calls, usage=usage, said=stored.said, output=stored.output
    )


def history(previous: Sequence[PreviousRun]) -> list[ModelMessage]:
    """What the model is told of the conversation's earlier runs, oldest first.

    No call is left without an answer, so that none of an earlier run can ever run later (G4): each is
    told as what became of it.
    """
    messages: list[ModelMessage] = []
    for run in previous:
        saved = decode(run.checkpoint)
        if saved is None:
            messages.append(_prompts(run.state))
            said = 0
        else:
            messages = [*saved.messages, *_returns(saved, run.state)]
            said = saved.said
        if saved is None or saved.output is UNSET:
            messages.extend(_said_after(run.state, said))
            messages.extend(_ending(run.state))
    return repair_messages(messages)


def prompt(state: RunState) -> str | list[str]:
    """The new messages of a run as a prompt."""
    contents = [message.content for message in state.input]
    return contents[0] if len(contents) == 1 else contents


def _prompts(state: RunState) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(message.content) for message in state.input])


def _returns(saved: Checkpoint, state: RunState) -> list[ModelMessage]:
    """The answers to the calls that the checkpoint leaves open."""
    last = saved.messages[-1] if saved.messages else None
    if not isinstance(last, ModelResponse) or not last.tool_calls:
        return []
    return [ModelRequest(parts=[_return_of(part, saved, state) for part in last.tool_calls])]


def _return_of(part: ToolCallPart, saved: Checkpoint, state: RunState) -> ToolReturnPart:
    ids = saved.calls.get(part.tool_call_id, ())
    call = state.calls.get(ids[-1]) if ids else None
    told = {entry.call_id: entry.outcome for entry in state.receipt.tools} if state.receipt else {}
    outcome, content = _outcome(call, begun=call is not None and told.get(call.call_id) != "not_started")
    return ToolReturnPart(
        tool_name=part.tool_name, content=content, tool_call_id=part.tool_call_id, outcome=outcome
    )


_Outcome = Literal["success", "failed", "denied", "interrupted"]


def _outcome(call: Call | None, *, begun: bool) -> tuple[_Outcome, object]:
    """`begun`: False where the log has it as started and the stop came before its first line."""
    if call is None:
        return "interrupted", "Not executed: the run ended before."
    message = call.error.message if call.error is not None else None
    match call.state:
        case "finished":
            return "success", from_log(None if isinstance(call.result, UnsetType) else call.result)
        case "failed":
            return "failed", message or "The tool failed."
        case "denied":
            return "denied", message or "A person denied this call; it was not executed."
        case "cancelled" if call.started_at is not None and begun:
            return "interrupted", "Interrupted while it ran: the run was stopped. Its effect may be partial."
        case "requested" | "cancelled":
            return "interrupted", "Not executed: the run was stopped before it started."
        case "started" | "progress" | "unknown":
            return "interrupted", "It was started; its outcome is unknown: it may have taken effect or not."


def _said_after(state: RunState, count: int) -> list[ModelMessage]:
    """What the run still said after it had said `count` messages."""
    names = list(dict.fromkeys(said.message_id for said in state.said.values() if said.role == "assistant"))
    late = set(names[count:])
    text = "".join(
        said.text
        for said in state.said.values()
        if said.message_id in late and said.kind == "text" and not said.superseded
    )
    return [ModelResponse(parts=[TextPart(text)])] if text else []


def _ending(state: RunState) -> list[ModelMessage]:
    """A run that came to no end of its own says so: its last words would else read as its answer."""
    if state.state == "stopped":
        by = f" by {state.stop.by}" if state.stop is not None and state.stop.by else ""
        note = f"[The run was stopped{by} before it was finished.]"
    elif state.state == "failed":
        note = f"[The run failed: {state.error.message if state.error is not None else 'no reason known'}]"
    else:
        return []
    return [ModelRequest(parts=[UserPromptPart(note)])]
