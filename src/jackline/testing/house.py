"""A server's inside in one process: a store, a worker, and a person's hands."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from msgspec import UNSET, UnsetType

from jackline.agents.load import agent_of
from jackline.commands import Commands, Decided, Decision, Stopped, read_state
from jackline.events import Message, decode
from jackline.log.memory import MemoryStore
from jackline.run import fold
from jackline.settings import Settings
from jackline.testing.life import Life, give_up

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from pydantic_ai.models import Model

    from jackline.agents.base import Agent
    from jackline.events import Event, Json, Outcome, RunStateName, StopMode, Unknown
    from jackline.log.base import Store
    from jackline.run import Call, Question, RunState

PATIENCE: Final = 30.0
"""Seconds after which what a test waits for will never come."""


class Run:
    """A run of the agent under test. Calls are named by their tool (the newest call of it) or their id."""

    def __init__(self, house: House, run_id: str) -> None:
        self.id = run_id
        self._house = house

    async def state(self) -> RunState:
        """How the run stands now, with its calls, its questions, and what was said."""
        return await read_state(self._house.store, self.id)

    async def events(self) -> list[Event | Unknown]:
        """The entries of its log."""
        found: list[Event | Unknown] = []
        while True:
            page = await self._house.store.read(self.id, len(found))
            found += [decode(entry) for entry in page.entries]
            if len(found) == page.last:
                return found

    async def until(
        self, *states: RunStateName, when: Callable[[RunState], object] | None = None
    ) -> RunState:
        """Wait until the run is in one of `states`, or `when` is true of it. `awaiting_approval` is there
        once a person is really waited for. Fails when the run ends otherwise, or nothing comes."""
        try:
            async with asyncio.timeout(self._house.patience):
                while True:
                    state = await self.state()
                    if (when is not None and when(state)) or _reached(state, states):
                        return state
                    if state.ended:
                        break
                    await self._house.store.wait(self.id, state.seq, 1.0)
        except TimeoutError:
            state = await self.state()
        error = "" if state.error is None else f": {state.error.type}: {state.error.message}"
        raise AssertionError(f"{self.id} is {state.state}{error}; waited for {' or '.join(states) or when}")

    async def ended(self) -> RunState:
        """Wait for the run's ending."""
        await self.until("completed", "failed", "stopped")
        return fold(self.id, await self.events())

    async def call(self, call: str) -> Call:
        """A call as it stands in the log."""
        calls = (await self.state()).calls
        return calls[call] if call in calls else [one for one in calls.values() if one.name == call][-1]

    async def approve(
        self, call: str, *, args: Json | UnsetType = UNSET, reason: str | None = None
    ) -> Decided:
        """Let a call that waits run, with other arguments where `args` are given (G5)."""
        return await self._decide(call, approve=True, args=args, reason=reason)

    async def deny(self, call: str, *, reason: str | None = None) -> Decided:
        """Keep a call that waits from running."""
        return await self._decide(call, approve=False, reason=reason)

    async def settle(
        self, call: str, outcome: Outcome, *, result: Json | UnsetType = UNSET, reason: str | None = None
    ) -> Decided:
        """Say what became of a call whose worker died while it ran (G6)."""
        return await self._decide(call, outcome=outcome, result=result, reason=reason)

    async def stop(self, *, mode: StopMode = "immediate", reason: str | None = None) -> Stopped:
        """Ask the run to stop; wait for its end with `ended` (G4)."""
        return await self._house.commands.stop(self.id, by=self._house.by, mode=mode, reason=reason)

    async def _decide(
        self,
        call: str,
        *,
        approve: bool | None = None,
        args: Json | UnsetType = UNSET,
        outcome: Outcome | None = None,
        result: Json | UnsetType = UNSET,
        reason: str | None = None,
    ) -> Decided:
        question = await self._question(call)
        decision = Decision(
            call_id=question.call_id,
            approve=approve,
            args=args,
            outcome=outcome,
            result=result,
            reason=reason,
        )
        (decided,) = await self._house.commands.decide([decision], by=self._house.by)
        return decided

    async def _question(self, call: str) -> Question:
        questions = list((await self.state()).questions.values())
        found = [question for question in questions if call in {question.call_id, question.name}]
        if not found:
            asked = ", ".join(question.name for question in questions) or "nothing"
            raise AssertionError(f"{self.id}: no question about {call}; asked about: {asked}")
        return found[-1]


def _reached(state: RunState, states: tuple[RunStateName, ...]) -> bool:
    return state.state in states and (state.state != "awaiting_approval" or state.paused)


class House:
    """See the module. Made by `running`."""

    def __init__(
        self, *, agent: Agent, store: Store, settings: Settings, group: asyncio.TaskGroup, patience: float
    ) -> None:
        self.agent = agent
        self.store = store
        self.settings = settings
        self.commands = Commands(store)
        self.patience = patience
        self.by = "user:tester"
        """Who starts, decides and stops."""
        self._group = group
        self._lives = 0
        self.worker = self._hire()

    async def start(
        self,
        *contents: str,
        conversation_id: str | None = None,
        on_busy: Literal["reject", "queue", "stop"] = "reject",
        metadata: Mapping[str, Json] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> Run:
        """Start a run with a person's messages."""
        started = await self.commands.start(
            by=self.by,
            agent=self.agent.name,
            messages=[Message(role="user", content=content) for content in contents],
            conversation_id=conversation_id,
            on_busy=on_busy,
            metadata=metadata,
            limits=limits,
        )
        return Run(self, started.run_id)

    async def crash(self) -> None:
        """Kill the worker as `kill -9` would, and let a new one take its runs over (G7)."""
        leases = await self.worker.kill()
        for lease in leases:
            await give_up(self.store, self.commands, lease)
        self.worker = self._hire()

    def _hire(self) -> Life:
        self._lives += 1
        life = Life(agent=self.agent, store=self.store, settings=self.settings, name=f"worker-{self._lives}")
        self._group.create_task(life.run(), name=life.name)
        return life


@asynccontextmanager
async def running(
    agent: object,
    *,
    model: Model | None = None,
    store: Store | None = None,
    patience: float = PATIENCE,
    **settings: object,
) -> AsyncGenerator[House]:
    """A worker that serves `agent` for the length of the block, over `store` (a memory log of its own).

    `agent`: whatever `jackline serve --agent` takes: a `pydantic_ai.Agent`, an async function over a
    `FunctionContext`, an object with the methods of `Agent`. `model` takes the place of a Pydantic AI
    agent's own. `settings`: as in `jackline.toml`; nothing is read from the environment. At the end the
    worker is killed, whatever it does: wait for what matters. Raises `ConfigError` for what is no agent.
    """
    chosen = Settings.model_validate({"lease": 2.0, "stop_grace": 1.0, **settings})
    served = _served(agent, model, chosen)
    fault: Exception | None = None
    async with served.opened(), asyncio.TaskGroup() as group:
        house = House(
            agent=served,
            store=MemoryStore() if store is None else store,
            settings=chosen,
            group=group,
            patience=patience,
        )
        try:
            yield house
        except Exception as error:  # noqa: BLE001  the test's own; raised below, or it would come wrapped
            fault = error
        finally:
            await house.worker.kill()
    if fault is not None:
        raise fault


def _served(agent: object, model: Model | None, settings: Settings) -> Agent:
    own = getattr(agent, "name", None) or getattr(agent, "__name__", None)
    name = own if isinstance(own, str) else "agent"
    if model is None:
        return agent_of(agent, settings, where=name, name=name, revision="test")
    from pydantic_ai.agent import AbstractAgent

    from jackline.agents.models import ModelChoice
    from jackline.agents.pydantic import PydanticAgent

    if not isinstance(agent, AbstractAgent):
        raise TypeError(f"a model is given to an agent made with Pydantic AI, not to {name}")
    choice = ModelChoice(model=model, label="test", scripted=True)
    given = cast("AbstractAgent[Any, Any]", agent)
    return PydanticAgent(given, name=name, revision="test", rules=settings.tools, choice=choice)
