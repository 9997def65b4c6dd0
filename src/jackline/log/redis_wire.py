"""One connection to a Redis server: commands in, replies out, in order. RESP3 on `hiredis.Reader`.

Callers get a future for each batch. Cancelling a caller abandons its future and nothing else: the
reply is still taken off the wire when it comes, so no other caller gets it by mistake, and no
cancellation is ever swallowed on the way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import hiredis

from jackline.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Reply: TypeAlias = "bool | int | float | bytes | list[Reply] | dict[bytes, Reply] | hiredis.ReplyError | None"
Argument: TypeAlias = "str | int | float | bytes | memoryview"
Command: TypeAlias = "tuple[Argument, ...]"

# Its own annotation knows tuples of one item only.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
_NOTHING: Final = object()
"""What the reader answers when it needs more bytes; RESP3 uses None and False for values."""


class Batch:
    """Commands sent together: one future for all of their replies, errors among them as values."""

    __slots__ = ("deadline", "future", "replies", "wanted")

    def __init__(self, future: asyncio.Future[list[Reply]], wanted: int, deadline: float) -> None:
        self.future = future
        self.wanted = wanted
        self.deadline = deadline
        self.replies: list[Reply] = []


class Link(asyncio.Protocol):
    """The connection. It ends once, with a reason in words, and is not used again.

    `deadline`: seconds that the oldest batch may wait. Replies come in order, so when one is late
    all behind it are: the link is given up, and every waiting batch fails with `StoreUnavailable`.
    `on_push` gets pub/sub messages; `on_lost` is called once with the reason.
    """

    def __init__(
        self,
        deadline: float,
        on_push: Callable[[list[Reply]], None],
        on_lost: Callable[[Link, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._waiting: deque[Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.lost: str | None = None

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        """Send `commands` one after the other; what other tasks send in the same turn of the loop
        leaves in the same write. Raises `StoreUnavailable` when the link has ended."""
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.extend(map(_pack, commands))
        batch = Batch(self._loop.create_future(), len(commands), self._loop.time() + self._deadline)
        self._waiting.append(batch)
        if self._timer is None:
            self._timer = self._loop.call_at(batch.deadline, self._look_at_the_clock)
        return batch.future

    def write(self, command: Command) -> None:
        """Send a command that is answered by pushes only (SUBSCRIBE and its kin)."""
        if self.lost is None:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(_pack(command))

    def end(self, reason: str) -> None:
        """Give the connection up. Without effect on one that has ended."""
        if self.lost is not None:
            return
        self.lost = reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for batch in waiting:
            if not batch.future.done():
                batch.future.set_exception(StoreUnavailable(reason))
        self._on_lost(self, reason)

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Give each reply to the batch it belongs to."""
        try:
            self._reader.feed(data)
            while self.lost is None:
                reply = self._reader.gets()
                if reply is _NOTHING:
                    return
                if isinstance(reply, hiredis.PushNotification):
                    self._on_push(cast("list[Reply]", reply))
                else:
                    self._take(cast("Reply", reply))
        except hiredis.ProtocolError as error:
            self.end(f"the server does not speak the Redis protocol ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side, or the network, ended it."""
        self.end("Redis closed the connection" if exc is None else f"the connection to Redis broke ({exc})")

    # -- helpers -------------------------------------------------------------------------------

    def _take(self, reply: Reply) -> None:
        if not self._waiting:
            self.end("the server sent a reply that nobody asked for")
            return
        batch = self._waiting[0]
        batch.replies.append(reply)
        if len(batch.replies) == batch.wanted:
            self._waiting.popleft()
            if not batch.future.done():
                batch.future.set_result(batch.replies)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.lost is None:
            self._transport.write(b"".join(unsent))

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        head = self._waiting[0].deadline
        if head > self._loop.time():
            self._timer = self._loop.call_at(head, self._look_at_the_clock)
        else:
            self.end(f"Redis did not answer within {self._deadline:g} s")


# -- replies as types; a reply of another shape is a fault of the server's, told as one -----------


def integer(reply: Reply) -> int:
    """A number, also where the server sends one as text."""
    if isinstance(reply, (int, bytes, float)):
        return int(reply)
    raise unexpected_reply(reply)


def raw(reply: Reply) -> bytes:
    """Bytes."""
    if isinstance(reply, bytes):
        return reply
    raise unexpected_reply(reply)


def text(reply: Reply) -> str:
    """UTF-8 text."""
    return raw(reply).decode()


def array(reply: Reply) -> list[Reply]:
    """A list."""
    if isinstance(reply, list):
        return reply
    raise unexpected_reply(reply)


def unexpected_reply(reply: Reply | Sequence[Reply]) -> StoreUnavailable:
    """The error for a reply that the server cannot give."""
    return StoreUnavailable(f"Redis answered something unexpected: {reply!r:.200}")
