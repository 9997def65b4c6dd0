"""What was stopped or denied never runs later: the next chat on the conversation starts clean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ToolCallPart, ToolReturnPart
from pydantic_ai.tools import Tool

from jackline.agents.function import FunctionAgent, FunctionContext
from jackline.agents.pydantic import PydanticAgent
from jackline.commands import Commands, Decision
from jackline.errors import Conflict
from jackline.events import Entry, Workflow, decode
from jackline.events import Tool as ToolEntry
from jackline.log.base import Nobody, Serves
from jackline.log.memory import MemoryStore
from tests.agents.house import House
from tests.agents.scripted import Script, calls
from tests.worker.house import HookedStore

if TYPE_CHECKING:
    from jackline.events import Json
    from jackline.run import RunState

pytestmark = pytest.mark.anyio


class Stopping(HookedStore):
    """A stop lands right behind the first entry of a worker's of which `when` is true."""

    def __init__(self, when: Callable[[object], bool]) -> None:
        super().__init__()
        self._when: Callable[[object], bool] | None = when

    async def after(self, run_id: str, fence: int | Nobody | None, entries: Sequence[Entry]) -> None:
        if isinstance(fence, int) and self._when is not None and any(self._when(decode(e)) for e in entries):
            self._when = None
            await Commands(self).stop(run_id, by="user:bo")


@dataclass(kw_only=True)
class Stage:
    """An agent whose `wipe` asks first, and what was wiped."""

    home: House = field(init=False)
    wiped: list[str] = field(default_factory=list[str])
    there: asyncio.Event = field(default_factory=asyncio.Event)
    model: Script | None = None

    async def wipe(self, path: str) -> str:
        """Wipe something, and be slow to say so."""
        self.wiped.append(path)
        self.there.set()
        if path == "/slow":
            await asyncio.sleep(3600)
        return f"wiped {path}"


def user_agent(path: str, *, judged: bool = False) -> Stage:
    """A person's own agent; `judged`: as the built-in one, by its tools' annotations."""
    model = Script([calls(("wipe", f'{{"path": "{path}"}}'))], ["all quiet"])
    stage = Stage(model=model)
    tool = Tool(stage.wipe, requires_approval=not judged, takes_ctx=False)
    agent = Agent(model.model, tools=[tool])
    origin_of = from_a_server if judged else None
    stage.home = House(PydanticAgent(agent, name="ops", revision="1", origin_of=origin_of))
    return stage


def from_a_server(_: str) -> str:
    return "mcp:ops"


def function_agent(path: str) -> Stage:
    stage = Stage()

    async def fix(ctx: FunctionContext) -> Json:
        if ctx.text == "what now?":
            (before,) = ctx.previous
            return [call.state for call in before.state.calls.values()]
        return await ctx.tool(stage.wipe, {"path": path}, approval=True)

    stage.home = House(FunctionAgent(fix, name="ops", revision="1"))
    return stage


KINDS: dict[str, Callable[[str], Stage]] = {
    "a user's agent": user_agent,
    "an agent judged as the built-in one": lambda path: user_agent(path, judged=True),
    "a function": function_agent,
}


def is_requested(event: object) -> bool:
    return isinstance(event, ToolEntry) and event.state == "requested"


def is_started(event: object) -> bool:
    return isinstance(event, ToolEntry) and event.state == "started"


def is_resumed(event: object) -> bool:
    return isinstance(event, Workflow) and event.state == "executing" and event.step is None


async def stopped_when_requested(stage: Stage) -> None:
    put_in(stage, Stopping(is_requested))
    await stage.home.start("wipe it")
    await stage.home.drive()


async def stopped_while_pending(stage: Stage) -> None:
    await stage.home.start("wipe it")
    await stage.home.drive()
    await stage.home.commands.stop(stage.home.run_id, by="user:bo")


async def stopped_once_granted(stage: Stage) -> None:
    await stage.home.start("wipe it")
    await stage.home.drive()
    await stage.home.approve("1")
    await stage.home.commands.stop(stage.home.run_id, by="user:bo")


async def stopped_once_denied(stage: Stage) -> None:
    await stage.home.start("wipe it")
    await stage.home.drive()
    await stage.home.deny("1", "not today")
    await stage.home.commands.stop(stage.home.run_id, by="user:bo")


async def stopped_once_claimed(stage: Stage) -> None:
    """A worker has taken the granted call up, and not begun it."""
    seen: list[object] = []

    def is_second(event: object) -> bool:
        seen.extend([event] if is_resumed(event) else [])
        return len(seen) == 2

    put_in(stage, Stopping(is_second))
    await granted(stage)


async def stopped_once_started(stage: Stage) -> None:
    """It stands in the log as started before the stop does. Whether it is begun all the same depends on
    how soon the worker learns of the stop; either way the truth is told."""
    put_in(stage, Stopping(is_started))
    await granted(stage)


async def stopped_while_running(stage: Stage) -> None:
    await stage.home.start("wipe it")
    await stage.home.drive()
    await stage.home.approve("1")
    async with stage.home.driving() as task:
        await stage.there.wait()
        await stage.home.commands.stop(stage.home.run_id, by="user:bo")
        await asyncio.wait_for(task, 20)


async def granted(stage: Stage) -> None:
    await stage.home.start("wipe it")
    await stage.home.drive()
    await stage.home.approve("1")
    await stage.home.drive()


def put_in(stage: Stage, store: MemoryStore) -> None:
    stage.home.store = store
    stage.home.commands = Commands(store)


MOMENTS = {
    "requested": (stopped_when_requested, "not_started", "before it started"),
    "pending": (stopped_while_pending, "not_started", "before it started"),
    "granted": (stopped_once_granted, "not_started", "before it started"),
    "denied": (stopped_once_denied, "not_started", "before it started"),
    "claimed": (stopped_once_claimed, "not_started", "before it started"),
    "started": (stopped_once_started, "finished_before_stop", "wiped /quick"),
    "running": (stopped_while_running, "cancelled", "Interrupted while it ran"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_stopped_call_never_runs_later(moment: str, kind: str) -> None:
    """G4, G5: whenever the stop came; the next run knows of the call, and nothing of it is left to run."""
    stop, outcome, told = MOMENTS[moment]
    stage = KINDS[kind]("/slow" if moment == "running" else "/quick")
    home = stage.home
    await stop(stage)
    first = await home.state()
    once = len(stage.wiped) if moment == "started" else 1 if moment == "running" else 0
    if moment == "started" and not once:
        outcome, told = MOMENTS["claimed"][1:]
    assert (first.state, len(stage.wiped)) == ("stopped", once)
    assert first.receipt is not None
    assert [call.outcome for call in first.receipt.tools] == [outcome]
    await old_answers_change_nothing(home, first)
    second = await home.chat("what now?")
    assert second.state == "completed"
    assert (second.calls, second.questions) == ({}, {})
    assert len(stage.wiped) == once
    assert await home.store.claim("w", 60, [Serves(name="ops", revision="1")]) is None
    if stage.model is None:
        assert second.output == ["finished" if outcome == "finished_before_stop" else "cancelled"]
    else:
        messages = stage.model.asked[-1]
        assert told in str(returned(messages)[called(messages)[0]].content)


def called(messages: list[ModelMessage]) -> list[str]:
    return [p.tool_call_id for m in messages for p in m.parts if isinstance(p, ToolCallPart)]


def returned(messages: list[ModelMessage]) -> dict[str, ToolReturnPart]:
    """Valid for every provider: each call has its one answer, in order."""
    returns = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    assert [part.tool_call_id for part in returns] == called(messages)
    return {part.tool_call_id: part for part in returns}


async def old_answers_change_nothing(home: House, first: RunState) -> None:
    """G5: the same again is the same, also after the ending; anything else is refused."""
    before = await home.events()
    question = first.last_question(home.call("1"))
    if question is None:
        return
    stands = {"granted": True, "denied": False}.get(question.state)
    for approve in (True, False):
        decision = Decision(call_id=home.call("1"), approve=approve)
        if approve is stands:
            (again,) = await home.commands.decide([decision], by="user:cy")
            assert (again.state, again.by) == (question.state, "user:ana")
        else:
            with pytest.raises(Conflict) as refused:
                await home.commands.decide([decision], by="user:cy")
            assert refused.value.members["state"] == question.state
    assert await home.events() == before
