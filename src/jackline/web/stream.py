"""The response that is a stream: its headers, and a viewer between the tail and the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from jackline.web.crowd import SEAT, Seat
from jackline.web.handover import HANDOVER
from jackline.web.headers import stream_headers
from jackline.web.problems import Problem
from jackline.web.query import Cursor
from jackline.web.stall import Stall
from jackline.web.viewers import Viewer, Wish

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from jackline.events import Json
    from jackline.web.handover import Handover
    from jackline.web.ring import Joined
    from jackline.web.site import Site
    from jackline.web.tail import Tail
    from jackline.web.writing import Writing


def events_path(run_id: str) -> str:
    """Where a run's stream is."""
    return f"/api/v1/agent/runs/{run_id}/events"


class Stream:
    """An ASGI callable: the stream of one run to one client (G9).

    It begins after `cursor`, or after entry `begin` without one. `began_here`: the answer to a
    POST; it says where the stream is, is never 204, and takes no cursor from before `begin`.
    Before the headers leave it may raise: a problem for a cursor that the run has never given,
    `StoreUnavailable`, `UnknownRun`.
    """

    def __init__(
        self,
        site: Site,
        run_id: str,
        cursor: Cursor | None,
        *,
        compact: bool,
        until_pause: bool,
        tick: int = 0,
        poll: bool = False,
        began_here: bool = False,
        begin: int = 0,
    ) -> None:
        self._site = site
        self._run_id = run_id
        self._cursor = cursor
        self._compact = compact
        self._until_pause = until_pause
        self._tick = tick
        self._poll = poll
        self._began_here = began_here
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until its last frame, or until the client is gone; where the server hands
        its connection over, return once the viewer has it."""
        tails = self._site.tails
        handover: Handover | None = scope.get("extensions", {}).get(HANDOVER)
        tail = await tails.enter(self._run_id)
        kept = False
        try:
            wish = await self._opened(tail, scope, send, handover)
            if wish is not None:
                seat = seat_of(scope)
                viewer = Viewer(tails, tail, wish, drain_seconds=self._site.settings.drain, seat=seat)
                if handover is None or not handover.possible:
                    kept = True
                    await serve(viewer, receive, send, self._site)
                else:
                    kept = handed_over(viewer, handover, seat)
        finally:
            if not kept:
                tails.leave(tail)

    async def _opened(self, tail: Tail, scope: Scope, send: Send, handover: Handover | None) -> Wish | None:
        """Send the headers. None when there is no stream to follow them."""
        if self._cursor is not None and self._cursor.epoch == tail.epoch:
            await tail.seen(self._cursor.seq)
        wish = self._wish(tail)
        if not self._began_here and tail.closed and wish.after == tail.last and wish.epoch == tail.epoch:
            # EventSource stops trying at a 204.
            await send_whole(send, 204, [(b"cache-control", b"no-store")])
            return None
        if scope["method"] == "HEAD":
            await send_whole(send, 200, self._headers())
            return None
        if handover is not None:
            handover.prepare()
        await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
        return wish

    def _wish(self, tail: Tail) -> Wish:
        cursor = self._cursor
        if cursor is not None and self._began_here and not self._begin < cursor.seq <= tail.last:
            cursor = None
        if cursor is None or cursor.seq == 0:
            # Before the first entry there is nothing that another epoch could have made different.
            cursor = Cursor(self._begin, tail.epoch)
        if not tail.doubt:  # else what it has seen may be put back, or be cut off with a `gap`
            check_cursor(cursor, last=tail.last, epoch=tail.epoch)
        return Wish(
            after=cursor.seq,
            epoch=cursor.epoch,
            compact=self._compact,
            until_pause=self._until_pause,
            tick=self._tick,
            poll=self._poll,
        )

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = stream_headers(identity=self._site.settings.encoding_identity)
        headers.append((b"x-run-id", self._run_id.encode()))
        if self._began_here:
            headers.append((b"location", events_path(self._run_id).encode()))
        return headers


def seat_of(scope: Scope) -> Seat | None:
    """The seat that the request has taken."""
    seat = scope.get(SEAT)
    return seat if isinstance(seat, Seat) else None


def handed_over(viewer: Writing, handover: Handover, seat: Seat | None) -> bool:
    """Whether `viewer` has the connection now, and the seat with it."""
    kept = handover.take(viewer)
    if seat is not None:
        seat.kept = kept
    return kept


def check_cursor(cursor: Cursor, *, last: int, epoch: int) -> None:
    """Raises a 400 problem for a cursor that this run cannot have given to anybody."""
    if cursor.epoch > epoch or (cursor.epoch == epoch and cursor.seq > last):
        detail = f"the cursor {cursor} lies beyond the run's last entry, {last}"
        errors: Json = [{"field": "after", "detail": detail}]
        raise Problem(400, detail, members={"errors": errors})


class _Sender:
    """A viewer's connection where the server has only ASGI's `send`: what was written in one turn leaves
    together, and the viewer waits until the server has taken it."""

    def __init__(self, viewer: Writing, stall: Stall) -> None:
        self._viewer = viewer
        self._stall = stall
        self._written: list[bytes] = []
        self._over = False
        self._wake = asyncio.Event()

    def send(self, joined: Joined) -> None:
        """See `viewers.Connection`."""
        self.write(joined.data)

    def write(self, data: bytes) -> None:
        """See `viewers.Connection`."""
        self._written.append(data)
        self._viewer.hold()
        self._wake.set()

    def end(self) -> None:
        """See `viewers.Connection`."""
        self._over = True
        self._wake.set()

    def abort(self) -> None:
        """See `viewers.Connection`."""
        self._written.clear()
        self.end()

    def waiting(self) -> int:
        """See `viewers.Connection`: what the server holds is not known."""
        return sum(map(len, self._written))

    async def run(self, send: Send) -> None:
        """Send what is written, until the end."""
        while self._written or not self._over:
            await self._wake.wait()
            self._wake.clear()
            written, self._written = self._written, []
            if written:
                self._stall.begin()
                await send({"type": "http.response.body", "body": b"".join(written), "more_body": True})
                self._stall.over()
                self._viewer.go_on()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def serve(viewer: Writing, receive: Receive, send: Send, site: Site) -> None:
    """Have `viewer` write through ASGI's `send`, until its last frame or until the client is gone."""

    def cut() -> None:
        site.counts.cut["stalled"] += 1
        group.cancel_scope.cancel()

    # What the server and the system hold for the client is not known here, but that `send` waits.
    stall = Stall(site.settings.write_timeout, lambda: 0, cut)
    sender = _Sender(viewer, stall)

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(until_gone)
            viewer.begin(sender)
            await sender.run(send)
            group.cancel_scope.cancel()
    finally:
        stall.close()
        viewer.close()


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """An answer without a body."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
