"""`GET /api/v1/agent/agents` and `…/tools`: what the live workers serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from jackline.web.auth import principal_of
from jackline.web.catalogues import AgentInfo, ToolInfo, live_agents
from jackline.web.site import json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site


class AgentsPage(Struct, frozen=True, kw_only=True):
    """The agents. `default`: the one that a chat gets which names none."""

    agents: list[AgentInfo]
    default: str | None


class AgentTool(ToolInfo, frozen=True, kw_only=True):
    """A tool, and the agent that has it."""

    agent: str
    revision: str


class ToolsPage(Struct, frozen=True, kw_only=True):
    """The tools of all agents."""

    tools: list[AgentTool]


async def agents(site: Site, request: Request) -> ASGIApp:
    """The agents with their revisions."""
    site.authority.may_see_catalogue(principal_of(request))
    served = await live_agents(site.store)
    default = await site.default_agent() if site.default_agent is not None else None
    if default is None and served:
        default = served[0].name
    return json_response(AgentsPage(agents=served, default=default))


async def tools(site: Site, request: Request) -> ASGIApp:
    """The tools with their schemas, annotations and the policy's verdict."""
    site.authority.may_see_catalogue(principal_of(request))
    found = [_of(agent, tool) for agent in await live_agents(site.store) for tool in agent.tools]
    return json_response(ToolsPage(tools=found))


def _of(agent: AgentInfo, tool: ToolInfo) -> AgentTool:
    return AgentTool(
        agent=agent.name,
        revision=agent.revision,
        name=tool.name,
        description=tool.description,
        schema=tool.schema,
        annotations=tool.annotations,
        effect=tool.effect,
        approval=tool.approval,
        verifies=tool.verifies,
        origin=tool.origin,
    )
