"""What the SQLite store reads, each function within one snapshot of the file."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from jackline.errors import UnknownRun
from jackline.log.base import Artifact, Conversation, Head, Page
from jackline.log.packing import entries_of, inflate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jackline.events import Entry
    from jackline.log.sqlite_lane import Step

_LARGEST: Final = (1 << 63) - 1
"""SQLite's largest integer: a cursor of a client's may be any number."""

_ROWS: Final = 128
"""Rows taken at once: with the largest entries 8 MiB, with tokens a good part of a page."""

_body_of = itemgetter(1)

_HEADS: Final = (
    "SELECT n, run_id, agent, revision, owner, last, closed, summary, created_ms, updated_ms, due_ms, "
    "waiting, generation, runs.worker, lease_until_ms, renewed_ms, beat_ms, until_ms, idle_ms "
    "FROM runs LEFT JOIN workers ON workers.worker = runs.worker "
)


def read(step: Step, run_id: str, after: int, limit: int, max_bytes: int) -> Page:
    """See `EventLog.read`."""
    last, closed = _last_and_closed(step, run_id)
    entries: list[Entry] = []
    room = max_bytes
    for found in _stored(step, run_id, min(after, _LARGEST), limit, compacted=closed):
        sizes = list(accumulate(map(len, map(_body_of, found))))
        if sizes[-1] > room:
            entries += found[: max(bisect_right(sizes, room), 0 if entries else 1)]
            break
        entries += found
        room -= sizes[-1]
    return Page(first=after + 1, entries=tuple(entries[:limit]), last=last, closed=closed)


def _stored(
    step: Step, run_id: str, after: int, limit: int, *, compacted: bool = True
) -> Iterator[list[Entry]]:
    """The entries after `after`, at least up to `limit`, in portions, none of them empty: those in
    chunks, where the run may be `compacted`, come before all others."""
    wanted = limit
    chunks: Iterable[tuple[int, bytes]] = ()
    if compacted:
        chunks = step.sql.execute(
            "SELECT last, body FROM chunks WHERE run_id = ? AND last > ? ORDER BY last", (run_id, after)
        )
    for last, body in chunks:
        entries = inflate(body)
        yield entries[max(0, len(entries) - (last - after)) :]
        wanted -= last - after
        after = last
        if wanted <= 0:
            return
    rows = step.sql.execute(
        "SELECT type, body FROM entries WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (run_id, after, wanted),
    )
    while found := rows.fetchmany(_ROWS):
        yield entries_of(found)


def stored_at(step: Step, run_id: str, seq: int) -> Entry:
    """One entry that is known to be there."""
    return next(_stored(step, run_id, seq - 1, 1))[0]


def _last_and_closed(step: Step, run_id: str) -> tuple[int, bool]:
    found = step.sql.execute("SELECT last, closed FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        raise UnknownRun(run_id)
    return found[0], bool(found[1])


def has_moved(step: Step, run_id: str, after: int) -> bool:
    """Whether there is something to read after `after`, the ending or that the run is gone included."""
    if not run_id:  # the feed
        return newest_fed(step) > after
    found = step.sql.execute("SELECT last, closed FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return found is None or bool(found[1]) or found[0] > after


def newest_fed(step: Step) -> int:
    """The newest place there ever was in the feed."""
    found = step.sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").fetchone()
    return 0 if found is None else int(found[0])


def head(step: Step, run_id: str) -> Head:
    """See `EventLog.head`."""
    found = step.sql.execute(_HEADS + "WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        raise UnknownRun(run_id)
    return _head(step, found)


def _head(step: Step, found: Sequence[Any]) -> Head:
    _, run_id, agent, revision, owner, last, closed, summary, created_ms, updated_ms, due_ms, *rest = found
    waiting, generation, worker, lease_until_ms, renewed_ms, beat_ms, until_ms, beat_idle_ms = rest
    held = lease_until_ms is not None
    idle_ms = 0
    if held:
        beats = until_ms is not None and until_ms > step.now_ms
        idle_ms = beat_idle_ms + step.now_ms - beat_ms if beats else step.now_ms - renewed_ms
    return Head(
        run_id=run_id,
        agent=agent,
        revision=revision,
        owner=owner,
        last=last,
        closed=bool(closed),
        summary=summary,
        created_ms=created_ms,
        updated_ms=updated_ms,
        due_ms=due_ms,
        waiting=bool(waiting),
        worker="none" if not held else "alive" if lease_until_ms > step.now_ms else "lost",
        worker_id=worker,
        idle_ms=idle_ms,
        generation=generation,
        read_ms=step.now_ms,
    )


def checkpoint(step: Step, run_id: str) -> bytes | None:
    """See `EventLog.checkpoint`."""
    _last_and_closed(step, run_id)
    found = step.sql.execute("SELECT body FROM checkpoints WHERE run_id = ?", (run_id,)).fetchone()
    return None if found is None else bytes(found[0])


def catalogues(step: Step) -> list[bytes]:
    """See `Leases.catalogues`."""
    rows = step.sql.execute(
        "SELECT catalogue FROM workers WHERE until_ms > ? AND catalogue IS NOT NULL ORDER BY worker",
        (step.now_ms,),
    )
    return [catalogue for (catalogue,) in rows]


def conversation(step: Step, conversation_id: str) -> Conversation:
    """See `Directory.conversation`."""
    found = step.sql.execute(
        "SELECT owner, created_ms FROM conversations WHERE conversation_id = ?", (conversation_id,)
    ).fetchone()
    if found is None:
        raise UnknownRun(conversation_id)
    rows = step.sql.execute(
        "SELECT run_id, closed OR waiting FROM runs WHERE conversation_id = ? ORDER BY n", (conversation_id,)
    ).fetchall()
    return Conversation(
        conversation_id=conversation_id,
        owner=found[0],
        run_ids=tuple(run_id for run_id, _ in rows),
        active=next((run_id for run_id, inactive in rows if not inactive), None),
        created_ms=found[1],
    )


def conversations(step: Step, before: int | None, limit: int) -> tuple[list[Conversation], str]:
    """See `Directory.conversations`."""
    rows = step.sql.execute(
        "SELECT n, conversation_id FROM conversations WHERE n < ? ORDER BY n DESC LIMIT ?",
        (_bound(before), limit + 1),
    ).fetchall()
    page = rows[:limit]
    return [conversation(step, found) for _, found in page], _cursor(rows, page)


def runs(
    step: Step, before: int | None, limit: int, conversation_id: str, *, open_only: bool
) -> tuple[list[Head], str]:
    """See `Directory.runs`."""
    where = "WHERE n < ? "
    values: list[int | str] = [_bound(before)]
    if open_only:
        where += "AND closed = 0 "
    if conversation_id:
        where += "AND conversation_id = ? "
        values.append(conversation_id)
    rows = step.sql.execute(f"{_HEADS}{where}ORDER BY n DESC LIMIT ?", (*values, limit + 1)).fetchall()
    page = rows[:limit]
    return [_head(step, found) for found in page], _cursor(rows, page)


def _bound(before: int | None) -> int:
    return _LARGEST if before is None else min(before, _LARGEST)


def _cursor(rows: Sequence[Sequence[Any]], page: Sequence[Sequence[Any]]) -> str:
    return str(page[-1][0]) if len(rows) > len(page) > 0 else ""


def overdue(step: Step, limit: int) -> list[Head]:
    """See `Directory.overdue`."""
    rows = step.sql.execute(
        _HEADS + "WHERE claimable_ms <= ? ORDER BY claimable_ms, n LIMIT ?", (step.now_ms, limit)
    )
    return [_head(step, found) for found in rows.fetchall()]


def artifact(step: Step, run_id: str, artifact_id: str) -> Artifact | None:
    """See `Artifacts.artifact`."""
    found = step.sql.execute(
        "SELECT media_type, data FROM artifacts WHERE run_id = ? AND artifact_id = ?", (run_id, artifact_id)
    ).fetchone()
    return None if found is None else Artifact(media_type=found[0], data=found[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """`now`: a run can be claimed. `next_ms`: when the next one can, that could not at `since`."""

    at_ms: int
    now: bool
    next_ms: int | None


def due(step: Step, since_ms: int) -> Due:
    """What can be claimed now, and what from when on after `since_ms`."""
    (first,) = step.sql.execute(
        "SELECT min(claimable_ms) FROM runs WHERE claimable_ms IS NOT NULL"
    ).fetchone()
    (following,) = step.sql.execute(
        "SELECT min(claimable_ms) FROM runs WHERE claimable_ms >= ?", (since_ms,)
    ).fetchone()
    return Due(at_ms=step.now_ms, now=first is not None and first <= step.now_ms, next_ms=following)


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What a poll found: the file's version, the runs that moved, whether runs became due."""

    version: int
    moved: frozenset[str]
    due: bool


def news(step: Step, version: int, waiting: Sequence[tuple[str, int]], since_ms: int | None) -> News:
    """Look for what a lost hint would have told. `waiting`: runs with the seq they are read up to."""
    (found,) = step.sql.execute("PRAGMA data_version").fetchone()
    moved: frozenset[str] = frozenset()
    if found != version:
        moved = frozenset(run_id for run_id, after in waiting if has_moved(step, run_id, after))
    became_due = False
    if since_ms is not None:
        following = due(step, since_ms).next_ms
        became_due = following is not None and following <= step.now_ms
    return News(version=found, moved=moved, due=became_due)
