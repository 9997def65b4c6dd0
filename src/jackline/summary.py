"""What lists show of a run, stored beside its log so that they need not read its entries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from jackline.events import Approval, RunStateName, StopMode, Unknown, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackline.events import Event
    from jackline.run import RunState


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lists show of a run without reading its entries. Stored beside the log with each append
    that changes it."""

    conversation_id: str
    agent: str
    owner: str
    title: str
    state: RunStateName
    attempt: int
    created_at: str
    updated_at: str
    waiting: tuple[str, ...] = ()
    stop_mode: StopMode | None = None


def summarise(state: RunState, events: Iterable[Event | Unknown] = ()) -> bytes:
    """The summary, as JSON, of the run once `events` are appended to what `state` has folded."""
    name, attempt, updated = state.state, state.attempt, state.updated_at
    agent, owner, messages, created = state.agent, state.owner, state.input, state.created_at
    mode = state.stop.mode if state.stop is not None else None
    waiting = [question.call_id for question in state.pending]
    for event in events:
        if isinstance(event, Unknown):
            continue
        updated = event.ts
        if isinstance(event, Workflow):
            name, attempt = event.state, max(attempt, event.attempt)
            if event.state == "queued":
                agent, owner = event.agent or "", event.by or ""
                messages, created = event.input or (), event.ts
            if event.state == "stopping" and mode != "immediate":
                mode = event.mode or "immediate"
        elif isinstance(event, Approval):
            if event.state == "pending":
                waiting.append(event.call_id)
            elif event.call_id in waiting:
                waiting.remove(event.call_id)
    title = " ".join(messages[-1].content.split())[:120] if messages else ""
    return msgspec.json.encode(
        Summary(
            conversation_id=state.conversation_id,
            agent=agent,
            owner=owner,
            title=title,
            state=name or "queued",
            attempt=attempt,
            created_at=created,
            updated_at=updated,
            waiting=tuple(waiting),
            stop_mode=mode,
        )
    )


def read_summary(data: bytes) -> Summary:
    """The summary that `summarise` made."""
    return msgspec.json.decode(data, type=Summary)
