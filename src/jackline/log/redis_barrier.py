"""Waiting until what was written is on the server's disk (G8): WAITAOF, shared by all who wait.

WAITAOF blocks its connection until the next fsync, up to a second with `appendfsync everysec`, so
it must not run on the connection that carries everybody's commands. A write on another connection
does as well: the server's log has one order, so once a mark written after our write is on disk,
our write is too. All who came since the last mark share the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import hiredis

from jackline.errors import JacklineError, StoreUnavailable
from jackline.log.redis_connection import connect
from jackline.log.redis_greeting import code_of, in_words
from jackline.log.redis_wire import array, integer

if TYPE_CHECKING:
    from jackline.log.redis_address import Address
    from jackline.log.redis_wire import Command, Link, Reply

_MARKS: Final = 8
"""Marks under way at most, each on a connection of its own."""
_MARK: Final = "#!lua flags=allow-oom\nreturn redis.call('INCR', KEYS[1])"
"""A plain INCR is refused without free memory, and with it every stop that was just written."""
_SPACING: Final = 0.125
"""Seconds between marks while others are under way: eight of them cover the second that
`everysec` takes, so nobody waits for the fsync after the next."""


class _Waiter(NamedTuple):
    """Who waits, and the life of the server in which it has written."""

    future: asyncio.Future[bool]
    life: str


class _Side(NamedTuple):
    """A connection beside the commands', and the life of the server at its other end."""

    link: Link
    life: str


class Barrier:
    """`passed()` returns once everything the server has executed so far is on its disk.

    `deadline`: seconds. `key`: a counter, whose increments are the marks. `replicas`: how many of
    the server's replicas must have it on their disks too.
    """

    def __init__(self, address: Address, deadline: float, key: str, replicas: int = 0) -> None:
        self._replicas = replicas
        self._address = address
        self._deadline = deadline
        self._key = key
        self._waiting: list[_Waiter] = []
        self._idle: list[_Side] = []
        self._marks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._newest_mark = 0.0
        self._closed = False

    def passed(self, life: str) -> asyncio.Future[bool]:
        """False when the server has no AOF any more: then there is no disk to wait for. Raises
        `StoreUnavailable` when it is not known within the deadline, or the server has come back
        since its `life`: what is on its disk then says nothing of what was written before."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(waiter, life))
        self._next()
        return waiter

    async def aclose(self) -> None:
        """Let go of the connections; who still waits gets `StoreUnavailable`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._settle(self._waiting, StoreUnavailable("the store was closed"))
        for side in self._idle:
            side.link.end("the store was closed")
        marks = set(self._marks)
        for mark in marks:
            mark.cancel()
        if marks:
            await asyncio.wait(marks)

    def _next(self) -> None:
        """Set the next mark now, or when its time comes."""
        if not self._waiting or self._timer is not None or self._closed or len(self._marks) >= _MARKS:
            return
        loop = asyncio.get_running_loop()
        pause = self._newest_mark + _SPACING - loop.time() if self._marks else 0.0
        if pause > 0:
            self._timer = loop.call_later(pause, self._due)
            return
        waiting, self._waiting = self._waiting, []
        self._newest_mark = loop.time()
        # Not in a task group: the marks outlive the caller that set them; `aclose` ends them.
        mark = asyncio.create_task(self._mark(waiting), name="redis barrier")
        self._marks.add(mark)
        mark.add_done_callback(self._marked)

    def _due(self) -> None:
        self._timer = None
        self._next()

    def _marked(self, mark: asyncio.Task[None]) -> None:
        self._marks.discard(mark)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next()

    async def _mark(self, waiting: list[_Waiter]) -> None:
        try:
            outcome, life = await self._wait_for_disk()
            anew = [waiter for waiter in waiting if waiter.life != life]
            self._settle(anew, StoreUnavailable("Redis came back, perhaps without what was written last"))
            self._settle([waiter for waiter in waiting if waiter.life == life], outcome)
        except JacklineError as error:
            words = f"written, but not known to be on the disk of Redis: {error}"
            self._settle(waiting, StoreUnavailable(words))
        except asyncio.CancelledError:
            self._settle(waiting, StoreUnavailable("the store was closed"))
            raise

    async def _wait_for_disk(self) -> tuple[bool, str]:
        """Whether there is a disk to wait for, and the life of the server that said so."""
        side = await self._side()
        timeout_ms = int(self._deadline * 1000)
        write: Command = ("EVAL", _MARK, 1, self._key)
        commands: tuple[Command, ...] = (write, ("WAITAOF", 1, self._replicas, timeout_ms))
        try:
            mark, waited = await side.link.send(commands)
        except asyncio.CancelledError:
            side.link.end("the store was closed")
            raise
        self._idle.append(side)
        return _verdict(mark, waited, self._replicas), side.life

    async def _side(self) -> _Side:
        while self._idle:
            side = self._idle.pop()
            if side.link.lost is None:
                return side
        # Twice the deadline: the server itself ends WAITAOF after one.
        link, server = await connect(self._address, 2 * self._deadline, _ignore_push, _ignore_loss)
        return _Side(link, server.life)

    def _settle(self, waiting: list[_Waiter], outcome: bool | StoreUnavailable) -> None:
        for waiter in waiting:
            if waiter.future.done():
                continue
            if isinstance(outcome, bool):
                waiter.future.set_result(outcome)
            else:
                waiter.future.set_exception(outcome)


def _ignore_push(_: list[Reply]) -> None:
    """Nothing is subscribed to."""


def _ignore_loss(_: Link, __: str) -> None:
    """Found out when the link is wanted next."""


def _verdict(mark: Reply, waited: Reply, replicas: int) -> bool:
    if isinstance(mark, hiredis.ReplyError):
        raise StoreUnavailable(in_words(mark))
    if isinstance(waited, hiredis.ReplyError):
        if code_of(waited) == "ERR" and "appendonly" in str(waited):
            return False
        raise StoreUnavailable(in_words(waited))
    here, there = array(waited)
    if integer(here) < 1:
        raise StoreUnavailable("its disk is slow, or refuses")
    if integer(there) < replicas:
        raise StoreUnavailable(f"{integer(there)} of {replicas} replicas have it on disk")
    return True
