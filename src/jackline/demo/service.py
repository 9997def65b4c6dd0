"""A scratch service: writes a heartbeat to its log each second and lets its cache grow.

`python -m jackline.demo.service DIRECTORY NAME STARTS [SECONDS]` leaves once the service runs, which
goes on by itself: it outlives the MCP server that started it, because a run may wait hours for an
approval and go on in another worker. It ends after 15 minutes (or SECONDS), on SIGTERM, when its
directory is gone, or when another one has taken its place.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import psutil

from jackline.demo.scratch import read_json, write_json

LIFE: Final = 15 * 60.0
"""Seconds after which a service that nobody stopped ends."""
BEAT: Final = 1.0
"""Seconds between heartbeats."""
GROWTH: Final = 64 * 1024
"""Bytes that the cache grows by with each heartbeat."""
CACHE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes at which the cache stops growing; the service then reports itself as degraded."""


def main(directory: Path, name: str, starts: int, life: float = LIFE) -> int:
    """Start the service in a session of its own; 0 once it has written its first heartbeat."""
    ready, tell = os.pipe()
    if os.fork() > 0:
        os.close(tell)
        return 0 if os.read(ready, 1) == b"1" else 1
    os.close(ready)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    serve(directory, name, starts, life, tell)
    return 0


def serve(directory: Path, name: str, starts: int, life: float, tell: int) -> None:
    """The service itself; writes a byte to the descriptor `tell` after its first heartbeat."""
    over = threading.Event()

    def end(*_: object) -> None:
        over.set()

    signal.signal(signal.SIGTERM, end)
    state, log, cache = (directory / f"{name}.{kind}" for kind in ("json", "log", "cache"))
    pid = os.getpid()
    created = psutil.Process().create_time()
    write_json(state, {"pid": pid, "created": created, "starts": starts, "ends_at": time.time() + life})
    until = time.monotonic() + life
    beats = 0
    while not over.is_set() and time.monotonic() < until and _ours(state, pid):
        beats += 1
        try:
            _grow(cache)
            size = cache.stat().st_size
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{_now()} {name}[{pid}] beat {beats} cache {size} bytes\n")
        except FileNotFoundError:
            return  # the directory was removed between two looks
        if beats == 1:
            os.write(tell, b"1")
            os.close(tell)
        over.wait(BEAT)
    if _ours(state, pid):
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {name}[{pid}] ended after {beats} beats\n")


def _grow(cache: Path) -> None:
    with cache.open("ab") as file:
        if file.tell() < CACHE_LIMIT:
            file.write(bytes(GROWTH))


def _ours(state: Path, pid: int) -> bool:
    return read_json(state).get("pid") == pid


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:])))
