"""The agent that is stopped. The prompt names what it does, for ever: nothing of it ends by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FOREVER_SECONDS: Final = 3600.0
TOKEN_SECONDS: Final = 0.01
"""A hundred tokens a second."""

FLOOD: Final = 25
"""As many in the place of each one: 2,500 a second."""


async def respond(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Do what the prompt says: be silent, speak, or call a tool of that name."""
    del info
    prompts = [part.content for part in messages[0].parts if isinstance(part, UserPromptPart)]
    what = str(prompts[-1])
    if what == "silent":
        await asyncio.sleep(FOREVER_SECONDS)
    while what == "tokens":
        yield "word "
        await asyncio.sleep(TOKEN_SECONDS)
    while what == "flood":
        for _ in range(FLOOD):
            yield "word "
        await asyncio.sleep(TOKEN_SECONDS)
    yield {0: DeltaToolCall(name=what, json_args="{}", tool_call_id="c")}


agent = Agent(FunctionModel(stream_function=respond), name="bench")


@agent.tool_plain
async def wait() -> str:
    """Wait, and let go at once when cancelled."""
    await asyncio.sleep(FOREVER_SECONDS)
    return "waited"


@agent.tool_plain
async def child() -> str:
    """Wait for a child process, which is ended when the call is cancelled."""
    process = await asyncio.create_subprocess_exec("sleep", f"{FOREVER_SECONDS:g}")
    try:
        return f"ended with {await process.wait()}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
