"""What becomes of a Pydantic AI agent's run whose worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from jackline.agents.pydantic import PydanticAgent
from jackline.commands import Decision
from jackline.tools import current_call
from tests.agents.house import House
from tests.agents.scripted import Script, calls

pytestmark = pytest.mark.anyio


def house(agent: Agent[Any, Any]) -> House:
    return House(PydanticAgent(agent, name="ops", revision="1"))


class Gate:
    """Lets nobody through before it is opened, and counts those who came."""

    def __init__(self) -> None:
        self.came = 0
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        self.came += 1
        await self.opened.wait()


async def test_a_finished_call_is_not_made_again_and_its_sibling_goes_on() -> None:
    """G6, G7: killed while a read-only sibling runs; the finished one gives its logged result."""
    gate = Gate()
    ran: list[str] = []
    script = Script([calls(("write", "{}"), ("look", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def write() -> str:
        ran.append("write")
        return "written"

    @agent.tool_plain(metadata={"effect": "read_only"})
    async def look() -> str:
        ran.append("look")
        await gate()
        return "seen"

    home = house(agent)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: gate.came and state.calls[home.call("1")].ended)
    gate.opened.set()
    state = await home.drive()
    assert sorted(ran[:2]) == ["look", "write"]
    assert ran[2:] == ["look"]
    assert state.output == "done"
    assert state.attempt == 2
    assert script.returns()["write"].content == "written"
    assert len(script.asked) == 2


async def test_a_call_of_unknown_outcome_is_put_to_a_person_and_done_means_done() -> None:
    """G6: the tool is not run again; the person's word is its result."""
    gate = Gate()
    script = Script([calls(("write", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    async def write() -> str:
        await gate()
        return "written"

    home = house(agent)
    await home.start("go")
    async with home.driving():
        await home.until(lambda _: gate.came)
    state = await home.drive()
    assert state.state == "awaiting_approval"
    assert state.pending[0].kind == "outcome"
    await home.decide(Decision(call_id=home.call("1"), outcome="done", result="it is there"))
    state = await home.drive()
    assert gate.came == 1
    assert state.output == "done"
    assert script.returns()["write"].content == "it is there"


async def test_retry_runs_an_approved_call_once_more_with_the_edited_arguments_and_asks_no_second_time() -> (
    None
):
    """G5, G6: the approval stands; only the outcome was in question."""
    gate = Gate()
    disks: list[str] = []
    script = Script([calls(("wipe", '{"disk":"a"}'))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    async def wipe(disk: str) -> str:
        disks.append(disk)
        await gate()
        return "wiped"

    home = house(agent)
    await home.chat("go")
    await home.approve("1", disk="b")
    async with home.driving():
        await home.until(lambda _: gate.came)
    await home.drive()
    await home.decide(Decision(call_id=home.call("1"), outcome="retry"))
    gate.opened.set()
    state = await home.drive()
    assert disks == ["b", "b"]
    assert state.output == "done"
    assert (await home.story()).count("1 asked") == 2  # whether it may run; what became of it


async def test_a_call_that_runs_again_has_the_key_that_it_had() -> None:
    """G6: what its service has done for the key it need not do again; other calls have other keys."""
    gate = Gate()
    keys: list[str] = []
    script = Script([calls(("write", "{}"), ("plain", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    async def write() -> str:
        keys.append(current_call().idempotency_key)
        await gate()
        return "written"

    @agent.tool_plain
    def plain() -> str:
        keys.append(current_call().idempotency_key)
        return "written in a thread"

    home = house(agent)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: gate.came and state.calls[home.call("2")].ended)
    await home.drive()
    await home.decide(Decision(call_id=home.call("1"), outcome="retry"))
    gate.opened.set()
    assert (await home.drive()).output == "done"
    first, second = (f"{home.run_id}:{home.call(number)}" for number in "12")
    assert sorted(keys) == [first, first, second]
    with pytest.raises(LookupError, match="inside a tool"):
        current_call()


async def test_calls_recorded_but_not_started_start_on_the_next_worker() -> None:
    """G6: killed at the barrier between the record and the first start."""
    ran: list[str] = []
    script = Script([calls(("write", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def write() -> str:
        ran.append("write")
        return "written"

    home = house(agent)
    await home.start("go")
    append = home.store.append
    reached = asyncio.Event()

    async def hold(run_id: str, entries: Any, **more: Any) -> Any:
        if any(b'"state":"started"' in entry.body for entry in entries):
            reached.set()
            await asyncio.Event().wait()
        return await append(run_id, entries, **more)

    home.store.append = hold
    async with home.driving():
        async with asyncio.timeout(20):
            await reached.wait()
    home.store.append = append
    state = await home.drive()
    assert ran == ["write"]
    assert state.state == "completed"
    assert (await home.story()).count("1 requested") == 1
    assert len(script.asked) == 2


async def test_what_a_dead_worker_was_saying_is_said_again_under_a_new_id() -> None:
    """G7: the first attempt's unfinished text is superseded; what stood before the checkpoint stays."""
    gate = Gate()

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncGenerator[Any]:
        if not any(isinstance(message, ModelResponse) for message in messages):
            yield "Before. "
            yield calls(("look", "{}"))
        else:
            yield "After"
            await gate()
            yield " all."

    agent = Agent(FunctionModel(stream_function=stream))

    @agent.tool_plain
    def look() -> str:
        return "seen"

    home = house(agent)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: state.copy_text() == "Before. After")
    gate.opened.set()
    state = await home.drive()
    assert state.copy_text() == "Before. After all."
    assert [said.superseded for said in state.said.values() if said.role == "assistant"] == [
        False,
        True,
        False,
    ]
    assert state.output == "After all."


async def test_a_call_that_failed_or_wanted_a_retry_says_the_same_again() -> None:
    gate = Gate()
    ran: list[str] = []
    script = Script([calls(("boom", "{}"), ("picky", "{}"), ("look", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def boom() -> str:
        ran.append("boom")
        raise ValueError("no")

    @agent.tool_plain
    def picky() -> str:
        ran.append("picky")
        raise ModelRetry("not so")

    @agent.tool_plain(metadata={"effect": "idempotent"})
    async def look() -> str:
        await gate()
        return "seen"

    home = house(agent)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: gate.came and all(state.calls[home.call(n)].ended for n in ("1", "2")))
    gate.opened.set()
    await home.drive()
    assert sorted(ran) == ["boom", "picky"]
    assert script.returns()["boom"].content == "ValueError: no"
    assert script.returns()["picky"].outcome == "retried"
    assert "not so" in str(script.returns()["picky"].content)


async def test_a_worker_that_dies_before_the_ending_does_not_ask_the_model_again() -> None:
    script = Script(["done"])
    home = house(Agent(script.model))
    await home.start("go")
    append = home.store.append
    reached = asyncio.Event()

    async def hold(run_id: str, entries: Any, **more: Any) -> Any:
        if more.get("close"):
            reached.set()
            await asyncio.Event().wait()
        return await append(run_id, entries, **more)

    home.store.append = hold
    async with home.driving():
        async with asyncio.timeout(20):
            await reached.wait()
    home.store.append = append
    state = await home.drive()
    assert state.output == "done"
    assert len(script.asked) == 1
    assert state.copy_text() == "done"


async def test_a_question_that_was_being_asked_is_asked_once() -> None:
    """G5: killed between the siblings' end and the question."""
    ran: list[str] = []
    script = Script([calls(("look", "{}"), ("wipe", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def look() -> str:
        ran.append("look")
        return "seen"

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        ran.append("wipe")
        return "wiped"

    home = house(agent)
    await home.start("go")
    append = home.store.append
    reached = asyncio.Event()

    async def hold(run_id: str, entries: Any, **more: Any) -> Any:
        if any(entry.type == "approval" for entry in entries):
            reached.set()
            await asyncio.Event().wait()
        return await append(run_id, entries, **more)

    home.store.append = hold
    async with home.driving():
        async with asyncio.timeout(20):
            await reached.wait()
    home.store.append = append
    state = await home.drive()
    assert ran == ["look"]
    assert len(state.pending) == 1
    await home.approve("2")
    state = await home.drive()
    assert ran == ["look", "wipe"]
    assert state.state == "completed"
    assert state.attempt == 2


async def test_usage_goes_on_over_a_pause() -> None:
    script = Script([calls(("wipe", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        return "wiped"

    home = house(agent)
    await home.chat("go")
    before = (await home.state()).usage
    await home.approve("1")
    state = await home.drive()
    assert state.usage.input_tokens > before.input_tokens > 0
    assert state.step == 2
