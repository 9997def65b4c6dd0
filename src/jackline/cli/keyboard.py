"""The person's side of the terminal: lines, Ctrl-C, and an editor."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_CHUNK = 4096


@contextmanager
def interrupts(call: Callable[[], None]) -> Generator[None]:
    """While this is open Ctrl-C calls `call` and does nothing else."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class Keyboard:
    """Lines typed at the terminal, given to `on_line` as they are entered; None once at its end.

    The terminal stays in its own line mode, so that editing a line works as everywhere. It is
    read by the loop, not by a thread: a thread in `read` cannot be called back when the question
    was answered elsewhere.
    """

    def __init__(self, on_line: Callable[[str | None], None]) -> None:
        self._on_line = on_line
        self._file = sys.stdin.fileno()
        self._partial = b""
        self._listening = False

    def listen(self) -> None:
        """Begin, or begin again after `pause`."""
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._file, self._read)
            self._listening = True

    def pause(self) -> None:
        """Leave what is typed to somebody else."""
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._file)
            self._listening = False

    def _read(self) -> None:
        try:
            data = os.read(self._file, _CHUNK)
        except OSError:
            data = b""  # the terminal is gone
        if not data:
            self.pause()
            self._on_line(None)
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def editor() -> list[str] | None:
    """The person's editor, None where there is none."""
    from jackline.settings import environment

    given = environment()
    command = given.get("VISUAL") or given.get("EDITOR")
    return shlex.split(command) if command else None


async def edit(command: list[str], text: str) -> str:
    """Let the person edit `text`; raises `OSError` when the editor does not start."""
    with tempfile.TemporaryDirectory(prefix="jackline-") as folder:
        path = anyio.Path(folder, "arguments.json")
        await path.write_text(text, encoding="utf-8")
        await anyio.run_process([*command, str(path)], stdin=None, stdout=None, stderr=None, check=False)
        return await path.read_text(encoding="utf-8", errors="replace")
