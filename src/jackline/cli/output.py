"""Writing to stdout and stderr, which somebody may read slowly, or not at all, or not any more."""

from __future__ import annotations

import asyncio
import io
import os
import select
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from _typeshed import ReadableBuffer


@contextmanager
def patient(stream: TextIO, waits_for: Callable[[int], bool]) -> Generator[TextIO]:
    """The same stream; `waits_for` waits until its file takes something. Once that says False, this and
    all that follows is thrown away."""
    stream.flush()
    raw = _Patient(stream.fileno(), waits_for)
    made = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )
    try:
        yield made
    finally:
        with suppress(BrokenPipeError):
            made.flush()
        raw.lost = True  # what is left in a buffer must not wait when that is thrown away


def write_whole(text: str) -> None:
    """Write to stdout by itself: a buffer would hand out what is painted in pieces."""
    stream = sys.stdout
    stream.flush()
    data = text.encode(stream.encoding or "ascii", "replace")
    raw = getattr(stream.buffer, "raw", stream.buffer)
    while data:
        data = data[raw.write(data) :]


@contextmanager
def left_alone(call: Callable[[], None]) -> Generator[None]:
    """While this is open: `call` when stdout is a pipe whose reader is gone. A write would tell, too, but
    there may be nothing to write for hours."""
    loop = asyncio.get_running_loop()
    file = sys.stdout.fileno()

    def gone() -> None:
        loop.remove_reader(file)
        broken = select.poll()
        broken.register(file, 0)
        if broken.poll(0):
            call()

    if not stat.S_ISFIFO(os.fstat(file).st_mode):
        yield
        return
    loop.add_reader(file, gone)
    try:
        yield
    finally:
        loop.remove_reader(file)


class _Patient(io.RawIOBase):
    def __init__(self, file: int, waits_for: Callable[[int], bool]) -> None:
        super().__init__()
        self._file = file
        self._waits_for = waits_for
        # A pipe that takes something takes so much; more would be waited for within the write.
        self._most = None if os.isatty(file) else select.PIPE_BUF
        self.lost = False

    def fileno(self) -> int:
        return self._file

    def isatty(self) -> bool:
        return os.isatty(self._file)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        whole = memoryview(data)
        self.lost = self.lost or not self._waits_for(self._file)
        return whole.nbytes if self.lost else os.write(self._file, whole[: self._most])
