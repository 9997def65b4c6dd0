"""The processes that a drill starts, kills and takes care of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOST: Final = "127.0.0.1"

_PORTS: Final = range(20_000, 32_000)
"""Under Linux' ephemeral ports: no outgoing connection takes one between its finding and its use."""

_GONE_SECONDS: Final = 10.0


@dataclass(kw_only=True)
class Child:
    """A program with the processes that it starts. It dies with the drill, where the system can do that."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """What it and its children wrote to stdout and stderr."""
        return self.folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        """Whether its own process lives."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it, or start it again."""
        leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603  the drill's own programs
                [*leash, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.env),
                cwd=self.folder,
                start_new_session=True,
            )

    def children(self) -> list[psutil.Process]:
        """The processes that it has started: of a worker's supervisor, the worker."""
        if self._popen is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                return psutil.Process(self._popen.pid).children(recursive=True)
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its own process."""
        if self._popen is not None and self.running:
            self._popen.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it has started."""
        for process in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        self.signal(number)

    async def ended(self) -> None:
        """Return once its own process is gone."""
        if self._popen is not None:
            await asyncio.to_thread(self._popen.wait)

    def end(self) -> None:
        """Kill it and all that it has started; returns once they are gone."""
        if self._popen is None:
            return
        # A child may have made a group of its own, and is found only while its parent lives.
        children = self.children()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_GONE_SECONDS)
        psutil.wait_procs(children, timeout=_GONE_SECONDS)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                candidate.bind((HOST, port))
                return port
    raise OSError("200 ports of the loopback tried, none is free")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of the loopback."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
