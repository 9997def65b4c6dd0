"""A stop's receipt in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackline.client.shape import items, members
from jackline.slack.mrkdwn import escape, link, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_OUTCOMES: Final = {
    "not_started": "was not started",
    "cancelled": "was cancelled",
    "killed": "was killed",
    "finished_before_stop": "had finished before the stop",
    "unknown": "may or may not have had its effect: *look before you try again*",
}
_LINES: Final = 12
"""Lines of one section: of at most 230 characters each, so that they fit."""
_CALLS: Final = 48
"""Calls that are named in one message."""


def in_words(receipt: Mapping[str, Any], page: str, why: str = "") -> list[list[str]]:
    """A line for the stop, and one for each call of the step in progress; in parts, each for one section of a
    message. `why`: the reason of the stop, if it had one. `page` has those for which there is no room, those
    that somebody must look at last of all."""
    calls = [members(each) or {} for each in items(receipt.get("tools"))]
    if len(calls) > _CALLS:
        calls.sort(key=lambda call: call.get("outcome") in _OUTCOMES and call.get("outcome") != "unknown")
    lines = [_call(call) for call in calls[:_CALLS]]
    if len(calls) > _CALLS:
        lines.append(f"… and {len(calls) - _CALLS} more: {link(page, 'see the page')}")
    # Who stopped it, and why, takes no room from what became of the calls.
    first = [_stopped(receipt, why, none=not calls)]
    return [first, *(lines[at : at + _LINES] for at in range(0, len(lines), _LINES))]


def asked_for_by(by: str, why: str) -> str:
    """Who stopped it, and why."""
    said = f"asked for by {escape(one_line(by, 100))}"
    return f"{said} ({escape(one_line(why, 200))})" if why else said


def _stopped(receipt: Mapping[str, Any], why: str, *, none: bool) -> str:
    first = f"⏹️ *Stopped*: {asked_for_by(str(receipt.get('by', 'somebody')), why)}"
    quiet = receipt.get("quiet_ms")
    if isinstance(quiet, int | float):
        first += f"; quiet {quiet / 1000:.1f} s later"
    if receipt.get("model") == "closed":
        first += "; the model's stream was closed"
    return f"{first}; no call was running" if none else first


def _call(call: Mapping[str, Any]) -> str:
    outcome = str(call.get("outcome", "unknown"))
    name = escape(one_line(str(call.get("name", "a tool")), 60))
    line = f"• *{name}* {_OUTCOMES.get(outcome, escape(one_line(outcome, 40)))}"
    answer = members(call.get("answer")) or {}
    said = answer.get("text") or (members(answer.get("error")) or {}).get("message")
    return f"{line}; its server said: {escape(one_line(str(said), 100))}" if said else line
