"""The worker process as it is, with an agent that needs no model and does what its run's metadata say.

`do`: `block` stands in the loop's way, `thread` sits in a thread, `wait` waits for ever but can be
cancelled, `quick` ends. From the second attempt on everything is quick. With `SMALL_WORKER=fail` it
cannot start; with `SMALL_WORKER=vanish` it dies right after its first claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator
from types import ModuleType

from jackline.cli import worker_process
from jackline.context import CallRequest, RunContext
from jackline.errors import ConfigError
from jackline.events import Json
from jackline.settings import Settings
from jackline.tools import AgentSpec, ToolSpec


class Small:
    """See the module."""

    name = "a"
    revision = "1"
    repeats_itself = False

    def __init__(self, settings: Settings) -> None:
        self._diary = settings.data_dir / "diary"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Say which process it is."""
        self._note("opened")
        yield

    def _note(self, what: str) -> None:
        with self._diary.open("a") as diary:
            diary.write(f"{os.getpid()} {what}\n")

    async def describe(self) -> AgentSpec:
        """Nothing but itself."""
        return AgentSpec(name=self.name, revision=self.revision)

    async def run(self, ctx: RunContext) -> Json:
        """One call."""
        do = str(ctx.metadata["do"]) if isinstance(ctx.metadata, dict) else "quick"

        async def tool(_: Json) -> Json:
            self._note(f"{do} {ctx.attempt}")
            if ctx.attempt == 1:
                match do:
                    case "block":
                        time.sleep(600)  # noqa: ASYNC251  that is what it is for
                    case "thread":
                        await asyncio.get_running_loop().run_in_executor(ctx.threads, time.sleep, 600)
                    case "wait":
                        await asyncio.sleep(600)
                    case "second":
                        await asyncio.sleep(1.5)
                    case _:
                        pass
            return os.getpid()

        call_id = f"{ctx.run_id}.1"
        if ctx.checkpoint is None:
            spec = ToolSpec(name=do, effect="read_only", approval="allow")
            request = CallRequest(call_id=ctx.new_calls(1)[0], args={}, spec=spec)
            await ctx.request([request], checkpoint=b"1")
        return await ctx.run_tool(call_id, tool)


def load_agent(settings: Settings) -> Small:
    """In the place of the real one."""
    if os.environ.get("SMALL_WORKER") == "fail":
        raise ConfigError("no such agent; name another")
    return Small(settings)


class Vanishing(worker_process.PipeBoss):
    """Its last words are in the pipe when it is gone."""

    def tell(self, message: object) -> None:
        super().tell(message)  # type: ignore[arg-type]
        if type(message).__name__ == "Held":
            os._exit(1)


if __name__ == "__main__":
    if os.environ.get("SMALL_WORKER") == "vanish":
        worker_process.PipeBoss = Vanishing
    module = ModuleType("jackline.agents.early")
    module.agent_to_serve = load_agent  # type: ignore[attr-defined]
    module.EarlyAgent = type(None)  # type: ignore[attr-defined]
    sys.modules["jackline.agents.early"] = module
    worker_process.main()
