"""Entries as bytes: groups, and the chunks that a finished run's entries are compacted to. Pure.

Compaction is lossless to the byte and knows nothing of what an entry says: neighbours repeat each
other's JSON, so deflating them together leaves about 7 bytes of a token's 80, its time and its place
included. (Merged to one entry it would still be 6, without either.) So a compacted log reads
exactly as before, from every cursor (G1).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final, cast, overload

from jackline.events import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHUNK_BYTES: Final = 64 * 1024
"""A chunk holds about this much of bodies: a page never inflates much more than it gives. Chunks
twice as large would save 2 % more."""

_LEVEL: Final = 6
"""zlib's own default: 20 MB a second and more; its best saves another 1 % and takes twice as long."""


def pack(entries: Iterable[Entry]) -> bytes:
    """The body of a record: for each entry a line `TYPE LENGTH`, then its body and a newline.

    The length lets a body be any bytes: one of another version's, or a hostile one, cannot pass
    itself off as two entries.
    """
    return b"".join([b"%b %d\n%b\n" % (kind.encode(), len(body), body) for kind, body in entries])


def unpack(packed: bytes) -> list[Entry]:
    """The entries of a record's body, or of several joined."""
    # Nearly all bodies are one line. Where each line's length is the one that its head tells, these
    # are the entries, found without a step of ours for each.
    lines = packed.split(b"\n")
    heads, bodies = lines[:-1:2], lines[1::2]
    if lines[-1] or len(heads) != len(bodies):
        return _unpack_any(packed)
    try:
        known = {head: _type_and_length(head) for head in set(heads)}
    except ValueError:
        return _unpack_any(packed)
    if len(bodies) == 1 and known[heads[0]][1] == len(bodies[0]):
        return [Entry(known[heads[0]][0], bodies[0])]
    named = list(map(known.__getitem__, heads))
    if list(map(_length, named)) != list(map(len, bodies)):
        return _unpack_any(packed)
    return entries_of(zip(map(_type, named), bodies, strict=True))


def entries_of(pairs: Iterable[tuple[str, bytes]]) -> list[Entry]:
    """`pairs` of type and body as entries."""
    return list(map(_entry, pairs))


# Half the time of a call of the class. The annotation of `__new__` leaves open what it takes.
_new = cast("Callable[[type[Entry], tuple[str, bytes]], Entry]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]
_entry = partial(_new, Entry)

_type, _length = itemgetter(0), itemgetter(1)


def _type_and_length(head: bytes) -> tuple[str, int]:
    name, _, length = head.rpartition(b" ")
    return name.decode(), int(length)


def _unpack_any(packed: bytes) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    while at < len(packed):
        end = packed.index(b"\n", at)
        name, length = _type_and_length(packed[at:end])
        at = end + 1 + length
        entries.append(Entry(name, packed[end + 1 : at]))
        at += 1
    return entries


@dataclass(frozen=True, slots=True)
class Chunk:
    """The entries `first`…`last`, deflated."""

    first: int
    last: int
    body: bytes

    @property
    def entries(self) -> list[Entry]:
        """The entries, byte for byte as they were."""
        return inflate(self.body)


def inflate(body: bytes) -> list[Entry]:
    """The entries of a chunk's body."""
    return unpack(zlib.decompress(body))


def chunks(numbered: Iterable[tuple[int, Entry]]) -> Iterator[Chunk]:
    """`numbered` (seq and entry, in order) as chunks. None reaches over a hole in the seqs."""
    group: list[Entry] = []
    size, last = 0, 0
    for seq, entry in numbered:
        if group and (size >= CHUNK_BYTES or seq != last + 1):
            yield _chunk(group, last)
            group, size = [], 0
        group.append(entry)
        size += len(entry.body)
        last = seq
    if group:
        yield _chunk(group, last)


def _chunk(group: list[Entry], last: int) -> Chunk:
    return Chunk(last - len(group) + 1, last, zlib.compress(pack(group), _LEVEL))


class Packed(Sequence[Entry]):
    """Entries 1, 2, 3 … in chunks, to be read like a list of them. Only what is asked for is inflated."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._chunks = list(chunks(enumerate(entries, 1)))

    def __len__(self) -> int:
        return self._chunks[-1].last if self._chunks else 0

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> list[Entry]: ...
    def __getitem__(self, at: int | slice) -> Entry | list[Entry]:
        wanted = range(len(self))[at]
        if isinstance(wanted, int):
            (entry,) = self._between(wanted, wanted + 1)
            return entry
        if not wanted:
            return []
        low, high = min(wanted), max(wanted) + 1
        found = self._between(low, high)
        return [found[place - low] for place in wanted]

    def _between(self, low: int, high: int) -> list[Entry]:
        found: list[Entry] = []
        for chunk in self._chunks:
            if chunk.last > low and chunk.first <= high:
                found += chunk.entries[max(0, low + 1 - chunk.first) : high + 1 - chunk.first]
        return found
