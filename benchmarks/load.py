"""The load client (client.c): built, started, and what it measured."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks.machine import pinned
from benchmarks.processes import BenchError, piped

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

SOURCE: Final = Path(__file__).with_name("client.c")


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds: how many were noted, and how they are spread (exact to 1.6 %)."""

    count: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the client saw in its window. `least`, `most`: entries of the connection with the fewest, the
    most. `latency`: from an entry's making to its arrival. From a connection's begin: `heard`, to its
    first event of any kind; `first`, to its first entry; `ended`, to its end. `until_last`: seconds from
    the window's begin to the last entry. `cpu_share`: of one core; near 1 the client itself was too
    slow."""

    connections: int
    answered: int
    refused: int
    failed: int
    cut: int
    whole: int
    delivered: int
    least: int
    most: int
    repeated: int
    bytes: int
    latency: Times
    heard: Times
    first: Times
    ended: Times
    seconds: float
    until_last: float
    cpu_seconds: float
    cpu_share: float


def build(folder: Path) -> Path:
    """Compile the client. Raises `BenchError`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("needs a C compiler (cc)")
    binary = folder / "client"
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", str(binary), str(SOURCE)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise BenchError(f"client.c: {built.stderr}")
    return binary


class Load:
    """A client that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said = b""

    def ready(self) -> None:
        """Wait until every connection has its answer or has failed. Raises `BenchError`."""
        self._until(b"ready")

    def begin(self) -> None:
        """The measured window begins; it has when this returns. Raises `BenchError`."""
        self._order(b"b")
        self._until(b"begun")

    def end(self) -> Measured:
        """The window ends now. Raises `BenchError`."""
        self._order(b"e")
        return self.result()

    def result(self) -> Measured:
        """Wait until it has ended by itself. Raises `BenchError`."""
        self._until(b"{")
        try:
            return msgspec.json.decode(self._said, type=Measured)
        except msgspec.DecodeError:
            raise BenchError(f"the load client said {self._said!r}") from None

    def _until(self, begin: bytes) -> None:
        """Read on to a line that begins so, or to the last one: it may have ended by itself."""
        while not self._said.startswith((begin, b"{")):
            self._said = self._line()
            if not self._said:
                raise BenchError("the load client ended without a word")

    def _order(self, letter: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(letter)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended by itself, and its result is there

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def load(
    client: Path,
    *,
    folder: Path,
    port: int,
    requests: Sequence[bytes],
    connections: int,
    core: int | None,
    expect: int = 0,
    seconds: float = 120.0,
    ramp: int = 256,
) -> Generator[Load]:
    """Start the client; see client.c for what it does. `seconds` bounds all of it."""
    path = folder / f"requests-{time.monotonic_ns()}"
    path.write_bytes(b"".join(request + b"\0" for request in requests))
    options = ["--expect", str(expect), "--seconds", f"{seconds:g}", "--ramp", str(ramp)]
    command = pinned(core, [str(client), str(port), str(path), str(connections), *options])
    with piped(command) as process:
        yield Load(process)


def get(path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A request for a stream."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: text/event-stream",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    """A request whose answer is a stream."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: text/event-stream",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
