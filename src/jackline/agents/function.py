"""Agents that are async functions: `async def restart(ctx): …`."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jackline.agents.function_context import FunctionContext
from jackline.agents.function_tools import as_json
from jackline.tools import AgentSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from jackline.context import RunContext
    from jackline.events import Json
    from jackline.settings import ToolRule
    from jackline.tools import OfferedTask

__all__ = ["FunctionAgent", "FunctionContext"]


class FunctionAgent:
    """An async function over a `FunctionContext` as a worker drives it.

    It has no checkpoints. After a pause or a takeover it runs again from the top; what it said is not
    said twice, and what its tools did is not done twice: they give the results that stand in the log.
    So everything that may differ the next time (time, chance, files) must come from a tool.
    """

    def __init__(
        self,
        function: Callable[..., Awaitable[object]],
        *,
        name: str,
        revision: str,
        rules: Mapping[str, ToolRule] | None = None,
        tasks: Sequence[OfferedTask] = (),
    ) -> None:
        """`tasks`: what it offers to do."""
        self._function = function
        self._name = name
        self._revision = revision
        self._rules = rules or {}
        self._tasks = tuple(tasks)

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
        """It walks through what it did before."""
        return True

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """It needs nothing."""
        yield

    async def describe(self) -> AgentSpec:
        """See `Agent.describe`. Its tools are known only once it calls them."""
        description = inspect.getdoc(self._function) or ""
        return AgentSpec(name=self._name, revision=self._revision, description=description, tasks=self._tasks)

    async def run(self, ctx: RunContext) -> Json:
        """See `Agent.run`."""
        own = FunctionContext(ctx, rules=self._rules)
        output = as_json(await self._function(own))
        await own.finish()
        return output
