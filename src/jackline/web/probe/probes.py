"""The answers to probes. They are for whoever holds a grant, and JSON, or a stream like any other (G12)."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from starlette.responses import Response

from jackline.web.bodies import read_body
from jackline.web.handover import HANDOVER
from jackline.web.headers import stream_headers
from jackline.web.probe.ledger import Ledger
from jackline.web.probe.plan import (
    MAX_BODY,
    MAX_MS,
    Mode,
    Plan,
    beat,
    end,
    event,
    raw_target,
    read_mode,
    read_ms,
    read_name,
    read_nonce,
    read_plan,
)
from jackline.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jackline.web.handover import Handover
    from jackline.web.probe.ledger import Ended, Execution

_SHOWN: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "te",
        "transfer-encoding",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-probe-nonce",
    }
)
"""Headers whose values are told. Of any other one, cookies and keys among them, only a digest is: a page
that could make a browser ask would else read what scripts may not."""

_HEADERS: Final = 100
"""An echo is longer than what it echoes: many small headers would make much of little."""
_DIGEST_CHARACTERS: Final = 16
_SLICE_SECONDS: Final = 0.5
"""How late a stream notices that the server is going."""
_EVENT_BYTES: Final = 160
"""A frame without its padding, at most."""


class MirrorHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A header as it arrived: `sha256` is the beginning of its value's digest, `value` where it is told."""

    name: str
    sha256: str
    value: str | None = None


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived. `target`: path and query, byte by byte; `peer`: the address that connected."""

    method: str
    target: str
    http: str
    peer: str
    headers: list[MirrorHeader]
    body_bytes: int
    body_sha256: str


class Probes:
    """The probes of one process. `going`: whether the server ends; streams end then too."""

    def __init__(self, ledger: Ledger | None = None, *, going: Callable[[], bool] = lambda: False) -> None:
        self.ledger = ledger or Ledger()
        self._going = going

    async def echo(self, request: Request, holder: str) -> ASGIApp:
        """What arrived of a request. Raises 429 and 431 problems."""
        del holder
        if len(request.headers.raw) > _HEADERS:
            raise Problem(431, f"an echo takes at most {_HEADERS} headers")
        body = await read_body(request, MAX_BODY)
        headers = [_mirrored(name, value) for name, value in request.headers.raw]
        mirror = Mirror(
            method=request.method,
            target=raw_target(request.scope),
            http=request.scope["http_version"],
            peer=request.client.host if request.client else "",
            headers=headers,
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).hexdigest(),
        )
        answer = _json(mirror)
        self.ledger.spend(len(answer.body))
        return answer

    async def stream(self, request: Request, holder: str) -> ASGIApp:
        """A stream as its plan says. Raises 422 and 429 problems."""
        plan = read_plan(request.query_params)
        nonce = read_nonce(request.headers.get("x-probe-nonce"))
        if request.method != "HEAD":
            await read_body(request, MAX_BODY)
        return _Stream(self, plan, holder, nonce)

    async def count(self, request: Request, holder: str) -> ASGIApp:
        """Count an execution, and answer as `mode` says. Raises 422 and 429 problems."""
        name = read_name("nonce", request.path_params["nonce"])
        mode = read_mode(request.query_params.get("mode"))
        delay_ms = read_ms(request.query_params, "delay") if mode == "slow" else 0
        await read_body(request, MAX_BODY)
        return _Counted(self, name, mode, delay_ms, holder)

    async def report(self, request: Request, holder: str) -> ASGIApp:
        """What became of a probe. Raises a 422 problem."""
        name = read_name("id", request.path_params["id"])
        return _json(self.ledger.report(holder, name))

    def begin(self, holder: str, name: str, scope: Scope, size: int) -> Execution:
        """See `Ledger.begin`."""
        return self.ledger.begin(holder, name, method=scope["method"], http=scope["http_version"], size=size)

    async def until(self, at_s: float) -> bool:
        """Wait until the loop's clock says so; False when the server goes before that."""
        clock = asyncio.get_running_loop().time
        while True:
            left = at_s - clock()
            if left <= 0 or self._going():
                return not self._going()
            await asyncio.sleep(min(left, _SLICE_SECONDS))


class _Answer:
    """An execution from its beginning to its end, whichever comes first: its own, or the client's leaving."""

    def __init__(self, probes: Probes, name: str, holder: str) -> None:
        self._probes = probes
        self._name = name
        self._holder = holder
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises a 429 problem before anything is sent."""
        clock = asyncio.get_running_loop().time
        began = clock()
        execution = self._probes.begin(self._holder, self._name, scope, self._size)
        ended: Ended = "left"

        async def answer() -> None:
            nonlocal ended
            ended = await self._answered(began, execution, scope, send)
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(answer)
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()
        finally:
            ms = (clock() - began) * 1000
            self._probes.ledger.finish(self._holder, self._name, execution, ended, ms)

    async def _answered(self, began: float, execution: Execution, scope: Scope, send: Send) -> Ended:
        raise NotImplementedError


class _Stream(_Answer):
    """A planned stream."""

    def __init__(self, probes: Probes, plan: Plan, holder: str, nonce: str) -> None:
        super().__init__(probes, plan.name, holder)
        self._plan = plan
        self._nonce = nonce or plan.name
        last = plan.steps[-1].at_ms
        beats = last // plan.beat_ms if plan.beat_ms else 0
        self._size = sum(step.pad for step in plan.steps) + _EVENT_BYTES * (len(plan.steps) + beats + 1)

    async def _answered(self, began: float, execution: Execution, scope: Scope, send: Send) -> Ended:
        plan = self._plan
        if not await self._probes.until(began + plan.delay_ms / 1000):
            await _send_whole(send, 503)
            return "drained"
        handover: Handover | None = scope.get("extensions", {}).get(HANDOVER)
        # HTTP/1.0 knows no chunks: the answer ends with its connection.
        close = handover is not None and scope["method"] != "HEAD" and handover.prepare_sends()
        headers = stream_headers(identity=plan.identity, without=plan.without)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return "done"
        whole = await self._steps(began, execution, send)
        if whole and plan.ending == "frame":
            await _write(send, end(len(plan.steps), _ms_since(began)))
        cut = whole and plan.ending == "cut"
        if handover is not None and (cut or close):
            handover.cut()
        elif not cut:  # another server than ours closes the connection of an answer that it never saw end
            await send({"type": "http.response.body"})
        return "cut" if cut else "done" if whole else "drained"

    async def _steps(self, began: float, execution: Execution, send: Send) -> bool:
        """Send the events, and the heartbeats between them. False when the server goes meanwhile."""
        plan = self._plan
        start = plan.delay_ms
        beat_at = start + plan.beat_ms if plan.beat_ms else 2 * MAX_MS
        for n, step in enumerate(plan.steps):
            at = start + step.at_ms
            while beat_at < at:
                if not await self._probes.until(began + beat_at / 1000):
                    return False
                await _write(send, beat(_ms_since(began)))
                beat_at += plan.beat_ms
            if not await self._probes.until(began + at / 1000):
                return False
            await _write(send, event(n, _ms_since(began), self._nonce, step.pad))
            execution.sent = n + 1
        return True


class _Counted(_Answer):
    """The answer to a count."""

    def __init__(self, probes: Probes, name: str, mode: Mode, delay_ms: int, holder: str) -> None:
        super().__init__(probes, name, holder)
        self._mode: Mode = mode
        self._delay_ms = delay_ms
        self._size = _EVENT_BYTES

    async def _answered(self, began: float, execution: Execution, scope: Scope, send: Send) -> Ended:
        execution.sent = 1
        match self._mode:
            case "cut":
                handover: Handover | None = scope.get("extensions", {}).get(HANDOVER)
                if handover is not None:
                    handover.cut()
                return "cut"
            case "503":
                await _send_whole(send, 503)
                return "done"
            case "ok" | "slow":
                in_time = await self._probes.until(began + self._delay_ms / 1000)
                await _send_whole(send, 200 if in_time else 503)
                return "done" if in_time else "drained"


def _mirrored(name: bytes, value: bytes) -> MirrorHeader:
    lower = name.decode("latin-1").lower()
    return MirrorHeader(
        name=lower,
        sha256=hashlib.sha256(value).hexdigest()[:_DIGEST_CHARACTERS],
        value=value.decode("latin-1") if lower in _SHOWN else None,
    )


def _json(value: msgspec.Struct) -> Response:
    return Response(
        msgspec.json.encode(value),
        media_type="application/json",
        # A page that is made to show this must not take it for anything but JSON.
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def _ms_since(began: float) -> float:
    return (asyncio.get_running_loop().time() - began) * 1000


async def _write(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _send_whole(send: Send, status: int) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"2"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
