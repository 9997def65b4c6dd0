"""What is remembered of probes: how often each was executed, and how each execution ended. All of it is
bounded and forgotten, per holder, so that probes can neither fill a server nor be used to read others'."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from jackline.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

Ended = Literal["open", "done", "cut", "left", "drained"]
"""How an execution ended: not yet, as planned, cut as planned, the client left, the server went."""

STREAMS: Final = 64
STREAMS_OF_ONE: Final = 40
BYTES: Final = 8 * 1024 * 1024
"""What all probes may send in a minute. A whole diagnosis needs about 0.2 MiB."""
KEPT_SECONDS: Final = 1800.0
_KEPT_OF_ONE: Final = 256
_KEPT: Final = 1024
_EXECUTIONS: Final = 16
"""Executions of one probe that are told one by one; more are only counted."""
_MINUTE_S: Final = 60.0


class Execution(msgspec.Struct, kw_only=True):
    """One arrival of a request. `http`: its version here. `ms`: how long it lasted, or lasts. `sent`: planned
    events."""

    method: str
    http: str
    ended: Ended = "open"
    ms: float = 0.0
    sent: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a probe: how often its request arrived, and the first of these.

    Each process has a memory of its own, and a name: `server`. Of others' probes it tells what it does of
    those that never were.
    """

    id: str
    server: str
    executions: int
    seen: list[Execution]


@dataclass(kw_only=True)
class _Record:
    touched: float
    executions: int = 0
    open: int = 0
    seen: list[tuple[float, Execution]] = field(default_factory=list[tuple[float, Execution]])


class Ledger:
    """See the module. `now`: seconds, monotonic."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._records: dict[tuple[str, str], _Record] = {}  # in the order of their last execution
        self._streams: dict[str, int] = {}
        self._server = secrets.token_hex(8)
        self._spent = 0.0
        self._spent_at = now()

    @property
    def size(self) -> int:
        """How many probes are remembered."""
        return len(self._records)

    @property
    def streams(self) -> int:
        """How many are under way."""
        return sum(self._streams.values())

    def begin(self, holder: str, name: str, *, method: str, http: str, size: int) -> Execution:
        """An execution begins, which may send `size` bytes; `finish` must follow. Raises a 429 problem."""
        of_one = self._streams.get(holder, 0)
        if of_one >= STREAMS_OF_ONE or self.streams >= STREAMS:
            raise _too_much(f"{STREAMS_OF_ONE} probes at once are enough")
        self.spend(size)
        record = self._record(holder, name)
        execution = Execution(method=method, http=http)
        record.executions += 1
        record.open += 1
        if len(record.seen) < _EXECUTIONS:
            record.seen.append((self._now(), execution))
        self._streams[holder] = of_one + 1
        return execution

    def finish(self, holder: str, name: str, execution: Execution, ended: Ended, ms: float) -> None:
        """What `begin` gave has ended."""
        execution.ended, execution.ms = ended, round(ms, 3)
        record = self._records.get((holder, name))
        if record is not None:
            record.open -= 1
        self._streams[holder] -= 1
        if not self._streams[holder]:
            del self._streams[holder]

    def report(self, holder: str, name: str) -> Report:
        """What is known."""
        self._forget()
        record = self._records.get((holder, name)) or _Record(touched=0.0)
        now = self._now()
        for since, execution in record.seen:
            if execution.ended == "open":
                execution.ms = round((now - since) * 1000, 3)
        seen = [execution for _, execution in record.seen]
        return Report(id=name, server=self._server, executions=record.executions, seen=seen)

    def _record(self, holder: str, name: str) -> _Record:
        self._forget()
        record = self._records.pop((holder, name), None)
        if record is None:
            own = [key for key in self._records if key[0] == holder]
            if len(own) >= _KEPT_OF_ONE:
                self._drop_oldest(own)
            if len(self._records) >= _KEPT:
                self._drop_oldest(list(self._records))
            record = _Record(touched=0.0)
        record.touched = self._now()
        self._records[holder, name] = record
        return record

    def _drop_oldest(self, keys: list[tuple[str, str]]) -> None:
        """Fewer are under way than are kept: there is always one."""
        del self._records[next(key for key in keys if not self._records[key].open)]

    def _forget(self) -> None:
        old = self._now() - KEPT_SECONDS
        for key in [key for key, record in self._records.items() if record.touched < old and not record.open]:
            del self._records[key]

    def spend(self, size: int) -> None:
        """A bucket that leaks: `BYTES` in a minute, for answers that nothing is remembered of too. Raises a
        429 problem."""
        now = self._now()
        self._spent = max(0.0, self._spent - (now - self._spent_at) * BYTES / _MINUTE_S)
        self._spent_at = now
        if self._spent + size > BYTES:
            raise _too_much("the probes have sent enough for a minute")
        self._spent += size


def _too_much(detail: str) -> Problem:
    return Problem(429, detail, headers={"Retry-After": "30"})
