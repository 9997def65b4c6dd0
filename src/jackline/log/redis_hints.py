"""Hints over sharded pub/sub: one connection per process, one subscription per conversation.

A hint says that there may be something to read. Those of the time without a connection are lost,
so after each (new) subscription the store is looked at, and after each loss all waits return.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jackline.log.base import News
from jackline.log.packing import unpack
from jackline.log.redis_connection import Connection
from jackline.log.redis_wire import array, raw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from jackline.log.redis_address import Address
    from jackline.log.redis_wire import Link, Reply

_LINGER: Final = 30.0
"""Seconds that a subscription outlives its last waiter: a reader reads between two waits, and
would otherwise subscribe anew each time."""
_BLIND: Final = 0.25
"""Seconds after which a wait returns while there is no connection for hints: it becomes a poll."""
_PULSE: Final = 5.0
"""Seconds between signs of life on a connection that otherwise only listens: a network that
drops everything silently is noticed by the deadline of their answers."""


class _Waiter:
    """Somebody who waits for a hint. `hear` is called with each payload."""

    def __init__(self, hear: Callable[[_Waiter, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self._hear = hear

    def hear(self, payload: bytes) -> None:
        self._hear(self, payload)

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def wake_in(self, seconds: float) -> None:
        self._timers.append(self._loop.call_later(seconds, self.wake))

    async def woken(self) -> None:
        await self._future

    def end(self) -> None:
        for timer in self._timers:
            timer.cancel()


def _deaf(_: _Waiter, __: bytes) -> None:
    """For who waits for the subscription, not for hints."""


class _Channel:
    """A subscription. `ready` while the server has confirmed it; `seen` is good only then.
    `told`: who listens, by the run's number."""

    def __init__(self) -> None:
        self.told: dict[int, list[Callable[[News | None], None]]] = {}
        self.listeners = 0
        self.ready = False
        self.seen: dict[int, tuple[int, bool]] = {}
        self.waiters: set[_Waiter] = set()
        self.linger: asyncio.TimerHandle | None = None

    @contextmanager
    def waiter(self, hear: Callable[[_Waiter, bytes], None]) -> Generator[_Waiter]:
        waiter = _Waiter(hear)
        self.waiters.add(waiter)
        try:
            yield waiter
        finally:
            self.waiters.discard(waiter)
            waiter.end()

    def wake_all(self) -> None:
        for waiter in self.waiters:
            waiter.wake()
        for number in tuple(self.told):
            self.tell(number, None)

    def tell(self, number: int, news: News | None) -> None:
        for hear in tuple(self.told.get(number, ())):
            hear(news)

    def note(self, number: int, last: int, closed: bool) -> None:
        former = self.seen.get(number, (0, False))
        self.seen[number] = max(last, former[0]), closed or former[1]


class Hints:
    """Waits of this process. `due_channel` tells when runs become due, every other channel is a
    conversation's."""

    def __init__(self, address: Address, deadline: float, due_channel: str) -> None:
        self._due_channel = due_channel
        self._channels: dict[str, _Channel] = {}
        self._pulse: asyncio.TimerHandle | None = None
        self._connection = Connection(
            address, deadline, on_push=self._pushed, on_up=self._up, on_down=self._down
        )

    async def start(self) -> None:
        """Connect; raises as `connect` does."""
        await self._connection.start()
        self._beat()

    async def aclose(self) -> None:
        """Let go; pending waits return."""
        if self._pulse is not None:
            self._pulse.cancel()
        for channel in self._channels.values():
            channel.wake_all()
            if channel.linger is not None:
                channel.linger.cancel()
        self._channels.clear()
        await self._connection.aclose()

    async def entries(
        self,
        name: str,
        number: int,
        after: int,
        timeout: float,
        look: Callable[[], Awaitable[tuple[int, bool] | None]],
    ) -> None:
        """Wait for entries after `after` of run `number` on channel `name`, or for its end.

        `look` reads the run's last seq and whether it is closed, None when there is no such run.
        """
        end = asyncio.get_running_loop().time() + timeout
        with self._listening(name) as channel:
            if not await self._ready(channel, end):
                return
            if number not in channel.seen:
                found = await look()
                if found is None or not channel.ready:
                    return
                channel.note(number, *found)

            def may_return() -> bool:
                last, closed = channel.seen.get(number, (after + 1, False))
                return closed or last > after

            def hear(waiter: _Waiter, _: bytes) -> None:
                if may_return():
                    waiter.wake()

            if not may_return():
                with channel.waiter(hear) as waiter:
                    waiter.wake_in(end - asyncio.get_running_loop().time())
                    await waiter.woken()

    @contextmanager
    def listening(self, name: str, number: int, hear: Callable[[News | None], None]) -> Generator[None]:
        """Have `hear` told of run `number` on channel `name`; None where something may be missed: when
        the subscription stands (what came before it is only in the log), and when it is lost."""
        with self._listening(name) as channel:
            channel.told.setdefault(number, []).append(hear)
            try:
                yield
            finally:
                channel.told[number].remove(hear)
                if not channel.told[number]:
                    del channel.told[number]

    async def due(self, timeout: float, look: Callable[[], Awaitable[float | None]]) -> None:
        """Wait until a run becomes due. `look`: seconds until the next one does, None for never."""
        end = asyncio.get_running_loop().time() + timeout

        def hear(waiter: _Waiter, payload: bytes) -> None:
            seconds = int(payload) / 1000
            if asyncio.get_running_loop().time() + seconds < end:
                waiter.wake_in(seconds)

        with self._listening(self._due_channel) as channel:
            if not await self._ready(channel, end):
                return
            with channel.waiter(hear) as waiter:  # before the look, so that no hint falls between
                coming = await look()
                waiter.wake_in(end - asyncio.get_running_loop().time())
                if coming is not None:
                    waiter.wake_in(coming)
                await waiter.woken()

    # -- subscriptions -------------------------------------------------------------------------

    async def _ready(self, channel: _Channel, end: float) -> bool:
        """Whether the subscription stands; False when it does not in time."""
        loop = asyncio.get_running_loop()
        while not channel.ready:
            blind = self._connection.link is None
            with channel.waiter(_deaf) as waiter:
                waiter.wake_in(min(end - loop.time(), _BLIND) if blind else end - loop.time())
                await waiter.woken()
            if blind or loop.time() >= end:
                return channel.ready
        return True

    @contextmanager
    def _listening(self, name: str) -> Generator[_Channel]:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel()
            if self._connection.link is not None:
                self._connection.link.write(("SSUBSCRIBE", name))
        if channel.linger is not None:
            channel.linger.cancel()
            channel.linger = None
        channel.listeners += 1
        try:
            yield channel
        finally:
            channel.listeners -= 1
            if channel.listeners == 0 and self._channels.get(name) is channel:
                channel.linger = asyncio.get_running_loop().call_later(_LINGER, self._leave, name)

    def _leave(self, name: str) -> None:
        del self._channels[name]
        if self._connection.link is not None:
            self._connection.link.write(("SUNSUBSCRIBE", name))

    # -- the connection ------------------------------------------------------------------------

    def _up(self, link: Link) -> None:
        for name in self._channels:
            link.write(("SSUBSCRIBE", name))

    def _down(self) -> None:
        for channel in self._channels.values():
            channel.ready = False
            channel.seen.clear()
            channel.wake_all()

    def _beat(self) -> None:
        self._pulse = asyncio.get_running_loop().call_later(_PULSE, self._beat)
        if self._connection.link is not None:
            answer = self._connection.link.send([("PING",)])
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _pushed(self, message: list[Reply]) -> None:
        kind, name = raw(message[0]), raw(message[1])
        channel = self._channels.get(name.decode(errors="replace"))
        if channel is None:
            return
        if kind == b"ssubscribe":
            channel.ready = True
            channel.wake_all()
        elif kind == b"sunsubscribe":
            # Of a subscription that was left just before this one was made, or by the server.
            channel.ready = False
            channel.seen.clear()
        elif kind == b"smessage":
            self._hint(name.decode(), channel, raw(array(message)[2]))

    def _hint(self, name: str, channel: _Channel, payload: bytes) -> None:
        if name != self._due_channel:
            head, _, packed = payload.partition(b"\n")
            number, first, last, closed, *more = head.split(b" ")
            channel.note(int(number), int(last), closed == b"1")
            if channel.told:
                # Without an epoch it was written by an older version: then it is read.
                carried = (
                    News(int(first), unpack(packed), closed == b"1", int(more[0]))
                    if packed and more
                    else None
                )
                channel.tell(int(number), carried)
        for waiter in tuple(channel.waiters):
            waiter.hear(payload)
