"""What the SQLite store writes, each function one step of a transaction: all of it or nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import Busy, Fenced, Moved, RunClosed, UnknownRun
from jackline.ids import is_conversation_id, run_id
from jackline.log import sqlite_feed as feed
from jackline.log.base import KEEP, NEVER, NOBODY, NOW, Appended, Begun, Lease, News, Reservation, Taken
from jackline.log.feed import FEED_ENTRIES
from jackline.log.sqlite_reads import stored_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.events import Entry
    from jackline.log.base import Artifact, Due, Nobody, Serves, Start
    from jackline.log.sqlite_lane import Step

_RESERVATION_MS: Final = 24 * 60 * 60 * 1000
"""A day: how long an idempotency key is kept at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """The arguments of `EventLog.append`."""

    run_id: str
    entries: Sequence[Entry]
    fence: int | Nobody | None
    expect: int | None
    once: Sequence[str]
    checkpoint: bytes | None
    summary: bytes | None
    due: Due
    close: bool
    in_feed: Sequence[int] = ()
    """Places of the entries that belong in the feed."""
    feed_entries: int = FEED_ENTRIES


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """The columns of a run that the checks need."""

    n: int
    run_id: str
    conversation_id: str
    last: int
    closed: bool
    waiting: bool
    generation: int
    lease_until_ms: int | None


def _row(step: Step, wanted: str) -> _Row:
    found = step.sql.execute(
        "SELECT n, conversation_id, last, closed, waiting, generation, lease_until_ms FROM runs "
        "WHERE run_id = ?",
        (wanted,),
    ).fetchone()
    if found is None:
        raise UnknownRun(wanted)
    n, conversation_id, last, closed, waiting, generation, lease_until_ms = found
    return _Row(
        n=n,
        run_id=wanted,
        conversation_id=conversation_id,
        last=last,
        closed=bool(closed),
        waiting=bool(waiting),
        generation=generation,
        lease_until_ms=lease_until_ms,
    )


def append(step: Step, what: Append) -> Appended:
    """See `EventLog.append`; the order of the checks is the contract's."""
    row = _row(step, what.run_id)
    taken = _taken(step, what)
    if taken:
        return Appended(first=row.last + 1, last=row.last, repeated=True, taken=taken)
    if row.closed:
        raise RunClosed(row.run_id)
    lapsed_at = _check_fence(step, row, what.fence)
    if what.expect is not None and what.expect != row.last:
        raise Moved(row.run_id, row.last)
    if lapsed_at is not None:
        step.sql.execute(
            "UPDATE runs SET worker = '', lease_until_ms = NULL, due_ms = ? WHERE n = ?", (lapsed_at, row.n)
        )
    last = _write(step, row, what)
    _set_due(step, row.n, row.run_id, what.due)
    if what.close:
        _close(step, row)
    if last > row.last or what.close:
        news = News(row.last + 1, what.entries, closed=what.close, epoch=0)
        step.changed.add(row.run_id, news if what.entries else None)
    return Appended(first=row.last + 1, last=last)


def _taken(step: Step, what: Append) -> dict[str, Taken]:
    taken: dict[str, Taken] = {}
    for name in what.once:
        found = step.sql.execute(
            "SELECT seq FROM once_names WHERE run_id = ? AND name = ?", (what.run_id, name)
        ).fetchone()
        if found is not None:
            taken[name] = Taken(seq=found[0], entry=stored_at(step, what.run_id, found[0]))
    return taken


def _check_fence(step: Step, row: _Row, fence: int | Nobody | None) -> int | None:
    """When the lease lapsed that `NOBODY` is to end."""
    if isinstance(fence, int):
        if row.lease_until_ms is None or fence != row.generation:
            raise Fenced(row.run_id)
        return None
    if fence is not NOBODY or row.lease_until_ms is None:
        return None
    if row.lease_until_ms > step.now_ms:
        raise Fenced(row.run_id)
    return row.lease_until_ms


def _write(step: Step, row: _Row, what: Append) -> int:
    """The seq of the last entry."""
    seqs = range(row.last + 1, row.last + 1 + len(what.entries))
    step.sql.executemany(
        "INSERT INTO entries (run_id, seq, type, body) VALUES (?, ?, ?, ?)",
        [(row.run_id, seq, entry.type, entry.body) for seq, entry in zip(seqs, what.entries, strict=True)],
    )
    if what.in_feed:
        feed.add(step, row.run_id, (seqs[at] for at in what.in_feed), what.feed_entries)
    if what.once:
        step.sql.executemany(
            "INSERT INTO once_names (run_id, name, seq) VALUES (?, ?, ?)",
            [(row.run_id, name, seq) for name, seq in zip(what.once, seqs, strict=False)],
        )
    last = row.last + len(what.entries)
    step.sql.execute(
        "UPDATE runs SET last = ?, updated_ms = ?, summary = ifnull(?, summary) WHERE n = ?",
        (last, step.now_ms, what.summary, row.n),
    )
    if what.checkpoint is not None:
        step.sql.execute(
            "INSERT OR REPLACE INTO checkpoints (run_id, body) VALUES (?, ?)", (row.run_id, what.checkpoint)
        )
    return last


def _set_due(step: Step, n: int, of_run: str, due: Due) -> None:
    if due is KEEP:
        return
    at: int | None = None
    if due != NEVER:
        at = due if isinstance(due, int) else step.now_ms
        step.changed.due.add(of_run)
    step.sql.execute("UPDATE runs SET due_ms = ? WHERE n = ?", (at, n))


def _close(step: Step, row: _Row) -> None:
    step.sql.execute(
        "UPDATE runs SET closed = 1, waiting = 0, due_ms = NULL, worker = '', lease_until_ms = NULL, "
        "unreleased = 0 WHERE n = ?",
        (row.n,),
    )
    step.sql.execute(
        "INSERT OR REPLACE INTO endings (conversation_id, ended_ms) VALUES (?, ?)",
        (row.conversation_id, step.now_ms),
    )
    step.sql.execute("INSERT INTO loose (run_id, ended_ms) VALUES (?, ?)", (row.run_id, step.now_ms))
    if row.waiting:
        return
    following = step.sql.execute(
        "SELECT n, run_id FROM runs WHERE conversation_id = ? AND waiting = 1 ORDER BY n LIMIT 1",
        (row.conversation_id,),
    ).fetchone()
    if following is not None:
        n, of_run = following
        step.sql.execute("UPDATE runs SET waiting = 0 WHERE n = ?", (n,))
        _set_due(step, n, of_run, NOW)


def claim(step: Step, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
    """See `Leases.claim`."""
    if not serves:
        return None
    served = " OR ".join(["(agent = ? AND revision IN ('', ?))"] * len(serves))
    query = (
        "SELECT n, run_id, agent, revision, last, generation, unreleased FROM runs "  # noqa: S608 (only ?s)
        f"WHERE claimable_ms <= ? AND ({served}) ORDER BY claimable_ms, n LIMIT 1"
    )
    found = step.sql.execute(
        query,
        (step.now_ms, *(value for one in serves for value in (one.name, one.revision))),
    ).fetchone()
    if found is None:
        return None
    n, of_run, agent, revision, last, generation, unreleased = found
    revision = revision or next(one.revision for one in serves if one.name == agent)
    step.sql.execute(
        "UPDATE runs SET revision = ?, generation = ?, worker = ?, lease_until_ms = ?, renewed_ms = ?, "
        "unreleased = 1 WHERE n = ?",
        (revision, generation + 1, worker, step.now_ms + int(ttl * 1000), step.now_ms, n),
    )
    return Lease(
        run_id=of_run,
        worker=worker,
        generation=generation + 1,
        agent=agent,
        revision=revision,
        last=last,
        lapsed=bool(unreleased),
    )


def _held(step: Step, lease: Lease) -> _Row:
    row = _row(step, lease.run_id)
    if row.closed:
        raise RunClosed(row.run_id)
    if row.lease_until_ms is None or row.generation != lease.generation:
        raise Fenced(row.run_id)
    return row


def renew(step: Step, lease: Lease, ttl: float) -> None:
    """See `Leases.renew`."""
    row = _held(step, lease)
    step.sql.execute(
        "UPDATE runs SET lease_until_ms = ?, renewed_ms = ? WHERE n = ?",
        (step.now_ms + int(ttl * 1000), step.now_ms, row.n),
    )


def release(step: Step, lease: Lease, due: Due, expect: int) -> None:
    """See `Leases.release`."""
    row = _held(step, lease)
    if expect != row.last:
        raise Moved(row.run_id, row.last)
    step.sql.execute(
        "UPDATE runs SET worker = '', lease_until_ms = NULL, unreleased = 0 WHERE n = ?", (row.n,)
    )
    _set_due(step, row.n, row.run_id, due)
    if due is KEEP:
        step.changed.due.add(row.run_id)


def beat(step: Step, worker: str, ttl: float, idle_ms: int, catalogue: bytes | None) -> None:
    """See `Leases.beat`. Workers whose time is over are removed."""
    step.sql.execute("DELETE FROM workers WHERE until_ms <= ?", (step.now_ms,))
    step.sql.execute(
        "INSERT INTO workers (worker, beat_ms, until_ms, idle_ms, catalogue) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (worker) DO UPDATE SET beat_ms = excluded.beat_ms, until_ms = excluded.until_ms, "
        "idle_ms = excluded.idle_ms, catalogue = ifnull(excluded.catalogue, catalogue)",
        (worker, step.now_ms, step.now_ms + int(ttl * 1000), idle_ms, catalogue),
    )


def begin(step: Step, start: Start, in_feed: Sequence[int], feed_entries: int) -> Begun:
    """See `Directory.begin`. `in_feed`: places of the entries that belong in the feed."""
    number = _next_number(step, start)
    found = step.sql.execute(
        "SELECT run_id FROM runs WHERE conversation_id = ? AND closed = 0 AND waiting = 0",
        (start.conversation_id,),
    ).fetchone()
    active: str | None = None if found is None else found[0]
    made = step.sql.execute(
        "SELECT run_id, last, waiting FROM runs WHERE conversation_id = ? AND token = ?",
        (start.conversation_id, start.token),
    ).fetchone()
    if made is not None:
        of_run, last, waiting = made
        return Begun(run_id=of_run, last=last, repeated=True, active=active if waiting else None)
    if active is not None and not start.queue:
        raise Busy(active)
    of_run = run_id(start.conversation_id, number)
    _insert_run(step, start, of_run, waiting=active is not None)
    feed.add(step, of_run, (at + 1 for at in in_feed), feed_entries)
    return Begun(run_id=of_run, last=len(start.entries), repeated=False, active=active)


def _next_number(step: Step, start: Start) -> int:
    found = step.sql.execute(
        "SELECT next_number FROM conversations WHERE conversation_id = ?", (start.conversation_id,)
    ).fetchone()
    if found is not None:
        return int(found[0])
    if not start.new_conversation:
        raise UnknownRun(start.conversation_id)
    step.sql.execute(
        "INSERT INTO conversations (conversation_id, owner, next_number, created_ms) VALUES (?, ?, 1, ?)",
        (start.conversation_id, start.owner, step.now_ms),
    )
    return 1


def _insert_run(step: Step, start: Start, of_run: str, *, waiting: bool) -> None:
    now = step.now_ms
    step.sql.execute(
        "INSERT INTO runs (run_id, conversation_id, token, agent, owner, last, summary, created_ms, "
        "updated_ms, due_ms, waiting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            of_run,
            start.conversation_id,
            start.token,
            start.agent,
            start.owner,
            len(start.entries),
            start.summary,
            now,
            now,
            now,
            waiting,
        ),
    )
    step.sql.executemany(
        "INSERT INTO entries (run_id, seq, type, body) VALUES (?, ?, ?, ?)",
        [(of_run, seq, entry.type, entry.body) for seq, entry in enumerate(start.entries, 1)],
    )
    step.sql.execute(
        "UPDATE conversations SET next_number = next_number + 1 WHERE conversation_id = ?",
        (start.conversation_id,),
    )
    step.changed.add(of_run)
    if not waiting:
        step.changed.due.add(of_run)


def reserve(step: Step, key: str, reservation: Reservation) -> Reservation:
    """See `Directory.reserve`. Removes a few that nothing holds any more."""
    step.sql.execute(
        "DELETE FROM reservations WHERE key IN (SELECT key FROM reservations AS old WHERE created_ms < ? "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE closed = 0 AND conversation_id = "
        "substr(old.target, 1, instr(old.target || '.', '.') - 1)) LIMIT 100)",
        (step.now_ms - _RESERVATION_MS,),
    )
    step.sql.execute(
        "INSERT OR IGNORE INTO reservations (key, digest, target, created_ms) VALUES (?, ?, ?, ?)",
        (key, reservation.digest, reservation.target, step.now_ms),
    )
    digest, target = step.sql.execute(
        "SELECT digest, target FROM reservations WHERE key = ?", (key,)
    ).fetchone()
    return Reservation(digest=digest, target=target)


def delete(step: Step, doomed: str) -> None:
    """See `Directory.delete`."""
    whole = is_conversation_id(doomed)
    rows = _doomed_runs(step, doomed, whole=whole)
    for of_run, closed in rows:
        if not closed:
            raise Busy(of_run)
    for of_run, _ in rows:
        for table in ("entries", "chunks", "loose", "once_names", "checkpoints", "artifacts", "runs"):
            step.sql.execute(f"DELETE FROM {table} WHERE run_id = ?", (of_run,))  # noqa: S608 (named above)
        feed.remove(step, of_run)
        step.changed.add(of_run)
    if whole:
        for table in ("endings", "conversations"):
            step.sql.execute(f"DELETE FROM {table} WHERE conversation_id = ?", (doomed,))  # noqa: S608


def _doomed_runs(step: Step, doomed: str, *, whole: bool) -> list[tuple[str, int]]:
    if not whole:
        rows = step.sql.execute("SELECT run_id, closed FROM runs WHERE run_id = ?", (doomed,)).fetchall()
        if not rows:
            raise UnknownRun(doomed)
        return rows
    known = "SELECT 1 FROM conversations WHERE conversation_id = ?"
    if step.sql.execute(known, (doomed,)).fetchone() is None:
        raise UnknownRun(doomed)
    query = "SELECT run_id, closed FROM runs WHERE conversation_id = ? ORDER BY n"
    return step.sql.execute(query, (doomed,)).fetchall()


def put_artifact(step: Step, of_run: str, artifact_id: str, artifact: Artifact) -> None:
    """See `Artifacts.put_artifact`."""
    _row(step, of_run)
    step.sql.execute(
        "INSERT OR REPLACE INTO artifacts (run_id, artifact_id, media_type, data) VALUES (?, ?, ?, ?)",
        (of_run, artifact_id, artifact.media_type, artifact.data),
    )


def ping(step: Step) -> None:
    """See `Store.ping`. Another value each time: SQLite does not write one that stands there already."""
    new = secrets.token_hex(8)
    step.sql.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('pinged', ?)", (new,))
