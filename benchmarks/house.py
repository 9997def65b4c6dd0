"""Jackline's own servers and stores, as they are started to be measured."""

from __future__ import annotations

import hashlib
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.processes import HOST, Program, free_port, program
from benchmarks.sinks import PRINCIPAL
from jackline.bench import speaker
from jackline.bench.servers import redis_binary

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

KEY: Final = "benchmark-key-of-no-value"
AUTHORIZATION: Final = ("Authorization", f"Bearer {KEY}")
_MAX_RUNS: Final = 5000
_GREETING: Final = b"Jackline on "


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that listens. `programs`: what is measured of it."""

    port: int
    programs: tuple[Program, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Redis:
    """A scratch Redis or Valkey."""

    url: str
    program: Program


@contextmanager
def redis(folder: Path, core: int | None, *, durable: bool) -> Generator[Redis]:
    """Start one. `durable`: with an AOF that is written at each append."""
    port = free_port()
    data = folder / f"redis-{port}"
    data.mkdir()
    command = [redis_binary(), "--port", str(port), "--bind", HOST, "--dir", str(data), "--save", ""]
    command += ["--maxclients", "30000"]
    command += ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
    with program("redis", command, folder=folder, core=core) as started:
        started.until_listening(port)
        yield Redis(url=f"redis://{HOST}:{port}/0", program=started)


@contextmanager
def jackline(
    folder: Path, core: int | None, *, store: str, role: Literal["web", "all"], agent: bool
) -> Generator[Server]:
    """A server as it ships, with a key. `store`: a Redis' URL or SQLite's folder."""
    port = free_port()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    config = folder / f"jackline-{port}.toml"
    # All viewers have one key here.
    limits = f'max_runs = {_MAX_RUNS}\nmax_streams_principal = "none"\n'
    config.write_text(f'{limits}[[keys]]\nprincipal = "{PRINCIPAL}"\nsha256 = "{digest}"\n')
    command = [sys.executable, "-m", "jackline", "serve", "--config", str(config), "--role", role]
    command += ["--host", HOST, "--port", str(port)]
    command += ["--redis", store] if store.startswith("redis:") else ["--data-dir", store]
    command += ["--agent", f"{speaker.__file__}:speaker"] if agent else []
    with program(f"jackline-{role}", command, folder=folder, core=core) as started:
        started.until(lambda: _GREETING in started.log.read_bytes(), "its greeting")
        yield Server(port=port, programs=(started,))
