"""Following a run: one sequence of frames out of as many connections as it takes (G1)."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, Self, assert_never

import anyio
import httpx2

from jackline.client.errors import ProtocolViolation
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown, parse
from jackline.client.http import Call, Failed, Server, read_json, segment
from jackline.client.pace import Backoff, Pulse, sent_at
from jackline.client.polling import REASON, read_page
from jackline.sse import Decoder, EventTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

FollowState = Literal["connecting", "live", "reconnecting", "ended"]

_SAME_HOLE: Final = 3
"""A hole may come from one bad connection; the same one three times stands in the log itself."""
_LONGEST_RETRY_S: Final = 300.0


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


class Follow:
    """An async iterator of a run's frames.

    Entries come in order, none twice, none missing, over any number of cuts, deploys and
    time-outs; a connection's end is the stream's end only when the server says so (an `End` frame,
    or 204). Iteration raises `Refused`, `Unreachable` (when nothing came back within the pace's
    budget) and `ProtocolViolation` (a hole that stays). The run is not changed by any of it (G2).
    """

    def __init__(
        self, server: Server, source: Source, on_state: Callable[[FollowState, str], None] | None
    ) -> None:
        self.run_id = source.run_id
        """The run's id; None until the answer to a POST has come."""
        self.conversation_id: str | None = None
        self.state: str | None = None
        """The run's state as of the last frame; None before the first, and after a bare 204."""
        self.cursor = source.after
        """The opaque id to resume from: of the last entry handed out."""
        self.phase: FollowState = "connecting"
        self.again_s: float | None = None
        """While it is not connected: in how many seconds the next try is, counted from when that was told."""
        self._server = server
        self._source = source
        self._on_state = on_state
        self._seq: int | None = (
            int(source.after) if source.after is not None and source.after.isdecimal() else None
        )
        self._frames: deque[Frame] = deque()
        self._over = False
        self._accepted = False
        self._compact: bool = True
        self._was_open = False
        self._polling_since: float | None = None
        self._greeted = False
        """Whether anything came on this connection."""
        self._watched_in_vain = False
        self._holes = 0
        self._failed: Failed | None = None
        self._failing_since: float | None = None
        self._backoff = Backoff(server.pace, server.chance)
        self._pulse = Pulse(server.pace)
        self._decoder = Decoder()
        self._response: httpx2.Response | None = None
        self._body: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let the connection go. The run goes on (G2)."""
        response, self._response, self._body = self._response, None, None
        if response is not None:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def __anext__(self) -> Frame:
        while True:
            while self._frames:
                frame = self._take(self._frames.popleft())
                if frame is not None:
                    return frame
            if self._over:
                await self.aclose()
                self._tell("ended", "")
                raise StopAsyncIteration
            if self._failed is not None or self._body is None:
                await self._connect()
            else:
                await self._read()

    # -- connections ---------------------------------------------------------------------------

    async def _connect(self) -> None:
        await self.aclose()
        while True:
            if self._failed is not None:
                await self._pause(self._failed)
            polled = self._server.holds_back and not self._looks_again()
            try:
                if polled:
                    await self._poll()
                    return
                self._greeted = False
                response = await self._server.open(self._call(), self._patience_s)
            except Failed as failed:
                self._learn(failed, polled=polled)
                continue
            except ProtocolViolation as violation:
                if not self._was_open and not polled:
                    raise
                # A gateway's page in the place of the stream; it was a Jackline a moment ago. Or one that
                # does not poll.
                self._server.holds_back = False
                self._failed = Failed(str(violation))
                continue
            self._failed = None
            self._opened(response)
            return

    async def _pause(self, failed: Failed) -> None:
        pace = self._server.pace
        now = self._server.clock()
        if self._failing_since is None or now < self._failing_since:
            self._failing_since = now
        # Once a POST was accepted there is a run to follow, and giving up early would lose sight of it.
        lasting = self._was_open or self._accepted
        budget = pace.follow_budget_s if lasting else pace.first_budget(failed.connected)
        wait = self._server.wait_s(failed, self._backoff, self._failing_since, budget)
        self.again_s = wait
        self._tell("reconnecting" if self._was_open else "connecting", failed.reason)
        await anyio.sleep(wait)
        self.again_s = None

    @property
    def _patience_s(self) -> float:
        """How much silence is too much on this connection."""
        limit = self._pulse.limit_s
        return limit if self._greeted else min(limit, self._server.pace.ready_s)

    def _learn(self, failed: Failed, *, polled: bool) -> None:
        """No answer to a request for a stream may mean that streams are held back; none to a poll, that
        there is nobody, or another way to the server by now. What others found out meanwhile stands."""
        self._failed = failed
        if not polled:
            self._server.holds_back = self._server.holds_back or failed.silent
        elif failed.silent or not failed.connected:
            self._server.holds_back = False
            self._pulse.gave_up()

    def _looks_again(self) -> bool:
        """Whether to try a stream although polls work: the way may be another one, or was only slow."""
        since, now = self._polling_since, self._server.clock()
        if since is None or 0 <= now - since < self._server.pace.again_s:
            return False
        self._polling_since = None
        return True

    async def _poll(self) -> None:
        """Ask for what is new; it stands in `_frames`. Raises `Failed`, `Refused`, `ProtocolViolation`."""
        call = self._call()
        if call.method == "POST":
            answer = await self._server.once(call, self._pulse.limit_s)
            run_id = answer.headers.get("x-run-id")
            if run_id is None:
                raise ProtocolViolation("the answer to a POST does not name its run")
            self.run_id, self._accepted = run_id, True
            self.cursor = self.cursor or answer.headers.get("last-event-id", "0")
            self._seq = self._seq if self._seq is not None else int(self.cursor.partition(".")[0])
            call = self._call()
        call = replace(call, params={**call.params, "poll": 1})
        page = read_page(read_json(await self._server.once(call, self._pulse.limit_s)))
        if not page:
            raise Failed("the server does not wait for news")
        self._failed = self._failing_since = None
        self._was_open = True
        if self._polling_since is None:
            self._polling_since = self._server.clock()
        if self.phase != "live":
            self._tell("live", REASON)
        self._frames.extend(page)

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

    def _opened(self, response: httpx2.Response) -> None:
        if response.status_code == HTTPStatus.NO_CONTENT:
            self._response = response
            self._over = True
            return
        self._accepted = True
        if self.run_id is None:
            self.run_id = response.headers.get("x-run-id") or _run_in(response.headers.get("location", ""))
        self._response = response
        self._body = response.aiter_bytes()
        self._decoder = Decoder()
        self._pulse.opened(self._server.clock())

    async def _read(self) -> None:
        """Read once; what came stands in `_frames`, what went wrong in `_failed`."""
        assert self._body is not None
        chunk: bytes | None = None
        reason = f"silent for {self._patience_s:g} s"
        self._watched_in_vain = False
        # What the reader did before it began to listen is no silence of the server's.
        self._pulse.heard(self._server.clock())
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope)
            try:
                chunk = await anext(self._body)
            except StopAsyncIteration:
                reason = "the connection ended before the stream did"
            except (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError) as error:
                reason = str(error) or type(error).__name__
            group.cancel_scope.cancel()
        if chunk is None:
            self._learn(Failed(reason, silent=self._watched_in_vain and not self._greeted), polled=False)
            return
        self._greeted = True
        self._server.holds_back = False
        self._pulse.heard(self._server.clock())
        try:
            events = self._decoder.feed(chunk)
        except EventTooLarge as error:
            self._failed = Failed(str(error))
            return
        if self._decoder.retry_ms is not None:
            self._backoff.base_s = min(self._decoder.retry_ms / 1000, _LONGEST_RETRY_S)
        for event in events:
            frame = parse(event)
            if frame is not None:
                self._frames.append(frame)

    async def _watch(self, reading: anyio.CancelScope) -> None:
        pace = self._server.pace
        # There is nothing to wait for but time: what is watched is a clock that others can set.
        while not self._pulse.silent(self._server.clock(), self._patience_s):  # noqa: ASYNC110
            await anyio.sleep(min(pace.tick_s, self._patience_s / 4))
        self._watched_in_vain = True
        if self._greeted:
            self._pulse.gave_up()
        reading.cancel()

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
                self._pulse.beat(sent_at(frame.data.get("ts"), self._server.clock()))
                self._backoff.progress()
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
        self._was_open = True
        self._failing_since = None
        self._tell("live", "")

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

    def _drop(self, failed: Failed) -> None:
        self._frames.clear()
        self._failed = failed

    def _tell(self, phase: FollowState, reason: str) -> None:
        if phase == self.phase and not reason:
            return
        self.phase = phase
        if self._on_state is not None:
            self._on_state(phase, reason)


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
