"""The publisher (publisher.py) as a scenario uses it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from benchmarks.bench import ROOT
from benchmarks.machine import pinned
from benchmarks.processes import BenchError, piped

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What it did: entries handed over, those not taken in the end, its time and CPU in seconds."""

    published: int
    waiting: int
    seconds: float
    cpu_seconds: float


class Publisher:
    """A publisher that runs. `names`: its channels."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.names = msgspec.json.decode(self._line(), type=list[str])

    def go(self) -> None:
        """Publish from now on."""
        self._order(b"go\n")

    def stop(self) -> Published:
        """Publish no more. Raises `BenchError`."""
        self._order(b"stop\n")
        return msgspec.json.decode(self._line(), type=Published)

    def _order(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchError("the publisher ended") from None

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the publisher ended")
        return line


@contextmanager
def publisher(
    sink: tuple[str, str], *, channels: int, rate: float, core: int | None, fill: int = 0
) -> Generator[Publisher]:
    """Start one; its channels are there, each with `fill` entries."""
    command = [sys.executable, "-m", "benchmarks.publisher", *sink, str(channels), f"{rate:g}", str(fill)]
    with piped(pinned(core, command), cwd=ROOT) as process:
        yield Publisher(process)
