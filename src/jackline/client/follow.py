"""Following a run: one sequence of frames out of as many connections as it takes (G1)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, assert_never

from jackline.client.connected import Connected, FollowState
from jackline.client.errors import ProtocolViolation
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown, parse
from jackline.client.http import Call, Failed, Server, segment
from jackline.client.polling import read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx2

    from jackline.sse import ServerSentEvent

_SAME_HOLE: Final = 3
"""A hole may come from one bad connection; the same one three times stands in the log itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a stream comes from: a run from a cursor on, or a POST whose answer is a run's stream.

    `after` is the cursor to resume from before any entry came; None where only the POST, sent
    again with the same key, knows where its stream begins.
    """

    run_id: str | None = None
    after: str | None = None
    post: Call | None = None
    params: dict[str, str | int] = field(default_factory=dict[str, str | int])


class Follow(Connected[Frame]):
    """An async iterator of a run's frames.

    Entries come in order, none twice, none missing, over any number of cuts, deploys and
    time-outs; a connection's end is the stream's end only when the server says so (an `End` frame,
    or 204). Iteration raises `Refused`, `Unreachable` (when nothing came back within the pace's
    budget) and `ProtocolViolation` (a hole that stays). The run is not changed by any of it (G2).
    """

    def __init__(
        self, server: Server, source: Source, on_state: Callable[[FollowState, str], None] | None
    ) -> None:
        super().__init__(server, source.after, on_state)
        self.run_id = source.run_id
        """The run's id; None until the answer to a POST has come."""
        self.conversation_id: str | None = None
        self.state: str | None = None
        """The run's state as of the last frame; None before the first, and after a bare 204."""
        self._source = source
        self._seq: int | None = (
            int(source.after) if source.after is not None and source.after.isdecimal() else None
        )
        self._accepted = False
        self._compact: bool = True
        self._holes = 0

    # -- connections ---------------------------------------------------------------------------

    @property
    def _lasting(self) -> bool:
        # Once a POST was accepted there is a run to follow, and giving up early would lose sight of it.
        return self._accepted

    def _answered(self, response: httpx2.Response) -> None:
        self._accepted = True
        if self.run_id is None:
            self.run_id = response.headers.get("x-run-id") or _run_in(response.headers.get("location", ""))

    async def _pollable(self) -> Call:
        call = self._call()
        if call.method == "POST":
            answer = await self._server.once(call, self._pulse.limit_s)
            run_id = answer.headers.get("x-run-id")
            if run_id is None:
                raise ProtocolViolation("the answer to a POST does not name its run")
            self.run_id, self._accepted = run_id, True
            self.cursor = self.cursor or answer.headers.get("last-event-id", "0")
            self._seq = self._seq if self._seq is not None else int(self.cursor.partition(".")[0])
        return await super()._pollable()

    def _call(self) -> Call:
        params = dict(self._source.params)
        if not self._compact:
            params["compact"] = 0
        if self._source.post is not None and (
            not self._accepted or self.run_id is None or self.cursor is None
        ):
            post = self._source.post
            return Call(method="POST", path=post.path, params=params, body=post.body, key=post.key)
        assert self.run_id is not None
        headers: dict[str, str] = {}
        if self.cursor and self.cursor != "0":
            # Both: a proxy may strip the one, and where both arrive they say the same.
            headers["Last-Event-ID"] = self.cursor
            params["after"] = self.cursor
        path = f"/api/v1/agent/runs/{segment(self.run_id)}/events"
        return Call(method="GET", path=path, params=params, headers=headers)

    def _parse(self, event: ServerSentEvent) -> Frame | None:
        return parse(event)

    def _read_page(self, page: dict[str, Any]) -> Sequence[Frame]:
        return read_page(page)

    # -- frames --------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> Frame | None:
        """The frame if it is to be handed out; keeps the cursor, finds doubles and holes."""
        match frame:
            case Ready():
                self._ready(frame)
            case Entry():
                return self._entry(frame)
            case Heartbeat():
                self.state = frame.state or self.state
                self._beat(frame.data.get("ts"))
            case Gap():
                # It may go on before what was seen: a log that came back shorter counts anew.
                reached = frame.snapshot.get("seq")
                self._seq = reached if isinstance(reached, int) else None
                self.cursor = frame.id or str(frame.last)
                self.state = str(frame.snapshot.get("state") or self.state)
                self._backoff.progress()
            case End():
                if self._seq is not None and frame.seq > self._seq:
                    self._hole(self._seq, frame.seq + 1)
                    return None
                self.state = frame.state
                self._over = True
            case Shutdown():
                self._drop(Failed("the server is going away", frame.retry_ms / 1000))
            case _:
                assert_never(frame)
        return frame

    def _ready(self, frame: Ready) -> None:
        self.run_id = frame.run_id
        self.conversation_id = frame.conversation_id or self.conversation_id
        self.state = frame.state or self.state
        if self._seq is None:
            self._seq = frame.seq
        self._begun()

    def _entry(self, frame: Entry) -> Entry | None:
        if self._seq is not None:
            if frame.seq <= self._seq:
                return None
            if frame.first != self._seq + 1:
                # Merged tokens that begin before the cursor cannot be cut: ask for single ones.
                self._compact = self._compact and frame.first > self._seq
                self._hole(self._seq, frame.first)
                return None
        self._seq = frame.seq
        self.cursor = frame.id
        self._holes = 0
        self._backoff.progress()
        if frame.type == "workflow":
            self.state = str(frame.data.get("state") or self.state)
        return frame

    def _hole(self, seq: int, next_seq: int) -> None:
        self._holes += 1
        if self._holes >= _SAME_HOLE:
            raise ProtocolViolation(
                f"after entry {seq} of run {self.run_id} comes entry {next_seq}, three times"
            )
        self._drop(Failed(f"entries are missing after {seq}"))


def _run_in(location: str) -> str | None:
    """The run's id in `…/runs/{run_id}/events`. Only the id is taken: the path may lack a proxy's prefix."""
    match location.partition("?")[0].rstrip("/").split("/"):
        case [*_, "runs", run_id, "events"]:
            return run_id
        case _:
            return None


def body(value: dict[str, Any]) -> bytes:
    """A request's body, made once: the server compares a repeated key's body by its digest."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
