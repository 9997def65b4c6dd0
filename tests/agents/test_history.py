"""What a conversation's next run knows of the earlier ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo

from jackline.agents.function import FunctionAgent, FunctionContext
from jackline.agents.pydantic import PydanticAgent
from tests.agents.house import House
from tests.agents.scripted import Script, calls

pytestmark = pytest.mark.anyio


def house(agent: Agent[Any, Any]) -> House:
    return House(PydanticAgent(agent, name="ops", revision="1"))


def said(messages: list[ModelMessage]) -> list[str]:
    parts = [part for message in messages if isinstance(message, ModelResponse) for part in message.parts]
    return [part.content for part in parts if isinstance(part, TextPart)]


async def test_a_second_run_knows_the_first_with_its_calls_and_results() -> None:
    script = Script([calls(("look", "{}"))], ["All well."], ["You're welcome."])
    agent = Agent(script.model, system_prompt="Be kind.")

    @agent.tool_plain
    def look() -> str:
        return "seen"

    home = house(agent)
    await home.chat("how is it?")
    state = await home.chat("thanks")
    assert state.output == "You're welcome."
    assert script.prompts() == ["how is it?", "thanks"]
    assert script.returns()["look"].content == "seen"
    assert said(script.asked[-1]) == ["All well."]
    assert state.calls == {}


async def test_a_call_that_waited_when_the_run_was_stopped_never_runs_later() -> None:
    """G4: neither by the next message nor by an old approval; the model learns that it did not run."""
    ran: list[str] = []
    script = Script(["Wiping. ", calls(("wipe", "{}"))], ["All right."])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        ran.append("wipe")
        return "wiped"

    home = house(agent)
    await home.chat("go")
    await home.commands.stop(home.run_id, by="user:ana")
    assert (await home.state()).state == "stopped"
    state = await home.chat("never mind")
    assert state.output == "All right."
    assert ran == []
    assert "Not executed" in str(script.returns()["wipe"].content)
    assert "stopped by user:ana" in str(script.prompts())
    assert script.prompts()[-1] == "never mind"


async def test_a_denied_call_is_told_as_denied() -> None:
    script = Script([calls(("wipe", "{}"))], ["a"], ["b"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        raise AssertionError

    home = house(agent)
    await home.chat("go")
    await home.deny("1", "no")
    await home.drive()
    await home.chat("and now?")
    assert script.returns()["wipe"].outcome == "denied"


async def test_text_that_a_stop_cut_off_is_still_known() -> None:
    gate = asyncio.Event()

    class Silent(Script):
        async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncGenerator[Any]:
            self.asked.append(list(messages))
            yield "I will now"
            if len(self.asked) == 1:
                await gate.wait()

    script = Silent()
    home = house(Agent(script.model))
    await home.start("go")
    async with home.driving() as task:
        await home.until(lambda state: state.copy_text())
        await home.commands.stop(home.run_id, by="user:ana")
        state = await asyncio.wait_for(task, 20)
    assert state.state == "stopped"
    assert state.receipt is not None
    assert state.receipt.model == "closed"
    await home.chat("go on")
    assert said(script.asked[-1]) == ["I will now"]
    assert script.prompts()[0] == "go"
    assert script.prompts()[-1] == "go on"


async def test_runs_of_another_agent_are_known_by_what_was_said() -> None:
    async def greet(ctx: FunctionContext) -> None:
        await ctx.say("Hello from the function.")

    home = House(FunctionAgent(greet, name="greet", revision="1"))
    await home.chat("hi")
    script = Script(["Hello again."])
    home.agent = PydanticAgent(Agent(script.model), name="ops", revision="1")
    await home.chat("and you?")
    assert said(script.asked[-1]) == ["Hello from the function."]
    assert script.prompts() == ["hi", "and you?"]


async def test_a_failed_run_is_told_as_failed() -> None:
    script = Script([UserError("odd")])
    home = house(Agent(script.model))
    state = await home.chat("go")
    assert state.state == "failed"
    script.responses = (["fine"],)
    state = await home.chat("again")
    assert state.output == "fine"
    assert "The run failed" in str(script.prompts())


@pytest.mark.parametrize("stop_at", ["before", "in a tool"])
async def test_stopping_a_tool_tells_the_next_run_that_it_was_interrupted(stop_at: str) -> None:
    gate, there = asyncio.Event(), asyncio.Event()
    script = Script([calls(("work", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    async def work() -> str:
        there.set()
        await gate.wait()
        return "worked"

    home = house(agent)
    await home.start("go")
    if stop_at == "before":
        await home.commands.stop(home.run_id, by="user:ana")
    else:
        async with home.driving() as task:
            await there.wait()
            await home.commands.stop(home.run_id, by="user:ana")
            await asyncio.wait_for(task, 20)
    assert (await home.state()).state == "stopped"
    script.responses = (["fine"],)
    state = await home.chat("next")
    assert state.output == "fine"
    if stop_at == "in a tool":
        assert script.returns()["work"].outcome == "interrupted"
        assert "Interrupted" in str(script.returns()["work"].content)
