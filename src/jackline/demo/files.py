"""Reading files: the largest below a directory, the end of a log. Bounded in time and size."""

from __future__ import annotations

import heapq
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import TypedDict

from jackline.demo.scratch import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_SECONDS: Final = 10.0
MAX_ENTRIES: Final = 300_000
REPORT_EVERY: Final = 5_000
"""Entries between two reports of progress."""
TAIL_BYTES: Final = 256 * 1024
"""How much of a log's end is read."""

_LOGS: Final = frozenset({".log", ".out", ".err"})


class LargeFile(TypedDict):
    """`bytes`: what it takes on the disk, which for a sparse file is less than its length."""

    path: str
    bytes: int
    length: int
    modified: float


class LargestFiles(TypedDict):
    """Largest first. `complete` False: the walk met its bound, and `stopped_by` says which."""

    directory: str
    files: list[LargeFile]
    entries: int
    total_bytes: int
    unreadable: int
    other_file_systems: int
    complete: bool
    stopped_by: str | None


class LogTail(TypedDict):
    """The last lines. `truncated`: the log has more before them."""

    path: str
    bytes: int
    lines: list[str]
    truncated: bool


class Walk:
    """Looks for the largest files below a directory. Follows no link, stays on its file system.

    `step` looks at one directory, so that whoever calls it can stop between two.
    """

    def __init__(
        self,
        directory: str,
        limit: int,
        *,
        max_seconds: float = MAX_SECONDS,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        root = Path(directory).expanduser()
        try:
            found = root.stat()
        except OSError as error:
            raise Refused(f"{directory}: {error.strerror}") from None
        if not stat.S_ISDIR(found.st_mode):
            raise Refused(f"{directory} is not a directory")
        self.root = str(root.resolve())
        self.entries = 0
        self._device = found.st_dev
        self._limit = limit
        self._max_entries = max_entries
        self._clock = clock
        self._until = clock() + max_seconds
        self._max_seconds = max_seconds
        self._waiting = [self.root]
        self._best: list[tuple[int, str, int, float]] = []
        self._seen: set[int] = set()
        self._total = 0
        self._unreadable = 0
        self._elsewhere = 0
        self._stopped_by: str | None = None

    def step(self) -> bool:
        """Look at one more directory. False when there is nothing left to look at."""
        if not self._waiting or self._stopped_by is not None:
            return False
        try:
            with os.scandir(self._waiting.pop()) as entries:
                self._look(entries)
        except OSError:
            self._unreadable += 1
        return True

    def result(self) -> LargestFiles:
        """What was found."""
        best = sorted(self._best, key=lambda file: (-file[0], file[1]))
        return LargestFiles(
            directory=self.root,
            files=[
                LargeFile(path=path, bytes=size, length=length, modified=modified)
                for size, path, length, modified in best
            ],
            entries=self.entries,
            total_bytes=self._total,
            unreadable=self._unreadable,
            other_file_systems=self._elsewhere,
            complete=self._stopped_by is None,
            stopped_by=self._stopped_by,
        )

    def _look(self, entries: Iterable[os.DirEntry[str]]) -> None:
        for entry in entries:
            self.entries += 1
            if self.entries > self._max_entries:
                self._stopped_by = f"{self._max_entries} entries"
                return
            if self._clock() > self._until:
                self._stopped_by = f"{self._max_seconds:g} seconds"
                return
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                self._unreadable += 1
                continue
            if found.st_dev != self._device:
                self._elsewhere += 1
            elif stat.S_ISDIR(found.st_mode):
                self._waiting.append(entry.path)
            elif stat.S_ISREG(found.st_mode):
                self._note(entry.path, found)

    def _note(self, path: str, found: os.stat_result) -> None:
        if found.st_nlink > 1:  # a file with several names takes its room once
            if found.st_ino in self._seen:
                return
            self._seen.add(found.st_ino)
        size = found.st_blocks * 512  # the unit of st_blocks, whatever the file system's (stat(2))
        self._total += size
        file = (size, os.fsencode(path).decode("utf-8", "replace"), found.st_size, found.st_mtime)
        if len(self._best) < self._limit:
            heapq.heappush(self._best, file)
        else:
            heapq.heappushpop(self._best, file)


def tail(path: str, lines: int, scratch: Path) -> LogTail:
    """The last lines of a log.

    Only of what is one: below `/var/log`, below the scratch directory, or by its name's ending. This
    runs unasked, and a model that was talked into it must not read keys with it.
    """
    real = Path(path).expanduser().resolve()
    if not (
        real.suffix in _LOGS or real.is_relative_to("/var/log") or real.is_relative_to(scratch.resolve())
    ):
        raise Refused(
            f"{path} is no log: only files in /var/log, or that end in .log, .out or .err, are read"
        )
    try:
        # Without O_NONBLOCK opening a pipe would wait for who writes to it.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise Refused(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, found.st_size - TAIL_BYTES))
        text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    all_lines = text.split("\n")
    if all_lines[-1] == "":
        all_lines.pop()
    cut = found.st_size > TAIL_BYTES
    if cut:
        del all_lines[0]  # most likely half a line
    return LogTail(
        path=str(real),
        bytes=found.st_size,
        lines=all_lines[-lines:],
        truncated=cut or len(all_lines) > lines,
    )
