"""What there is in a Slack: messages, what one person alone sees, forms, and what is sent to an app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jackline.client.shape import items, members
from tests.slack.limits import Body, texts


@dataclass(kw_only=True)
class Message:
    """A message as it stands, and each state that it has had."""

    channel: str
    ts: str
    user: str
    body: Body
    thread: str | None
    states: list[Body] = field(default_factory=list[Body])
    deleted: bool = False

    @property
    def text(self) -> str:
        """What is to be read: its blocks, or without them its text; buttons in brackets."""
        return shown(self.body)

    @property
    def buttons(self) -> list[Body]:
        return buttons_of(self.body)

    @property
    def key(self) -> str:
        """What the bridge calls it."""
        metadata = members(self.body.get("metadata")) or {}
        return str((members(metadata.get("event_payload")) or {}).get("key", ""))


@dataclass(kw_only=True)
class Whisper:
    """What only one person sees."""

    channel: str
    user: str
    thread: str | None
    body: Body
    ts: str

    @property
    def text(self) -> str:
        return shown(self.body)


@dataclass(kw_only=True)
class Form:
    """A form that is open before somebody."""

    user: str
    view: Body
    id: str


@dataclass(kw_only=True)
class Envelope:
    """What is sent to the app, again and again until it is acknowledged."""

    id: str
    kind: Literal["events_api", "slash_commands", "interactive"]
    payload: Body
    attempt: int = 0
    sent_at: float = 0.0
    acknowledged: bool = False
    answer: Body | None = None


def buttons_of(body: Body) -> list[Body]:
    rows = [members(each) or {} for each in items(body.get("blocks"))]
    return [members(e) or {} for row in rows if row.get("type") == "actions" for e in items(row["elements"])]


def shown(body: Body) -> str:
    lines: list[str] = []
    for each in items(body.get("blocks")):
        block = members(each) or {}
        if block.get("type") == "actions":
            lines.append(" ".join(f"[{e['text']['text']}]" for e in buttons_of({"blocks": [block]})))
        else:
            lines += [text["text"] for text in texts([block])]
    return "\n".join(lines) if lines else str(body.get("text", ""))
