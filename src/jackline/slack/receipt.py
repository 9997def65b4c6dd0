"""A stop's receipt in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackline.client.shape import items, members
from jackline.slack.mrkdwn import escape, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTCOMES: Final = {
    "not_started": "was not started",
    "cancelled": "was cancelled",
    "killed": "was killed",
    "finished_before_stop": "had finished before the stop",
    "unknown": "may or may not have had its effect: *look before you try again*",
}


def in_words(receipt: Mapping[str, Any]) -> list[str]:
    """A line for the stop, and one for each call of the step in progress."""
    first = f"⏹️ *Stopped*: asked for by {escape(one_line(str(receipt.get('by', 'somebody')), 100))}"
    quiet = receipt.get("quiet_ms")
    if isinstance(quiet, int | float):
        first += f"; quiet {quiet / 1000:.1f} s later"
    if receipt.get("model") == "closed":
        first += "; the model's stream was closed"
    calls = [members(each) or {} for each in items(receipt.get("tools"))]
    if not calls:
        return [f"{first}; no call was running"]
    return [first, *map(_call, calls[:20]), *([f"… and {len(calls) - 20} more"] if len(calls) > 20 else [])]  # noqa: PLR2004


def _call(call: Mapping[str, Any]) -> str:
    outcome = str(call.get("outcome", "unknown"))
    name = escape(one_line(str(call.get("name", "a tool")), 60))
    line = f"• *{name}* {_OUTCOMES.get(outcome, escape(one_line(outcome, 40)))}"
    answer = members(call.get("answer")) or {}
    said = answer.get("text") or (members(answer.get("error")) or {}).get("message")
    return f"{line}; its server said: {escape(one_line(str(said), 100))}" if said else line
