"""What lists show of a run, stored beside its log so that they need not read its entries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jackline.events import Approval, Unknown, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jackline.events import Event, Message
    from jackline.run import RunState


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lists show of a run without reading its entries. Stored beside the log with each append
    that changes it."""

    conversation_id: str
    agent: str
    owner: str
    title: str
    # Any text, here and below: a list must not break because of a run of a later version's.
    state: str
    attempt: int
    created_at: str
    updated_at: str
    waiting: tuple[str, ...] = ()
    stop_mode: str | None = None


def summarise(state: RunState, events: Iterable[Event | Unknown] = ()) -> bytes:
    """The summary, as JSON, of the run once `events` are appended to what `state` has folded."""
    known = Summary(
        conversation_id=state.conversation_id,
        agent=state.agent,
        owner=state.owner,
        title=_title(state.input),
        state=state.state or "queued",
        attempt=state.attempt,
        created_at=state.created_at,
        updated_at=state.updated_at,
        waiting=tuple(question.call_id for question in state.pending),
        stop_mode=state.stop.mode if state.stop is not None else None,
    )
    return encode_summary(after(known, events))


def after(summary: Summary, events: Iterable[Event | Unknown]) -> Summary:
    """The summary once `events` are appended too."""
    for event in events:
        if isinstance(event, Unknown):
            continue
        summary = replace(summary, updated_at=event.ts)
        if isinstance(event, Workflow):
            summary = _after_workflow(summary, event)
        elif isinstance(event, Approval):
            others = tuple(call_id for call_id in summary.waiting if call_id != event.call_id)
            waiting = (*others, event.call_id) if event.state == "pending" else others
            summary = replace(summary, waiting=waiting)
    return summary


def _after_workflow(summary: Summary, event: Workflow) -> Summary:
    summary = replace(summary, state=event.state, attempt=max(summary.attempt, event.attempt))
    if event.state == "queued":
        return replace(
            summary,
            agent=event.agent or "",
            owner=event.by or "",
            title=_title(event.input or ()),
            created_at=event.ts,
        )
    if event.state == "stopping" and summary.stop_mode != "immediate":
        return replace(summary, stop_mode=event.mode or "immediate")
    return summary


def _title(messages: Sequence[Message]) -> str:
    return " ".join(messages[-1].content.split())[:120] if messages else ""


def encode_summary(summary: Summary) -> bytes:
    """The summary as the log keeps it."""
    return msgspec.json.encode(summary)


def read_summary(data: bytes) -> Summary:
    """The summary that `summarise` made."""
    return msgspec.json.decode(data, type=Summary)
