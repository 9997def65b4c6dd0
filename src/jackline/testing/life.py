"""A worker in the process of a test, and what its supervisor does for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jackline.errors import LogError, Moved, StoreUnavailable
from jackline.log.base import NOW
from jackline.summary import read_summary
from jackline.testing.flaky import FlakyLog
from jackline.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.agents.base import Agent
    from jackline.commands import Commands
    from jackline.log.base import Lease, Store
    from jackline.settings import Settings
    from jackline.testing.flaky import Fault


class Life:
    """One worker, from its start to its end. Run `run` as a task; the agent must be opened.

    `line` is all that the worker has of the store: it can be frozen, and is cut when the worker is
    killed. Plain functions run in threads, which no test can kill: they go on.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        store: Store,
        settings: Settings,
        name: str,
        plan: Callable[[str], Fault] | None = None,
    ) -> None:
        self.name = name
        self.line = FlakyLog(store, plan)
        self.frozen = False
        self._store = store
        self._settings = settings
        self._leases: dict[str, Lease] = {}
        self._worker = Worker(
            store=self.line.store, agent=agent, settings=settings, name=name, boss=_Notes(self._leases)
        )
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._killed = False

    @property
    def driving(self) -> frozenset[str]:
        """The runs that it holds."""
        return frozenset(self._leases)

    async def run(self) -> None:
        """Work until `leave` or `kill`."""
        if self._killed:
            return  # before its task had its first turn
        try:
            async with asyncio.TaskGroup() as group:
                self._task = group.create_task(self._worker.run(), name=f"worker {self.name}")
                renewing = group.create_task(self._renew())
                await asyncio.wait([self._task])
                renewing.cancel()
        finally:
            self._ended.set()

    def freeze(self) -> None:
        """As SIGSTOP: nothing of it reaches the store, and its leases lapse."""
        self.frozen = True
        self.line.freeze()

    def thaw(self) -> None:
        """As SIGCONT: whatever it was about to write is written now, if the store lets it (G7)."""
        self.frozen = False
        self.line.thaw()

    async def leave(self) -> None:
        """As SIGTERM: it hands its runs back."""
        self._worker.leave()
        await self._ended.wait()

    async def kill(self) -> list[Lease]:
        """As SIGKILL: it writes nothing more. The leases that it had; who `give_up`s them does what its
        supervisor would, else they lapse."""
        had = list(self._leases.values())
        self._killed = True
        self.line.cut()
        if self._task is not None:
            self._task.cancel()
            await self._ended.wait()
        return had

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 4)
            for run_id, lease in list(self._leases.items()):
                try:
                    await self.line.store.renew(lease, self._settings.lease)
                except LogError:
                    if self._leases.get(run_id) == lease:
                        self._worker.lose(run_id)
                except StoreUnavailable:
                    break


class _Notes:
    """The worker's words to its supervisor."""

    def __init__(self, leases: dict[str, Lease]) -> None:
        self._leases = leases

    def held(self, lease: Lease) -> None:
        self._leases[lease.run_id] = lease

    def gone(self, run_id: str) -> None:
        self._leases.pop(run_id, None)

    def stopping(self, run_id: str) -> None:
        """There is no process to kill: a tool that never lets go keeps its run from ending."""


async def give_up(store: Store, commands: Commands, lease: Lease) -> None:
    """What a supervisor does with the lease of its dead worker: another one may claim the run at once,
    and one that was being stopped is ended."""
    while True:
        head = await store.head(lease.run_id)
        if head.closed or head.generation != lease.generation:
            return
        try:
            await store.release(lease, NOW, expect=head.last)
        except Moved:
            continue
        except LogError:
            return
        break
    summary = read_summary(head.summary)
    if summary.stop_mode is not None:
        await commands.stop(lease.run_id, by=summary.owner)
