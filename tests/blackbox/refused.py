"""Requests that a server must refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.blackbox.api import ROOT

CHAT = f"{ROOT}/chat"
NOBODY = "aaaaaaaaaaaaaaaaaaaa"
"""A conversation that there is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bad:
    """A request, and how it must be refused. In `path` and `body` `RUN` is a run that waits for an
    answer, `CALL` its call, `DONE` a run that has completed. `fields`: those that `errors` names."""

    name: str
    status: int
    method: str = "POST"
    path: str = CHAT
    raw: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    fields: tuple[str, ...] = ()


def bad(name: str, status: int, *fields: str, body: Any = None, raw: bytes = b"", **more: Any) -> Bad:
    content = raw if body is None else json.dumps(body).encode()
    return Bad(name=name, status=status, raw=content, fields=fields, **more)


def user(content: Any = "x") -> dict[str, Any]:
    return {"role": "user", "content": content}


def get(name: str, status: int, path: str, *fields: str, **more: Any) -> Bad:
    return bad(name, status, *fields, method="GET", path=ROOT + path, **more)


GOOD = {"messages": [user()]}
YES = {"approve": True}

CHATS = [
    bad("no body", 400, "messages"),
    bad("blank body", 400, "messages", raw=b"  \n"),
    bad("not json", 400, raw=b'{"messages": ['),
    bad("not utf-8", 400, raw=b'{"messages": [{"role":"user","content":"\xff"}]}'),
    bad("two values", 400, raw=b'{"messages":[{"role":"user","content":"x"}]} {}'),
    bad("nested too deep", 400, raw=b'{"metadata":{"a":' + b"[" * 100_000),
    bad("an array", 422, "(body)", body=[]),
    bad("a string", 422, "(body)", body="hello"),
    bad("an empty object", 422, "messages", body={}),
    bad("messages is null", 422, "messages", body={"messages": None}),
    bad("messages is a string", 422, "messages", body={"messages": "hello"}),
    bad("no messages", 422, "messages", body={"messages": []}),
    bad("a message is a string", 422, "messages.0", body={"messages": ["hello"]}),
    bad("no role", 422, "messages.0.role", body={"messages": [{"content": "x"}]}),
    bad("no content", 422, "messages.0.content", body={"messages": [{"role": "user"}]}),
    bad("content is a number", 422, "messages.0.content", body={"messages": [user(1)]}),
    bad("content is parts", 422, "messages.0.content", body={"messages": [user([{"type": "text"}])]}),
    bad("another role", 422, "messages.0.role", body={"messages": [{"role": "assistant", "content": "x"}]}),
    bad(
        "the second's role", 422, "messages.1.role", body={"messages": [user(), {**user(), "role": "system"}]}
    ),
    bad("the last is empty", 422, "messages.1.content", body={"messages": [user(), user("")]}),
    bad("the last is blank", 422, "messages.0.content", body={"messages": [user(" \n\t")]}),
    bad("too many", 422, "messages", body={"messages": [user()] * 1001}),
    bad("half a character", 400, raw=b'{"messages":[{"role":"user","content":"\\ud800"}]}'),
    bad("conversation is a number", 422, "conversation_id", body={**GOOD, "conversation_id": 7}),
    bad("an agent nobody serves", 422, "agent", body={**GOOD, "agent": "nobody"}),
    bad("an agent that is a list", 422, "agent", body={**GOOD, "agent": []}),
    bad("on_busy", 422, "on_busy", body={**GOOD, "on_busy": "wait"}),
    bad("metadata", 422, "metadata", body={**GOOD, "metadata": "x"}),
    bad("limits", 422, "limits", body={**GOOD, "limits": []}),
    bad("an unknown limit", 422, "limits.minutes", body={**GOOD, "limits": {"minutes": 1}}),
    bad("a limit of 0", 422, "limits.steps", body={**GOOD, "limits": {"steps": 0}}),
    bad("half a step", 422, "limits.steps", body={**GOOD, "limits": {"steps": 1.5}}),
    bad("an unknown conversation", 404, body={**GOOD, "conversation_id": NOBODY}),
    bad("no conversation's id", 404, body={**GOOD, "conversation_id": "../../etc/passwd"}),
    bad("form data", 415, raw=b"a=x", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    bad("text", 415, body=GOOD, headers={"Content-Type": "text/plain"}),
    bad("no type", 415, body=GOOD, headers={"Content-Type": ""}),
    bad("another charset", 415, body=GOOD, headers={"Content-Type": "application/json; charset=utf-16"}),
    bad("accept", 406, body=GOOD, headers={"Accept": "text/html"}),
    bad("compact", 422, "compact", path=f"{CHAT}?compact=yes", body=GOOD),
    bad("until", 422, "until", path=f"{CHAT}?until=sunset", body=GOOD),
    bad("a key with a space", 400, "Idempotency-Key", body=GOOD, headers={"Idempotency-Key": "a b"}),
    bad("a key too long", 400, "Idempotency-Key", body=GOOD, headers={"Idempotency-Key": "k" * 256}),
    bad("2 MB in a message", 413, body={"messages": [user("x" * 2_000_000)]}),
    bad("2 MB that is no json", 413, raw=b"x" * 2_000_000),
    bad("busy", 409, body={**GOOD, "conversation_id": "CONVERSATION"}),
]

DECISION = f"{ROOT}/approvals/CALL"
SEVERAL = f"{ROOT}/approvals"

DECISIONS = [
    bad("no body", 400, path=DECISION),
    bad("without approve", 422, "approve", path=DECISION, body={"reason": "x"}),
    bad("approve is a string", 422, "approve", path=DECISION, body={"approve": "yes"}),
    bad("approve is a number", 422, "approve", path=DECISION, body={"approve": 1}),
    bad("both", 422, "outcome", path=DECISION, body={**YES, "outcome": "done"}),
    bad("an outcome nobody asked for", 422, "approve", path=DECISION, body={"outcome": "done"}),
    bad("another outcome", 422, "outcome", path=DECISION, body={"outcome": "perhaps"}),
    bad("args with a no", 422, "args", path=DECISION, body={"approve": False, "args": {}}),
    bad("args is a list", 422, "args", path=DECISION, body={**YES, "args": []}),
    bad("args against the schema", 422, "args.path", path=DECISION, body={**YES, "args": {"path": 7}}),
    bad("args without path", 422, "args.path", path=DECISION, body={**YES, "args": {}}),
    bad("a result with a yes", 422, "result", path=DECISION, body={**YES, "result": 1}),
    bad("reason", 422, "reason", path=DECISION, body={**YES, "reason": ["x"]}),
    bad("a long reason", 422, "reason", path=DECISION, body={**YES, "reason": "x" * 10_001}),
    bad("not json", 400, path=DECISION, raw=b"approve"),
    bad("text", 415, path=DECISION, body=YES, headers={"Content-Type": "text/plain"}),
    bad("an unknown call", 404, path=f"{ROOT}/approvals/RUN.99", body=YES),
    bad("a call of an unknown run", 404, path=f"{ROOT}/approvals/{NOBODY}.1.1", body=YES),
    bad("no call's id", 404, path=f"{ROOT}/approvals/x", body=YES),
    bad("several: none", 422, "decisions", path=SEVERAL, body={"decisions": []}),
    bad("several: no list", 422, "decisions", path=SEVERAL, body={"decisions": YES}),
    bad("several: no body", 400, "decisions", path=SEVERAL),
    bad("several: no call", 422, "decisions.0.call_id", path=SEVERAL, body={"decisions": [YES]}),
    bad(
        "several: the second does not decide",
        422,
        "decisions.1.approve",
        path=SEVERAL,
        body={"decisions": [{**YES, "call_id": "CALL"}, {"call_id": "RUN.9"}]},
    ),
    bad(
        "several: one twice",
        422,
        "decisions.1.call_id",
        path=SEVERAL,
        body={"decisions": [{**YES, "call_id": "CALL"}, {**YES, "call_id": "CALL"}]},
    ),
    bad(
        "several: one unknown",
        404,
        path=SEVERAL,
        body={"decisions": [{**YES, "call_id": "CALL"}, {**YES, "call_id": "RUN.9"}]},
    ),
]

STOP = f"{ROOT}/runs/RUN/stop"
STOPS = [
    bad("neither", 422, "run_id", "conversation_id", path=f"{ROOT}/stop", body={}),
    bad("no body", 422, "run_id", "conversation_id", path=f"{ROOT}/stop"),
    bad(
        "both",
        422,
        "run_id",
        "conversation_id",
        path=f"{ROOT}/stop",
        body={"run_id": "RUN", "conversation_id": "CONVERSATION"},
    ),
    bad("run_id is a number", 422, "run_id", path=f"{ROOT}/stop", body={"run_id": 7}),
    bad("an unknown run", 404, path=f"{ROOT}/stop", body={"run_id": f"{NOBODY}.1"}),
    bad("an unknown conversation", 404, path=f"{ROOT}/stop", body={"conversation_id": NOBODY}),
    bad("an unknown run in the path", 404, path=f"{ROOT}/runs/{NOBODY}.1/stop"),
    bad("mode", 422, "mode", path=STOP, body={"mode": "gently"}),
    bad("reason", 422, "reason", path=STOP, body={"reason": 7}),
    bad("not json", 400, path=STOP, raw=b"{"),
    bad("text", 415, path=STOP, raw=b"{}", headers={"Content-Type": "text/plain"}),
    bad("wait", 422, "wait", path=f"{STOP}?wait=long", body={}),
    bad("a negative wait", 422, "wait", path=f"{STOP}?wait=-1", body={}),
    bad("no number to wait", 422, "wait", path=f"{STOP}?wait=nan", body={}),
]

EVENTS = "/runs/DONE/events"
READS = [
    get("an unknown run", 404, f"/runs/{NOBODY}.1"),
    get("an unknown run's events", 404, f"/runs/{NOBODY}.1/events"),
    get("no run's id", 404, "/runs/x"),
    get("a percent sign", 404, "/runs/%00"),
    get("an unknown artifact", 404, "/runs/DONE/artifacts/nothing"),
    get("a path for an artifact", 404, "/runs/DONE/artifacts/..%2f..%2fetc%2fpasswd"),
    get("an unknown conversation", 404, f"/conversations/{NOBODY}"),
    get("an unknown call", 404, "/approvals/RUN.99"),
    get("a bad cursor", 400, f"{EVENTS}?after=x", "after"),
    get("a negative cursor", 400, f"{EVENTS}?after=-1", "after"),
    get("a cursor with zeros", 400, f"{EVENTS}?after=007", "after"),
    get("a bad Last-Event-ID", 400, EVENTS, "after", headers={"Last-Event-ID": "x"}),
    get("the header wins", 400, f"{EVENTS}?after=1", "after", headers={"Last-Event-ID": "x"}),
    get("beyond the end", 400, f"{EVENTS}?after=9999", "after"),
    get("beyond the end of a stream", 400, f"{EVENTS}?after=9999", "after", headers={"Accept": "*/*"}),
    get("of an epoch to come", 400, f"{EVENTS}?after=1.7", "after"),
    get("a limit of 0", 422, f"{EVENTS}?limit=0", "limit"),
    get("a limit of 1001", 422, f"{EVENTS}?limit=1001", "limit"),
    get("a limit in words", 422, f"{EVENTS}?limit=ten", "limit"),
    get("until", 422, f"{EVENTS}?until=pauses", "until"),
    get("compact", 422, f"{EVENTS}?compact=true", "compact"),
    get("accept", 406, EVENTS, headers={"Accept": "application/xml"}),
    get("a state there is not", 422, "/runs?state=done", "state"),
    get("a list's limit", 422, "/runs?limit=-5", "limit"),
    get("a list's cursor", 400, "/runs?cursor=nonsense", "cursor"),
    get("a list's cursor too long", 400, "/runs?cursor=" + "x" * 300, "cursor"),
    get("a conversation's id", 422, "/runs?conversation_id=%20", "conversation_id"),
    get("conversations' cursor", 400, "/conversations?cursor=nonsense", "cursor"),
    get("an approvals' state", 422, "/approvals?state=open", "state"),
    bad("an unknown route", 404, method="GET", path="/api/v1/agent/nothing"),
    bad("an unknown root", 404, method="GET", path="/nothing"),
    bad("a slash too many", 404, method="GET", path=f"{ROOT}/runs/"),
    bad("delete while it runs", 409, method="DELETE", path=f"{ROOT}/runs/RUN"),
    bad("delete a busy conversation", 409, method="DELETE", path=f"{ROOT}/conversations/CONVERSATION"),
    bad("delete what there is not", 404, method="DELETE", path=f"{ROOT}/runs/{NOBODY}.1"),
]

METHODS = [
    bad(f"{method} {path}", 405, method=method, path=path)
    for path, methods in {
        CHAT: ("GET", "PUT", "DELETE", "PATCH"),
        f"{ROOT}/stop": ("GET",),
        f"{ROOT}/runs": ("POST", "DELETE"),
        f"{ROOT}/runs/RUN": ("POST", "PUT"),
        f"{ROOT}/runs/RUN/events": ("POST", "DELETE"),
        f"{ROOT}/runs/RUN/stop": ("GET",),
        f"{ROOT}/approvals/CALL": ("DELETE", "PUT"),
        f"{ROOT}/conversations": ("POST",),
        "/readyz": ("POST",),
        "/openapi.json": ("POST",),
        "/": ("POST", "TRACE"),
    }.items()
    for method in methods
]
