"""The command line in a process of its own: piped, or at a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import struct
import sys
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pyte

from tests.support.processes import eventually_async

PATIENCE_S = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JACKLINE_")}
    for name in ("EDITOR", "VISUAL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    return kept | {"TERM": "xterm", "PYTHONWARNINGS": "error::ResourceWarning"} | more


async def jackline(*args: str, stdin: bytes = b"", **env: str) -> Finished:
    """Run a command with pipes, to its end."""
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            [sys.executable, "-m", "jackline", *args], input=stdin, check=False, env=environment(**env)
        )
    return Finished(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


@dataclass(kw_only=True)
class Terminal:
    """A terminal with a command in it."""

    master: int
    process: asyncio.subprocess.Process
    columns: int
    rows: int
    raw: bytes = b""
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        """What was written, without colours."""
        return _ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    @property
    def shown(self) -> list[str]:
        """What a person sees who scrolls up, line by line; colours and blank ends apart."""
        return lines_shown(self.raw, self.columns, self.rows)

    @property
    def seen(self) -> str:
        """The same as one text."""
        return "\n".join(self.shown)

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another one, as a person does with the mouse."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> None:
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        if data:
            self.raw += data
        else:
            asyncio.get_running_loop().remove_reader(self.master)
        self._more.set()
        self._more = asyncio.Event()

    async def until(self, text: str, times: int = 1) -> None:
        """Wait until `text` was written so many times."""
        try:
            with anyio.fail_after(PATIENCE_S):
                while self.text.count(text) < times:
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"no {text!r} in {self.text!r}") from None

    async def more(self) -> None:
        """Wait until something more was written."""
        await self._more.wait()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    async def hold(self) -> None:
        """Press Ctrl-S: nothing more is taken."""
        self.type("\x13")
        slave = os.open(f"/proc/{self.process.pid}/fd/1", os.O_WRONLY | os.O_NOCTTY)
        try:
            await full(slave)
        finally:
            os.close(slave)

    async def end(self) -> int:
        """Wait for the command's exit code."""
        with anyio.fail_after(PATIENCE_S):
            return await self.process.wait()


def lines_shown(raw: bytes, columns: int, rows: int) -> list[str]:
    """What a terminal shows that was written this, with what has scrolled out of it."""
    screen = pyte.HistoryScreen(columns, rows, history=100_000)
    pyte.ByteStream(screen).feed(raw)
    gone = ["".join(line[column].data for column in range(columns)) for line in screen.history.top]
    lines = [line.rstrip() for line in [*gone, *screen.display]]
    while lines and not lines[-1]:
        lines.pop()
    return lines


async def full(file: int) -> None:
    """Wait until it takes no more."""
    ways = select.poll()
    ways.register(file, select.POLLOUT)

    async def takes_nothing() -> bool:
        return not ways.poll(0)

    await eventually_async(takes_nothing, what="the output is full")


@asynccontextmanager
async def terminal(*args: str, columns: int = 80, rows: int = 24, **env: str) -> AsyncGenerator[Terminal]:
    """A command at a terminal that it controls, so that Ctrl-C reaches it."""
    command = (sys.executable, "-m", "jackline", *args)
    async with program(*command, env=environment(**env), columns=columns, rows=rows) as made:
        yield made


@asynccontextmanager
async def program(
    *command: str, env: dict[str, str], columns: int = 80, rows: int = 24
) -> AsyncGenerator[Terminal]:
    """Any program at a terminal that it controls."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        "setsid", "--ctty", *command, stdin=slave, stdout=slave, stderr=slave, env=env
    )
    os.close(slave)
    made = Terminal(master=master, process=process, columns=columns, rows=rows)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, made.read)
    try:
        yield made
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)
