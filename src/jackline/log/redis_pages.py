"""A page out of a stream's records. Pure.

A replay costs what is done for each entry, and for each record where one holds one: so records are
only as many unpacked as the page needs, and joined before that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from jackline.log.packing import unpack
from jackline.log.redis_keys import last_in, packed_in
from jackline.log.redis_wire import unexpected_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.events import Entry
    from jackline.log.redis_wire import Reply

FIRST_RECORDS: Final = 32
"""Records asked for at first: with the largest entries 2 MiB, with tokens a tail's worth. Then as
many as the page has room for, going by the size of these."""

_Item: TypeAlias = "tuple[bytes, list[bytes]]"

_body_of = itemgetter(1)


def _last_of(item: _Item) -> int:
    return last_in(item[0])


class Gathering:
    """Consecutive entries after `after`, at most `limit` of them, and of bodies no more than `max_bytes`
    (one entry always). `first` is the seq of the first one. `full`: no more can be taken."""

    def __init__(self, after: int, limit: int, max_bytes: int) -> None:
        self.first = after + 1
        self.entries: list[Entry] = []
        self.full = False
        self._limit = limit
        self._room = max_bytes
        self._records = 0
        self._bytes = 0

    @property
    def upto(self) -> int:
        """The seq of the newest entry taken; before the first one, where it begins."""
        return self.first + len(self.entries) - 1

    @property
    def wanted(self) -> int:
        """How many entries it may still take."""
        return self._limit - len(self.entries)

    @property
    def records(self) -> int:
        """How many records to ask for next: one has one entry at least."""
        if not self._records:
            return min(FIRST_RECORDS, max(self.wanted, 1))
        return min(self._room * self._records // max(self._bytes, 1) + 1, self.wanted)

    def take(self, ranged: Sequence[Reply]) -> None:
        """Take what is needed of a stream's next records, which may begin before `upto`. Raises
        `StoreUnavailable` for what are no records."""
        items = cast("Sequence[_Item]", ranged)
        at = 0
        try:
            while at < len(items) and not self.full:
                at = self._take_from(items, at)
        except (TypeError, ValueError, AttributeError) as error:
            raise unexpected_reply(ranged) from error

    def _take_from(self, items: Sequence[_Item], at: int) -> int:
        """Take the record at `at` and those behind it that there is room for; where the next one is."""
        target = self.upto + self.wanted
        needed = bisect_left(items, target, at, key=_last_of) + 1
        packed = [packed_in(identity, fields) for identity, fields in items[at:needed]]
        sizes = list(accumulate(map(len, packed)))
        count = min(len(packed), bisect_right(sizes, self._room) + 1)
        found = unpack(packed[0])
        begins = _last_of(items[at]) - len(found) + 1
        if self.entries and begins > self.upto + 1:
            self.full = True  # entries between these are no longer held: the next page says so
            return at
        following = unpack(b"".join(packed[1:count]))
        if _last_of(items[at + count - 1]) - begins + 1 == len(found) + len(following):
            found += following
        else:
            count = 1  # there is a hole among them: they are taken one by one
        self._records += count
        self._bytes += sizes[count - 1]
        self._add(begins, found)
        return at + count

    def _add(self, begins: int, found: list[Entry]) -> None:
        """Add consecutive entries, the first of which has the seq `begins`."""
        if not self.entries:
            self.first = max(self.first, begins)
        fresh = found[max(0, self.upto + 1 - begins) :]
        if len(fresh) >= self.wanted:
            fresh = fresh[: max(0, self.wanted)]
            self.full = True
        sizes = list(accumulate(map(len, map(_body_of, fresh))))
        if sizes and sizes[-1] > self._room:
            fresh = fresh[: max(bisect_right(sizes, self._room), 0 if self.entries else 1)]
            self.full = True
        elif sizes:
            self._room -= sizes[-1]
        self.entries += fresh
