"""What viewers read again: pages of the log, framed once for all who replay the same run.

After a deploy, or when a proxy cuts, everybody comes back at once with nearly the same cursor. The
first one has the page read, the others share it; what was just read stays for a while.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from jackline.errors import StoreUnavailable, UnknownRun
from jackline.web import frames
from jackline.web.ring import Joined

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jackline.events import Entry
    from jackline.web.tail import Tail

PAGE_ENTRIES: Final = 2048
PAGE_BYTES: Final = 256 * 1024
"""The most that one write carries, about. With the transport's own buffer it bounds what a viewer
that does not read can hold of this process's memory (G10)."""

CACHE_BYTES: Final = 64 << 20
"""What all pages together may hold of this process's memory, about."""

_COPIES: Final = 4
"""A page's bodies stand in its frames too, and in what was joined of those last."""

_ALIGNED: Final = 256
"""A page begins after a multiple of it where it can, so that viewers who are a little apart share it."""

_KEPT: Final = 4


class Leaf:
    """Consecutive entries of the log, framed when they are asked for; none, before a mere hole's end."""

    def __init__(
        self, run_id: str, first: int, entries: Sequence[Entry], epoch: int, hole: int | None = None
    ) -> None:
        self.run_id = run_id
        self.first = first
        self.hole = first if hole is None else hole
        """The oldest entry before `first` that the log no longer holds; `first` when there is none."""
        self.last = first + len(entries) - 1
        self.epoch = epoch
        self.bytes = _COPIES * sum(len(entry.body) for entry in entries)
        self._framer = frames.Framer(run_id)
        self._entries = entries
        self._frames: list[bytes] = []
        self._merged: list[tuple[int, int, bytes]] = []
        self._kept: dict[tuple[int, int, bool], Joined] = {}

    def joined(self, after: int, until: int, *, compact: bool) -> Joined:
        """The frames of the entries after `after`, up to `until` or the end; `compact`: merged tokens.
        There must be one at least."""
        until = min(until, self.last)
        found = self._kept.get((after, until, compact))
        if found is None:
            if len(self._kept) == _KEPT:
                del self._kept[next(iter(self._kept))]
            data = self._merge(after, until) if compact else self._plain(after, until)
            found = self._kept[after, until, compact] = Joined(until, data)
        return found

    def _plain(self, after: int, until: int) -> bytes:
        if not self._frames:
            make, epoch = self._framer.entry, self.epoch
            self._frames = [make(seq, entry, epoch) for seq, entry in enumerate(self._entries, self.first)]
        return b"".join(self._frames[after + 1 - self.first : until + 1 - self.first])

    def _merge(self, after: int, until: int) -> bytes:
        if not self._merged:
            first = self.first
            for seq, entry in frames.merged(list(enumerate(self._entries, self.first))):
                self._merged.append((first, seq, self._framer.entry(seq, entry, self.epoch)))
                first = seq + 1
        at = bisect_left(self._merged, after + 1, key=lambda slot: slot[1])
        parts: list[bytes] = []
        for first, last, frame in self._merged[at:]:
            if first > until:
                break
            whole = first > after and last <= until
            parts.append(frame if whole else self._part(max(first, after + 1), min(last, until)))
        return b"".join(parts)

    def _part(self, first: int, last: int) -> bytes:
        """What of a merged frame's entries a viewer has not seen yet."""
        numbered = list(enumerate(self._entries[first - self.first : last + 1 - self.first], first))
        return b"".join(self._framer.entry(seq, entry, self.epoch) for seq, entry in frames.merged(numbered))


class Pages:
    """The pages of this process. `spawn` starts a task for a tail that outlives its caller."""

    def __init__(self, spawn: Callable[[Tail, Coroutine[None, None, None]], object], max_bytes: int) -> None:
        self._spawn = spawn
        self._max_bytes = max_bytes
        self._bytes = 0
        self._leaves: OrderedDict[Leaf, None] = OrderedDict()
        self._by_run: dict[str, list[Leaf]] = {}
        self._coming: dict[tuple[Tail, int, int], list[Callable[[Leaf | None], None]]] = {}

    def find(self, tail: Tail, after: int) -> Leaf | None:
        """A page with the entry that follows `after`, if there is one in memory."""
        leaves = self._by_run.get(tail.run_id, ())
        at = bisect_right(leaves, after + 1, key=lambda leaf: leaf.first)
        for leaf in reversed(leaves[max(0, at - 3) : at]):
            if leaf.last > after and leaf.epoch == tail.epoch:
                self._leaves.move_to_end(leaf)
                return leaf
        start = after - after % _ALIGNED
        start = start if start + 1 >= tail.ring.first else after
        if start + 1 >= tail.ring.first and tail.last > after:
            entries = tail.ring.entries(start, PAGE_ENTRIES, PAGE_BYTES)
            leaf = Leaf(tail.run_id, start + 1, [entry for _, entry in entries], tail.epoch)
            if leaf.last > after:
                return self._keep(leaf)
        return None

    def fetch(self, tail: Tail, after: int, arrived: Callable[[Leaf | None], None]) -> None:
        """Have the page after `after` read from the log, and then call `arrived`, with None while the
        store is away or the log is being healed."""
        start = after if self._ends_at(tail, after) else after - after % _ALIGNED
        waiting = self._coming.get((tail, tail.epoch, start))
        if waiting is not None:
            waiting.append(arrived)
            return
        self._coming[tail, tail.epoch, start] = [arrived]
        self._spawn(tail, self._fetch(tail, (tail, tail.epoch, start), after))

    def forget(self, run_id: str) -> None:
        """Let go of a run's pages."""
        for leaf in self._by_run.pop(run_id, ()):
            self._bytes -= leaf.bytes
            del self._leaves[leaf]

    def _ends_at(self, tail: Tail, after: int) -> bool:
        leaves = self._by_run.get(tail.run_id, ())
        at = bisect_right(leaves, after, key=lambda leaf: leaf.first)
        return at > 0 and leaves[at - 1].last == after

    async def _fetch(self, tail: Tail, key: tuple[Tail, int, int], after: int) -> None:
        leaf: Leaf | None = None
        try:
            leaf = await self._read(tail, key[2], after)
        except StoreUnavailable:
            pass
        except UnknownRun:
            tail.gone = True
            tail.wake()
        finally:
            for arrived in self._coming.pop(key):
                arrived(leaf)

    async def _read(self, tail: Tail, start: int, after: int) -> Leaf | None:
        page = await tail.read(start, PAGE_ENTRIES, PAGE_BYTES)
        if page.first + len(page.entries) - 1 <= after != start:
            start = after  # its neighbours are large
            page = await tail.read(start, PAGE_ENTRIES, PAGE_BYTES)
        if not page.entries and page.first <= start + 1:
            return None
        leaf = Leaf(tail.run_id, page.first, page.entries, page.epoch, start + 1)
        return self._keep(leaf) if page.entries and page.epoch == tail.epoch else leaf

    def _keep(self, leaf: Leaf) -> Leaf:
        leaves = self._by_run.setdefault(leaf.run_id, [])
        leaves.insert(bisect_right(leaves, leaf.first, key=lambda each: each.first), leaf)
        self._leaves[leaf] = None
        self._bytes += leaf.bytes
        while self._bytes > self._max_bytes and len(self._leaves) > 1:
            oldest, _ = self._leaves.popitem(last=False)
            self._bytes -= oldest.bytes
            of_run = self._by_run[oldest.run_id]
            of_run.remove(oldest)
            if not of_run:
                del self._by_run[oldest.run_id]
        return leaf
