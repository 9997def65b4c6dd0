"""The worker's process: starts it, renews its leases, kills it when a stop's grace is over.

It runs outside the worker's loop, so it holds whatever a tool does to that loop. While the worker
lives and its loop turns (or has stood still for less than `loop_stall`), its leases are renewed;
when it dies or is killed they are given up at once, so a takeover need not wait for them to lapse.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from jackline.errors import (
    ConfigError,
    Fenced,
    JacklineError,
    LogError,
    Moved,
    RunClosed,
    StoreUnavailable,
    UnknownRun,
)
from jackline.link import Beat, Failed, Gone, Held, Leave, Lines, Lost, Ready, Stopping, ToSupervisor, encode
from jackline.log.base import NOW
from jackline.processes import kill_tree
from jackline.summary import read_summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jackline.commands import Commands
    from jackline.log.base import Lease, Store
    from jackline.settings import Settings

TICK_SECONDS: Final = 0.1
"""How often the worker is looked at."""

STALL_SECONDS: Final = 0.3
"""A loop that has not turned for this long may hide a stop: the store is asked instead."""

GRACE_SHARE: Final = 0.7
"""The part of the grace that tools get; the rest is for the ending itself."""

RESTART_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a worker that keeps dying is started anew; the last one repeats."""

AWAY_SECONDS: Final = 0.5
"""Pause between tries to renew while the store is away: once it is back, a living worker's leases must
be renewed before another worker takes them for given up."""

RENEWED_AT_ONCE: Final = 100
"""Leases renewed side by side: one by one, a thousand would be a thousand round trips, or commits."""

LAST_WORDS_SECONDS: Final = 1.0
"""How long the pipe of a dead worker is read on: what it claimed, or why it could not start, is there."""

GONE_SECONDS: Final = 0.001
"""The last beat of a dead worker counts for no longer than this, so that nobody counts on it."""

STEADY_SECONDS: Final = 30.0
"""A worker that lived for this long has not died of its start."""


class Supervisor:
    """See the module. `run` returns once `leave` was called and the worker is gone."""

    def __init__(self, *, store: Store, commands: Commands, settings: Settings, command: list[str]) -> None:
        self._store = store
        self._commands = commands
        self._settings = settings
        self._command = command
        self._leaving = asyncio.Event()
        self._log = structlog.get_logger()
        self.ready = asyncio.Event()
        """Set once a worker has opened its agent."""

    def leave(self) -> None:
        """Have the worker hand its runs back, and let `run` return."""
        self._leaving.set()

    async def run(self) -> None:
        """Keep one worker running. Raises `ConfigError` when the first one cannot start."""
        deaths = 0
        while not self._leaving.is_set():
            pause = RESTART_SECONDS[min(deaths, len(RESTART_SECONDS) - 1)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._leaving.wait()
            if self._leaving.is_set() and deaths:
                return
            begun = time.monotonic()
            life = _Life(
                store=self._store,
                commands=self._commands,
                settings=self._settings,
                leaving=self._leaving,
                opened=self.ready,
            )
            await life.run(self._command)
            if life.failed is not None:
                if not self.ready.is_set():
                    raise ConfigError(life.failed)
                self._log.error("worker_cannot_start", reason=life.failed)
            if life.killed:
                continue  # by us, for one run's sake: that says nothing of its start, and the others wait
            deaths = 1 if time.monotonic() - begun > STEADY_SECONDS else deaths + 1


class _Life:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        *,
        store: Store,
        commands: Commands,
        settings: Settings,
        leaving: asyncio.Event,
        opened: asyncio.Event,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.failed: str | None = None
        self._store = store
        self._commands = commands
        self._settings = settings
        self._leaving = leaving
        self._opened = opened
        self._log = structlog.get_logger().bind(worker=self.name)
        self._leases: dict[str, Lease] = {}
        self._deadlines: dict[str, float] = {}
        self._catalogue: bytes | None = None
        self._described = asyncio.Event()
        self._turned = time.monotonic()
        self.killed = False
        self._process: asyncio.subprocess.Process
        self._writer: asyncio.WriteTransport

    async def run(self, command: list[str]) -> None:
        read_end, worker_writes = os.pipe()
        worker_reads, write_end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                self.name,
                str(worker_reads),
                str(worker_writes),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(worker_reads, worker_writes),
                # A group of its own: Ctrl-C at the terminal is ours to translate, and a kill takes
                # the processes that its tools have started along.
                start_new_session=True,
            )
        finally:
            os.close(worker_reads)
            os.close(worker_writes)
        loop = asyncio.get_running_loop()
        lines: Lines[ToSupervisor] = Lines(msgspec.json.Decoder(ToSupervisor), self._hear)
        ears = _Ears(lines)
        reading, _ = await loop.connect_read_pipe(lambda: ears, os.fdopen(read_end, "rb", 0))
        self._writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(write_end, "wb", 0))
        self._writer.write(self._settings.model_dump_json().encode() + b"\n")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._renew()),
                    group.create_task(self._beat()),
                    group.create_task(self._guard()),
                    group.create_task(self._dismiss()),
                ]
                await self._process.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await self._reap()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await ears.closed.wait()
            reading.close()
            self._writer.close()
        await self._give_up()

    def _hear(self, message: ToSupervisor) -> None:
        self._turned = time.monotonic()
        match message:
            case Ready():
                self._catalogue = message.catalogue
                self._described.set()
            case Failed():
                self.failed = message.reason
            case Beat():
                pass
            case Held():
                self._leases[message.lease.run_id] = message.lease
                self._deadlines.pop(message.lease.run_id, None)
            case Gone():
                self._leases.pop(message.run_id, None)
                self._deadlines.pop(message.run_id, None)
            case Stopping():
                self._set_deadline(message.run_id)

    def _set_deadline(self, run_id: str) -> None:
        grace = self._settings.stop_grace * GRACE_SHARE
        self._deadlines.setdefault(run_id, time.monotonic() + grace)

    @property
    def _idle(self) -> float:
        return time.monotonic() - self._turned

    async def _beat(self) -> None:
        """Say to the store that the worker lives, and for how long its loop has stood still."""
        ttl = min(5.0, max(2.0, self._settings.lease))
        await self._described.wait()
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self._store.beat(
                    self.name, ttl, idle_ms=round(self._idle * 1000), catalogue=self._published
                )
                self._opened.set()
            await asyncio.sleep(min(0.5, ttl / 4))

    @property
    def _published(self) -> bytes | None:
        """The catalogue, a JSON object that is opaque here, with how many runs are driven of how many
        that may be: whoever waits for a worker can be told why."""
        if self._catalogue is None:
            return None
        runs = b',"runs":%d,"max_runs":%d}' % (len(self._leases), self._settings.max_runs)
        return self._catalogue.removesuffix(b"}") + runs

    async def _renew(self) -> None:
        away = False
        while True:
            await asyncio.sleep(
                min(AWAY_SECONDS, self._settings.lease / 4) if away else self._settings.lease / 4
            )
            away = False
            if self._stopped_by_signal():
                continue  # it cannot be told to let go, so its leases must lapse
            for leases in _batched(list(self._leases.values()), RENEWED_AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    renewals = [group.create_task(self._renew_one(lease)) for lease in leases]
                errors = [error for renewal in renewals if (error := renewal.result()) is not None]
                if errors:
                    self._log.warning("store_away", error=str(errors[0]))
                    away = True
                    break

    async def _renew_one(self, lease: Lease) -> StoreUnavailable | None:
        try:
            await self._store.renew(lease, self._settings.lease)
        except (Fenced, RunClosed, UnknownRun):
            if self._leases.get(lease.run_id) == lease:
                self._tell(Lost(run_id=lease.run_id))
        except StoreUnavailable as error:
            return error
        return None

    def _stopped_by_signal(self) -> bool:
        """Whether the process stands still by SIGSTOP (Linux only; elsewhere never)."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_bytes()
            return stat.rpartition(b")")[2].split()[0] in {b"T", b"t"}
        except OSError:
            return False

    async def _guard(self) -> None:
        """Kill the worker when a stop's grace is over, or its loop has stood still for too long."""
        tick = min(TICK_SECONDS, self._settings.stop_grace / 20)
        while True:
            before = time.monotonic()
            await asyncio.sleep(tick)
            now = time.monotonic()
            if now - before > tick + STALL_SECONDS:
                self._turned = now  # we stood still ourselves, so we know nothing of the worker
            if self._catalogue is None:
                continue  # it is still importing its agent
            if self._idle > STALL_SECONDS:
                await self._look_for_stops()
            late = [run_id for run_id, deadline in self._deadlines.items() if deadline < now]
            if late:
                self._kill("stop_grace_over", runs=late)
            elif self._idle > self._settings.loop_stall:
                self._kill("loop_stands_still", seconds=round(self._idle))

    async def _look_for_stops(self) -> None:
        for run_id in [run_id for run_id in self._leases if run_id not in self._deadlines]:
            try:
                head = await self._store.head(run_id)
            except (StoreUnavailable, UnknownRun):
                continue
            if read_summary(head.summary).stop_mode == "immediate":
                self._set_deadline(run_id)

    async def _dismiss(self) -> None:
        """Tell the worker to go once we are told; kill it when its time to drain is over."""
        await self._leaving.wait()
        self._tell(Leave())
        await asyncio.sleep(self._settings.drain + self._settings.stop_grace)
        self._kill("drain_over")

    def _tell(self, message: Lost | Leave) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    def _kill(self, why: str, **details: object) -> None:
        if not self.killed:
            self.killed = True
            self._log.warning("worker_killed", why=why, **details)
            if self._process.returncode is None:
                kill_tree(self._process.pid)
            self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _reap(self) -> None:
        """No process of the worker's group outlives it: an orphaned tool would act unseen."""
        self._signal()
        await self._process.wait()

    async def _give_up(self) -> None:
        """The worker is dead: end what was being stopped, and let others take over the rest."""
        if self._catalogue is not None:
            with contextlib.suppress(StoreUnavailable):
                await self._store.beat(self.name, GONE_SECONDS, idle_ms=0)
        for lease in self._leases.values():
            try:
                await self._give_up_one(lease)
            except (LogError, StoreUnavailable, JacklineError) as error:
                self._log.warning("lease_left_to_lapse", run_id=lease.run_id, error=str(error))
        if self._leases:
            self._log.warning("worker_died", runs=list(self._leases), status=self._process.returncode)

    async def _give_up_one(self, lease: Lease) -> None:
        while True:
            head = await self._store.head(lease.run_id)
            if head.closed or head.generation != lease.generation:
                return
            try:
                await self._store.release(lease, NOW, expect=head.last)
            except Moved:
                continue
            break
        summary = read_summary(head.summary)
        if summary.stop_mode is not None:
            await self._commands.stop(lease.run_id, by=summary.owner)


class _Ears(asyncio.Protocol):
    def __init__(self, lines: Lines[ToSupervisor]) -> None:
        self._lines = lines
        self.closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        self._lines.feed(data)


def _batched(leases: Sequence[Lease], size: int) -> Iterator[Sequence[Lease]]:
    """`leases` in groups of `size`, in their order."""
    return (leases[at : at + size] for at in range(0, len(leases), size))


def worker_command() -> list[str]:
    """How a worker process is started; its name and the ends of its pipes follow."""
    return [sys.executable, "-m", "jackline.cli.worker_process"]
