"""What the bridge must not forget: threads, runs, messages, and what came from Slack and is not done yet.

SQLite, one file, one process. Each write is one small transaction on the event loop: under a millisecond,
a few times a second at most; what is written must be on disk before the next thing is said.

The order of writes is the guarantee. What comes from Slack is taken in before it is acknowledged. A message
is noted as intended before it is posted, and as posted afterwards: whoever finds one that was intended and
not posted asks Slack for it before posting (see `Mouth`).
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jackline.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS inbox (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, at REAL NOT NULL,
    done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS threads (
    conversation_id TEXT PRIMARY KEY, channel TEXT NOT NULL, ts TEXT NOT NULL, user TEXT NOT NULL,
    UNIQUE (channel, ts));
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    holder TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, ts TEXT, digest TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (holder, key));
CREATE TABLE IF NOT EXISTS heard (user TEXT PRIMARY KEY, cursor TEXT NOT NULL, until REAL NOT NULL);
"""
_KEPT_S: Final = 30 * 86400.0
"""How long what was done is kept: requests, and where the messages of a run stand."""
_THREADS_KEPT_S: Final = 180 * 86400.0
"""How long a thread in which nothing happens goes on with its conversation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Something that came from Slack. `at`: POSIX seconds."""

    id: str
    kind: str
    body: dict[str, Any]
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Thread:
    """A thread that belongs to a conversation. `user` was the last to start a run from it; that user's key
    follows its runs."""

    conversation_id: str
    channel: str
    ts: str
    user: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """A message of ours. `ts` is None when it was intended and nothing is known of what became of it, and ""
    when it is not there any more, or never could be."""

    at: float
    ts: str | None
    digest: str


class Ledger:
    """The file. Raises `ConfigError` when it cannot be used, or another process has it open."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Beside the file: SQLite's own locks would let two bridges take turns.
            self._lock = path.with_name(path.name + ".lock").open("w")
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(
                f"{path} is in use: another jackline slack runs; stop it, or set slack_db to another file"
            ) from None
        try:
            self._db = _open(path)
        except (OSError, sqlite3.Error) as error:
            self._lock.close()
            raise _unusable(path, error) from error
        self.prune()

    def close(self) -> None:
        """Close the file, and let another process have it."""
        self._db.close()
        self._lock.close()

    def prune(self) -> None:
        """Forget what nothing needs any more."""
        now = time.time()
        before = now - _KEPT_S
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM inbox WHERE done AND at < ?", (before,))
        # Before its messages: a run that is asked for again would be told anew without them.
        self._db.execute("UPDATE runs SET done = 1 WHERE done = 2 AND at < ?", (before,))
        self._db.execute(
            "DELETE FROM messages WHERE holder IN (SELECT run_id FROM runs WHERE done = 1 AND at < ?)",
            (before,),
        )
        self._db.execute("DELETE FROM messages WHERE holder LIKE 'inbox.%' AND at < ?", (before,))
        # A thread and its runs together: a run that is forgotten alone would be found, and told, once more.
        self._db.execute(
            "DELETE FROM threads WHERE NOT EXISTS (SELECT 1 FROM runs"
            " WHERE runs.conversation_id = threads.conversation_id AND (done != 1 OR at >= ?))",
            (now - _THREADS_KEPT_S,),
        )
        self._db.execute(
            "DELETE FROM runs WHERE conversation_id NOT IN (SELECT conversation_id FROM threads)"
        )
        self._db.execute("COMMIT")

    # -- what came from Slack ------------------------------------------------------------------

    def take(self, id_: str, kind: str, body: dict[str, Any]) -> Taken | None:
        """Take something in; None when it was taken before."""
        now = time.time()
        added = self._db.execute(
            "INSERT OR IGNORE INTO inbox (id, kind, body, at) VALUES (?, ?, ?, ?)",
            (id_, kind, json.dumps(body), now),
        )
        return Taken(id=id_, kind=kind, body=body, at=now) if added.rowcount else None

    def taken(self, id_: str) -> Taken | None:
        """One of them, done or not."""
        rows = self._db.execute("SELECT id, kind, body, at FROM inbox WHERE id = ?", (id_,))
        return next((_taken(row) for row in rows), None)

    def before(self, taken: Taken) -> list[Taken]:
        """Those of its kind that came before it, done or not."""
        rows = self._db.execute(
            "SELECT id, kind, body, at FROM inbox WHERE kind = ?"
            " AND rowid < (SELECT rowid FROM inbox WHERE id = ?)",
            (taken.kind, taken.id),
        )
        return [_taken(row) for row in rows]

    def waiting(self) -> list[Taken]:
        """What is not done yet, oldest first."""
        rows = self._db.execute("SELECT id, kind, body, at FROM inbox WHERE NOT done ORDER BY at")
        return [_taken(row) for row in rows]

    def done(self, id_: str) -> None:
        """It is done, or was refused and that was said."""
        self._db.execute("UPDATE inbox SET done = 1 WHERE id = ?", (id_,))

    # -- threads and runs ----------------------------------------------------------------------

    def begin(self, thread: Thread, run_id: str) -> None:
        """A thread and its run, in one step."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "INSERT INTO threads (conversation_id, channel, ts, user) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation_id) DO UPDATE SET user = excluded.user"
            " ON CONFLICT DO NOTHING",
            (thread.conversation_id, thread.channel, thread.ts, thread.user),
        )
        self._db.execute(
            "INSERT OR IGNORE INTO runs (run_id, conversation_id, at) VALUES (?, ?, ?)",
            (run_id, thread.conversation_id, time.time()),
        )
        self._db.execute("COMMIT")

    def thread_at(self, channel: str, ts: str) -> Thread | None:
        """The conversation of a thread."""
        return self._thread("channel = ? AND ts = ?", channel, ts)

    def thread_of(self, conversation_id: str) -> Thread | None:
        """The thread of a conversation."""
        return self._thread("conversation_id = ?", conversation_id)

    def _thread(self, where: str, *values: str) -> Thread | None:
        row = self._db.execute(
            f"SELECT conversation_id, channel, ts, user FROM threads WHERE {where}",  # noqa: S608 - two constants
            values,
        ).fetchone()
        return row and Thread(conversation_id=row[0], channel=row[1], ts=row[2], user=row[3])

    def owners(self) -> list[str]:
        """The users whose keys follow threads."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT user FROM threads ORDER BY user")]

    def heard(self, user: str) -> tuple[str | None, float]:
        """Up to where the feed of a user was read: its cursor, and the server's POSIX time there."""
        row = self._db.execute("SELECT cursor, until FROM heard WHERE user = ?", (user,)).fetchone()
        return (None, 0.0) if row is None else (row[0] or None, float(row[1]))

    def hear(self, user: str, cursor: str, until: float) -> None:
        """It was read up to there."""
        self._db.execute(
            "INSERT OR REPLACE INTO heard (user, cursor, until) VALUES (?, ?, ?)", (user, cursor, until)
        )

    def forget_heard(self, user: str) -> None:
        """The cursor is good for nothing; the time still is."""
        self._db.execute("UPDATE heard SET cursor = '' WHERE user = ?", (user,))

    def knows(self, run_id: str) -> bool:
        """Whether a run was ever followed."""
        return self._db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone() is not None

    def open_runs(self) -> list[tuple[str, Thread]]:
        """The runs that are not told to their end, those that were gone too, oldest first."""
        rows = self._db.execute(
            "SELECT r.run_id, t.conversation_id, t.channel, t.ts, t.user FROM runs r"
            " JOIN threads t ON t.conversation_id = r.conversation_id WHERE r.done != 1 ORDER BY r.at"
        )
        return [
            (row[0], Thread(conversation_id=row[1], channel=row[2], ts=row[3], user=row[4])) for row in rows
        ]

    def told(self, run_id: str) -> None:
        """All of the run stands in Slack."""
        self._db.execute("UPDATE runs SET done = 1 WHERE run_id = ?", (run_id,))

    def gone(self, run_id: str) -> None:
        """The server does not know the run, and that stands in Slack. The next bridge asks again."""
        self._db.execute("UPDATE runs SET done = 2 WHERE run_id = ?", (run_id,))

    # -- messages ------------------------------------------------------------------------------

    def messages(self, holder: str) -> dict[str, Posted]:
        """The messages of a run by their keys, those that were only intended too."""
        rows = self._db.execute("SELECT key, at, ts, digest FROM messages WHERE holder = ?", (holder,))
        return {row[0]: Posted(at=row[1], ts=row[2], digest=row[3]) for row in rows}

    def intend(self, holder: str, key: str) -> Posted:
        """A message is about to be posted, for the first time or once more."""
        now = time.time()
        self._db.execute(
            "INSERT OR REPLACE INTO messages (holder, key, at) VALUES (?, ?, ?)", (holder, key, now)
        )
        return Posted(at=now, ts=None, digest="")

    def withdraw(self, holder: str, key: str) -> None:
        """It was not posted: Slack has said so."""
        self._db.execute("DELETE FROM messages WHERE holder = ? AND key = ? AND ts IS NULL", (holder, key))

    def posted(self, holder: str, key: str, ts: str, digest: str) -> Posted:
        """It stands in Slack, as `digest` says; "" when that is not known."""
        now = time.time()
        self._db.execute(
            "INSERT OR REPLACE INTO messages (holder, key, at, ts, digest) VALUES (?, ?, ?, ?, ?)",
            (holder, key, now, ts, digest),
        )
        return Posted(at=now, ts=ts, digest=digest)


def _taken(row: tuple[str, str, str, float]) -> Taken:
    return Taken(id=row[0], kind=row[1], body=json.loads(row[2]), at=row[3])


def _open(path: Path) -> sqlite3.Connection:
    # Made here and not by SQLite, which would let the umask decide who can read what people ask.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # Now, and not in the middle of something: what cannot be written down must not be said.
        [said] = db.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError(" ".join(str(said).split()))
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _unusable(path: Path, error: OSError | sqlite3.Error) -> ConfigError:
    if isinstance(error, OSError):
        return ConfigError(
            f"slack_db: {path} cannot be written ({error.strerror}); set it to a file that it may write"
        )
    return ConfigError(
        f"slack_db: {path} cannot be read ({error}); put a copy of it back, or move it away: "
        "threads of before are not known then"
    )
