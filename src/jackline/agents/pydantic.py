"""Agents made with Pydantic AI: the operator's own, and the built-in one."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import structlog
from pydantic_ai import RunContext as ModelContext
from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

from jackline.agents.pydantic_errors import Backoff
from jackline.agents.pydantic_steps import Setup, Steps
from jackline.agents.pydantic_tools import describe
from jackline.errors import ConfigError
from jackline.tools import AgentSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset

    from jackline.agents.models import ModelChoice
    from jackline.context import RunContext
    from jackline.events import Json
    from jackline.settings import ToolRule
    from jackline.tools import OfferedTask, ToolSpec


class PydanticAgent:
    """A `pydantic_ai.Agent` as a worker drives it. The agent itself is never changed.

    Its own tools run as their developer declared them (`requires_approval` and the like are asked
    about), unless `rules` say otherwise. `origin_of`: the MCP server of a tool, by the tool's name; with
    it all tools are judged by their annotations instead. `choice`: the model, where the agent brings
    none; it runs while the agent is opened. `deps(ctx)`: what its tools get as `ctx.deps`; without it,
    the run's `RunContext`. `tasks`: what it offers to do.
    """

    def __init__(
        self,
        agent: AbstractAgent[Any, Any],
        *,
        name: str,
        revision: str,
        rules: Mapping[str, ToolRule] | None = None,
        origin_of: Callable[[str], str] | None = None,
        choice: ModelChoice | None = None,
        deps: Callable[[RunContext], object] | None = None,
        backoff: Backoff | None = None,
        tasks: Sequence[OfferedTask] = (),
    ) -> None:
        self.agent = agent
        self.deps = deps
        self._name = name
        self._revision = revision
        self._choice = choice
        self._tasks = tuple(tasks)
        self._rules = rules or {}
        self._origin_of = origin_of
        self._setup = Setup(
            agent=agent,
            describe=self._describe,
            rules=self._rules,
            backoff=backoff or Backoff(),
            model=None if choice is None else choice.model,
        )

    @property
    def name(self) -> str:
        """See `Agent.name`."""
        return self._name

    @property
    def revision(self) -> str:
        """See `Agent.revision`."""
        return self._revision

    @property
    def repeats_itself(self) -> bool:
        """It goes on from its checkpoint."""
        return False

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Its model and its toolsets (MCP servers), for as long as runs are driven."""
        async with AsyncExitStack() as stack:
            if self._choice is not None:
                await stack.enter_async_context(self._choice)
            for toolset in self.agent.toolsets:
                await self._enter(stack, toolset)
            yield

    async def describe(self) -> AgentSpec:
        """See `Agent.describe`. Tools that depend on the run are shown as they are without one."""
        # Toolsets want a run's context; none is under way, and nothing of this one reaches a model.
        model = self._setup.model or TestModel()
        ctx = ModelContext[Any](deps=None, model=model, usage=RunUsage())
        specs: dict[str, ToolSpec] = {}
        for toolset in self.agent.toolsets:
            for tool_def in await _definitions(toolset, ctx):
                if tool_def.kind != "output":
                    specs[tool_def.name] = self._describe(tool_def)
        return AgentSpec(
            name=self._name,
            revision=self._revision,
            description=self.agent.description or "",
            model=self._label(),
            tools=tuple(specs.values()),
            tasks=self._tasks,
        )

    async def run(self, ctx: RunContext) -> Json:
        """See `Agent.run`."""
        deps = ctx if self.deps is None else self.deps(ctx)
        return await Steps(self._setup, ctx, deps).run()

    async def _enter(self, stack: AsyncExitStack, toolset: AbstractToolset[Any]) -> None:
        try:
            await stack.enter_async_context(toolset)
        except Exception as error:
            # Servers fail in many ways to start; to the operator all of them are one fault.
            raise ConfigError(f"agent {self._name}: {toolset.label} does not start: {error}") from error

    def _describe(self, tool_def: ToolDefinition) -> ToolSpec:
        origin = None if self._origin_of is None else self._origin_of(tool_def.name)
        return describe(tool_def, rules=self._rules, origin=origin)

    def _label(self) -> str:
        if self._choice is not None:
            return self._choice.label
        model = cast("object", getattr(self.agent, "model", None))
        return model.model_name if isinstance(model, Model) else str(model or "")


async def _definitions(toolset: AbstractToolset[Any], ctx: ModelContext[Any]) -> list[ToolDefinition]:
    try:
        return [tool.tool_def for tool in (await toolset.get_tools(ctx)).values()]
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  foreign code that may need a real run; it will have one
        structlog.get_logger().warning("tools_not_described", toolset=toolset.label, error=repr(error))
        return []
