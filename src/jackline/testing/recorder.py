"""A record of what tools really did, kept outside every process under test."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One thing that a tool did. `key`: the call that did it; `at`: the host's clock, in s since 1970."""

    key: str
    what: str
    at: float
    pid: int


class Recorder:
    """Counts what tools did, by the call's idempotency key, in a file.

    A record is one line, written at once to a file opened for appending: it is whole, in order with
    those of other processes, and stands there although the process is killed right after. What a tool
    did must be recorded where it is done, so that the two cannot come apart.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def record(self, key: str, what: str = "") -> None:
        """Note that the call `key` has done `what`."""
        line = json.dumps([key, what, time.time(), os.getpid()]).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def all(self) -> list[Recorded]:
        """All records, oldest first."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        rows = [json.loads(line) for line in lines]
        return [Recorded(key=key, what=what, at=at, pid=pid) for key, what, at, pid in rows]

    def counts(self) -> Counter[str]:
        """How often each call took effect."""
        return Counter(record.key for record in self.all())

    def times(self, key: str) -> int:
        """How often the call `key` took effect."""
        return self.counts()[key]
