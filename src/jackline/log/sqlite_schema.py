"""The file of the SQLite store: its tables, its pragmas, who may read it, its format.

`claimable_ms` is computed from the columns beside it, so that no write can forget to keep it:
from when on a run can be claimed if nothing changes until then, NULL for never.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final, Literal

from jackline.errors import ConfigError, StoreUnavailable
from jackline.log.base import FORMAT

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "jackline.db"
BUSY_SECONDS: Final = 10.0
"""How long a statement waits for another process: far longer than any honest transaction takes."""

Synchronous = Literal["FULL", "NORMAL"]

# The checkpoint has a table of its own: beside the head, each token's append would rewrite it.
# `n` never comes back (AUTOINCREMENT), so a page's cursor stays good after a delete.
_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE conversations (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation_id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  next_number INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
);
CREATE TABLE runs (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL,
  token TEXT NOT NULL,
  agent TEXT NOT NULL,
  revision TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL,
  last INTEGER NOT NULL,
  closed INTEGER NOT NULL DEFAULT 0,
  summary BLOB NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  due_ms INTEGER,
  waiting INTEGER NOT NULL,
  generation INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  lease_until_ms INTEGER,
  renewed_ms INTEGER NOT NULL DEFAULT 0,
  unreleased INTEGER NOT NULL DEFAULT 0,
  claimable_ms INTEGER GENERATED ALWAYS AS (
    CASE WHEN closed OR waiting THEN NULL ELSE ifnull(lease_until_ms, due_ms) END
  ) VIRTUAL,
  UNIQUE (conversation_id, token)
);
CREATE INDEX runs_of_conversation ON runs (conversation_id, n);
CREATE INDEX runs_claimable ON runs (claimable_ms, n) WHERE claimable_ms IS NOT NULL;
CREATE INDEX runs_open ON runs (n) WHERE closed = 0;
CREATE TABLE checkpoints (run_id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE once_names (
  run_id TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE TABLE entries (
  run_id TEXT NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE reservations (
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, target TEXT NOT NULL, created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX reservations_by_age ON reservations (created_ms);
CREATE TABLE artifacts (
  run_id TEXT NOT NULL, artifact_id TEXT NOT NULL, media_type TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (run_id, artifact_id)
);
CREATE TABLE workers (
  worker TEXT PRIMARY KEY, beat_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
  idle_ms INTEGER NOT NULL, catalogue BLOB
) WITHOUT ROWID;
CREATE TABLE listeners (port INTEGER PRIMARY KEY, pid INTEGER NOT NULL);
"""

# What keeping needs; a file made before it gets these tables when it is opened. A compacted run's
# entries lie in `chunks` from its first on, the rest, if any, in `entries`. `loose` are the closed
# runs that are not compacted.
_KEEPING: Final = """
CREATE TABLE endings (conversation_id TEXT PRIMARY KEY, ended_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX endings_by_age ON endings (ended_ms);
CREATE TABLE loose (run_id TEXT PRIMARY KEY, ended_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX loose_by_age ON loose (ended_ms);
CREATE TABLE chunks (
  run_id TEXT NOT NULL, last INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (run_id, last)
);
CREATE TABLE holds (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO endings (conversation_id, ended_ms)
  SELECT conversation_id, max(updated_ms) FROM runs WHERE closed = 1 GROUP BY conversation_id;
INSERT INTO loose (run_id, ended_ms) SELECT run_id, updated_ms FROM runs WHERE closed = 1
"""

# The feed; a file made before it gets the table when it is opened. What was appended until then is not
# in it. `n` never comes back (AUTOINCREMENT): it is the place in the feed.
_FEED: Final = """
CREATE TABLE feed (n INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX feed_of_run ON feed (run_id);
INSERT INTO meta (key, value) VALUES ('feed', lower(hex(randomblob(4))))
"""


def in_words(error: sqlite3.Error, path: Path) -> str:
    """What went wrong with the file, for a person."""
    code = getattr(error, "sqlite_errorcode", None)
    match code if code is None else code & 0xFF:  # the low byte: the kind without its variety
        case sqlite3.SQLITE_FULL:
            return f"the disk of {path} is full"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has kept {path} locked for {BUSY_SECONDS:g} s"
        case sqlite3.SQLITE_READONLY:
            return f"{path} cannot be written by this user"
        case sqlite3.SQLITE_IOERR:
            return f"the disk of {path} fails or is full ({error})"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{path} is damaged or no SQLite file ({error})"
        case _:
            return f"{path}: {error}"


def unavailable(error: sqlite3.Error, path: Path) -> StoreUnavailable:
    """The error of the store for one of SQLite's."""
    return StoreUnavailable(in_words(error, path))


def prepare(directory: Path) -> Path:
    """Make the directory (0700) and the file (0600) where they are missing; the file's path."""
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here and not by SQLite, which would let the umask decide who can read the runs.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(
            f"cannot store runs in {directory}: {error.strerror}. "
            "Set the data directory to one that this user can write."
        ) from error
    return path


def connect(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """A connection for one thread, not necessarily this one. Transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection, path, synchronous)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise ConfigError(
                f"cannot open the store: {in_words(error, path)}. Give it back its rights, restore the file "
                "from a copy, or set another data directory."
            ) from error
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    mode = _journal_mode(connection)
    if mode != "wal":
        raise ConfigError(
            f"{path.parent} lies on a file system without shared memory, which SQLite needs for more than "
            "one process. Set the data directory to one on a local disk."
        )
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA temp_store = MEMORY")
    # Lets a burst's write-ahead log shrink again once it has been copied into the file.
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    _check_format(connection, path)


def _journal_mode(connection: sqlite3.Connection) -> str:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # Two processes that make the file at the same time: here SQLite does not wait by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return str(mode)


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone()
        if known is None:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO meta (key, value) VALUES ('format', ?)", (str(FORMAT),))
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'endings'").fetchone():
            for statement in _KEEPING.split(";"):
                connection.execute(statement)
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'feed'").fetchone():
            for statement in _FEED.split(";"):
                connection.execute(statement)
        row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        found = int(row[0]) if row is not None and str(row[0]).isdecimal() else -1
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    if not FORMAT - 1 <= found <= FORMAT + 1:
        raise ConfigError(
            f"{path} has format {found}, and this version of Jackline reads {FORMAT - 1} to {FORMAT + 1}. "
            "Install the version that wrote it, or set another data directory."
        )
