"""Stops that reach an agent at work."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic_ai import Agent, models
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from jackline.agents.function import FunctionAgent, FunctionContext
from jackline.agents.pydantic import PydanticAgent
from jackline.processes import running_call
from jackline.threads import CallThreads
from tests.agents.house import House
from tests.agents.scripted import Script, calls

pytestmark = pytest.mark.anyio


class Thread:
    """A plain tool that cannot be cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def work(self) -> str:
        self.begun.set()
        assert self.let_go.wait(30)
        return "worked"


@pytest.fixture
def thread() -> Any:
    made = Thread()
    yield made
    made.let_go.set()


def pydantic_house(tool: Any) -> House:
    agent = Agent(Script([calls(("work", "{}"))], ["never said"]).model, tools=[tool])
    return House(PydanticAgent(agent, name="ops", revision="1"))


def function_house(tool: Any) -> House:
    async def fix(ctx: FunctionContext) -> object:
        return await ctx.tool(tool, name="work")

    return House(FunctionAgent(fix, name="ops", revision="1"))


async def test_a_thread_whose_result_is_on_its_way_is_still_the_calls() -> None:
    """G4: a call that is cancelled between its thread's end and the arrival of the result has worked."""
    with CallThreads() as threads:
        token = running_call.set("call")
        waiting = asyncio.get_running_loop().run_in_executor(threads, str, "worked")
        running_call.reset(token)
        last = threads.last("call")
        assert last is not None
        assert last.result(20) == "worked"  # waits without a turn of the loop
        assert not threads.busy("call")
        assert threads.awaited("call")
        waiting.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not threads.awaited("call")
        assert last.result(0) == "worked"


@pytest.mark.parametrize("make", [pydantic_house, function_house])
async def test_a_thread_that_goes_on_after_a_stop_is_waited_for_and_told_truly(
    make: Any, thread: Thread
) -> None:
    """G4: a thread cannot be killed; its work was done, and the receipt says so."""
    home: House = make(thread.work)
    await home.start("go")
    async with home.driving() as task:
        await home.until(lambda _: thread.begun.is_set())
        await home.commands.stop(home.run_id, by="user:ana")
        state = await home.until(lambda state: state.stop is not None)
        assert state.state == "stopping"
        thread.let_go.set()
        state = await asyncio.wait_for(task, 20)
    assert state.state == "stopped"
    call = state.calls[home.call("1")]
    assert (call.state, call.result) == ("finished", "worked")
    assert state.receipt is not None
    assert [tool.outcome for tool in state.receipt.tools] == ["finished_before_stop"]


@pytest.mark.parametrize("make", [pydantic_house, function_house])
async def test_an_async_tool_is_cancelled_by_a_stop(make: Any) -> None:
    """G4: and no later tool starts."""
    ended: list[str] = []
    there = asyncio.Event()

    async def work() -> None:
        there.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    home: House = make(work)
    await home.start("go")
    async with home.driving() as task:
        await there.wait()
        await home.commands.stop(home.run_id, by="user:ana")
        state = await asyncio.wait_for(task, 20)
    assert state.state == "stopped"
    assert ended == ["cleaned up"]
    assert state.calls[home.call("1")].state == "cancelled"
    assert len(state.calls) == 1


async def test_after_step_lets_running_calls_end_and_starts_nothing_more() -> None:
    gate, there = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        there.set()
        await gate.wait()
        return "worked"

    home = pydantic_house(work)
    await home.start("go")
    async with home.driving() as task:
        await there.wait()
        await home.commands.stop(home.run_id, by="user:ana", mode="after_step")
        await home.until(lambda state: state.stop is not None)
        gate.set()
        state = await asyncio.wait_for(task, 20)
    assert state.state == "stopped"
    assert state.calls[home.call("1")].state == "finished"
    assert state.step == 1


async def test_a_provider_that_sends_nothing_is_hung_up_on() -> None:
    """G4: not one byte has to come; the provider sees that nobody listens any more."""
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        while await reader.read(65536):
            pass
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        provider = OpenAIProvider(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        agent = Agent(OpenAIChatModel("silent", provider=provider))
        home = House(PydanticAgent(agent, name="ops", revision="1"))
        await home.start("go")
        with models.override_allow_model_requests(True):
            async with home.driving() as task:
                await asyncio.wait_for(asked.wait(), 60)
                await home.commands.stop(home.run_id, by="user:ana")
                state = await asyncio.wait_for(task, 60)
        await asyncio.wait_for(hung_up.wait(), 60)
    assert state.receipt is not None
    assert (state.state, state.receipt.model) == ("stopped", "closed")
