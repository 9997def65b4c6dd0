"""The tails of the runs that are watched here: one per process and run, however many viewers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from jackline.web.feed import FeedTail
from jackline.web.fold import Fold
from jackline.web.pages import CACHE_BYTES, Pages
from jackline.web.ring import RING_BYTES
from jackline.web.tail import Tail
from jackline.web.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator

    from jackline.log.base import Store
    from jackline.run import RunState
    from jackline.web.writing import Writing

LINGER_SECONDS: Final = 5.0

_BEHIND: Final = 8
"""Viewers served in one turn of the loop that are behind: each may take a whole page."""

_TOGETHER: Final = 0.02
"""Heartbeats that are due within this part of their interval are made together."""

_LOG = logging.getLogger(__name__)


class Tails:
    """The tails of this process, and the feed's. `linger`: seconds that a tail stays after its last viewer,
    so that a reconnection finds it warm."""

    def __init__(
        self,
        log: Store,
        *,
        heartbeat: float,
        now: Callable[[], float],
        ring_bytes: int = RING_BYTES,
        linger: float = LINGER_SECONDS,
        page_bytes: int = CACHE_BYTES,
    ) -> None:
        self.draining = False
        self.delivered = 0
        """Entries that were written to viewers who have left since."""
        self.pages = Pages(self.spawn, page_bytes)
        self.turns = Turns()
        self.feed = FeedTail(log, heartbeat=heartbeat, now=now, linger=linger, spawn=self._spawn_for_feed)
        self._log = log
        self._heartbeat = heartbeat
        self._now = now
        self._ring_bytes = ring_bytes
        self._linger = linger
        self._tails: dict[str, Tail] = {}
        self._watchers = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._behind: deque[Callable[[], None]] = deque()
        self._beats: deque[tuple[float, Tail]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Within it runs can be watched."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    yield
                finally:
                    self._end()
        finally:
            self._tasks = None

    def _end(self) -> None:
        """Let go of all viewers and tails."""
        for tail in list(self._tails.values()):
            tail.abort()
            self._drop(tail)
        self.feed.abort()
        self.feed.end()
        self._beats.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def viewers(self) -> int:
        """How many viewers there are, and who waits for an ending."""
        return self._watchers + self.feed.watchers

    @property
    def entries_delivered(self) -> int:
        """Entries that were written to viewers, each one's counted. Asks each of them."""
        return self.delivered + sum(viewer.delivered for viewer in self._here())

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in this process for viewers to take them. Asks each of them."""
        return sum(viewer.waiting for viewer in self._here())

    def _here(self) -> Iterator[Writing]:
        for watched in (*self._tails.values(), self.feed):
            yield from watched.viewers

    @property
    def watched(self) -> tuple[str, ...]:
        """The runs that have a tail."""
        return tuple(self._tails)

    def spawn(self, tail: Tail, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task for a tail. It ends with `running` at the latest; a fault in it is no other run's matter."""
        if self._tasks is None:
            work.close()
            raise RuntimeError("the app is not running: nothing can be watched")
        task = self._tasks.create_task(self._guard(tail, work))
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before its first step
        return task

    def drain(self) -> None:
        """The server is going: every viewer says `shutdown` and ends."""
        self.draining = True
        for tail in self._tails.values():
            tail.wake()
        self.feed.wake()

    async def enter(self, run_id: str) -> Tail:
        """The run's tail, read up to the log's end. It is held until `leave`, unless this raises:
        `StoreUnavailable`, `UnknownRun`."""
        tail = await self._entered(run_id)
        while tail.gone:  # it was dropped while it was read: nobody would end what follows it
            self.leave(tail)
            tail = await self._entered(run_id)
        try:
            if tail.following is None or (tail.following.done() and not tail.closed):
                # A store that came back without the ending opens the run again.
                if tail.following is None:
                    self._beats.append((asyncio.get_running_loop().time() + self._heartbeat, tail))
                    self._await_beat()
                tail.following = self.spawn(tail, tail.follow())
        except BaseException:
            self.leave(tail)
            raise
        return tail

    async def _entered(self, run_id: str) -> Tail:
        tail = self._tails.get(run_id)
        if tail is None:
            tail = self._tails[run_id] = self._make(run_id)
        tail.watchers += 1
        self._watchers += 1
        try:
            await self._refreshed(tail)
        except BaseException:
            self.leave(tail)
            raise
        return tail

    def leave(self, tail: Tail) -> None:
        """Let go of what `enter` gave."""
        tail.watchers -= 1
        self._watchers -= 1
        if not tail.watchers:
            linger = self._linger if tail.following is not None else 0
            asyncio.get_running_loop().call_later(linger, self._drop_idle, tail)

    @asynccontextmanager
    async def watch(self, run_id: str) -> AsyncGenerator[Tail, None]:
        """`enter` and `leave`."""
        tail = await self.enter(run_id)
        try:
            yield tail
        finally:
            self.leave(tail)

    def later(self, turn: Callable[[], None]) -> None:
        """Give a viewer that is behind its `turn`, when those before it had theirs (G10: who replays
        does not keep the others waiting)."""
        if not self._behind:
            asyncio.get_running_loop().call_soon(self._serve_behind)
        self._behind.append(turn)

    def _serve_behind(self) -> None:
        for _ in range(min(_BEHIND, len(self._behind))):
            self._behind.popleft()()
        if self._behind:
            asyncio.get_running_loop().call_soon(self._serve_behind)

    async def state(self, run_id: str) -> RunState:
        """The fold of a run up to its log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        tail = self._tails.get(run_id)
        return await (Fold(self._log, run_id) if tail is None else tail.fold).refresh()

    def forget(self, run_id: str) -> None:
        """Let go of a run that was deleted."""
        tail = self._tails.get(run_id)
        if tail is not None:
            tail.gone = True
            tail.wake()
            self._drop(tail)

    def _make(self, run_id: str) -> Tail:
        return Tail(self._log, run_id, heartbeat=self._heartbeat, now=self._now, ring_bytes=self._ring_bytes)

    async def _refreshed(self, tail: Tail) -> None:
        """Wait for a reading of the log's end that began after this call: one for all who wait."""
        if tail.reading is None:
            tail.reading = asyncio.get_running_loop().create_future()
            if not tail.busy:
                tail.busy = True
                self.spawn(tail, self._readings(tail))
        await asyncio.shield(tail.reading)

    async def _readings(self, tail: Tail) -> None:
        try:
            while tail.reading is not None:
                reading, tail.reading = tail.reading, None
                try:
                    await tail.refresh()
                    reading.set_result(None)
                except Exception as error:  # noqa: BLE001 (whatever it is, it is told to those who wait)
                    reading.set_exception(error)
                    reading.exception()  # those who asked may all be gone
                finally:
                    reading.cancel()  # unless it is done
        finally:
            tail.busy = False

    async def _guard(self, tail: Tail, work: Coroutine[None, None, None]) -> None:
        """The top of a tail's task. A fault in one run's tail must not end the other runs' viewers."""
        try:
            await work
        except Exception:  # noqa: BLE001 (this is a task's top)
            _LOG.exception("the tail of run %s failed", tail.run_id)
            tail.gone = True
            tail.wake()
        if tail.gone:
            self._drop(tail)

    def _spawn_for_feed(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        if self._tasks is None:
            work.close()
            raise RuntimeError("the app is not running: nothing can be watched")
        task = self._tasks.create_task(self._guard_feed(work))
        task.add_done_callback(lambda _: work.close())
        return task

    async def _guard_feed(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 (this is a task's top)
            _LOG.exception(
                "the feed's tail failed; its viewers are cut off, and come back with their cursors"
            )
            self.feed.abort()
            self.feed.end()

    # -- heartbeats: one timer for all (G9) ------------------------------------------------------

    def _await_beat(self) -> None:
        if self._timer is None and self._beats:
            self._timer = asyncio.get_running_loop().call_at(self._beats[0][0], self._beat)

    def _beat(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._beats and self._beats[0][0] <= now + self._heartbeat * _TOGETHER:
            due, tail = self._beats.popleft()
            if self._tails.get(tail.run_id) is tail:
                self.spawn(tail, tail.pulse())
                missed = max(0.0, now - due) // self._heartbeat
                self._beats.append((due + (missed + 1) * self._heartbeat, tail))
        self._await_beat()

    def _drop_idle(self, tail: Tail) -> None:
        if not tail.watchers and self._tails.get(tail.run_id) is tail:
            self._drop(tail)

    def _drop(self, tail: Tail) -> None:
        if self._tails.get(tail.run_id) is tail:
            del self._tails[tail.run_id]
            self.pages.forget(tail.run_id)
        if tail.following is not None:
            tail.following.cancel()
