"""What keeping reads and writes in the SQLite store, each function one step of a transaction."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from jackline.events import Entry
from jackline.log.sqlite_writes import delete

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackline.log.packing import Chunk
    from jackline.log.sqlite_lane import Step

_PORTION: Final = 5000
"""Entries compacted in one transaction: their writing takes some 20 ms, for which others wait."""
_PORTION_BYTES: Final = 2 << 20


def ended(step: Step, before_ms: int, limit: int) -> list[str]:
    """See `Keeping.ended`."""
    rows = step.sql.execute(
        "SELECT conversation_id FROM endings WHERE ended_ms <= ? AND NOT EXISTS "
        "(SELECT 1 FROM runs WHERE closed = 0 AND runs.conversation_id = endings.conversation_id) "
        "ORDER BY ended_ms LIMIT ?",
        (before_ms, limit),
    )
    return [conversation_id for (conversation_id,) in rows.fetchall()]


def forget(step: Step, conversation_id: str, before_ms: int) -> bool:
    """See `Keeping.forget`."""
    found = step.sql.execute(
        "SELECT 1 FROM endings WHERE conversation_id = ? AND ended_ms <= ? AND NOT EXISTS "
        "(SELECT 1 FROM runs WHERE closed = 0 AND runs.conversation_id = endings.conversation_id)",
        (conversation_id, before_ms),
    ).fetchone()
    if found is None:
        return False
    delete(step, conversation_id)
    return True


def loose(step: Step, before_ms: int, limit: int) -> list[str]:
    """See `Keeping.loose`."""
    rows = step.sql.execute(
        "SELECT run_id FROM loose WHERE ended_ms <= ? ORDER BY ended_ms LIMIT ?", (before_ms, limit)
    )
    return [run_id for (run_id,) in rows.fetchall()]


def portion(step: Step, run_id: str) -> list[tuple[int, Entry]] | None:
    """The next entries to compact; None for a run that is not loose."""
    if step.sql.execute("SELECT 1 FROM loose WHERE run_id = ?", (run_id,)).fetchone() is None:
        return None
    rows = step.sql.execute(
        "SELECT seq, type, body FROM entries WHERE run_id = ? ORDER BY seq LIMIT ?", (run_id, _PORTION)
    )
    found: list[tuple[int, Entry]] = []
    size = 0
    for seq, kind, body in rows:
        found.append((seq, Entry(kind, body)))
        size += len(body)
        if size > _PORTION_BYTES:
            break
    return found


def compact(step: Step, run_id: str, made: Sequence[Chunk]) -> None:
    """Put chunks in the place of the entries that they hold, unless another has. A run that has no
    other entries is compacted then."""
    for chunk in made:
        span = run_id, chunk.first, chunk.last
        removed = step.sql.execute("DELETE FROM entries WHERE run_id = ? AND seq BETWEEN ? AND ?", span)
        if removed.rowcount == 0:
            return  # another keeper was faster, or the run is gone
        step.sql.execute(
            "INSERT INTO chunks (run_id, last, body) VALUES (?, ?, ?)", (run_id, chunk.last, chunk.body)
        )
    step.sql.execute(
        "DELETE FROM loose WHERE run_id = ? AND NOT EXISTS (SELECT 1 FROM entries WHERE run_id = ?)",
        (run_id, run_id),
    )


def hold(step: Step, name: str, holder: str, ttl: float) -> bool:
    """See `Keeping.hold`."""
    step.sql.execute("DELETE FROM holds WHERE until_ms <= ?", (step.now_ms,))
    found = step.sql.execute("SELECT holder FROM holds WHERE name = ?", (name,)).fetchone()
    if found is not None and found[0] != holder:
        return False
    step.sql.execute(
        "INSERT OR REPLACE INTO holds (name, holder, until_ms) VALUES (?, ?, ?)",
        (name, holder, step.now_ms + int(ttl * 1000)),
    )
    return True


def fullness(step: Step, path: Path, reserve: int) -> float:
    """How much of what the file has and could still get is used; 1 when less than `reserve` bytes
    are free for everybody on its disk. Pages that were freed within the file are room too."""
    size = sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
    (page,) = step.sql.execute("PRAGMA page_size").fetchone()
    (freed,) = step.sql.execute("PRAGMA freelist_count").fetchone()
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    if free < reserve:
        return 1.0
    used = size - freed * page
    return used / max(1, size + free)
