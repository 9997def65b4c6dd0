"""A stop's receipt in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackline.cli.plain import duration, one_line
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTCOMES: Final = {
    "not_started": "was not started",
    "cancelled": "was cancelled",
    "killed": "was killed",
    "finished_before_stop": "had finished before the stop",
    "unknown": "may or may not have had its effect: look before you try again",
}


def in_words(receipt: Mapping[str, Any]) -> list[str]:
    """A line for the stop and one for each call of the step in progress."""
    by = one_line(str(receipt.get("by", "somebody")))
    first = f"stop asked for by {by}"
    quiet = receipt.get("quiet_ms")
    if isinstance(quiet, int | float):
        first += f"; quiet {duration(quiet)} later"
    if receipt.get("model") == "closed":
        first += "; the model's stream was closed"
    lines = [first]
    for each in items(receipt.get("tools")):
        call = members(each) or {}
        outcome = str(call.get("outcome", "unknown"))
        name, call_id = one_line(str(call.get("name", "a tool"))), one_line(str(call.get("call_id", "")))
        line = f"  {name} ({call_id}) {_OUTCOMES.get(outcome, one_line(outcome))}"
        lines.append(line + _said(call.get("answer")))
    return lines


def _said(answer: object) -> str:
    """What an MCP server said of a call that it was told to cancel."""
    told = members(answer) or {}
    said = told.get("text") or (members(told.get("error")) or {}).get("message")
    return f"; its server said: {one_line(str(said))}" if said else ""
