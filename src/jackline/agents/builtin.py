"""The built-in agent: a model, the tools of MCP servers, and an operator's manners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic_ai import Agent

from jackline.agents.demo_tasks import DEMO_TASKS
from jackline.agents.models import build_model
from jackline.agents.naming import BUILT_IN, BUILT_IN_REVISION, DESCRIPTION
from jackline.agents.pydantic import PydanticAgent
from jackline.context import RunContext
from jackline.mcp_config import load_servers
from jackline.processes import running_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_ai import RunContext as ModelContext

    from jackline.events import Json
    from jackline.mcp import ServerToolset
    from jackline.mcp_config import ServerConfig
    from jackline.settings import Settings

INSTRUCTIONS: Final = """\
You are an operator's assistant on live systems. The operator watches everything you say and do.
- Look before you act: read the real state with tools; never guess at it.
- Say in a short sentence what you are about to do and why, then do it. One change at a time.
- Some tools wait for a person's approval. If a call is denied, take the reason seriously, do not try the
  same by another way, and say what you would do instead.
- If the arguments of a call were changed before it was approved, go on from what was really executed.
- After a change, check with a tool that it worked, and say what you saw.
- If a call's outcome is unknown, check the real state before doing anything that depends on it.
- End with what you found, what you changed and what is left to do. Be brief and exact; no guesses as facts.
"""


def built_in(settings: Settings, environ: Mapping[str, str]) -> PydanticAgent:
    """The built-in agent as the settings want it. Raises `ConfigError`."""
    choice = build_model(settings)
    servers = load_servers(settings.mcp_config, environ) if choice.calls_tools else []
    toolsets = _toolsets(servers)
    agent = Agent[RunContext, str](
        choice.model,
        deps_type=RunContext,
        name=BUILT_IN,
        description=DESCRIPTION,
        instructions=settings.instructions or INSTRUCTIONS,
        toolsets=toolsets,
    )
    return PydanticAgent(
        agent,
        name=BUILT_IN,
        revision=BUILT_IN_REVISION,
        rules=settings.tools,
        origin_of=lambda tool: _origin_of(tool, servers),
        choice=choice,
        tasks=DEMO_TASKS if servers and settings.mcp_config is None else (),
    )


def _toolsets(servers: Sequence[ServerConfig]) -> list[ServerToolset]:
    if not servers:
        return []
    from jackline.mcp import toolset  # imports the MCP libraries: a second or two

    return [toolset(server, on_progress=_report) for server in servers]


def _origin_of(tool: str, servers: Sequence[ServerConfig]) -> str:
    """The server of a tool: its name begins with the server's prefix."""
    found = [server for server in servers if tool.startswith(server.prefix)]
    return max(found, key=lambda server: len(server.prefix)).origin if found else "mcp:unknown"


async def _report(ctx: ModelContext[Any], report: Json) -> None:
    """A tool's report of how far it is, as an entry of its call."""
    deps: object = ctx.deps
    call_id = running_call.get("")
    if isinstance(deps, RunContext) and call_id:
        await deps.progress(call_id, report)
