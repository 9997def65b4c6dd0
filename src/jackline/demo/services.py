"""Scratch services: started, looked at, stopped. They outlive us, so their state is in files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, Literal, cast

import psutil
from typing_extensions import TypedDict

from jackline.demo.scratch import Refused, Scratch, read_json
from jackline.demo.service import CACHE_LIMIT, LIFE

if TYPE_CHECKING:
    from pathlib import Path

MAX_SERVICES: Final = 8
STALE: Final = 30.0
"""Seconds without a heartbeat after which a live service counts as degraded."""
_PATIENCE: Final = 3.0
"""Seconds that SIGTERM gets before SIGKILL."""
_LOOK: Final = 0.02
"""Seconds between looks at a process that is to end."""
_START: Final = 60.0
"""Seconds for a service to write its first heartbeat, on a busy machine."""


class ServiceStatus(TypedDict):
    """What is known of a scratch service. `state` `absent`: never started. `ends_in_seconds`: when it
    ends by itself."""

    name: str
    state: Literal["running", "degraded", "stopped", "absent"]
    reason: str | None
    pid: int | None
    uptime_seconds: float | None
    ends_in_seconds: float | None
    heartbeat_age_seconds: float | None
    cache_bytes: int
    starts: int
    log: str


class Started(TypedDict):
    """`already_running`: nothing was done."""

    name: str
    pid: int
    already_running: bool
    log: str


class Restarted(TypedDict):
    """`old_pid` None: it was not running. `freed_bytes`: what its cache held."""

    name: str
    old_pid: int | None
    new_pid: int
    freed_bytes: int


class Stopped(TypedDict):
    """`was_running` False: nothing was done. `killed`: it did not heed SIGTERM."""

    name: str
    was_running: bool
    killed: bool


class Services:
    """The services of one scratch directory. Changes are made one at a time, across processes."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    def status(self, name: str) -> ServiceStatus:
        """How a service does."""
        name = self._scratch.service_name(name)
        known = read_json(self._file(name, "json"))
        process = self._process(name)
        log, cache = self._file(name, "log"), self._file(name, "cache")
        age = time.time() - log.stat().st_mtime if log.exists() else None
        size = cache.stat().st_size if cache.exists() else 0
        reason: str | None = None
        if process is not None and size >= CACHE_LIMIT:
            reason = f"its cache has reached {CACHE_LIMIT} bytes; a restart empties it"
        elif process is not None and age is not None and age > STALE:
            reason = f"no heartbeat for {age:.0f} s"
        ends_at = cast("float | None", known.get("ends_at"))
        return ServiceStatus(
            name=name,
            state=("degraded" if reason else "running") if process else "stopped" if known else "absent",
            reason=reason,
            pid=process.pid if process else None,
            uptime_seconds=round(time.time() - process.create_time(), 1) if process else None,
            ends_in_seconds=round(max(0, ends_at - time.time())) if process and ends_at is not None else None,
            heartbeat_age_seconds=round(age, 1) if process and age is not None else None,
            cache_bytes=size,
            starts=cast("int", known.get("starts", 0)),
            log=str(log),
        )

    def start(self, name: str) -> Started:
        """Start a service, unless it runs."""
        name = self._scratch.service_name(name)
        with self._scratch.locked("services"):
            process = self._process(name)
            pid = process.pid if process else self._spawn(name)
            log = str(self._file(name, "log"))
            return Started(name=name, pid=pid, already_running=process is not None, log=log)

    def restart(self, name: str, life: float = LIFE) -> Restarted:
        """Stop a service if it runs, empty its cache, start it; it ends by itself after `life` seconds."""
        name = self._scratch.service_name(name)
        with self._scratch.locked("services"):
            process = self._process(name)
            if process is not None:
                _end(process)
            cache = self._file(name, "cache")
            freed = cache.stat().st_size if cache.exists() else 0
            cache.unlink(missing_ok=True)
            old = process.pid if process else None
            return Restarted(name=name, old_pid=old, new_pid=self._spawn(name, life), freed_bytes=freed)

    def stop(self, name: str) -> Stopped:
        """Stop a service, if it runs."""
        name = self._scratch.service_name(name)
        with self._scratch.locked("services"):
            process = self._process(name)
            killed = process is not None and _end(process)
            return Stopped(name=name, was_running=process is not None, killed=killed)

    def _file(self, name: str, kind: str) -> Path:
        return self._scratch.services / f"{name}.{kind}"

    def _process(self, name: str) -> psutil.Process | None:
        """The live process of a service: a pid alone may be somebody else's by now."""
        known = read_json(self._file(name, "json"))
        with contextlib.suppress(psutil.Error, KeyError):
            process = psutil.Process(cast("int", known["pid"]))
            same = abs(process.create_time() - cast("float", known["created"])) < 1.0
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _spawn(self, name: str, life: float = LIFE) -> int:
        state = self._file(name, "json")
        if not state.exists() and len(list(self._scratch.services.glob("*.json"))) >= MAX_SERVICES:
            raise Refused(f"there are {MAX_SERVICES} services already; use one of them")
        starts = cast("int", read_json(state).get("starts", 0)) + 1
        command = [sys.executable, "-P", "-m", "jackline.demo.service", str(self._scratch.services), name]
        try:
            subprocess.run(  # noqa: S603 - a program and arguments of our own
                [*command, str(starts), str(life)],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # ours carries the protocol
                timeout=_START,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Refused(f"the service {name} did not start: {error}") from error
        return cast("int", read_json(state)["pid"])


def _end(process: psutil.Process) -> bool:
    """End a process; whether it had to be killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not _ended(process):
            process.kill()
            if not _ended(process):
                raise Refused(f"process {process.pid} does not end")
            return True
    return False


def _ended(process: psutil.Process) -> bool:
    # Not `Process.wait`: in a container without an init nobody reaps it, and a zombie has ended too.
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(_LOOK)
    return False
