"""The feed of the SQLite store: its rows are written with the entries, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.log.feed import FeedItem, FeedPage, position
from jackline.log.sqlite_reads import newest_fed, stored_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackline.log.sqlite_lane import Step

FEED: Final = ""
"""What stands for the feed where runs are listened to: no run has this name."""

_SPAN: Final = 256
"""The feed is trimmed once for so many rows."""


def add(step: Step, run_id: str, seqs: Iterable[int], held: int) -> None:
    """Put a run's entries in the feed, which holds about the newest `held`."""
    added = 0
    for seq in seqs:
        n = step.sql.execute("INSERT INTO feed (run_id, seq) VALUES (?, ?)", (run_id, seq)).lastrowid
        if n is not None and n % _SPAN == 0:
            step.sql.execute("DELETE FROM feed WHERE n <= ?", (_trimmed(n, held),))
        added += 1
    if added:
        step.changed.add(FEED)


def remove(step: Step, run_id: str) -> None:
    """A run is deleted."""
    step.sql.execute("DELETE FROM feed WHERE run_id = ?", (run_id,))


def read(step: Step, cursor: str, limit: int, held: int) -> FeedPage:
    """See `Feed.read_feed`."""
    name, newest = _name(step), newest_fed(step)
    trimmed = _trimmed(newest, held)
    after = position(name, cursor, trimmed)
    if after > newest:  # the file is a copy from before
        finish = f"{name}-{newest}"
        return FeedPage(items=(), start=finish, next=finish, more=False, gap=True)
    rows = step.sql.execute(
        "SELECT feed.n, feed.run_id, seq, owner FROM feed JOIN runs ON runs.run_id = feed.run_id "
        "WHERE feed.n > ? ORDER BY feed.n LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    items = [
        FeedItem(
            run_id=run_id, seq=seq, owner=owner, entry=stored_at(step, run_id, seq), cursor=f"{name}-{n}"
        )
        for n, run_id, seq, owner in rows[:limit]
    ]
    begin = f"{name}-{max(after, trimmed)}"
    following = items[-1].cursor if items else begin
    return FeedPage(items=items, start=begin, next=following, more=len(rows) > limit, gap=after < trimmed)


def end(step: Step) -> str:
    """See `Feed.feed_end`."""
    return f"{_name(step)}-{newest_fed(step)}"


def place(cursor: str) -> int:
    """The place of a cursor that `read` gave."""
    return int(cursor.partition("-")[2])


def _name(step: Step) -> str:
    (name,) = step.sql.execute("SELECT value FROM meta WHERE key = 'feed'").fetchone()
    return str(name)


def _trimmed(newest: int, held: int) -> int:
    """The newest place that is not held any more, if the feed's newest is `newest`."""
    return max(0, newest - newest % _SPAN - held)
