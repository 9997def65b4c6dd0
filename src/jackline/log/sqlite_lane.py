"""A thread with a connection of its own, which works off what the event loop asks of it.

What gathers while one transaction is in flight goes into the next one together, so that many
small appends share one wait for the disk (group commit). Answers are given after the COMMIT.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from jackline.errors import StoreUnavailable
from jackline.log.sqlite_schema import BUSY_SECONDS, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jackline.log.base import News

T = TypeVar("T")

_GROUP: Final = 512
"""Most requests of one transaction; more would make the first of them wait too long."""

_RETRY_SECONDS: Final = 0.0005
"""Between two tries for the write lock. About as long as a commit takes: SQLite's own waiting backs
off to 100 ms, which a stop that comes from another process would feel."""

_DOOMED: Final = (sqlite3.OperationalError, sqlite3.DatabaseError)
"""Errors of the file, not of one request: the whole transaction is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What a transaction changed that others may wait for: runs, with what was appended to them where
    that was all, and when runs can be claimed."""

    runs: dict[str, News | None] = field(default_factory=dict[str, "News | None"])
    due: set[str] = field(default_factory=set[str])

    def add(self, run_id: str, news: News | None = None) -> None:
        """A run was changed (once more)."""
        former = self.runs.get(run_id)
        if former is not None and news is not None:
            follows = news.first == former.first + len(former.entries)
            news = (
                news._replace(first=former.first, entries=[*former.entries, *news.entries])
                if follows
                else None
            )
        elif run_id in self.runs:
            news = None
        self.runs[run_id] = news


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One request's place in a transaction. `now_ms`: the store's clock, taken inside of it."""

    sql: sqlite3.Connection
    now_ms: int
    changed: Changed


@dataclass(frozen=True, slots=True)
class _Request(Generic[T]):
    call: Callable[[Step], T]
    answer: asyncio.Future[T]


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: asyncio.Future[Any]
    value: Any = None
    error: Exception | None = None


class Lane:
    """Runs requests in transactions, in the order they came.

    `committed` is called in the thread, before the answers leave, with what was changed.
    An abandoned (cancelled) request is either done or not, and never touches another.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        begin: Literal["BEGIN", "BEGIN IMMEDIATE"],
        clock: Callable[[], float],
        committed: Callable[[sqlite3.Connection, Changed], None] | None = None,
    ) -> None:
        self._sql = connection
        self._path = path
        self._begin = begin
        self._clock = clock
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[_Request[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(
            target=self._work, name=f"jackline sqlite {begin.lower()}", daemon=True
        )
        # BEGIN waits by its own loop (`_take_lock`); see `_RETRY_SECONDS`.
        connection.execute(
            "PRAGMA busy_timeout = 0" if begin == "BEGIN IMMEDIATE" else "PRAGMA query_only = 1"
        )
        self._thread.start()

    def submit(self, call: Callable[[Step], T]) -> asyncio.Future[T]:
        """The answer of `call`, run in the thread. Raises `StoreUnavailable` after `close`."""
        if self._closed:
            raise StoreUnavailable(f"{self._path} was closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self._requests.put(_Request(call, answer))
        return answer

    def close(self) -> None:
        """No more requests; those already there are still done."""
        if not self._closed:
            self._closed = True
            self._requests.put(None)

    def join(self) -> None:
        """Wait until the thread has ended and the connection is closed. Not on the event loop."""
        self._thread.join()

    def _work(self) -> None:
        open_for_more = True
        while open_for_more:
            group, open_for_more = self._gather()
            if group:
                self._serve(group)
        self._sql.close()

    def _gather(self) -> tuple[list[_Request[Any]], bool]:
        request = self._requests.get()
        group: list[_Request[Any]] = []
        while request is not None:
            group.append(request)
            if len(group) == _GROUP:
                return group, True
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _serve(self, group: list[_Request[Any]]) -> None:
        changed = Changed()
        try:
            outcomes = self._run(group, changed)
        except sqlite3.Error as error:
            self._roll_back()
            refusal = unavailable(error, self._path)
            self._answer([_Outcome(request.answer, error=refusal) for request in group])
            return
        # First of all: the loop's thread, once it has the answers, would keep this one from running.
        if self._committed is not None and (changed.runs or changed.due):
            self._committed(self._sql, changed)
        self._answer(outcomes)

    def _run(self, group: list[_Request[Any]], changed: Changed) -> list[_Outcome]:
        """The group's transaction. A request that is refused has nearly always written nothing yet, so
        the first time there is no savepoint for each; should one have written, all is done again."""
        self._take_lock()
        outcomes = [self._attempt(request, changed) for request in group]
        if not all(outcomes):
            self._sql.execute("ROLLBACK")
            changed.runs.clear()
            changed.due.clear()
            self._take_lock()
            outcomes = [self._attempt_apart(request, changed) for request in group]
        self._sql.execute("COMMIT")
        return [outcome for outcome in outcomes if outcome is not None]

    def _take_lock(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._sql.execute(self._begin)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _attempt_apart(self, request: _Request[Any], changed: Changed) -> _Outcome:
        """Run one request; a refused one takes only its own writes back."""
        self._sql.execute("SAVEPOINT request")
        outcome = self._attempt(request, changed, apart=True)
        assert outcome is not None
        self._sql.execute("RELEASE request")
        return outcome

    def _attempt(self, request: _Request[Any], changed: Changed, *, apart: bool = False) -> _Outcome | None:
        """Run one request. None when it was refused and has written something, which it must be `apart`
        from the others to take back."""
        if request.answer.cancelled():
            return _Outcome(request.answer)
        written = self._sql.total_changes
        changed_here = Changed()
        try:
            step = Step(sql=self._sql, now_ms=int(self._clock() * 1000), changed=changed_here)
            outcome = _Outcome(request.answer, value=request.call(step))
        except Exception as error:
            # The top of this thread: whatever it is, the other requests must get their answers.
            if type(error) in _DOOMED:
                raise
            if apart:
                self._sql.execute("ROLLBACK TO request")
            elif self._sql.total_changes != written:
                return None
            refusal = unavailable(error, self._path) if isinstance(error, sqlite3.Error) else error
            return _Outcome(request.answer, error=refusal)
        for run_id, news in changed_here.runs.items():
            changed.add(run_id, news)
        changed.due.update(changed_here.due)
        return outcome

    def _roll_back(self) -> None:
        if not self._sql.in_transaction:  # SQLite itself rolls back on some errors, a full disk among them
            return
        try:
            self._sql.execute("ROLLBACK")
        except sqlite3.Error:
            # The next BEGIN then fails with the reason, and so do its requests.
            return

    def _answer(self, outcomes: list[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_deliver, outcomes)
        except RuntimeError:
            # The loop is gone without `aclose`, and so is everybody who could be answered.
            return


def _deliver(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.answer.done():
            continue
        if outcome.error is not None:
            outcome.answer.set_exception(outcome.error)
        else:
            outcome.answer.set_result(outcome.value)
