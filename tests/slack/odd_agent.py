"""An agent with a tool whose schema cannot be followed in any time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.tools import Tool, ToolDefinition

LEVELS = 64
DOUBLING: dict[str, Any] = {
    "type": "object",
    "$ref": "#/$defs/d0",
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(LEVELS)}
    | {f"d{LEVELS}": True},
}


async def respond(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    del info
    if any(isinstance(message, ModelResponse) for message in messages):
        yield "done"
    else:
        yield {0: DeltaToolCall(name="odd", json_args='{"path": "/odd"}', tool_call_id="c0")}


def odd(path: str) -> str:
    """Do something."""
    return f"odd {path}"


async def strange(context: RunContext[object], definition: ToolDefinition) -> ToolDefinition:
    del context
    return replace(definition, parameters_json_schema=DOUBLING)


agent = Agent(
    FunctionModel(stream_function=respond), tools=[Tool(odd, requires_approval=True, prepare=strange)]
)
