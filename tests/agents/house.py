"""A store in memory, a worker, and a person's hands: what a run of an agent needs."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from msgspec import UNSET

from jackline.commands import Commands, Decision, read_state
from jackline.errors import Fenced
from jackline.events import Approval, Event, Json, Message, Token, Tool, Workflow, decode
from jackline.log.base import Serves
from jackline.log.memory import MemoryStore
from jackline.settings import Settings, ToolRule
from jackline.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from jackline.agents.base import Agent
    from jackline.log.base import Lease
    from jackline.run import RunState

DEADLINE = 20.0
"""Seconds after which a condition that does not come true fails its test."""


def settings_of(**values: object) -> Settings:
    """Settings with these values, and nothing from the environment."""
    return Settings.model_validate(values)


def rule(**values: object) -> ToolRule:
    """An operator's rule."""
    return ToolRule.model_validate(values)


class Boss:
    """A supervisor that renews nothing and kills nobody: the clock stands still."""

    def held(self, lease: Lease) -> None: ...

    def gone(self, run_id: str) -> None: ...

    def stopping(self, run_id: str) -> None: ...


class Mortal:
    """A store as one worker sees it: once the worker is dead nothing that it still tries arrives."""

    def __init__(self, store: MemoryStore) -> None:
        self.dead = False
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if self.dead and name in {"append", "release", "renew", "put_artifact"}:
            raise Fenced(name)
        return getattr(self._store, name)


class House:
    """See the module. Time of the store is `clock` seconds ahead of the real one."""

    def __init__(self, agent: Agent, **settings: Any) -> None:
        self.agent = agent
        self.ahead = 0.0
        self.store = MemoryStore(lambda: time.time() + self.ahead)
        self.commands = Commands(self.store)
        self.settings = settings_of(**{"stop_grace": 1.0, **settings})
        self.run_id = ""
        self._workers = 0
        self._seen = Mortal(self.store)

    async def start(self, *contents: str, conversation_id: str | None = None) -> str:
        started = await self.commands.start(
            by="user:ana",
            agent=self.agent.name,
            messages=[Message(role="user", content=content) for content in contents],
            conversation_id=conversation_id,
        )
        self.run_id = started.run_id
        return started.run_id

    async def drive(self) -> RunState:
        """Let a new worker drive the due run until it lets go of it."""
        self._workers += 1
        name = f"w{self._workers}"
        self._seen = Mortal(self.store)
        store = cast("MemoryStore", self._seen)
        worker = Worker(store=store, agent=self.agent, settings=self.settings, name=name, boss=Boss())
        serves = [Serves(name=self.agent.name, revision=self.agent.revision)]
        lease = await self.store.claim(name, self.settings.lease, serves)
        assert lease is not None, "no run is due"
        await worker.drive(lease)
        return await self.state()

    async def chat(self, *contents: str) -> RunState:
        """Start a run and drive it, in the same conversation as the one before."""
        conversation = self.run_id.partition(".")[0] or None
        await self.start(*contents, conversation_id=conversation)
        return await self.drive()

    @asynccontextmanager
    async def driving(self) -> AsyncGenerator[asyncio.Task[RunState]]:
        """A worker at work; it is killed in the end if it still is."""
        task = asyncio.create_task(self.drive())
        try:
            yield task
        finally:
            await self.kill(task)

    async def kill(self, task: asyncio.Task[RunState]) -> None:
        """End a worker at once, as a power cut would: it gives nothing back and writes nothing more."""
        self._seen.dead = True
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self.ahead += self.settings.lease + 1

    async def state(self) -> RunState:
        return await read_state(self.store, self.run_id)

    async def until(self, condition: Callable[[RunState], object]) -> RunState:
        async with asyncio.timeout(DEADLINE):
            while True:
                state = await self.state()
                if condition(state):
                    return state
                await self.store.wait(self.run_id, state.seq, 0.05)

    async def decide(self, *decisions: Decision) -> None:
        await self.commands.decide(decisions, by="user:ana")

    async def approve(self, call: str, *, reason: str | None = None, **args: Json) -> None:
        """Approve a call, with other arguments where `args` are given."""
        edited = args or UNSET
        await self.decide(Decision(call_id=self.call(call), approve=True, reason=reason, args=edited))

    async def deny(self, call: str, reason: str | None = None) -> None:
        await self.decide(Decision(call_id=self.call(call), approve=False, reason=reason))

    def call(self, number: str) -> str:
        return f"{self.run_id}.{number}"

    async def events(self) -> list[Event]:
        page = await self.store.read(self.run_id)
        return [cast("Event", decode(entry)) for entry in page.entries]

    async def story(self) -> list[str]:
        """The run's entries, a word or two each; `1 started` is of the run's first call."""
        return [line for event in await self.events() if (line := _line(event)) is not None]

    async def texts(self) -> list[str]:
        return [event.text for event in await self.events() if isinstance(event, Token)]


def _line(event: Event) -> str | None:
    match event:
        case Token():
            return f"say {event.text}"
        case Workflow():
            if event.usage is not None:
                return None
            more = event.reason or (f"step {event.step}" if event.step else "retry" if event.retry else "")
            return f"{event.state} {more}".strip()
        case Tool():
            return f"{event.call_id.rpartition('.')[2]} {event.state}"
        case Approval():
            return (
                f"{event.call_id.rpartition('.')[2]} asked"
                if event.state == "pending"
                else (f"{event.call_id.rpartition('.')[2]} {event.state}")
            )
