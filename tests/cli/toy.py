"""A run as the command line sees one: a small honest server over a list of entries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client import server as wire
from tests.client.server import CONVERSATION, EVENTS, RUN, Connection, Request

CALL = f"{RUN}.1"
API = "/api/v1/agent"


@dataclass(kw_only=True)
class Toy:
    """Keeps a run's entries; `on_decision` and `on_stop` say what a decision or a stop leads to."""

    entries: list[bytes] = field(default_factory=list[bytes])
    state: str = "queued"
    ended: bool = False
    requests: list[Request] = field(default_factory=list[Request])
    decisions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    on_decision: Callable[[dict[str, Any]], None] = lambda _: None
    refusals: list[tuple[int, dict[str, Any]]] = field(default_factory=list[tuple[int, dict[str, Any]]])
    cut_after: int | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, event: str, **data: Any) -> None:
        self.entries.append(wire.entry(len(self.entries) + 1, event, **data))
        if event == "workflow":
            self.state = data["state"]
            self.ended = self.state in ("completed", "failed", "stopped")
        self._changed.set()
        self._changed = asyncio.Event()

    def workflow(self, state: str, **data: Any) -> None:
        self.add("workflow", state=state, attempt=1, **data)

    def say(self, text: str, message_id: str = "m1", kind: str = "text") -> None:
        self.add("token", text=text, kind=kind, message_id=message_id)

    def tool(self, state: str, name: str = "restart", call_id: str = CALL, **data: Any) -> None:
        self.add("tool", call_id=call_id, name=name, state=state, **data)

    def ask(self, call_id: str = CALL, name: str = "restart", **data: Any) -> None:
        fields: dict[str, Any] = {"round": 1, "kind": "call", "args": {"service": "web"}, **data}
        self.add("approval", call_id=call_id, name=name, state="pending", **fields)

    def decided(self, state: str, call_id: str = CALL, name: str = "restart", **data: Any) -> None:
        self.add("approval", call_id=call_id, round=1, kind="call", name=name, state=state, **data)

    def begin(self) -> None:
        self.workflow("queued", input=[{"role": "user", "content": "restart web"}], by="user:ana")
        self.workflow("executing")

    def finish(self) -> None:
        self.workflow("completed", output="done")

    # -- the wire ------------------------------------------------------------------------------

    async def answer(self, request: Request, connection: Connection) -> None:
        self.requests.append(request)
        if request.method == "POST" and self.refusals:
            status, problem = self.refusals.pop(0)
            await connection.json(status, {"title": f"Title {status}", **problem})
            return
        match request.method, request.path.removeprefix(API).split("/")[1:]:
            case "POST", ["chat"]:
                await self._stream(0, connection, headers={"X-Run-Id": RUN, "Location": EVENTS})
            case "GET", ["runs", _, "events"]:
                await self._events(request, connection)
            case "GET", ["runs", _]:
                await connection.json(200, {"run_id": RUN, "state": self.state})
            case "POST", ["approvals"]:
                await self._decide_all(request, connection)
            case "POST", ["approvals", call_id]:
                await self._decide(call_id, request, connection)
            case "POST", ["runs", _, "stop"]:
                await self._stop(request, connection)
            case _:
                await connection.json(404, {"title": "Not Found", "detail": "no such thing"})

    async def _events(self, request: Request, connection: Connection) -> None:
        after = int(request.headers.get("last-event-id") or request.query.get("after") or 0)
        if self.ended and after >= len(self.entries):
            await connection.empty()
        else:
            await self._stream(after, connection, until_pause=request.query.get("until") == "pause")

    async def _stream(
        self,
        after: int,
        connection: Connection,
        *,
        until_pause: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        await connection.open_stream(**(headers or {}))
        await connection.frames(wire.ready(after, self.state))
        while True:
            changed = self._changed
            for frame in self.entries[after:]:
                after += 1
                await connection.frames(frame)
                if after == self.cut_after:
                    self.cut_after = None
                    connection.cut()
                    return
            if self.ended or (until_pause and self.state == "awaiting_approval"):
                await connection.frames(wire.end(after, self.state))
                await connection.end_stream()
                return
            await changed.wait()

    async def _decide(self, call_id: str, request: Request, connection: Connection) -> None:
        decision = {"call_id": call_id, **request.json}
        self.decisions.append(decision)
        before = len(self.entries)
        self.on_decision(decision)
        if request.headers["accept"] == "text/event-stream":
            await self._stream(before, connection, headers={"X-Run-Id": RUN})
            return
        state = "answered" if "outcome" in decision else "granted" if decision["approve"] else "denied"
        await connection.json(200, {"run_id": RUN, "call_id": call_id, "state": state, "by": "user:ana"})

    async def _decide_all(self, request: Request, connection: Connection) -> None:
        decisions = request.json["decisions"]
        self.decisions += decisions
        self.on_decision(decisions[-1])
        await connection.json(200, {"run_id": RUN, "decisions": []})

    async def _stop(self, request: Request, connection: Connection) -> None:
        if self.ended:
            await connection.json(200, {"run_id": RUN, "state": self.state})
            return
        reason = request.json.get("reason")
        self.workflow("stopping", by="user:ana", mode=request.json.get("mode", "immediate"), reason=reason)
        receipt: dict[str, Any] = {
            "by": "user:ana",
            "requested_at": "2026-11-22T12:00:00.000Z",
            "quiet_ms": 40,
            "model": "closed",
            "tools": [{"call_id": CALL, "name": "restart", "outcome": "cancelled"}],
        }
        self.workflow("stopped", by="user:ana", receipt=receipt)
        if "wait" in request.query:
            await connection.json(200, {"run_id": RUN, "state": "stopped", "receipt": receipt})
        else:
            await connection.json(202, {"run_id": RUN, "state": "stopping"})


def objects(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


__all__ = ["CALL", "CONVERSATION", "RUN", "Toy", "objects"]
