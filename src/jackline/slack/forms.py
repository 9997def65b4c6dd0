"""The forms that open over Slack, and the notices that only one person sees. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from jackline.slack.mrkdwn import escape, one_line, size, visible

if TYPE_CHECKING:
    from jackline.slack.drawing import Block
    from jackline.slack.story import Question

INPUT: Final = "input"
"""Id of a form's one block and its one element."""
_INPUT_MAX: Final = 3000


def deny(call_id: str, number: int, name: str) -> dict[str, Any]:
    """Asks for the reason."""
    return _form("deny", "Deny a call", "Deny", call_id, number, _input(f"Why not {name}?", optional=True))


def edit(call_id: str, number: int, question: Question) -> dict[str, Any] | None:
    """The arguments as JSON; None where they are too long for a form."""
    for indent in (2, None):
        # Escapes of JSON for what is not to be seen: whoever approves this must know what it says.
        text = visible(json.dumps(question.args, ensure_ascii=False, indent=indent))
        if size(text) <= _INPUT_MAX:
            field = _input(f"Arguments of {question.name}, as JSON", value=text)
            return _form("edit", "Edit arguments", "Approve", call_id, number, field)
    return None


def done(call_id: str, number: int, name: str) -> dict[str, Any]:
    """Asks what a call came to."""
    field = _input(f"What {name} came to: JSON or text", optional=True)
    return _form("done", "It is done", "It is done", call_id, number, field)


def value_of(view: dict[str, Any]) -> str:
    """What was typed into a form."""
    return str(view["state"]["values"][INPUT][INPUT].get("value") or "")


def _form(kind: str, title: str, submit: str, call_id: str, number: int, field: Block) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": kind,
        "private_metadata": json.dumps([call_id, number]),
        "title": {"type": "plain_text", "text": title},
        "submit": {"type": "plain_text", "text": submit},
        "close": {"type": "plain_text", "text": "Cancel"},
        "blocks": [field],
    }


def _input(label: str, *, value: str | None = None, optional: bool = False) -> Block:
    element: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": INPUT,
        "multiline": True,
        "max_length": _INPUT_MAX,
    }
    if value is not None:
        element["initial_value"] = value
    label = one_line(label, 150)
    return {
        "type": "input",
        "block_id": INPUT,
        "optional": optional,
        "label": {"type": "plain_text", "text": label},
        "element": element,
    }


def stranger(user: str) -> str:
    """What one is told who is not mapped."""
    return (
        "Jackline does not know you. Ask its operator for an API key, and to map your Slack user id "
        f"`{escape(user)}` to it (the setting `slack_users`)."
    )
