"""A worker: claims runs that its agent serves, and drives each of them.

It works in a process of its own, under a supervisor that renews its leases and kills it when a
tool does not let go. So nothing here has to guard against a loop that stands still.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Literal

import structlog

from jackline.clock import StoreClock
from jackline.drive import Bench, Drive
from jackline.errors import Fenced, NotFound, RunClosed, StoreUnavailable, UnknownRun
from jackline.log.base import Serves
from jackline.threads import CallThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.agents.base import Agent
    from jackline.drive import Boss
    from jackline.log.base import Lease, Store
    from jackline.processes import CallProcesses
    from jackline.settings import Settings

MANY_CLAIMS: Final = 16
"""Claims under way at once while there are runs to claim."""

POLL_SECONDS: Final = 1.0
"""The longest time that a lost hint of a due run can cost."""


_Found = Literal["run", "none", "due", "away"]
"""What a claim came back with, or that one may be worth while."""


class Worker:
    """See the module. `run` works until `leave`; its agent must be opened. `local`: the clock that
    the store's is told by; see `StoreClock`."""

    def __init__(
        self,
        *,
        store: Store,
        agent: Agent,
        settings: Settings,
        name: str,
        boss: Boss,
        local: Callable[[], float] = time.monotonic,
        processes: CallProcesses | None = None,
    ) -> None:
        """`local`: the clock of this host, in seconds. `processes`: where what tools start is noted; without
        it nothing is."""
        self.name = name
        self._store = store
        self._agent = agent
        self._settings = settings
        self._boss = boss
        self._leaving = asyncio.Event()
        self.threads = CallThreads(processes)
        """Where plain functions run; what `asyncio.to_thread` starts belongs here too."""
        self._clock = StoreClock(store, local=local)
        self._bench = Bench(
            store=store,
            clock=self._clock,
            agent=agent,
            settings=settings,
            threads=self.threads,
            boss=boss,
            leaving=self._leaving,
        )
        self._driven: dict[str, asyncio.Event] = {}
        self._log = structlog.get_logger().bind(worker=name)

    def leave(self) -> None:
        """Hand all runs back and let `run` return."""
        self._leaving.set()

    def lose(self, run: str) -> None:
        """The supervisor found that the run's lease is gone."""
        if run in self._driven:
            self._driven[run].set()

    async def run(self) -> None:
        """Claim and drive runs until `leave`, then hand back what is still driven."""
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._clock.keep())
            try:
                await self._claim_and_drive()
            finally:
                keeping.cancel()

    async def _claim_and_drive(self) -> None:
        slots = asyncio.Semaphore(self._settings.max_runs)
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(self._leaving.wait())
            claims: set[asyncio.Task[_Found]] = set()
            wanted = 1
            try:
                while not self._leaving.is_set():
                    while wanted > 0 and len(claims) < MANY_CLAIMS:
                        await slots.acquire()
                        if self._leaving.is_set():
                            return
                        claims.add(group.create_task(self._claim(group, slots)))
                        wanted -= 1
                    found = await self._next(claims, leaving)
                    if "away" in found:
                        await self._return_of_store()
                    # Where one was due there may be more.
                    more = sum({"run": 2, "none": 0, "due": 1, "away": 1}[one] for one in found)
                    wanted = min(wanted + more, MANY_CLAIMS)
            finally:
                leaving.cancel()

    async def _claim(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore) -> _Found:
        """Claim a run and have it driven. A claim takes as long as the store's disk does, and a hundred
        starts must not wait for a hundred of those one by one: so several are under way at once."""
        serves = [Serves(name=self._agent.name, revision=self._agent.revision)]
        lease = None
        try:
            lease = await self._store.claim(self.name, self._settings.lease, serves)
        except StoreUnavailable as error:
            self._log.warning("store_away", error=str(error))
            return "away"
        finally:
            if lease is None:
                slots.release()
        if lease is None:
            return "none"
        task = group.create_task(self.drive(lease), name=f"drive {lease.run_id}")
        task.add_done_callback(lambda _: slots.release())
        return "run"

    async def _next(self, claims: set[asyncio.Task[_Found]], leaving: asyncio.Task[bool]) -> list[_Found]:
        """Wait until a claim has come back, a run may be due, or the worker is told to go. The claims that
        came back are taken out of `claims`."""
        due = asyncio.ensure_future(self._store.wait_due(POLL_SECONDS))
        try:
            done, _ = await asyncio.wait({*claims, due, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
        back = claims & done
        claims -= back
        found: list[_Found] = [claim.result() for claim in back]
        if due in done:
            error = due.exception()
            if error is None:
                found.append("due")
            elif isinstance(error, StoreUnavailable):
                self._log.warning("store_away", error=str(error))
                found.append("away")
            else:
                raise error
        return found

    async def _return_of_store(self) -> None:
        """Wait until the store answers, and then as long as the leases' renewal may take: after a long
        outage every run looks given up, ours too, and would be taken from under a living worker."""
        while not self._leaving.is_set():
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._store.ping()
            except StoreUnavailable:
                continue
            break
        if self._driven:
            await asyncio.sleep(min(2 * POLL_SECONDS, self._settings.lease / 2))

    async def drive(self, lease: Lease) -> None:
        """Drive one claimed run until it ends, parks, is handed back, or is lost."""
        self.lose(lease.run_id)  # should it be ours still: the newer lease counts
        lost = self._driven[lease.run_id] = asyncio.Event()
        self._boss.held(lease)
        log = self._log.bind(run_id=lease.run_id)
        try:
            await self._clock.measure()  # before anything is written by it
            await Drive(self._bench, lease, lost).run()
        except StoreUnavailable as error:
            log.warning("store_away", error=str(error))
        except (Fenced, RunClosed, UnknownRun, NotFound) as error:
            log.info("run_lost", error=str(error))
        except Exception:
            # The worker's top: one run's fault must not take the others down. Its lease is let
            # lapse, so the next attempt is counted, and `max_attempts` ends a loop of them.
            log.exception("drive_failed")
        finally:
            if self._driven.get(lease.run_id) is lost:
                self._boss.gone(lease.run_id)
                del self._driven[lease.run_id]
