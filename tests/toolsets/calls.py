from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
from pydantic_ai import RunContext
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

if TYPE_CHECKING:
    from jackline.mcp import ServerToolset


def context(call_id: str = "call-1") -> RunContext[Any]:
    """What Pydantic AI passes along with a call."""
    return RunContext(deps=None, model=TestModel(), usage=RunUsage(), tool_call_id=call_id)


async def call(tools: ServerToolset, name: str, /, **args: object) -> Any:
    """Call a tool as an agent would."""
    return await call_as("call-1", tools, name, args)


async def call_as(call_id: str, tools: ServerToolset, name: str, args: dict[str, Any]) -> Any:
    """The same, as the model's call `call_id`."""
    ctx = context(call_id)
    found = await tools.get_tools(ctx)
    return await tools.call_tool(name, args, ctx, found[name])


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
