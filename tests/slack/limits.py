"""What Slack refuses, and whom a text would ping. Written from Slack's documentation, not from the bridge."""

from __future__ import annotations

import re
import time
from typing import Any

from jackline.client.shape import items, members

Body = dict[str, Any]

_MANUAL_PING = re.compile(r"<!(channel|here|everyone|subteam)|<@[UW]")
_PLAIN_PING = re.compile(r"(?<![\w`])@(channel|here|everyone)\b")
_BLOCKS_CHARS = 13_200


def refusal(body: Body) -> str | None:
    """Slack's error for a message, None for a good one."""
    text = body.get("text") or ""
    blocks = [members(each) for each in items(body.get("blocks"))]
    if not text and not blocks:
        return "no_text"
    if len(text) > 40_000:
        return "msg_too_long"
    if len(blocks) > 50:
        return "invalid_blocks"
    if not all(block is not None and _fits(block) for block in blocks):
        return "invalid_blocks"
    if sum(len(each["text"]) for each in texts(body.get("blocks"))) > _BLOCKS_CHARS:
        return "msg_blocks_too_long"
    metadata = body.get("metadata")
    if metadata is not None:
        made = members(metadata) or {}
        if not made.get("event_type") or members(made.get("event_payload")) is None:
            return "invalid_metadata_format"
    return None


def _fits(block: Body) -> bool:
    match block:
        case {"type": "section", "text": {"type": "mrkdwn" | "plain_text", "text": str(text)}}:
            return 0 < len(text) <= 3000
        case {"type": "actions"}:
            made = [members(each) or {} for each in items(block.get("elements"))]
            names = [each.get("action_id") for each in made]
            return 0 < len(made) <= 25 and len(set(names)) == len(names) and all(map(_button_fits, made))
        case {"type": "divider"}:
            return True
        case {"type": "input", "block_id": str(), "label": {"text": str(label)}}:
            made = members(block.get("element")) or {}
            longest = int(made.get("max_length", 3000))
            return 0 < len(label) <= 2000 and len(str(made.get("initial_value", ""))) <= min(3000, longest)
        case _:
            return False


def _button_fits(element: Body) -> bool:
    match element:
        case {"type": "button", "action_id": str(name), "text": {"type": "plain_text", "text": str(text)}}:
            fits = 0 < len(name) <= 255 and 0 < len(text) <= 75 and len(element.get("value", "")) <= 2000
            return fits and element.get("style") in (None, "primary", "danger")
        case _:
            return False


def view_refusal(view: Body) -> str | None:
    """Slack's error for a form."""
    titled = len((members(view.get("title")) or {}).get("text", "")) <= 24
    submit = len((members(view.get("submit")) or {}).get("text", "")) <= 24
    known = view.get("type") == "modal" and len(view.get("private_metadata", "")) <= 3000
    blocks = [members(each) or {} for each in items(view.get("blocks"))]
    fits = 0 < len(blocks) <= 100 and all(map(_fits, blocks))
    return None if titled and submit and known and fits else "invalid_arguments"


def texts(value: object) -> list[Body]:
    """All text objects in some blocks."""
    made = members(value)
    if made is None:
        return [text for each in items(value) for text in texts(each)]
    if made.get("type") in ("mrkdwn", "plain_text") and isinstance(made.get("text"), str):
        return [made]
    return [text for each in made.values() for text in texts(each)]


def pings(body: Body, *, edited: bool) -> list[str]:
    """Whom a message would ping or link. An edited text is looked through unless `parse` says not to."""
    found: list[str] = []
    text = body.get("text") or ""
    found += [each[0] for each in _MANUAL_PING.finditer(text)]
    if body.get("parse", "client" if edited else "none") != "none" or body.get("link_names"):
        found += [each[0] for each in _PLAIN_PING.finditer(text)]
    for each in texts(body.get("blocks")):
        if each["type"] == "mrkdwn":
            found += [ping[0] for ping in _MANUAL_PING.finditer(each["text"])]
            if not each.get("verbatim"):
                found += [ping[0] for ping in _PLAIN_PING.finditer(each["text"])]
    return found


class Buckets:
    """How many calls of a method Slack takes: so many a second, and in a burst."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, float]] = {}

    def wait_s(self, method: str, channel: str, rate: float) -> int | None:
        """Seconds to wait, None where the call may be made."""
        rates = {"chat.postMessage": (1.0, 4.0), "chat.postEphemeral": (100 / 60, 8.0)}
        per_second, burst = rates.get(method, (50 / 60, 8.0))
        name = (method, channel if method == "chat.postMessage" else "")
        now = time.monotonic()
        room, at = self._kept.get(name, (burst, now))
        room = min(burst, room + (now - at) * per_second * rate)
        self._kept[name] = (room - 1 if room >= 1 else room, now)
        return None if room >= 1 else 1
