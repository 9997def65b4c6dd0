"""A store, what serves its web, and supervisors with workers that die where a test says."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jackline.commands import Commands, Decision, read_state
from jackline.events import Json, Message
from jackline.log.base import Store
from jackline.log.redis import RedisStore
from jackline.log.sqlite import SqliteStore
from jackline.run import RunState
from jackline.settings import Settings, load
from jackline.supervisor import Supervisor
from jackline.web.app import create_app
from tests.contract.redis_server import prefix_for, shared_url
from tests.support.processes import PATIENCE, eventually_async
from tests.web.harness import API, Client, Exchange

Kind = Literal["sqlite", "redis"]
KINDS: tuple[Kind, ...] = ("sqlite", "redis")
MORTAL = [sys.executable, str(Path(__file__).with_name("mortal_worker.py"))]


@dataclass(kw_only=True)
class Yard:
    """See the module. `client`: a web process' routes and viewers."""

    store: Store
    settings: Settings
    client: Client

    @property
    def commands(self) -> Commands:
        return Commands(self.store)

    def kill(self, moment: str) -> None:
        """The next worker that comes to this moment dies there; see `mortal_worker`."""
        (self.settings.data_dir / "fault").write_text(moment)

    @property
    def killed(self) -> bool:
        return not (self.settings.data_dir / "fault").exists()

    def did(self, what: str) -> list[str]:
        """What tools of that name did, each with its idempotency key."""
        return [entry for _, entry in self.diary if entry.split(" ")[0] == what]

    @property
    def diary(self) -> list[tuple[int, str]]:
        diary = self.settings.data_dir / "diary"
        lines = diary.read_text().splitlines() if diary.exists() else []
        return [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]

    @contextlib.asynccontextmanager
    async def host(self, *command: str) -> AsyncGenerator[Supervisor]:
        """A supervisor with its worker, told to go at the end."""
        supervisor = Supervisor(
            store=self.store, commands=self.commands, settings=self.settings, command=[*command] or MORTAL
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(supervisor.run())
            try:
                yield supervisor
                supervisor.leave()
                async with asyncio.timeout(PATIENCE):
                    await asyncio.wait([running])
            finally:
                running.cancel()

    async def start(self, **metadata: Json) -> str:
        messages = [Message(role="user", content="go")]
        started = await self.commands.start(by="local", agent="a", messages=messages, metadata=metadata)
        return started.run_id

    async def state(self, run_id: str) -> RunState:
        return await read_state(self.store, run_id)

    async def until(self, run_id: str, *states: str) -> RunState:
        async def come() -> RunState | None:
            state = await self.state(run_id)
            return state if state.state in states else None

        return await eventually_async(come, what=f"{run_id} {states}")

    async def until_killed(self) -> None:
        async def come() -> bool:
            return self.killed

        await eventually_async(come, what="a death")

    async def until_did(self, what: str, times: int = 1) -> None:
        async def come() -> bool:
            return len(self.did(what)) >= times

        await eventually_async(come, what=f"{what} in the diary")

    async def until_asked(self, run_id: str, call_id: str) -> None:
        """A person is asked about this call, and nobody holds the run."""

        async def come() -> bool:
            return call_id in [question.call_id for question in (await self.state(run_id)).pending]

        await eventually_async(come, what=f"a question about {call_id}")
        await self.until_parked(run_id)

    async def until_parked(self, run_id: str) -> None:
        """No worker stands behind the run any more."""

        async def come() -> bool:
            return (await self.store.head(run_id)).worker == "none"

        await eventually_async(come, what=f"{run_id} let go")

    async def walk(self, run_id: str, **outcome: Json) -> RunState:
        """Approve what is asked, and answer what a call came to with `outcome`, until the run is over."""
        while True:
            state = await self.until(run_id, "awaiting_approval", "completed", "failed", "stopped")
            if state.ended:
                return state
            await self.until_parked(run_id)
            for question in (await self.state(run_id)).pending:
                answer: dict[str, Any] = {"approve": True} if question.kind == "call" else outcome
                await self.commands.decide([Decision(call_id=question.call_id, **answer)], by="local")

    @contextlib.asynccontextmanager
    async def viewer(self, run_id: str) -> AsyncGenerator[Exchange]:
        """Somebody who watches, every entry for itself."""
        async with self.client.open("GET", f"{API}/runs/{run_id}/events?compact=0") as exchange:
            await exchange.started()
            yield exchange


@contextlib.asynccontextmanager
async def yard(folder: Path, kind: Kind, **settings: Any) -> AsyncGenerator[Yard]:
    """One in `folder`. Leases last a minute: whatever is taken over was given up by a supervisor."""
    flags: dict[str, Any] = {"data_dir": folder, "lease": 60.0, "stop_grace": 60.0, "drain": 0.3}
    if kind == "redis":
        flags["redis"] = shared_url()
        (folder / "prefix").write_text(prefix_for(folder))
    else:
        flags["sqlite_synchronous"] = "NORMAL"
    given = load(**(flags | settings))
    store = await open_store(given)
    app = create_app(given, store, Commands(store))
    try:
        async with app.router.lifespan_context(app):
            yield Yard(store=store, settings=given, client=Client(app=app))
    finally:
        await store.aclose()


async def open_store(settings: Settings) -> Store:
    """The store that the workers of `mortal_worker` open too."""
    if settings.redis is not None:
        return await RedisStore.open(settings.redis, prefix=(settings.data_dir / "prefix").read_text())
    return await SqliteStore.open(settings.data_dir, synchronous=settings.sqlite_synchronous)
