"""A run's newest entries as encoded frames: made once, whoever watches. Pure."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from jackline.web import frames

if TYPE_CHECKING:
    from jackline.events import Entry

RING_BYTES: Final = 1 << 20
"""What a tail holds of its run: enough for a viewer that is a second late in a fast run."""

RING_ENTRIES: Final = 4096

_JOINED: Final = 4
"""Viewers stand at a few places at most: those that are up to date, and those served just before."""


class Joined:
    """The frames of the entries up to `last`, to be written as they are."""

    def __init__(self, last: int, data: bytes) -> None:
        self.last = last
        self.data = data

    @cached_property
    def chunk(self) -> bytes:
        """The data as one chunk of a body (RFC 9112, section 7.1)."""
        return as_chunk(self.data)


def as_chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as one chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Ring:
    """Consecutive entries `first` … `last` and their frames; `last` is `first - 1` when it is empty.

    It holds about `max_bytes` and `RING_ENTRIES`: a quarter more before it is trimmed, so that an entry
    costs the same however many it holds.
    """

    def __init__(self, run_id: str, max_bytes: int) -> None:
        self.first, self.last = 1, 0
        self._framer = frames.Framer(run_id)
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._frames: list[bytes] = []
        self._bytes = 0
        self._joined: dict[tuple[int, int], Joined] = {}
        self._newest: tuple[int, int, Joined] | None = None

    def begin(self, first: int) -> None:
        """Forget all; the next entry is `first`."""
        self.first, self.last = first, first - 1
        self._entries, self._frames, self._bytes = [], [], 0
        self._joined, self._newest = {}, None

    def add(self, entry: Entry, epoch: int) -> None:
        """Take the next entry."""
        self.last += 1
        frame = self._framer.entry(self.last, entry, epoch)
        self._entries.append(entry)
        self._frames.append(frame)
        self._bytes += len(frame)
        if len(self._frames) > RING_ENTRIES * 5 // 4 or self._bytes > self._max_bytes * 5 // 4:
            self._trim()

    def joined(self, after: int, limit: int) -> Joined:
        """The frames after `after`, which must be at least `first - 1` and before `last`: up to about
        `limit` bytes, one frame at least."""
        start = after + 1 - self.first
        newest = self._newest
        if newest is not None and newest[0] == after and newest[1] == self.last:
            return newest[2]
        end, size = start, 0
        for frame in self._frames[start:] if start else self._frames:
            size += len(frame)
            if size > limit and end > start:
                break
            end += 1
        last = after + end - start
        found = self._joined.get((after, last))
        if found is None:
            # Viewers that are up to date all ask for the same bytes.
            if len(self._joined) == _JOINED:
                del self._joined[next(iter(self._joined))]
            found = self._joined[after, last] = Joined(last, b"".join(self._frames[start:end]))
        self._newest = (after, self.last, found)
        return found

    def entries(self, after: int, limit: int, max_bytes: int) -> list[tuple[int, Entry]]:
        """Up to `limit` entries and about `max_bytes` of frames after `after`, one at least; as `joined`."""
        start = after + 1 - self.first
        found: list[tuple[int, Entry]] = []
        size = 0
        for i in range(start, min(start + limit, len(self._frames))):
            size += len(self._frames[i])
            if found and size > max_bytes:
                break
            found.append((self.first + i, self._entries[i]))
        return found

    def _trim(self) -> None:
        drop = max(0, len(self._frames) - RING_ENTRIES)
        size = self._bytes - sum(map(len, self._frames[:drop]))
        while size > self._max_bytes and drop < len(self._frames) - 1:
            size -= len(self._frames[drop])
            drop += 1
        del self._frames[:drop], self._entries[:drop]
        self.first += drop
        self._bytes = size
