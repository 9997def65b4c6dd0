"""The person's side of the terminal: lines, keys, and an editor."""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import sys
import tempfile
import termios
import time
import tty
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from jackline.cli.line import Enter

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.cli.line import LineEditor

_CHUNK = 4096
_TWICE_S: Final = 1.0
"""Two presses of Esc within this time are one wish."""
_PASTE_ON: Final = "\x1b[?2004h"
_PASTE_OFF: Final = "\x1b[?2004l"


class Typing(Protocol):
    """Where lines come from."""

    def listen(self) -> None:
        """Begin, or begin again after `pause`."""
        ...

    def pause(self) -> None:
        """Leave what is typed to somebody else."""
        ...

    def turn(self, topic: str, single: str) -> None:
        """Something else is asked now: what was typed so far was no answer to it. `single`: the keys that
        answer it by themselves, where that is possible."""
        ...

    def put(self, text: str) -> None:
        """Put this into the line, where that is possible."""
        ...


class Keyboard:
    """Lines typed at the terminal, given to `on_line` as they are entered; None once at its end.

    The terminal stays in its own line mode: for one that cannot do more. It is read by the loop, not
    by a thread: a thread in `read` cannot be called back when the question was answered elsewhere.
    """

    def __init__(self, on_line: Callable[[str | None], None]) -> None:
        self._on_line = on_line
        self._file = sys.stdin.fileno()
        self._partial = b""
        self._listening = False
        self._topic = ""

    def listen(self) -> None:
        """See `Typing`."""
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._file, self._read)
            self._listening = True

    def pause(self) -> None:
        """See `Typing`."""
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._file)
            self._listening = False

    def turn(self, topic: str, single: str) -> None:
        """See `Typing`. What is not entered yet is the terminal's, and is thrown away there."""
        del single
        before, self._topic = self._topic, topic
        if topic != before and {topic, before} - {"", "message"}:
            self._partial = b""
            with suppress(termios.error):  # the terminal is gone
                termios.tcflush(self._file, termios.TCIFLUSH)

    def put(self, text: str) -> None:
        """The line is the terminal's."""

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


class Keys:
    """The same key by key, edited by `editor` and shown by the view. `on_escape` is called for two
    presses of Esc, and for one where the editor's line is empty with False; `on_touch` when the line has
    changed. Ctrl-C stays a signal."""

    def __init__(
        self,
        editor: LineEditor,
        *,
        on_line: Callable[[str | None], None],
        on_escape: Callable[[bool], None],
        on_touch: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._editor = editor
        self._on_line = on_line
        self._on_escape = on_escape
        self._on_touch = on_touch
        self._clock = clock
        self._file = sys.stdin.fileno()
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._before: list[int | list[bytes | int]] | None = None
        self._escaped_at = float("-inf")
        self._topic = ""
        self._drafts: dict[str, str] = {}

    def listen(self) -> None:
        """See `Typing`."""
        if self._before is not None:
            return
        self._before = termios.tcgetattr(self._file)
        self._begin()
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def _begin(self) -> None:
        tty.setcbreak(self._file, termios.TCSADRAIN)
        sys.stdout.write(_PASTE_ON)
        sys.stdout.flush()

    def pause(self) -> None:
        """See `Typing`."""
        before, self._before = self._before, None
        if before is None:
            return
        asyncio.get_running_loop().remove_reader(self._file)
        try:
            termios.tcsetattr(self._file, termios.TCSADRAIN, before)
            sys.stdout.write(_PASTE_OFF)
            sys.stdout.flush()
        except (OSError, termios.error):
            pass  # the terminal is gone

    def again(self) -> None:
        """The process was stopped and goes on: the shell has set the terminal its own way meanwhile."""
        if self._before is not None:
            self._begin()

    def turn(self, topic: str, single: str) -> None:
        """See `Typing`. What was typed as a message is kept for when a message is asked for again."""
        if topic != self._topic:
            self._catch_up()
        self._editor.single = frozenset(single)
        if topic == self._topic:
            return
        if self._topic == "message":
            self._drafts[self._topic] = self._editor.text
        self._topic = topic
        self._editor.put(self._drafts.pop(topic, ""))

    def put(self, text: str) -> None:
        """See `Typing`."""
        if not self._editor.text:
            self._editor.put(text)

    def _catch_up(self) -> None:
        """What was typed until now is no answer to what is asked next, though it has not been read yet."""
        waiting = select.poll()
        waiting.register(self._file, select.POLLIN)
        while self._before is not None and waiting.poll(0):
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._file, _CHUNK)
        except OSError:
            data = b""
        if not data:
            self.pause()
            self._on_line(None)
            return
        before = self._editor.text
        keys = self._editor.feed(self._decoder.decode(data), self._clock())
        if self._editor.text != before:
            self._escaped_at = float("-inf")
        for key in keys:
            if key != "escape":
                self._escaped_at = float("-inf")  # another key between them: two presses of Esc are no pair
            match key:
                case Enter():
                    if self._topic == "message":
                        self._editor.remember(key.text)
                    self._on_line(key.text)
                case "end":
                    # A key like any other where no message is asked for: the terminal is not at its end.
                    if self._topic == "message":
                        self._on_line(None)
                case "escape":
                    self._escape()
                case "redraw":
                    self._on_touch(True)
        self._on_touch(False)

    def _escape(self) -> None:
        now, before = self._clock(), self._escaped_at
        twice = now - before < _TWICE_S
        self._escaped_at = float("-inf") if twice else now
        self._on_escape(twice)


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
