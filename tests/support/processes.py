"""Real processes for black-box tests, and the only two places in the tests that may sleep."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import anyio
import psutil

T = TypeVar("T")
Argument = str | Path
Environment = Mapping[str, str]

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds after which something that should happen never will, on the slowest machine that runs the tests."""

_PORTS = range(20_000, 32_000)
"""Under Linux' ephemeral ports: no outgoing connection takes a port between its finding and its use."""


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                candidate.bind((HOST, port))
                return port
    raise AssertionError("200 ports tried, none is free")


def eventually(
    condition: Callable[[], T | Literal[False] | None], timeout: float = PATIENCE, what: str = ""
) -> T:
    """Poll `condition` until it gives something true, and return that; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)
    return result


async def eventually_async(
    condition: Callable[[], Awaitable[T | Literal[False] | None]], timeout: float = PATIENCE, what: str = ""
) -> T:
    """As `eventually`, for a condition that must be awaited."""
    deadline = time.monotonic() + timeout
    while not (result := await condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        await anyio.sleep(0.02)
    return result


@dataclass(kw_only=True)
class Process:
    """A started program, alone in its session and process group."""

    popen: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def log(self) -> str:
        """All that it and its children wrote to stdout and stderr."""
        return self.log_path.read_text(errors="replace")

    def children(self) -> list[psutil.Process]:
        """Its living descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send `sig` to the program alone, its children not included."""
        self.popen.send_signal(sig)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Its exit status, negative for a signal."""
        return self.popen.wait(timeout)

    def end(self) -> None:
        """Kill it and all that it started; returns once they are gone."""
        # A child may have made a group of its own, and is found only while its parent lives.
        children = self.children()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self.popen.wait(PATIENCE)
        psutil.wait_procs(children, timeout=PATIENCE)


def _launch(args: Sequence[Argument], env: Environment | None, log_path: Path, cwd: Path | None) -> Process:
    # On Linux the program dies with the thread that starts it: start it from the test's own thread.
    leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    with log_path.open("ab") as log:
        popen = subprocess.Popen(
            [*leash, *(str(arg) for arg in args)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    return Process(popen=popen, log_path=log_path)


@contextlib.contextmanager
def start(
    args: Sequence[Argument],
    *,
    log_path: Path,
    env: Environment | None = None,
    cwd: Path | None = None,
) -> Generator[Process]:
    """Run a program for the length of the block; then it and all that it started are killed.

    `env` is the whole environment, the test's own if None. Output is appended to `log_path`.
    """
    process = _launch(args, env, log_path, cwd)
    try:
        yield process
    finally:
        process.end()


COMPILED = {"PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}
"""Variables of programs that are started again and again: they keep what they compile, beside the environment
that they are part of. To import all anew takes each of them seconds."""


def clean_environment(**extra: str) -> dict[str, str]:
    """The test's own environment without what would configure Jackline or give it a model's key."""
    foreign = ("JACKLINE_", "OPENAI_", "ANTHROPIC_", "REDIS_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return own | COMPILED | extra


def answers(port: int, path: str, status: int = 200) -> bool:
    """Whether a GET of `path` on a loopback port answers with `status`."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=5):
        return True
    return False


@dataclass(kw_only=True)
class Server:
    """A `jackline serve`. `port` is None when it listens on nothing."""

    args: Sequence[str]
    env: Environment
    data_dir: Path
    log_path: Path
    port: int | None
    process: Process = field(init=False)

    @property
    def url(self) -> str:
        assert self.port is not None, "a worker alone has no address"
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.process.log()

    def children(self) -> list[psutil.Process]:
        """The worker among them, where the server has one."""
        return self.process.children()

    def launch(self) -> None:
        """Start it and wait until it is ready."""
        self.process = _launch(self.args, self.env, self.log_path, self.log_path.parent)
        port = self.port
        if port is not None:
            eventually(lambda: self._ready(port), what=f"{self.url}/readyz")

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send `sig` to the server's own process, its children not included."""
        self.process.kill(sig)

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def restart(self) -> None:
        """End whatever still runs of it and start it again: same port, same data."""
        self.process.end()
        self.launch()

    def _ready(self, port: int) -> bool:
        assert self.process.running, f"the server exited with {self.process.popen.returncode}:\n{self.log()}"
        return answers(port, "/readyz")


@contextlib.contextmanager
def serve(
    tmp_path: Path,
    *,
    agent: str | None = None,
    redis: str | None = None,
    role: Literal["web", "worker", "all"] | None = None,
    env: Environment | None = None,
    name: str = "server",
) -> Generator[Server]:
    """A `jackline serve` on a free port of the loopback, ready, for the length of the block.

    Servers of one test that share `tmp_path` share the data directory; give each its own `name`.
    `env` is added to the environment. With the role `worker` it listens on nothing and may not
    have claimed anything yet.
    """
    port = None if role == "worker" else free_port()
    args = [sys.executable, "-m", "jackline", "serve", "--host", HOST]
    args += [] if port is None else ["--port", str(port)]
    for option, value in (("--agent", agent), ("--redis", redis), ("--role", role)):
        args += [] if value is None else [option, value]
    data_dir = tmp_path / "data"
    server = Server(
        args=args,
        env=clean_environment() | {"JACKLINE_DATA_DIR": str(data_dir)} | dict(env or {}),
        data_dir=data_dir,
        log_path=tmp_path / f"{name}.log",
        port=port,
    )
    try:
        server.launch()
        yield server
    finally:
        if hasattr(server, "process"):
            server.process.end()
