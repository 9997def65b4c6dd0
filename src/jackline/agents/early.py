"""An agent that is served while what it needs is still being imported.

The built-in agent needs Pydantic AI, the MCP libraries and a tool server: seconds. With the demo's model
and tools everything that is said of it is known before, and nothing that an operator could have set wrongly
can keep it from opening; so its runs may begin at once, be watched and be stopped, while the rest comes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from jackline.agents.demo_tasks import DEMO_TASKS
from jackline.agents.load import load_agent
from jackline.agents.naming import BUILT_IN, BUILT_IN_REVISION, DEMO_LABEL, DESCRIPTION
from jackline.errors import ConfigError
from jackline.policy import judge
from jackline.settings import environment
from jackline.tools import AgentSpec, ToolSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from jackline.agents.base import Agent
    from jackline.context import RunContext
    from jackline.events import Json
    from jackline.settings import Settings

_HEAVY: Final = ("jackline.agents.builtin", "jackline.mcp", "jackline.agents.demo_model")
"""What takes so long; imported in a thread, so that the worker's loop turns meanwhile."""


def agent_to_serve(settings: Settings, environ: Mapping[str, str] | None = None) -> Agent:
    """As `load_agent`; the demo's agent comes as an `EarlyAgent`."""
    demo = settings.model == "demo" and settings.model_base_url is None and settings.mcp_config is None
    if settings.agent is not None or not demo:
        return load_agent(settings, environ)
    return EarlyAgent(settings, environment() if environ is None else environ)


class EarlyAgent:
    """The demo's agent. Its runs wait, in their first step, until it is there."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._there: asyncio.Future[tuple[Agent, AgentSpec]]

    @property
    def name(self) -> str:
        """See `Agent.name`."""
        return BUILT_IN

    @property
    def revision(self) -> str:
        """See `Agent.revision`."""
        return BUILT_IN_REVISION

    @property
    def repeats_itself(self) -> bool:
        """See `Agent.repeats_itself`."""
        return False

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Begins to open it, and does not wait. Raises `ConfigError`, out of the block, if that fails."""
        self._there = asyncio.get_running_loop().create_future()
        done = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                holding = group.create_task(self._hold(done))
                try:
                    yield
                finally:
                    done.set()
                    if not self._there.done():
                        holding.cancel()
        except BaseExceptionGroup as faults:
            ours, _ = faults.split(ConfigError)
            if ours is None:
                raise
            raise _first(ours) from None

    async def _hold(self, done: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        # Not the loop's own threads: those are the tools'.
        with ThreadPoolExecutor(1, "imports") as thread:
            for module in _HEAVY:
                await loop.run_in_executor(thread, import_module, module)
        agent = load_agent(self._settings, self._environ)
        async with agent.opened():
            self._there.set_result((agent, await agent.describe()))
            await done.wait()

    async def describe(self) -> AgentSpec:
        """See `Agent.describe`: what it says of itself, once it is there."""
        if self._there.done():
            return self._there.result()[1]
        return AgentSpec(
            name=self.name,
            revision=self.revision,
            description=DESCRIPTION,
            model=DEMO_LABEL,
            tools=tuple(judge(tool, self._settings.tools) for tool in demo_tools()),
            tasks=DEMO_TASKS,
        )

    async def arrived(self) -> AgentSpec:
        """Wait until it is there; what it says of itself then."""
        return (await asyncio.shield(self._there))[1]

    async def run(self, ctx: RunContext) -> Json:
        """See `Agent.run`."""
        agent, _ = await asyncio.shield(self._there)
        return await agent.run(ctx)


def demo_tools() -> Sequence[ToolSpec]:
    """The tools of the demo's server as it declares them."""
    return msgspec.json.decode(
        Path(__file__).with_name("demo_tools.json").read_bytes(), type=tuple[ToolSpec, ...]
    )


def _first(group: BaseExceptionGroup[ConfigError]) -> ConfigError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
