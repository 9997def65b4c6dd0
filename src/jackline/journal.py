"""A run's journal: the one writer of a run that a worker holds, and the fold of all it has read.

Progress is put in and goes out in groups: what gathers while an append is in flight goes in the
next one, no timer. Barriers (`commit`) wait until their entries are in the log. One task owns the
appends, so a cancelled caller can never tear one in two: it abandons its answer, nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from jackline.errors import (
    EntryTooLarge,
    Fenced,
    IllegalTransition,
    LimitReached,
    Moved,
    RunClosed,
    StopRequested,
    StoreUnavailable,
)
from jackline.events import Approval, Workflow, decode, encode
from jackline.log.base import KEEP
from jackline.run import weight
from jackline.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.events import Entry, Event
    from jackline.log.base import Due, Lease, Store
    from jackline.run import RunState

_T = TypeVar("_T")

MAX_WAITING_BYTES: Final = 1 << 20
"""Progress that may wait for the store before `room` holds the agent back."""

GROUP_BYTES: Final = 256 * 1024
"""One append carries no more than about this, so that a reader never has to take in a huge record."""

RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between tries while the store is away; the last one repeats."""


@dataclass(kw_only=True, slots=True)
class _Item:
    events: Sequence[Event]
    size: int = 0
    done: asyncio.Future[None] | None = None
    expect: bool = False
    even_if_stopping: bool = False
    checkpoint: bytes | None = None
    due: Due = KEEP
    close: bool = False
    entries: list[Entry] = field(default_factory=list["Entry"])

    parts: list[_Item] = field(default_factory=list["_Item"])
    """The items that this one was gathered from; none when it was put in as it is."""

    def settle(self, error: Exception | None) -> None:
        """Tell who waits for it."""
        for item in self.parts or (self,):
            if item.done is not None:
                _settle(item.done, error)

    @property
    def plain(self) -> bool:
        return not self.expect and self.checkpoint is None and self.due is KEEP and not self.close


class Journal:
    """See the module. `run` must be running, as a task, while anything is put in or committed."""

    def __init__(self, store: Store, lease: Lease, state: RunState, *, max_bytes: int = 1 << 62) -> None:
        self.state = state
        self.lease = lease
        self.stopping = asyncio.Event()
        """Set once a stop stands in the log."""
        self.immediate = asyncio.Event()
        """Set once a stop of the mode `immediate` stands in the log."""
        self.lost = asyncio.Event()
        """Set once another holds the run, or it is closed: nothing more can be written."""
        self.away = False
        """Whether the store did not answer the last time it was asked."""
        self._store = store
        self._items: deque[_Item] = deque()
        self._waiting = 0
        self._max_bytes = max_bytes
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._reading = asyncio.Lock()
        self._recent: list[Entry] = []
        self._log = structlog.get_logger().bind(run_id=lease.run_id)
        self._note_stop()

    def put(self, event: Event, *, unless_stopping: bool = False) -> None:
        """Progress: it goes out with the next group. Call `room` before making more.

        `unless_stopping`: it may not follow a stop, and is dropped when one stands in the log."""
        entry = encode(event)
        item = _Item(events=(event,), entries=[entry], size=len(entry.body), expect=unless_stopping)
        self._enqueue(item)

    async def room(self) -> None:
        """Wait while too much waits for the store (G8: a bounded tail)."""
        await self._room.wait()

    async def commit(
        self,
        events: Sequence[Event],
        *,
        expect: bool = False,
        even_if_stopping: bool = False,
        checkpoint: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
    ) -> None:
        """A barrier: return once `events`, and all that was put in before, are in the log.

        With `expect` they are written only if nothing stands in the log that this worker has not
        read. If a stop stands there, `StopRequested` is raised and nothing was written, unless
        `even_if_stopping`. Raises `Fenced` or `RunClosed` when the run is no longer ours.
        """
        entries = [encode(event) for event in events]
        item = _Item(
            events=events,
            entries=entries,
            size=sum(len(entry.body) for entry in entries),
            done=asyncio.get_running_loop().create_future(),
            expect=expect,
            even_if_stopping=even_if_stopping,
            checkpoint=checkpoint,
            due=due,
            close=close,
        )
        assert item.done is not None
        self._enqueue(item)
        await item.done

    def check_size(self, more: int = 0) -> None:
        """Raises `LimitReached` once the run has written more than it may, or would with `more` bytes."""
        if self.state.bytes + self._waiting + more > self._max_bytes:
            raise LimitReached("bytes", self._max_bytes)

    async def patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What `ask` gives, once the store answers (G8). `ask` must be safe to repeat."""
        tries = 0
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                self.away = True
                await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                tries += 1

    async def run(self) -> None:
        """Write what is put in, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._items and not self.lost.is_set():
                await self._write(self._take())
            if self.lost.is_set():
                self._refuse_all()

    async def watch(self) -> None:
        """Read what others append (commands), until cancelled or the run is lost."""
        while not self.lost.is_set():
            try:
                await self._store.wait(self.lease.run_id, self.state.seq, 1.0)
                await self.refresh()
            except StoreUnavailable:
                self.away = True
                await asyncio.sleep(RETRY_SECONDS[-1])
            except RunClosed:
                self.lost.set()

    async def refresh(self) -> None:
        """Read and fold everything that stands after the last entry folded."""
        async with self._reading:
            while True:
                page = await self._store.read(self.lease.run_id, self.state.seq)
                self.away = False
                self._fold(page.first, page.entries)
                if self.state.seq >= page.last:
                    if page.closed:
                        self.lost.set()
                        self._wake.set()
                    return

    def _enqueue(self, item: _Item) -> None:
        self._items.append(item)
        self._waiting += item.size
        if self._waiting > MAX_WAITING_BYTES:
            self._room.clear()
        self._wake.set()

    def _take(self) -> _Item:
        """The next group: progress as gathered, up to and with the first barrier. A barrier with
        `expect` goes alone: if it is refused because of a stop, the progress before it must be in
        the log all the same."""
        parts: list[_Item] = []
        size = 0
        while self._items:
            head = self._items[0]
            if head.done is not None and head.done.cancelled():
                self._drop(self._items.popleft())
                continue
            if parts and (head.expect or size + head.size > GROUP_BYTES):
                break
            self._drop(self._items.popleft())
            size += head.size
            parts.append(head)
            if not head.plain:
                break
        if len(parts) == 1:
            return parts[0]
        last = parts[-1] if parts else _Item(events=())
        return _Item(
            events=[event for part in parts for event in part.events],
            entries=[entry for part in parts for entry in part.entries],
            parts=parts,
            checkpoint=last.checkpoint,
            due=last.due,
            close=last.close,
        )

    def _drop(self, item: _Item) -> None:
        self._waiting -= item.size
        if self._waiting <= MAX_WAITING_BYTES:
            self._room.set()

    async def _write(self, item: _Item) -> None:
        if not item.entries and item.plain:
            item.settle(None)
            return
        try:
            await self._until_written(item)
        except StopRequested as error:
            item.settle(error)
        except (Fenced, RunClosed) as error:
            self.lost.set()
            item.settle(error)
        except (IllegalTransition, EntryTooLarge) as error:
            if len(item.parts) > 1:
                # One bad entry must not take down what only happened to be gathered with it.
                for part in item.parts:
                    await self._write(part)
                return
            self._log.warning("entry_refused", error=str(error))
            item.settle(error)
        else:
            item.settle(None)

    async def _until_written(self, item: _Item) -> None:
        tries = 0
        self._recent.clear()
        while True:
            self._check(item)
            try:
                await self._append(item, again=tries > 0)
            except StoreUnavailable:
                self.away = True
                await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                tries += 1
            except Moved:
                pass
            except (Fenced, RunClosed):
                await self._refresh_patiently()
                if tries and self._landed(item):
                    return
                raise
            else:
                return
            # Looked at before the next try, and not only when that is refused: the watcher may have
            # folded our own entries, and the same ones would then be written once more.
            await self._refresh_patiently()
            if tries and self._landed(item):
                return

    def _check(self, item: _Item) -> None:
        if item.expect and self.state.stop is not None and not item.even_if_stopping:
            raise StopRequested
        self.state.check(item.events)

    async def _append(self, item: _Item, *, again: bool) -> None:
        """`again`: the former try may have arrived, so this one is made only at a known place."""
        expect = self.state.seq if item.expect or again else None
        tells = [event for event in item.events if isinstance(event, (Workflow, Approval))]
        appended = await self._store.append(
            self.lease.run_id,
            item.entries,
            fence=self.lease.generation,
            expect=expect,
            checkpoint=item.checkpoint,
            summary=summarise(self.state, item.events) if tells else None,
            due=item.due,
            close=item.close,
        )
        self.away = False
        if item.close:
            self.lost.set()
        if not item.entries:
            return
        async with self._reading:
            # Others' entries may stand between what was folded and ours; the watcher may have
            # folded ours already.
            if appended.first == self.state.seq + 1:
                self._fold(appended.first, item.entries)
        if self.state.seq < appended.last:
            await self._refresh_patiently()

    def _landed(self, item: _Item) -> bool:
        """Whether a try whose answer was lost had arrived: our entries stand among those read since."""
        count = len(item.entries)
        return count > 0 and any(
            self._recent[at : at + count] == item.entries for at in range(len(self._recent) - count + 1)
        )

    async def _refresh_patiently(self) -> None:
        await self.patiently(self.refresh)

    def _fold(self, first: int, entries: Sequence[Entry]) -> None:
        for seq, entry in enumerate(entries, first):
            if seq == self.state.seq + 1:
                self.state.apply(seq, event := decode(entry))
                self.state.bytes += weight(entry, event)
                self._recent.append(entry)
        self._note_stop()

    def _note_stop(self) -> None:
        if self.state.stop is not None:
            self.stopping.set()
            if self.state.stop.mode == "immediate":
                self.immediate.set()

    def _refuse_all(self) -> None:
        while self._items:
            item = self._items.popleft()
            self._drop(item)
            item.settle(Fenced(self.lease.run_id))


def _settle(waiter: asyncio.Future[None], error: BaseException | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
        waiter.exception()  # a cancelled caller never asks; that is no warning's matter
