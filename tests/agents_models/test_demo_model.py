"""The scripted model in a Pydantic AI agent, with the demo's real tools."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from pydantic_ai import Agent, DeferredToolRequests, ToolApproved, ToolDenied
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model

from jackline.agents.demo_model import demo_model
from jackline.mcp import demo_server, spec_of, toolset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pydantic_ai import AgentRunResult, RunContext
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset

pytestmark = pytest.mark.anyio


def asks(_: RunContext[Any], tool_def: ToolDefinition, __: dict[str, Any]) -> bool:
    return spec_of(tool_def, "mcp:demo").effect != "read_only"


def agent(tools: AbstractToolset[Any], model: Model | None = None) -> Agent[None, str | DeferredToolRequests]:
    return Agent(
        model or demo_model(pace=0),
        toolsets=[tools.approval_required(asks)],
        output_type=[str, DeferredToolRequests],
    )


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[AbstractToolset[Any]]:
    directory = tmp_path / "scratch"
    server = demo_server({"PATH": os.environ["PATH"], "JACKLINE_DEMO_DIR": str(directory)})
    async with toolset(server) as tools:
        yield tools
    for process in psutil.process_iter():
        try:
            if str(directory / "services") in process.cmdline():
                process.kill()
        except psutil.Error:
            continue


def said(messages: list[ModelMessage]) -> str:
    return "\n".join(
        part.content
        for message in messages
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, TextPart)
    )


def called(messages: list[ModelMessage]) -> list[list[str]]:
    return [
        [part.tool_name for part in message.parts if isinstance(part, ToolCallPart)]
        for message in messages
        if isinstance(message, ModelResponse)
    ]


async def stream(
    asked: Agent[None, Any], prompt: str | None, history: Sequence[ModelMessage] = (), **more: Any
) -> AgentRunResult[Any]:
    """A request as the product makes it, streamed."""
    async with asked.run_stream_events(prompt, message_history=history, **more) as events:
        async for _ in events:
            pass
    assert events.result is not None
    return events.result


async def run(
    tools: AbstractToolset[Any], prompt: str, answers: dict[str, Any] | None = None
) -> list[ModelMessage]:
    """A whole run; each pause goes through JSON and on with a new agent and a new model."""
    messages: list[ModelMessage] = []
    deferred = None
    text: str | None = prompt
    while True:
        result = await stream(agent(tools), text, messages, deferred_tool_results=deferred)
        messages = ModelMessagesTypeAdapter.validate_json(result.all_messages_json())
        if not isinstance(result.output, DeferredToolRequests):
            return messages
        approvals = {
            call.tool_call_id: (answers or {}).get(call.tool_name, ToolApproved())
            for call in result.output.approvals
        }
        deferred, text = result.output.build_results(approvals=approvals), None


async def test_a_check_calls_two_tools_at_once_and_tells_real_numbers(tools: AbstractToolset[Any]) -> None:
    messages = await run(tools, "check the disk")
    assert called(messages) == [["host_overview", "disk_usage"], ["top_processes"], []]
    text = said(messages)
    assert os.uname().nodename in text
    assert f"on {psutil.cpu_count()} processors" in text


async def test_a_restart_goes_on_after_its_approval_in_another_process(tools: AbstractToolset[Any]) -> None:
    """G5: where the script stands follows from the messages, so any worker can go on."""
    messages = await run(tools, "restart the service")
    assert called(messages) == [["service_status"], ["restart_scratch_service"], ["service_status"], []]
    assert "Verified" in said(messages)


async def test_a_denied_restart_is_told_and_nothing_runs(tools: AbstractToolset[Any], tmp_path: Path) -> None:
    messages = await run(
        tools, "restart the service", {"restart_scratch_service": ToolDenied("not on a Friday")}
    )
    assert called(messages) == [["service_status"], ["restart_scratch_service"], []]
    assert "was denied" in said(messages)
    assert "not on a Friday" in said(messages)
    assert not list((tmp_path / "scratch" / "services").iterdir())


async def test_edited_arguments_are_followed(tools: AbstractToolset[Any]) -> None:
    edited = ToolApproved(override_args={"name": "edited"})
    text = said(await run(tools, "restart the service", {"restart_scratch_service": edited}))
    assert "The service `edited` is running" in text


async def test_cleaning_asks_twice_and_leaves_nothing(tools: AbstractToolset[Any], tmp_path: Path) -> None:
    messages = await run(tools, "clean up")
    assert called(messages) == [["make_scratch_files"], ["clean_scratch_files"], []]
    assert "Deleted 3 files" in said(messages)
    assert not list((tmp_path / "scratch" / "files").iterdir())


async def test_an_error_of_a_tool_is_told(tools: AbstractToolset[Any], tmp_path: Path) -> None:
    messages = await run(tools, f"tail {tmp_path}/none.log")
    assert "No such file" in said(messages)


async def test_a_second_request_starts_from_its_own_beginning(tools: AbstractToolset[Any]) -> None:
    first = await stream(agent(tools), "check the disk")
    second = await stream(agent(tools), "watch 2", first.all_messages())
    assert called(second.new_messages()) == [["host_overview"], ["host_overview"], []]
    ids = [
        part.tool_call_id
        for message in second.all_messages()
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, ToolCallPart)
    ]
    assert len(ids) == len(set(ids))


async def test_a_missing_tool_is_told() -> None:
    result = await stream(Agent(demo_model(pace=0)), "check")
    assert "I was given no tool host_overview, disk_usage" in result.output


async def test_tools_are_found_under_their_servers_prefix(tools: AbstractToolset[Any]) -> None:
    result = await stream(agent(tools.prefixed("demo")), "watch 1")
    assert called(result.all_messages()) == [["demo_host_overview"], []]


async def test_it_speaks_in_many_pieces(tools: AbstractToolset[Any]) -> None:
    async with agent(tools).run_stream_events("tail") as events:
        pieces = [event async for event in events if event.event_kind == "part_delta"]
    assert len(pieces) > 20
