"""One sequence of frames out of as many connections as it takes: what a followed run and the feed share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

import anyio
import httpx2

from jackline.client.errors import ProtocolViolation
from jackline.client.http import Call, Failed, Server, read_json
from jackline.client.pace import Backoff, Pulse, sent_at
from jackline.sse import Decoder, EventTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from jackline.sse import ServerSentEvent

FollowState = Literal["connecting", "live", "reconnecting", "ended"]

POLLING: Final = "by polling, since something on the way holds streams back; see: jackline doctor"
_LONGEST_RETRY_S: Final = 300.0

_Frame = TypeVar("_Frame")


class Connected(ABC, Generic[_Frame]):
    """An async iterator of frames, over any number of cuts, deploys and time-outs.

    A connection's end is the stream's end only when the server says so. Iteration raises `Refused`,
    `Unreachable` (when nothing came back within the pace's budget) and `ProtocolViolation`.
    """

    def __init__(
        self, server: Server, cursor: str | None, on_state: Callable[[FollowState, str], None] | None
    ) -> None:
        self.cursor: str | None = cursor
        """The opaque id to resume from: of the last entry handed out."""
        self.phase: FollowState = "connecting"
        self.again_s: float | None = None
        """While it is not connected: in how many seconds the next try is, counted from when that was told."""
        self._server = server
        self._on_state = on_state
        self._frames: deque[_Frame] = deque()
        self._over = False
        self._was_open = False
        self._polling_since: float | None = None
        self._greeted = False
        """Whether anything came on this connection."""
        self._watched_in_vain = False
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
        """Let the connection go; nothing else is changed by it (G2)."""
        response, self._response, self._body = self._response, None, None
        if response is not None:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def __anext__(self) -> _Frame:
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

    # -- what the kinds of it say --------------------------------------------------------------

    @abstractmethod
    def _call(self) -> Call:
        """What is asked for now."""

    @abstractmethod
    def _parse(self, event: ServerSentEvent) -> _Frame | None:
        """The frame of an event, None for one that is none to this version. Raises `ProtocolViolation`."""

    @abstractmethod
    def _read_page(self, page: dict[str, Any]) -> Sequence[_Frame]:
        """The frames that a stream would have had instead of this page. Raises `ProtocolViolation`."""

    @abstractmethod
    def _take(self, frame: _Frame) -> _Frame | None:
        """The frame if it is to be handed out; keeps the cursor."""

    async def _pollable(self) -> Call:
        """What is asked for instead of a stream; some ask for more before that."""
        call = self._call()
        return replace(call, params={**call.params, "poll": 1})

    def _answered(self, response: httpx2.Response) -> None:
        """A stream was opened."""

    @property
    def _lasting(self) -> bool:
        """Whether it is worth to keep trying although nothing has come yet."""
        return False

    # -- what they do --------------------------------------------------------------------------

    def _begun(self) -> None:
        """The stream's first frame: from here on it counts as open."""
        self._was_open = True
        self._failing_since = None
        self._tell("live", "")

    def _beat(self, ts: object) -> None:
        self._pulse.beat(sent_at(ts, self._server.clock()))
        self._backoff.progress()

    def _drop(self, failed: Failed) -> None:
        self._frames.clear()
        self._failed = failed

    def _tell(self, phase: FollowState, reason: str) -> None:
        if phase == self.phase and not reason:
            return
        self.phase = phase
        if self._on_state is not None:
            self._on_state(phase, reason)

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
        lasting = self._was_open or self._lasting or (pace.waits and self._server.answered)
        budget = pace.follow_budget_s if lasting else pace.first_budget(failed.connected)
        wait = self._server.wait_s(failed, self._backoff, self._failing_since, budget, self._call())
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
        call = await self._pollable()
        page = self._read_page(read_json(await self._server.once(call, self._pulse.limit_s)))
        if not page:
            raise Failed("the server does not wait for news")
        self._failed = self._failing_since = None
        self._was_open = True
        if self._polling_since is None:
            self._polling_since = self._server.clock()
        if self.phase != "live":
            self._tell("live", POLLING)
        self._frames.extend(page)

    def _opened(self, response: httpx2.Response) -> None:
        if response.status_code == HTTPStatus.NO_CONTENT:
            self._response = response
            self._over = True
            return
        self._answered(response)
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
            frame = self._parse(event)
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
