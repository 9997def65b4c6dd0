"""A run's journal: the one writer of a run that a worker holds, and the fold of all it has read.

Progress is put in and goes out in groups: what gathers while an append is in flight goes in the
next one, no timer. Barriers (`commit`) wait until their entries are in the log. One task owns the
appends, so a cancelled caller can never tear one in two: it abandons its answer, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
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
    UnknownRun,
)
from jackline.events import Approval, Token, Workflow, decode, encode
from jackline.log.base import KEEP, Missing
from jackline.run import names_of, only_tokens, weight
from jackline.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.events import Entry, Event, Unknown
    from jackline.log.base import Artifact, Due, Lease, News, Store
    from jackline.run import RunState

_T = TypeVar("_T")

MAX_WAITING_BYTES: Final = 1 << 20
"""Progress that may wait for the store before `room` holds the agent back."""

GROUP_BYTES: Final = 256 * 1024
"""One append carries no more than about this, so that a reader never has to take in a huge record."""

TAIL_BYTES: Final = 1 << 20
"""A run's newest entries that its holder keeps, to put them back should the store come back without
them. What may not be on disk yet is never more than half of it."""

ASIDE_BYTES: Final = 4 << 20
"""Values stored aside that its holder keeps for the same reason; the newest one however large it is."""

WATCH_SECONDS: Final = 1.0
"""The longest time that a lost hint of a command can cost."""

RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between tries while the store is away; the last one repeats."""


@dataclass(kw_only=True, slots=True)
class _Item:
    events: list[Event]
    size: int = 0
    done: asyncio.Future[None] | None = None
    expect: bool = False
    even_if_stopping: bool = False
    checkpoint: bytes | None = None
    due: Due = KEEP
    close: bool = False
    entries: list[Entry] = field(default_factory=list["Entry"])

    gathered: bool = False
    """Whether its entries were put in one by one, so that nothing binds them together."""
    parts: tuple[_Item, ...] = ()
    """The items that this one was gathered from; none when it was put in as it is."""

    def settle(self, error: Exception | None) -> None:
        """Tell who waits for it."""
        for item in self.parts or (self,):
            if item.done is not None:
                _settle(item.done, error)

    def apart(self) -> Sequence[_Item]:
        """What it can be taken apart into, where one entry is at fault for all of it."""
        if self.parts:
            return self.parts
        if not self.gathered or len(self.entries) < 2:  # noqa: PLR2004
            return ()
        return [
            _Item(events=[event], entries=[entry])
            for event, entry in zip(self.events, self.entries, strict=True)
        ]

    @property
    def lazy(self) -> bool:
        """Whether nobody waits for it, so that it need not be known to be on disk."""
        return self.plain or (self.done is None and not self.parts)

    @property
    def plain(self) -> bool:
        return not self.expect and self.checkpoint is None and self.due is KEEP and not self.close


class Tail:
    """The newest entries of a log, bounded by TAIL_BYTES. `last`: the seq of the one before the
    first that is added. `loose`: bytes of those that may not be on disk yet."""

    def __init__(self, last: int) -> None:
        self.loose = 0
        self._last = last
        self._entries: deque[Entry] = deque()
        self._size = 0

    def add(self, entry: Entry) -> None:
        """The log's next entry."""
        self._entries.append(entry)
        self._last += 1
        size = len(entry.body)
        self._size += size
        self.loose += size
        while self._size > TAIL_BYTES and len(self._entries) > 1:
            self._size -= len(self._entries.popleft().body)

    def at(self, seq: int) -> Entry | None:
        """The entry at `seq`, None when it is not held."""
        place = len(self._entries) - 1 - (self._last - seq)
        return self._entries[place] if 0 <= place < len(self._entries) else None

    def after(self, seq: int) -> list[Entry] | None:
        """The entries after `seq`, None when they are not all held."""
        count = self._last - seq
        if count > len(self._entries):
            return None
        return list(self._entries)[len(self._entries) - count :]


class Journal:
    """See the module. `run` must be running, as a task, while anything is put in or committed."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        state: RunState,
        *,
        max_bytes: int = 1 << 62,
        ttl: float = 15.0,
    ) -> None:
        self.state = state
        self.lease = lease
        self.checkpoint: bytes | None = None
        """The newest checkpoint, where it is known here."""
        self.short: int | None = None
        """Set, with `lost`, when the store came back with this entry as its newest and what came
        after it cannot be put back from here."""
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
        self._open: _Item | None = None
        """The last of `_items`, where more progress can go into it."""
        self._waiting = 0
        self._max_bytes = max_bytes
        self._asleep: asyncio.Future[None] | None = None
        """What `run` waits for while there is nothing to write."""
        self._room = asyncio.Event()
        self._room.set()
        self._written_at = 0.0
        self._flying = 0
        """The seq of the last entry of ours that is being appended; 0 while none is."""
        self._unsure = False
        self._poke = asyncio.Event()
        """Set when there may be something to read."""
        self._reading = asyncio.Lock()
        self._recent: list[Entry] = []
        self._ttl = ttl
        self._tail = Tail(state.seq)
        self._aside: dict[str, Artifact] = {}
        self._owed: dict[str, Artifact] = {}
        self._log = structlog.get_logger().bind(run_id=lease.run_id)
        self._note_stop()

    def put(self, event: Event, *, unless_stopping: bool = False) -> None:
        """Progress: it goes out with the next group. Call `room` before making more.

        `unless_stopping`: it may not follow a stop, and is dropped when one stands in the log."""
        entry = encode(event)
        size = len(entry.body)
        item = self._open
        if item is None or unless_stopping or item.size + size > GROUP_BYTES:
            gathered = not unless_stopping
            item = _Item(
                events=[event], entries=[entry], size=size, expect=unless_stopping, gathered=gathered
            )
            self._enqueue(item)
            self._open = item if gathered else None
            return
        item.events.append(event)
        item.entries.append(entry)
        item.size += size
        self._waiting += size
        if self._waiting > MAX_WAITING_BYTES:
            self._room.clear()

    @property
    def full(self) -> bool:
        """Whether `room` would wait."""
        return self._waiting > MAX_WAITING_BYTES

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
        `even_if_stopping`. Raises `Fenced`, `RunClosed` or `UnknownRun` when the run is no longer ours.
        """
        entries = [encode(event) for event in events]
        item = _Item(
            events=list(events),
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

    async def store_aside(self, artifact_id: str, artifact: Artifact) -> None:
        """Store a value that is too large for the entry that will name it (G8: once the store is there)."""
        self._aside.pop(artifact_id, None)
        self._aside[artifact_id] = artifact
        while len(self._aside) > 1 and sum(len(kept.data) for kept in self._aside.values()) > ASIDE_BYTES:
            del self._aside[next(iter(self._aside))]
        await self.patiently(lambda: self._store.put_artifact(self.lease.run_id, artifact_id, artifact))
        self._tail.loose += len(artifact.data)

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
            if not self._items:
                self._asleep = asyncio.get_running_loop().create_future()
                await self._asleep
            while self._items and not self.lost.is_set():
                await self._write(self._take())
            if self.lost.is_set():
                self._refuse_all()

    async def watch(self) -> None:
        """Read what others append (commands), until cancelled or the run is lost."""
        with self._store.listen(self.lease.run_id, self._hear):
            while not self.lost.is_set():
                try:
                    if await self._poked():
                        self._poke.clear()
                        await self.refresh()
                except StoreUnavailable:
                    self.away = True
                    self._poke.set()
                    await asyncio.sleep(RETRY_SECONDS[-1])
                except (Fenced, RunClosed, UnknownRun):
                    self._lose()

    def _hear(self, news: News | None) -> None:
        """What is appended here says what it has read, and is refused where there is more: only what goes
        beyond it has to be read."""
        if news is not None:
            last = news.first + len(news.entries) - 1
            if last > max(self.state.seq, self._flying) or news.closed:
                self._poke.set()
        elif self._flying:
            self._unsure = True  # it may be ours, and it may be what came right after
        else:
            self._poke.set()

    async def _poked(self) -> bool:
        """Wait until there may be something to read; False when nothing was heard, and own appends have
        found nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await self._poke.wait()
                return True
        return self._written_at + WATCH_SECONDS < asyncio.get_running_loop().time()

    def _come_down(self) -> None:
        """Nothing of ours is being appended any more."""
        self._flying = 0
        if self._unsure:
            self._unsure = False
            self._poke.set()

    async def refresh(self) -> None:
        """Read and fold everything that stands after the last entry folded. Should the log have come
        back from its store shorter, put back what it is missing (G8). Raises `Fenced` when another
        holds the run by now, or when that cannot be done (then `short` is set)."""
        async with self._reading:
            while True:
                page = await self._store.read(self.lease.run_id, self.state.seq)
                self.away = False
                self._fold(page.first, page.entries)
                if page.closed and self.state.seq >= page.last:
                    self._lose()
                    return
                if self.state.seq > page.last or (page.restored and self.state.seq == page.last):
                    await self._heal(page.last)
                    continue
                if self.state.seq >= page.last:
                    await self._put_back()
                    return

    async def _put_back(self) -> None:
        """What was stored aside, once the run is known to be ours: another's may stand there by now."""
        for artifact_id, artifact in list(self._owed.items()):
            await self._store.put_artifact(self.lease.run_id, artifact_id, artifact)
            self._owed.pop(artifact_id, None)

    async def _heal(self, last: int) -> None:
        """The store's newest entry is `last`, and more were there, or may have been."""
        missing = self._tail.after(last)
        if missing is None or not await self._continues(last):
            self.short = last
            self._lose()
            raise Fenced(self.lease.run_id)
        names = {name: seq for seq, entry in enumerate(missing, last + 1) for name in names_of(decode(entry))}
        self._owed = dict(self._aside)  # before: an answer that is lost may mean that it is healed
        try:
            await self._store.heal(
                self.lease,
                self._ttl,
                Missing(
                    last=last,
                    entries=missing,
                    names=names,
                    checkpoint=self.checkpoint,
                    summary=summarise(self.state, []),
                ),
            )
        except Moved:
            return  # what has come meanwhile is read next
        self._log.warning("log_healed", after=last, entries=len(missing))

    async def _continues(self, last: int) -> bool:
        """Whether the store's newest entry is the one that was read here at its place."""
        known = self._tail.at(last)
        if known is None:
            return True
        page = await self._store.read(self.lease.run_id, last - 1, 1)
        return page.first == last and list(page.entries[:1]) == [known]

    def _lose(self) -> None:
        self.lost.set()
        self._poke.set()
        self._wake()

    def _wake(self) -> None:
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

    def _enqueue(self, item: _Item) -> None:
        self._items.append(item)
        self._open = None
        self._waiting += item.size
        if self._waiting > MAX_WAITING_BYTES:
            self._room.clear()
        self._wake()

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
            if not self._items or not head.plain:
                break
        if len(parts) == 1:
            return parts[0]
        last = parts[-1] if parts else _Item(events=[])
        return _Item(
            events=[event for part in parts for event in part.events],
            entries=[entry for part in parts for entry in part.entries],
            parts=tuple(parts),
            checkpoint=last.checkpoint,
            due=last.due,
            close=last.close,
        )

    def _drop(self, item: _Item) -> None:
        if item is self._open:
            self._open = None
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
        except (Fenced, RunClosed, UnknownRun) as error:
            self._lose()
            item.settle(error)
        except (IllegalTransition, EntryTooLarge) as error:
            if apart := item.apart():
                # One bad entry must not take down what only happened to be gathered with it.
                for part in apart:
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
            if tries and self._landed(item):
                return await self._until_complete(item)
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
                if self.short is None:
                    await self._refresh_patiently()
                    if tries and self._landed(item):
                        return None
                raise
            else:
                return None
            # Looked at before the next try, and not only when that is refused: the watcher may have
            # folded our own entries, and the same ones would then be written once more.
            await self._refresh_patiently()

    async def _until_complete(self, item: _Item) -> None:
        """Our entries stand there, by a try whose answer was lost. They may have been put back since,
        and then without what came with them: the checkpoint, and that they close the log."""
        if item.checkpoint is None and not item.close:
            return
        try:
            await self._until_written(
                _Item(events=[], checkpoint=item.checkpoint, close=item.close, even_if_stopping=True)
            )
        except RunClosed:
            if not item.close:
                raise

    def _check(self, item: _Item) -> None:
        if item.expect and self.state.stop is not None and not item.even_if_stopping:
            raise StopRequested
        self.state.check(item.events)

    async def _append(self, item: _Item, *, again: bool) -> None:
        """Always at a known place: a try that was given up may still arrive, and would write the same
        twice. `again`: the former try may have arrived."""
        lazy = item.lazy and not again and self._tail.loose < TAIL_BYTES // 2
        tells = not only_tokens(item.events) and any(
            isinstance(event, (Workflow, Approval)) for event in item.events
        )
        self._flying = self.state.seq + len(item.entries) if item.entries else 0
        try:
            appended = await self._store.append(
                self.lease.run_id,
                item.entries,
                fence=self.lease.generation,
                expect=self.state.seq,
                lazy=lazy,
                checkpoint=item.checkpoint,
                summary=summarise(self.state, item.events) if tells else None,
                due=item.due,
                close=item.close,
            )
        except BaseException:
            self._come_down()
            raise
        self.away = False
        self._written_at = asyncio.get_running_loop().time()
        if item.checkpoint is not None:
            self.checkpoint = item.checkpoint
        if item.close:
            self.lost.set()
        if not item.entries:
            self._come_down()
            return
        async with self._reading:
            self._come_down()
            # Others' entries may stand between what was folded and ours; the watcher may have
            # folded ours already.
            if appended.first == self.state.seq + 1:
                for event, entry in zip(item.events, item.entries, strict=True):
                    # What others would read; a token is the same as it was said.
                    self._fold_one(event if type(event) is Token else decode(entry), entry)
                self._note_stop()
            if not lazy:
                self._tail.loose = 0
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
                self._fold_one(decode(entry), entry)
        self._note_stop()

    def _fold_one(self, event: Event | Unknown, entry: Entry) -> None:
        self.state.apply(self.state.seq + 1, event)
        self.state.bytes += weight(entry, event)
        self._recent.append(entry)
        self._tail.add(entry)

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
