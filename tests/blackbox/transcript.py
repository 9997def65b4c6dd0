"""What a whole run looks like, whoever read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jackline.sse import Decoder
from tests.blackbox.api import Api, call, steps

SAYS = 12
PROMPT = steps(
    {"say": "tick ", "times": SAYS, **call("note", text="in the middle")},
    call("delete", path="/gate"),
    {"say": "tock ", "times": SAYS},
)
"""Tokens, a tool, a question to a person, and more after the answer: the test holds the run by it."""

BEHIND_A_TOKEN = b'"message_id":"m1"}\n\n'
WITHIN_A_TOKEN = b"\nid: 7\nevent: token\nda"
WITHIN_THE_QUESTION = b'"state":"pending"'
"""Where to cut, in the order they come: what is cut off within a frame must not count as read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One frame as some client handed it out. `id` is that client's, None where it says there is none."""

    id: str | None
    event: str
    data: dict[str, Any]


def decoded(raw: bytes) -> list[Seen]:
    """The whole frames of what was read from a socket or a file."""
    decoder = Decoder()
    return [Seen(id=each.id, event=each.event, data=json.loads(each.data)) for each in decoder.feed(raw)]


def last_id(seen: list[Seen]) -> str:
    """What to come back with."""
    return next((each.id for each in reversed(seen) if each.id and "seq" in each.data), "0")


def entries(seen: list[Seen]) -> list[tuple[str | None, str, dict[str, Any]]]:
    """The entries among the frames."""
    kinds = {"token", "workflow", "tool", "approval"}
    return [(each.id, each.event, each.data) for each in seen if each.event in kinds]


def logged(api: Api, run_id: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """The same from the JSON page."""
    page = api.page(run_id)
    assert page["next"] is None
    return [(entry["id"], entry["type"], entry["data"]) for entry in page["entries"]]


def assert_whole(api: Api, run_id: str, seen: list[Seen]) -> None:
    """G1: every entry of the run, once, in order; then the end, and a 204 for who asks again."""
    assert entries(seen) == logged(api, run_id)
    assert seen[-1].event == "end"
    assert seen[-1].data["state"] == "completed"
    again = api.http.get(
        f"/api/v1/agent/runs/{run_id}/events", headers={"Last-Event-ID": str(seen[-1].data["seq"])}
    )
    assert again.status_code == 204
    assert again.content == b""


def assert_same_text(api: Api, run_id: str, seen: list[Seen]) -> None:
    """G1, where tokens may come merged: nothing missing, nothing twice, the same text."""
    following = 1
    for _, _, data in entries(seen):
        assert data.get("merged_from", data["seq"]) == following
        following = data["seq"] + 1
    log = logged(api, run_id)
    assert following == len(log) + 1
    assert said([each.data for each in seen if each.event == "token"]) == said(
        [data for _, event, data in log if event == "token"]
    )


def said(tokens: list[dict[str, Any]]) -> dict[str, str]:
    """The text of each message."""
    texts: dict[str, str] = {}
    for token in tokens:
        texts[token["message_id"]] = texts.get(token["message_id"], "") + token["text"]
    return texts
