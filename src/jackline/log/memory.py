"""The reference model of a store: plain records in one process, nothing durable.

The contract suite holds the other stores to what this one does. No method awaits between its
first check and its last write, so each is one atomic step of the event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import TYPE_CHECKING, Final, TypeVar

from jackline.errors import Busy, EntryTooLarge, Fenced, Moved, RunClosed, UnknownRun
from jackline.events import in_feed
from jackline.ids import conversation_of, is_conversation_id, run_id
from jackline.log.base import (
    KEEP,
    MAX_ENTRY_BYTES,
    NEVER,
    NOBODY,
    NOW,
    Appended,
    Artifact,
    Begun,
    Conversation,
    Due,
    Head,
    Lease,
    NeverShort,
    Nobody,
    Page,
    Reservation,
    Serves,
    Start,
    Taken,
)
from jackline.log.feed import FEED_ENTRIES, FeedItem, FeedPage, position
from jackline.log.packing import Packed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from jackline.events import Entry
    from jackline.log.base import News

_RESERVATION_MS: Final = 24 * 60 * 60 * 1000
"""A day: how long an idempotency key is kept at least."""


@dataclass(kw_only=True, slots=True)
class _Run:
    run_id: str
    order: int
    token: str
    agent: str
    owner: str
    created_ms: int
    updated_ms: int
    due_ms: int | None
    waiting: bool
    entries: list[Entry] | Packed
    summary: bytes
    revision: str = ""
    checkpoint: bytes | None = None
    closed: bool = False
    once: dict[str, int] = field(default_factory=dict[str, int])
    generation: int = 0
    worker: str = ""
    lease_until_ms: int | None = None  # None: no lease, neither live nor lapsed
    renewed_ms: int = 0
    unreleased: bool = False  # the newest claim was never given back

    @property
    def claimable_ms(self) -> int | None:
        """From when on it can be claimed, if nothing changes until then. None for never."""
        if self.closed or self.waiting:
            return None
        return self.due_ms if self.lease_until_ms is None else self.lease_until_ms

    def end_lease(self) -> None:
        self.worker = ""
        self.lease_until_ms = None


@dataclass(kw_only=True, slots=True)
class _Talk:
    conversation_id: str
    order: int
    owner: str
    created_ms: int
    runs: list[_Run] = field(default_factory=list[_Run])
    numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def active(self) -> _Run | None:
        return next((run for run in self.runs if not run.closed and not run.waiting), None)

    @property
    def last_ending_ms(self) -> int | None:
        """None while a run is open."""
        if any(not run.closed for run in self.runs):
            return None
        return max((run.updated_ms for run in self.runs), default=self.created_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beat:
    at_ms: int
    until_ms: int
    idle_ms: int
    catalogue: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    hear: Callable[[News | None], None]


class MemoryStore(NeverShort):
    """A `Store` in this process's memory, gone with it. `clock`: seconds since 1970.

    Durability (G8): none. Everything else is as the protocol says.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        feed: Callable[[Entry], bool] = in_feed,
        feed_entries: int = FEED_ENTRIES,
    ) -> None:
        """`feed`: which entries are in the feed, which holds the newest `feed_entries`."""
        self._clock = clock
        self._in_feed = feed
        self._feed_entries = feed_entries
        self._feed_name = secrets.token_hex(4)
        self._feed: dict[int, tuple[str, int]] = {}
        self._fed = 0
        self._max_entry_bytes = max_entry_bytes
        self._orders = count(1)
        self._runs: dict[str, _Run] = {}
        self._talks: dict[str, _Talk] = {}
        self._artifacts: dict[tuple[str, str], Artifact] = {}
        self._reservations: dict[str, tuple[int, Reservation]] = {}
        self._beats: dict[str, _Beat] = {}
        self._holds: dict[str, tuple[str, int]] = {}
        self._waiters: set[asyncio.Event] = set()
        self._listeners: set[_Listener] = set()
        # What the newest `claim` had seen. `wait_due` returns at once when a run became due between
        # the two; without it a run that came due just then would wait for the whole timeout.
        self._due_changes = 0
        self._claimed_at = (0, 0)

    # -- the log -----------------------------------------------------------------------------

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        """See `EventLog.append`."""
        del lazy  # there is no disk
        self._check_entries(entries, once)
        run = self._run(run_id)
        last = len(run.entries)
        taken = {name: run.once[name] for name in once if name in run.once}
        if taken:
            at = {name: Taken(seq=seq, entry=run.entries[seq - 1]) for name, seq in taken.items()}
            return Appended(first=last + 1, last=last, repeated=True, taken=at)
        if run.closed:
            raise RunClosed(run_id)
        lapsed_at = self._check_fence(run, fence)
        if expect is not None and expect != last:
            raise Moved(run_id, last)
        if lapsed_at is not None:
            run.end_lease()
            run.due_ms = lapsed_at
        assert isinstance(run.entries, list), "only a closed run is compacted"
        run.entries.extend(entries)
        self._add_to_feed(run_id, last + 1, entries)
        run.once.update((name, last + 1 + i) for i, name in enumerate(once))
        run.checkpoint = run.checkpoint if checkpoint is None else checkpoint
        run.summary = run.summary if summary is None else summary
        run.updated_ms = self._now()
        self._set_due(run, due)
        if close:
            self._close(run)
        self._ring()
        return Appended(first=last + 1, last=len(run.entries))

    def _check_entries(self, entries: Sequence[Entry], once: Sequence[str]) -> None:
        if len(once) > len(entries) or len(set(once)) < len(once):
            raise ValueError("each name of `once` needs an entry of its own")
        for entry in entries:
            if len(entry.body) > self._max_entry_bytes:
                raise EntryTooLarge(len(entry.body), self._max_entry_bytes)

    def _check_fence(self, run: _Run, fence: int | Nobody | None) -> int | None:
        """When the lease lapsed that `NOBODY` is to end."""
        if isinstance(fence, int):
            if run.lease_until_ms is None or fence != run.generation:
                raise Fenced(run.run_id)
            return None
        if fence is not NOBODY or run.lease_until_ms is None:
            return None
        if run.lease_until_ms > self._now():
            raise Fenced(run.run_id)
        return run.lease_until_ms

    def _close(self, run: _Run) -> None:
        was_waiting = run.waiting
        run.closed = True
        run.waiting = False
        run.due_ms = None
        run.unreleased = False
        run.end_lease()
        waiting = (other for other in self._talks[conversation_of(run.run_id)].runs if other.waiting)
        following = None if was_waiting else next(waiting, None)
        if following is not None:
            following.waiting = False
            self._set_due(following, NOW)

    def _set_due(self, run: _Run, due: Due) -> None:
        if due is KEEP:
            return
        if due == NEVER:
            run.due_ms = None
            return
        run.due_ms = due if isinstance(due, int) else self._now()
        self._due_changes += 1

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        """See `EventLog.read`."""
        run = self._run(run_id)
        entries: list[Entry] = []
        size = 0
        for entry in run.entries[after : after + limit]:
            size += len(entry.body)
            if entries and size > max_bytes:
                break
            entries.append(entry)
        return Page(first=after + 1, entries=tuple(entries), last=len(run.entries), closed=run.closed)

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        """See `EventLog.wait`."""

        def may_return() -> bool:
            run = self._runs.get(run_id)
            return run is None or run.closed or len(run.entries) > after

        await self._until(may_return, timeout)

    @contextmanager
    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        """See `EventLog.listen`."""
        del run_id  # whoever listens to another one looks for nothing
        listener = _Listener(hear)
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def head(self, run_id: str) -> Head:
        """See `EventLog.head`."""
        return self._head(self._run(run_id))

    async def checkpoint(self, run_id: str) -> bytes | None:
        """See `EventLog.checkpoint`."""
        return self._run(run_id).checkpoint

    # -- leases ------------------------------------------------------------------------------

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        """See `Leases.claim`."""
        self._claimed_at = (self._due_changes, self._now())
        for run in self._due_runs():
            revision = _revision_for(run, serves)
            if revision is None:
                continue
            lapsed = run.unreleased
            run.revision = revision
            run.generation += 1
            run.worker = worker
            run.renewed_ms = self._now()
            run.lease_until_ms = run.renewed_ms + int(ttl * 1000)
            run.unreleased = True
            return Lease(
                run_id=run.run_id,
                worker=worker,
                generation=run.generation,
                agent=run.agent,
                revision=revision,
                last=len(run.entries),
                lapsed=lapsed,
            )
        return None

    async def wait_due(self, timeout: float) -> None:
        """See `Leases.wait_due`."""
        changes, claimed_ms = self._claimed_at
        times = (run.claimable_ms for run in self._runs.values())
        coming = min((ms for ms in times if ms is not None and ms > claimed_ms), default=None)
        if coming is not None:
            timeout = min(timeout, max(0, coming - self._now()) / 1000)
        await self._until(lambda: self._due_changes != changes, timeout)
        self._claimed_at = (self._due_changes, self._now())

    async def renew(self, lease: Lease, ttl: float) -> None:
        """See `Leases.renew`."""
        run = self._held(lease)
        run.renewed_ms = self._now()
        run.lease_until_ms = run.renewed_ms + int(ttl * 1000)

    async def release(self, lease: Lease, due: Due, *, expect: int) -> None:
        """See `Leases.release`."""
        run = self._held(lease)
        if expect != len(run.entries):
            raise Moved(run.run_id, len(run.entries))
        run.unreleased = False
        run.end_lease()
        self._set_due(run, due)
        self._due_changes += due is KEEP
        self._ring()

    async def beat(self, worker: str, ttl: float, *, idle_ms: int, catalogue: bytes | None = None) -> None:
        """See `Leases.beat`."""
        now = self._now()
        former = self._beat_of(worker)
        if catalogue is None and former is not None:
            catalogue = former.catalogue
        until_ms = now + int(ttl * 1000)
        self._beats[worker] = _Beat(at_ms=now, until_ms=until_ms, idle_ms=idle_ms, catalogue=catalogue)

    async def catalogues(self) -> list[bytes]:
        """See `Leases.catalogues`."""
        beats = (self._beat_of(worker) for worker in sorted(self._beats))
        return [beat.catalogue for beat in beats if beat is not None and beat.catalogue is not None]

    # -- the directory -----------------------------------------------------------------------

    async def begin(self, start: Start) -> Begun:
        """See `Directory.begin`."""
        now = self._now()
        talk = self._talk(start, now)
        active = talk.active
        active_id = None if active is None else active.run_id
        for run in talk.runs:
            if run.token == start.token:
                waits_for = active_id if run.waiting else None
                return Begun(run_id=run.run_id, last=len(run.entries), repeated=True, active=waits_for)
        if active is not None and not start.queue:
            raise Busy(active.run_id)
        run = _Run(
            run_id=run_id(start.conversation_id, next(talk.numbers)),
            order=next(self._orders),
            token=start.token,
            agent=start.agent,
            owner=start.owner,
            created_ms=now,
            updated_ms=now,
            due_ms=now,
            waiting=active is not None,
            entries=list(start.entries),
            summary=start.summary,
        )
        talk.runs.append(run)
        self._runs[run.run_id] = run
        self._add_to_feed(run.run_id, 1, start.entries)
        self._due_changes += not run.waiting
        self._ring()
        return Begun(run_id=run.run_id, last=len(run.entries), repeated=False, active=active_id)

    def _talk(self, start: Start, now: int) -> _Talk:
        talk = self._talks.get(start.conversation_id)
        if talk is None:
            if not start.new_conversation:
                raise UnknownRun(start.conversation_id)
            talk = _Talk(
                conversation_id=start.conversation_id,
                order=next(self._orders),
                owner=start.owner,
                created_ms=now,
            )
            self._talks[start.conversation_id] = talk
        return talk

    async def reserve(self, key: str, reservation: Reservation) -> Reservation:
        """See `Directory.reserve`."""
        now = self._now()
        for old, (made_ms, standing) in list(self._reservations.items()):
            talk = self._talks.get(conversation_of(standing.target))
            if made_ms < now - _RESERVATION_MS and (talk is None or talk.active is None):
                del self._reservations[old]
        return self._reservations.setdefault(key, (now, reservation))[1]

    async def conversation(self, conversation_id: str) -> Conversation:
        """See `Directory.conversation`."""
        talk = self._talks.get(conversation_id)
        if talk is None:
            raise UnknownRun(conversation_id)
        return _conversation(talk)

    async def runs(
        self, *, cursor: str = "", limit: int = 100, open_only: bool = False, conversation_id: str = ""
    ) -> tuple[list[Head], str]:
        """See `Directory.runs`. Raises `ValueError` for a cursor that is none of its own."""
        wanted = (
            run
            for run in self._runs.values()
            if not (open_only and run.closed) and conversation_id in ("", conversation_of(run.run_id))
        )
        page, following = _page(wanted, cursor, limit)
        return [self._head(run) for run in page], following

    async def conversations(self, *, cursor: str = "", limit: int = 100) -> tuple[list[Conversation], str]:
        """See `Directory.conversations`. Raises `ValueError` for a cursor that is none of its own."""
        page, following = _page(self._talks.values(), cursor, limit)
        return [_conversation(talk) for talk in page], following

    async def overdue(self, limit: int = 100) -> list[Head]:
        """See `Directory.overdue`."""
        return [self._head(run) for run in self._due_runs()[:limit]]

    async def delete(self, run_or_conversation_id: str) -> None:
        """See `Directory.delete`."""
        talk = self._talks.get(conversation_of(run_or_conversation_id))
        whole = is_conversation_id(run_or_conversation_id)
        doomed = [run for run in talk.runs if whole or run.run_id == run_or_conversation_id] if talk else []
        if talk is None or (not whole and not doomed):
            raise UnknownRun(run_or_conversation_id)
        for run in doomed:
            if not run.closed:
                raise Busy(run.run_id)
        for run in doomed:
            talk.runs.remove(run)
            del self._runs[run.run_id]
        gone = {run.run_id for run in doomed}
        self._feed = {n: at for n, at in self._feed.items() if at[0] not in gone}
        self._artifacts = {at: artifact for at, artifact in self._artifacts.items() if at[0] not in gone}
        if whole:
            del self._talks[talk.conversation_id]
        self._ring()

    # -- artifacts ---------------------------------------------------------------------------

    async def put_artifact(self, run_id: str, artifact_id: str, artifact: Artifact) -> None:
        """See `Artifacts.put_artifact`."""
        self._run(run_id)
        self._artifacts[run_id, artifact_id] = artifact

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact | None:
        """See `Artifacts.artifact`."""
        return self._artifacts.get((run_id, artifact_id))

    # -- keeping -----------------------------------------------------------------------------

    async def ended(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.ended`."""
        old = ((talk.last_ending_ms, talk.conversation_id) for talk in self._talks.values())
        found = sorted((ms, name) for ms, name in old if ms is not None and ms <= before_ms)
        return [name for _, name in found[:limit]]

    async def forget(self, conversation_id: str, before_ms: int) -> bool:
        """See `Keeping.forget`."""
        talk = self._talks.get(conversation_id)
        ended_ms = None if talk is None else talk.last_ending_ms
        if ended_ms is None or ended_ms > before_ms:
            return False
        await self.delete(conversation_id)
        return True

    async def loose(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.loose`."""
        closed = (run for run in self._runs.values() if run.closed and not isinstance(run.entries, Packed))
        old = sorted((run.updated_ms, run.order, run.run_id) for run in closed)
        return [name for ms, _, name in old if ms <= before_ms][:limit]

    async def compact(self, run_id: str) -> None:
        """See `Keeping.compact`."""
        run = self._runs.get(run_id)
        if run is not None and run.closed and not isinstance(run.entries, Packed):
            run.entries = Packed(run.entries)

    async def hold(self, name: str, holder: str, ttl: float) -> bool:
        """See `Keeping.hold`."""
        now = self._now()
        held_by, until_ms = self._holds.get(name, ("", 0))
        if held_by != holder and until_ms > now:
            return False
        self._holds = {other: held for other, held in self._holds.items() if held[1] > now}
        self._holds[name] = holder, now + int(ttl * 1000)
        return True

    async def fullness(self) -> float | None:
        """See `Keeping.fullness`: how much memory there is, is not known here."""
        return None

    # -- the feed ----------------------------------------------------------------------------

    def _add_to_feed(self, run_id: str, first: int, entries: Sequence[Entry]) -> None:
        for seq, entry in enumerate(entries, first):
            if self._in_feed(entry):
                self._fed += 1
                self._feed[self._fed] = run_id, seq
                self._feed.pop(self._fed - self._feed_entries, None)

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        """See `Feed.read_feed`."""
        trimmed = max(0, self._fed - self._feed_entries)
        after = position(self._feed_name, cursor, trimmed)
        if after > self._fed:
            end = await self.feed_end()
            return FeedPage(items=(), start=end, next=end, more=False, gap=True)
        found = list(takewhile(lambda n: n > after, reversed(self._feed)))[::-1]
        items: list[FeedItem] = []
        for n in found[:limit]:
            run_id, seq = self._feed[n]
            run = self._runs[run_id]
            entry = run.entries[seq - 1]
            items.append(
                FeedItem(
                    run_id=run_id, seq=seq, owner=run.owner, entry=entry, cursor=f"{self._feed_name}-{n}"
                )
            )
        begin = f"{self._feed_name}-{max(after, trimmed)}"
        following = items[-1].cursor if items else begin
        return FeedPage(
            items=items, start=begin, next=following, more=len(found) > limit, gap=after < trimmed
        )

    async def feed_end(self) -> str:
        """See `Feed.feed_end`."""
        return f"{self._feed_name}-{self._fed}"

    @contextmanager
    def listen_feed(self, hear: Callable[[], None]) -> Generator[None]:
        """See `Feed.listen_feed`."""
        with self.listen("", lambda _: hear()):
            yield

    # -- the store ---------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """See `Store.now_ms`."""
        return self._now()

    async def ping(self) -> None:
        """Memory always answers."""

    def describe(self) -> str:
        """See `Store.describe`."""
        return "memory (nothing is kept)"

    async def aclose(self) -> None:
        """Nothing to let go of."""

    # -- helpers -----------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise UnknownRun(run_id)
        return run

    def _held(self, lease: Lease) -> _Run:
        run = self._run(lease.run_id)
        if run.closed:
            raise RunClosed(run.run_id)
        if run.lease_until_ms is None or run.generation != lease.generation:
            raise Fenced(run.run_id)
        return run

    def _due_runs(self) -> list[_Run]:
        now = self._now()
        times = ((run.claimable_ms, run.order, run) for run in self._runs.values())
        due = [(ms, order, run) for ms, order, run in times if ms is not None and ms <= now]
        return [run for _, _, run in sorted(due, key=lambda item: item[:2])]

    def _beat_of(self, worker: str) -> _Beat | None:
        beat = self._beats.get(worker)
        return beat if beat is not None and beat.until_ms > self._now() else None

    def _head(self, run: _Run) -> Head:
        now = self._now()
        beat = self._beat_of(run.worker)
        idle_ms = now - run.renewed_ms if beat is None else beat.idle_ms + now - beat.at_ms
        held = run.lease_until_ms is not None
        live = run.lease_until_ms is not None and run.lease_until_ms > now
        return Head(
            run_id=run.run_id,
            agent=run.agent,
            revision=run.revision,
            owner=run.owner,
            last=len(run.entries),
            closed=run.closed,
            summary=run.summary,
            created_ms=run.created_ms,
            updated_ms=run.updated_ms,
            due_ms=run.due_ms,
            waiting=run.waiting,
            worker="alive" if live else "lost" if held else "none",
            worker_id=run.worker,
            idle_ms=idle_ms if held else 0,
            generation=run.generation,
            read_ms=now,
        )

    def _ring(self) -> None:
        for waiter in self._waiters:
            waiter.set()
        for listener in tuple(self._listeners):
            listener.hear(None)

    async def _until(self, may_return: Callable[[], bool], timeout: float) -> None:
        rung = asyncio.Event()
        self._waiters.add(rung)
        try:
            async with asyncio.timeout(timeout):
                while not may_return():
                    rung.clear()
                    await rung.wait()
        except TimeoutError:
            return
        finally:
            self._waiters.discard(rung)


_T = TypeVar("_T", _Run, _Talk)


def _revision_for(run: _Run, serves: Iterable[Serves]) -> str | None:
    for served in serves:
        if served.name == run.agent and run.revision in ("", served.revision):
            return served.revision
    return None


def _conversation(talk: _Talk) -> Conversation:
    active = talk.active
    return Conversation(
        conversation_id=talk.conversation_id,
        owner=talk.owner,
        run_ids=tuple(run.run_id for run in talk.runs),
        active=None if active is None else active.run_id,
        created_ms=talk.created_ms,
    )


def _page(items: Iterable[_T], cursor: str, limit: int) -> tuple[list[_T], str]:
    before = int(cursor) if cursor else None
    newest = sorted(
        (item for item in items if before is None or item.order < before), key=lambda x: x.order, reverse=True
    )
    page = newest[:limit]
    return page, str(page[-1].order) if len(newest) > limit else ""
