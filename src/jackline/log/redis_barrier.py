"""Waiting until what was written is on the server's disk (G8): WAITAOF, shared by all who wait.

WAITAOF blocks its connection until the next fsync, up to a second with `appendfsync everysec`, so
it must not run on the connection that carries everybody's commands. A write on another connection
does as well: the server's log has one order, so once a mark written after our write is on disk,
our write is too. All who came since the last mark share the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

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


class Barrier:
    """`passed()` returns once everything the server has executed so far is on its disk.

    `deadline`: seconds. `key`: a counter, whose increments are the marks.
    """

    def __init__(self, address: Address, deadline: float, key: str) -> None:
        self._address = address
        self._deadline = deadline
        self._key = key
        self._waiting: list[asyncio.Future[bool]] = []
        self._idle: list[Link] = []
        self._marks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._newest_mark = 0.0
        self._closed = False

    async def passed(self) -> bool:
        """False when the server has no AOF any more: then there is no disk to wait for. Raises
        `StoreUnavailable` when it is not known within the deadline."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._next()
        return await waiter

    async def aclose(self) -> None:
        """Let go of the connections; who still waits gets `StoreUnavailable`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._settle(self._waiting, StoreUnavailable("the store was closed"))
        for link in self._idle:
            link.end("the store was closed")
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

    async def _mark(self, waiting: list[asyncio.Future[bool]]) -> None:
        try:
            self._settle(waiting, await self._wait_for_disk())
        except JacklineError as error:
            words = f"written, but not known to be on the disk of Redis: {error}"
            self._settle(waiting, StoreUnavailable(words))
        except asyncio.CancelledError:
            self._settle(waiting, StoreUnavailable("the store was closed"))
            raise

    async def _wait_for_disk(self) -> bool:
        link = await self._link()
        timeout_ms = int(self._deadline * 1000)
        commands: tuple[Command, ...] = (("EVAL", _MARK, 1, self._key), ("WAITAOF", 1, 0, timeout_ms))
        try:
            mark, waited = await link.send(commands)
        except asyncio.CancelledError:
            link.end("the store was closed")
            raise
        self._idle.append(link)
        return _verdict(mark, waited)

    async def _link(self) -> Link:
        while self._idle:
            link = self._idle.pop()
            if link.lost is None:
                return link
        # Twice the deadline: the server itself ends WAITAOF after one.
        link, _ = await connect(self._address, 2 * self._deadline, _ignore_push, _ignore_loss)
        return link

    def _settle(self, waiting: list[asyncio.Future[bool]], outcome: bool | StoreUnavailable) -> None:
        for waiter in waiting:
            if waiter.done():
                continue
            if isinstance(outcome, bool):
                waiter.set_result(outcome)
            else:
                waiter.set_exception(outcome)


def _ignore_push(_: list[Reply]) -> None:
    """Nothing is subscribed to."""


def _ignore_loss(_: Link, __: str) -> None:
    """Found out when the link is wanted next."""


def _verdict(mark: Reply, waited: Reply) -> bool:
    if isinstance(mark, hiredis.ReplyError):
        raise StoreUnavailable(in_words(mark))
    if isinstance(waited, hiredis.ReplyError):
        if code_of(waited) == "ERR" and "appendonly" in str(waited):
            return False
        raise StoreUnavailable(in_words(waited))
    if integer(array(waited)[0]) < 1:
        raise StoreUnavailable("its disk is slow, or refuses")
    return True
