"""What one history of the machine takes place in: webs, workers, people and a Redis, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jackline.agents.base import Agent
from jackline.agents.models import ModelChoice
from jackline.agents.pydantic import PydanticAgent
from jackline.commands import Commands
from jackline.errors import JacklineError, StoreUnavailable
from jackline.events import Entry, Unknown, decode
from jackline.log.base import Lease, Store
from jackline.log.redis import RedisStore
from jackline.run import RunState
from jackline.settings import Settings
from jackline.testing.flaky import by_chance
from jackline.testing.life import Life, give_up
from jackline.web.app import create_app
from tests.contract.redis_server import RedisServer
from tests.machine.people import Effects, Turns, Viewer, ops_agent
from tests.support.processes import HOST, eventually
from tests.web.harness import API, Answer, Client

T = TypeVar("T")

LEASE = 0.3
"""Seconds. Short, for a history may have to wait for one to lapse."""

STORE_DEADLINE = 2.0
"""Seconds that Redis has for an answer: more than it is ever made to stand still, or to start anew."""

DRAIN = 60.0
"""Seconds in which every run must come to its ending once all is well again."""


@dataclass(kw_only=True)
class Told:
    """A run as the commands' answers and the log so far tell of it."""

    run_id: str
    state: RunState
    entries: list[Entry] = field(default_factory=list[Entry])
    stopped: bool = False
    """Whether a stop was answered with 202."""
    final: str = ""
    """The ending that somebody was told of."""
    decided: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    """The answers that were acknowledged, by call and round."""


class World:
    """See the module."""

    def __init__(self, redis: RedisServer, prefix: str) -> None:
        self.redis = redis
        self.turns = Turns()
        self.effects = Effects()
        self.lives: list[Life] = []
        self.webs: list[Client] = []
        self.viewers: list[Viewer] = []
        self.runs: dict[str, Told] = {}
        self.unanswered: dict[str, dict[str, Any]] = {}
        """Chats that got no answer, by their idempotency key."""
        self._prefix = prefix
        self._settings = Settings.model_validate(
            {"lease": LEASE, "stop_grace": 5.0, "max_attempts": 1000, "heartbeat": 30.0}
        )
        self._agent: Agent
        self._names = 0
        self._group: asyncio.TaskGroup
        self._eyes: Store
        self._runner = asyncio.Runner()
        self._end = asyncio.Event()
        self._task = self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # Beginning and end

    async def _begin(self) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(self._be(there))
        await asyncio.wait([task, there], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task

    async def _be(self, there: asyncio.Future[None]) -> None:
        """One task opens everything and closes it."""
        agent, model = ops_agent(self.turns, self.effects)
        choice = ModelChoice(model=model, label="script", scripted=True)
        self._agent = PydanticAgent(agent, name="ops", revision="1", choice=choice)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._agent.opened())
            self._eyes = await self._open(stack)
            for _ in range(2):
                store = await self._open(stack)
                app = create_app(self._settings, store, Commands(store), default_agent=_ops)
                await stack.enter_async_context(app.router.lifespan_context(app))
                self.webs.append(Client(app=app))
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            self._stack = stack
            for _ in range(2):
                await self.hire()
            there.set_result(None)
            await self._end.wait()
            for viewer in self.viewers:
                await viewer.leave()
            for life in self.lives:
                await life.kill()

    async def _open(self, stack: contextlib.AsyncExitStack) -> Store:
        store = await RedisStore.open(self.redis.url, prefix=self._prefix, deadline=STORE_DEADLINE)
        stack.push_async_callback(store.aclose)
        return store

    def close(self) -> None:
        async def end() -> None:
            self._end.set()
            await self._task

        try:
            self.run(end())
        finally:
            self._runner.close()

    # Time

    async def settle(self, at_most: float = 0.04) -> None:
        """Let everybody do what they can do without a turn."""

        def still() -> bool:
            driven = sum(len(life.driving) for life in self.lives if not life.frozen)
            return self.turns.waiting >= driven

        await until(still, at_most, at_least=0.004)

    # Workers

    async def hire(self) -> None:
        self._names += 1
        store = await RedisStore.open(self.redis.url, prefix=self._prefix, deadline=STORE_DEADLINE)
        life = Life(agent=self._agent, store=store, settings=self._settings, name=f"w{self._names}")
        self.lives.append(life)

        async def live() -> None:
            try:
                await life.run()
            finally:
                await store.aclose()

        self._group.create_task(live(), name=life.name)

    async def kill(self, life: Life, *, with_supervisor: bool) -> None:
        """A new one comes in its place. A supervisor that lives on gives the leases up."""
        self.lives.remove(life)
        leases = await life.kill()
        if not with_supervisor:
            await self._give_up(leases)
        await self.hire()

    async def _give_up(self, leases: list[Lease]) -> None:
        for lease in leases:
            with contextlib.suppress(JacklineError):
                await give_up(self._eyes, Commands(self._eyes), lease)

    def bad_line(self, life: Life, seed: int) -> None:
        life.line.plan = by_chance(seed, not_written=0.1, answer_lost=0.15)
        life.line.on = True

    # Redis

    def cut_connections(self) -> None:
        """The server ends every connection that there is."""
        with socket.create_connection((HOST, self.redis.port), timeout=10) as line:
            line.sendall(b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal SKIPME yes\r\nQUIT\r\n")
            while line.recv(4096):
                pass

    def restart_redis(self) -> None:
        """Killed with -9, and back with all that it has acknowledged."""
        self.redis.kill()
        self.redis.launch()
        eventually(lambda: self._says(b"PING\r\n") == b"+PONG", what="Redis has loaded its data")

    def _says(self, command: bytes) -> bytes:
        with socket.create_connection((HOST, self.redis.port), timeout=10) as line:
            line.sendall(command)
            return line.recv(4096).strip()

    async def pause_redis(self, seconds: float) -> None:
        self.redis.freeze()
        try:
            await until(lambda: False, seconds)
        finally:
            self.redis.thaw()

    # What people do

    async def chat(self, web: Client, body: dict[str, Any], key: str) -> None:
        self.unanswered[key] = body
        answer = await web.post(f"{API}/chat", body, Idempotency_Key=key)
        if answer.status == 503:
            return
        del self.unanswered[key]
        assert answer.status in {202, 409}, answer.body
        if answer.status == 202:
            run_id: str = answer.json()["run_id"]
            self.runs.setdefault(run_id, Told(run_id=run_id, state=RunState(run_id)))

    async def decide(self, web: Client, call_id: str, number: int, body: dict[str, Any]) -> None:
        told = self.runs[call_id.rpartition(".")[0]]
        answer = await web.post(f"{API}/approvals/{call_id}", body)
        assert answer.status in {200, 409, 422, 503}, answer.body
        if answer.status == 200:
            state: str = answer.json()["state"]
            assert told.decided.setdefault((call_id, number), state) == state, "two decisions, both taken"

    async def stop(self, web: Client, run_id: str, mode: str) -> Answer:
        answer = await web.post(f"{API}/runs/{run_id}/stop", {"mode": mode})
        assert answer.status in {200, 202, 503}, answer.body
        if answer.status == 202:
            self.runs[run_id].stopped = True
        elif answer.status == 200:
            self.runs[run_id].final = answer.json()["state"]
        return answer

    # What stands in the log

    async def look(self) -> None:
        """Read on, and hold every entry to the rules: only legal ones, and none is changed afterwards."""
        for told in self.runs.values():
            with contextlib.suppress(StoreUnavailable):
                while True:
                    page = await self._eyes.read(told.run_id, told.state.seq)
                    assert page.first == told.state.seq + 1, "the log has lost its beginning"
                    assert page.last >= told.state.seq, "the log has become shorter"
                    for seq, entry in enumerate(page.entries, page.first):
                        event = decode(entry)
                        assert not isinstance(event, Unknown), entry
                        told.state.apply(seq, event)
                        told.entries.append(entry)
                    if told.state.seq == page.last:
                        break

    async def whole_log(self, run_id: str) -> list[Entry]:
        page = await self._eyes.read(run_id, 0, 100_000, 1 << 30)
        assert page.last == len(page.entries)
        return list(page.entries)

    async def let_end(self) -> None:
        """All is well again, and whoever is asked answers: every run must come to its ending."""
        for life in self.lives:
            life.line.on = False
            life.thaw()
        self.turns.all()
        deadline = time.monotonic() + DRAIN
        for key, body in list(self.unanswered.items()):
            await until_true(lambda key=key, body=body: self._retry(key, body), deadline)
        await until_true(self._all_ended, deadline)
        for viewer in self.viewers:
            await until_true(lambda viewer=viewer: self._seen_all(viewer), deadline)

    async def _retry(self, key: str, body: dict[str, Any]) -> bool:
        await self.chat(self.webs[0], body, key)
        return key not in self.unanswered

    async def _seen_all(self, viewer: Viewer) -> bool:
        if not viewer.over and (viewer.watching is None or viewer.watching.done()):
            await viewer.come(self.webs[0])
        return viewer.over

    async def _all_ended(self) -> bool:
        with contextlib.suppress(JacklineError):
            await Commands(self._eyes).sweep()
        await self.look()
        for told in self.runs.values():
            for question in told.state.pending:
                body = {"outcome": "done"} if question.kind == "outcome" else {"approve": True}
                await self.decide(self.webs[1], question.call_id, question.round, body)
        return all(told.state.ended for told in self.runs.values())


async def until(condition: Callable[[], bool], at_most: float, *, at_least: float = 0.0) -> None:
    """Give everybody time until the condition holds, or the time is over."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < at_most and (  # noqa: ASYNC110  nothing tells when
        passed < at_least or not condition()
    ):
        await asyncio.sleep(0.002)


async def until_true(condition: Callable[[], Coroutine[Any, Any, bool]], deadline: float) -> None:
    while not await condition():
        assert time.monotonic() < deadline, "not all runs have ended"
        await until(lambda: False, 0.01)


async def _ops() -> str:
    return "ops"
