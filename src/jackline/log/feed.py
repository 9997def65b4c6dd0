"""The part of a store that is one sequence of what happened in all runs: the feed.

Which entries are in it, the store is told when it is made; what they say is none of its business. The
feed serves lists that are live. The sequence of one run is the run's own log (G1); here each entry
comes at least once, to be told from another by its run and its seq.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from jackline.events import Entry

FEED_ENTRIES: Final = 100_000
"""About how many of the newest entries the feed holds; those of deleted runs are gone at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedItem:
    """An entry of the feed, whose run is the one of `owner`. `cursor`: where to go on after it. Entries that
    were appended in one step may have the cursor of what came before them, all but the last."""

    run_id: str
    seq: int
    owner: str
    entry: Entry
    cursor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedPage:
    """What follows the cursor `start`. `next`: where to go on, of the feed's end if there is no `more`.
    `gap`: what came right after the cursor that was given is not held any more; `start` is another one,
    after which the oldest follows that is. `unsettled`: an append has been announced, and it is not known
    yet whether it was made: look again soon. With `more` and a `next` that is `start`, nothing can be
    given before that is known."""

    items: Sequence[FeedItem]
    start: str
    next: str
    more: bool
    gap: bool = False
    unsettled: bool = False


class Feed(Protocol):
    """The feed of all runs. A cursor is an opaque word of URL-safe characters, good in any process."""

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        """About `limit` entries after `cursor`; from the oldest held without one. Nothing of a deleted
        run is among them. Raises `ValueError` for a cursor that this store has never given."""
        ...

    async def feed_end(self) -> str:
        """The cursor of what comes from now on: no entry that is appended after this call is before it."""
        ...

    def listen_feed(self, hear: Callable[[], None]) -> AbstractContextManager[None]:
        """Within it `hear` is called, on the event loop, when there may be something to read. A hint: it may
        come for nothing, or be lost. It must not raise. Costs no connection."""
        ...


def position(name: str, cursor: str, first: int) -> int:
    """The place of a cursor `NAME-N` in the feed of this name, `first` for no cursor. Raises `ValueError`."""
    if not cursor:
        return first
    of, _, number = cursor.partition("-")
    if of != name or not number.isascii() or not number.isdecimal() or len(number) > _DIGITS:
        raise ValueError("no cursor of this feed")
    return int(number)


_DIGITS: Final = 18
"""Of the largest number that SQLite surely takes."""
