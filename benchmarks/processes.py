"""Programs that are started, watched and measured, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.machine import pinned
from jackline.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

HOST: Final = "127.0.0.1"
PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_LEASH_PROCESSES: Final = 1


class BenchError(Exception):
    """A program did not do what a benchmark needs; the message says which and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a program and all that it started have used: seconds of CPU (user and system), bytes of memory."""

    cpu: float
    memory: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program in a session of its own; it dies with the benchmark."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def family(self) -> list[psutil.Process]:
        """The program and all that it started, without the leash that holds it."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def usage(self) -> Usage:
        """See `Usage`."""
        cpu, memory = 0.0, 0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu += times.user + times.system
                memory += process.memory_info().rss
        return Usage(cpu=cpu, memory=memory)

    def until(self, ready: Callable[[], object], what: str) -> None:
        """Wait for `ready`. Raises `BenchError`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{self.name}: {what} not within {PATIENCE_SECONDS:g} s: {self.last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def until_listening(self, port: int) -> None:
        """Wait until it takes connections. Raises `BenchError`."""
        self.until(lambda: listens(port), f"a listener on port {port}")

    def last_words(self) -> str:
        """The end of what it printed."""
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-5:])


@contextmanager
def program(
    name: str,
    command: list[str],
    *,
    folder: Path,
    core: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Generator[Program]:
    """Start it, on one core if that is given; end it by SIGTERM, then SIGKILL."""
    log = folder / f"{name}.log"
    first, *rest = pinned(core, command)
    runner, arguments = leashed(first, rest)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [runner, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(env),
            cwd=folder,
            start_new_session=True,
        )
    started = Program(name=name, process=process, log=log)
    try:
        yield started
    finally:
        end(process)


@contextmanager
def piped(command: Sequence[str], *, cwd: Path | None = None) -> Generator[subprocess.Popen[bytes]]:
    """A program that takes orders on stdin and answers on stdout; it dies with the benchmark."""
    runner, arguments = leashed(command[0], command[1:])
    process = subprocess.Popen(
        [runner, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        env=clean_environment(),
        cwd=cwd,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # an order that it did not live to take
                    pipe.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process group at once: nothing of a benchmark has to be kept."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Only what a benchmark sets may set the servers: its own environment is somebody's real one."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JACKLINE_", "PYTHON"))}
    return env | dict(more or {})


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as candidate:
        candidate.bind((HOST, 0))
        port: int = candidate.getsockname()[1]
        return port
