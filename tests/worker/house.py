"""Workers, stores that misbehave, and agents that do as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jackline.agents.base import Agent
from jackline.commands import Commands, read_state
from jackline.context import CallRequest, RunContext
from jackline.errors import StoreUnavailable
from jackline.events import Effect, Entry, Event, Json, Message, Unknown, decode
from jackline.log.base import KEEP, Appended, Artifact, Due, Lease, Nobody, Page, Store
from jackline.log.memory import MemoryStore
from jackline.processes import CallProcesses
from jackline.run import RunState, fold
from jackline.settings import Settings, load
from jackline.tools import AgentSpec, ToolSpec
from jackline.worker import Worker

SECONDS = 10.0
"""How long anything may take before a test says that it never comes."""


class Boss:
    """A supervisor that only takes notes."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def held(self, lease: Lease) -> None:
        self.told.append(("held", lease.run_id))

    def gone(self, run_id: str) -> None:
        self.told.append(("gone", run_id))

    def stopping(self, run_id: str) -> None:
        self.told.append(("stopping", run_id))


class Scripted:
    """An agent that is one function."""

    def __init__(self, run: Callable[[RunContext], Awaitable[Json]], *, repeats_itself: bool = False) -> None:
        self.name = "a"
        self.revision = "1"
        self.repeats_itself = repeats_itself
        self._run = run

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        yield

    async def describe(self) -> AgentSpec:
        return AgentSpec(name=self.name, revision=self.revision)

    async def run(self, ctx: RunContext) -> Json:
        return await self._run(ctx)


class Clock:
    """The store's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class HookedStore(MemoryStore):
    """A store whose appends can be met: one copy of the long signature for all that do."""

    async def before(self, run_id: str, fence: int | Nobody | None, expect: int | None) -> None:
        """Called before an append is made; what it raises is the append's answer."""

    async def after(self, run_id: str, fence: int | Nobody | None, entries: Sequence[Entry]) -> None:
        """Called once it was made; what it raises is the append's answer all the same."""

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        await self.before(run_id, fence, expect)
        appended = await super().append(
            run_id,
            entries,
            fence=fence,
            expect=expect,
            once=once,
            checkpoint=checkpoint,
            summary=summary,
            due=due,
            close=close,
            lazy=lazy,
        )
        await self.after(run_id, fence, entries)
        return appended


class FlakyStore(HookedStore):
    """Does not answer when `fails` says so: before the write took place, or after it."""

    def __init__(self, fails: Callable[[int], str]) -> None:
        super().__init__()
        self._fails = fails
        self._count = 0
        self._how = ""
        self.on = False

    def _now_fails(self) -> str:
        if not self.on:
            return ""
        self._count += 1
        return self._fails(self._count)

    async def before(self, run_id: str, fence: int | Nobody | None, expect: int | None) -> None:
        self._how = self._now_fails()
        if self._how == "before":
            raise StoreUnavailable("away, before the write")

    async def after(self, run_id: str, fence: int | Nobody | None, entries: Sequence[Entry]) -> None:
        if self._how == "after":
            raise StoreUnavailable("away, after the write")

    async def put_artifact(self, run_id: str, artifact_id: str, artifact: Artifact) -> None:
        if self._now_fails():
            raise StoreUnavailable("away")
        await super().put_artifact(run_id, artifact_id, artifact)

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        # A few entries a page: whoever reads must be able to go on.
        return await super().read(run_id, after, min(limit, 3), max_bytes)


class CrowdedStore(HookedStore):
    """Before every append that expects a place somebody of a later version writes a note."""

    def __init__(self) -> None:
        super().__init__()
        self.notes = 0

    async def before(self, run_id: str, fence: int | Nobody | None, expect: int | None) -> None:
        page = await self.read(run_id, 0, 100_000)
        if expect is not None and not page.closed and page.entries[-1].type != "note":
            self.notes += 1
            await MemoryStore.append(self, run_id, [Entry("note", b'{"ts":"2026-01-01T00:00:00.000Z"}')])


class InterruptedStore(HookedStore):
    """Calls `interrupt` right before the append number `at` of a worker's reaches the log; before every
    one with 0."""

    def __init__(
        self,
        at: int,
        interrupt: Callable[[str], Awaitable[object]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock)
        self.at = at
        self.count = 0
        self._interrupt = interrupt

    async def before(self, run_id: str, fence: int | Nobody | None, expect: int | None) -> None:
        if isinstance(fence, int):
            self.count += 1
            if self.at in {0, self.count}:
                await self._interrupt(run_id)


async def until(come: Callable[[], Awaitable[bool] | bool], seconds: float = SECONDS) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        there = come()
        if not isinstance(there, bool):
            there = await there
        if there:
            return
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.002)


@dataclass(kw_only=True)
class House:
    """A store with what works on it."""

    store: Store = field(default_factory=MemoryStore)
    settings: Settings = field(default_factory=load)
    boss: Boss = field(default_factory=Boss)
    processes: CallProcesses | None = None

    @property
    def commands(self) -> Commands:
        return Commands(self.store)

    @contextlib.asynccontextmanager
    async def worker(
        self, agent: Agent, name: str = "w1", *, local: Callable[[], float] = time.monotonic
    ) -> AsyncGenerator[Worker]:
        """A worker that is told to leave at the end of the block, and has to. `local`: its host clock."""
        worker = Worker(
            store=self.store,
            agent=agent,
            settings=self.settings,
            name=name,
            boss=self.boss,
            local=local,
            processes=self.processes,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(worker.run())
            try:
                yield worker
                worker.leave()
                async with asyncio.timeout(SECONDS):
                    await asyncio.wait([task])
            finally:
                task.cancel()

    async def start(self, **more: Any) -> str:
        messages = [Message(role="user", content="do it")]
        started = await self.commands.start(by="user:ana", agent="a", messages=messages, **more)
        return started.run_id

    async def state(self, run_id: str) -> RunState:
        return await read_state(self.store, run_id)

    async def events(self, run_id: str) -> list[Event | Unknown]:
        found: list[Event | Unknown] = []
        while True:
            page = await self.store.read(run_id, len(found))
            found += [decode(entry) for entry in page.entries]
            if len(found) == page.last:
                return found

    async def reach(self, run_id: str, *states: str) -> RunState:
        """Wait for a state of the run, and check that its whole log can be folded."""

        async def come() -> bool:
            return (await self.state(run_id)).state in states

        await until(come)
        return fold(run_id, await self.events(run_id))

    async def ended(self, run_id: str) -> RunState:
        return await self.reach(run_id, "completed", "failed", "stopped")

    async def paused(self, run_id: str) -> RunState:
        async def come() -> bool:
            head = await self.store.head(run_id)
            return (await self.state(run_id)).paused and head.worker == "none"

        await until(come)
        return await self.state(run_id)


def call(call_id: str, name: str = "t", *, effect: Effect = "writes", **args: Json) -> CallRequest:
    schema: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}
    spec = ToolSpec(name=name, effect=effect, approval="allow", schema=schema)
    return CallRequest(call_id=call_id, args=args, spec=spec)


async def request(ctx: RunContext, *names: str, effect: Effect = "writes") -> list[str]:
    """Ask for calls in a step of their own, with a checkpoint."""
    await ctx.begin_step()
    await ctx.end_step()
    ids = ctx.new_calls(len(names))
    await ctx.request([call(i, n, effect=effect) for i, n in zip(ids, names, strict=True)], checkpoint=b"x")
    return ids


def states(events: Sequence[Event | Unknown], call_id: str) -> list[str]:
    """The states that the log tells of a call."""
    from jackline.events import Tool

    return [event.state for event in events if isinstance(event, Tool) and event.call_id == call_id]
