"""A worker process that dies where a test says; in all else the real one. `python mortal_worker.py …`

The file `fault` in the data directory names the moment, and is used up by the worker that it kills:
`before append TEXT`, `after append TEXT` (a write of the run whose bodies contain the text),
`before|after claim N` (the N-th claim of the worker), `before|after release`, `before|after tool NAME`.
With `always` in front it is never used up. The file `diary` takes down what tools do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from jackline.cli import worker_process
from jackline.cli.stores import open_store
from jackline.context import CallRequest, RunContext
from jackline.errors import ToolFailed
from jackline.events import Effect, Entry, Json, Usage
from jackline.log.base import Store
from jackline.log.redis import RedisStore
from jackline.settings import Settings
from jackline.tools import AgentSpec, ToolSpec, current_call

PIECES = ("one ", "two ", "three ", "four ")
"""What each step says, piece by piece."""


class Fault:
    """See the module."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "fault"

    def strike(self, when: str, what: str, text: str = "") -> None:
        """Die here, if this is the moment."""
        wanted = self._file.read_text() if self._file.exists() else ""
        words = wanted.removeprefix("always ").split(" ", 2)
        if words[:2] != [when, what] or "".join(words[2:]) not in text:
            return
        if not wanted.startswith("always "):
            self._file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


class MortalStore:
    """A store whose user may die right before or right after a write."""

    def __init__(self, store: Store, fault: Fault) -> None:
        self._store = store
        self._fault = fault
        self._claims = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, run_id: str, entries: list[Entry], **more: Any) -> Any:
        """See `EventLog.append`."""
        text = b"\n".join(entry.body for entry in entries).decode()
        self._fault.strike("before", "append", text)
        appended = await self._store.append(run_id, entries, **more)
        self._fault.strike("after", "append", text)
        return appended

    async def claim(self, *what: Any) -> Any:
        """See `Leases.claim`."""
        lease = await self._store.claim(*what)
        if lease is not None:
            self._claims += 1
            self._fault.strike("after", "claim", str(self._claims))
        return lease

    async def release(self, *what: Any, **more: Any) -> None:
        """See `Leases.release`."""
        self._fault.strike("before", "release")
        await self._store.release(*what, **more)
        self._fault.strike("after", "release")


class Walker:
    """An agent with a checkpoint for each step: speaks, takes a note and writes; is told to come back
    later and speaks again; asks, and deletes; speaks a last time.

    The run's metadata may say `effect` of the call that writes, and `hold`: a gate, a file that this
    call waits for once it has taken effect."""

    name = "a"
    revision = "1"
    repeats_itself = False

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data_dir
        self._fault = Fault(settings.data_dir)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """It needs nothing."""
        yield

    async def describe(self) -> AgentSpec:
        """Nothing but itself."""
        return AgentSpec(name=self.name, revision=self.revision)

    async def run(self, ctx: RunContext) -> Json:
        """All of it, from the checkpoint on."""
        given = cast("dict[str, str]", ctx.metadata or {})
        note, write, delete = (f"{ctx.run_id}.{number}" for number in (1, 2, 3))
        done = int(ctx.checkpoint or b"0")
        if done < 1:
            await self._step(ctx)
            effect = cast("Effect", given.get("effect", "writes"))
            calls = [_request(note, "note"), _request(write, "write", effect)]
            await self._record(ctx, calls, b"1")
        results = [await ctx.run_tool(note, self._tool("note"))]
        results.append(await ctx.run_tool(write, self._tool("write", given.get("hold", ""))))
        if done < 2:
            await self._step(ctx, fails=True)
            await self._record(ctx, [_request(delete, "delete")], b"2")
        if ctx.answer(delete) is None:
            await ctx.ask([_request(delete, "delete")], checkpoint=b"2")
        try:
            results.append(await ctx.run_tool(delete, self._tool("delete")))
        except ToolFailed as error:
            results.append(str(error))
        await self._step(ctx)
        return results

    async def _step(self, ctx: RunContext, *, fails: bool = False) -> None:
        """One request to a model that speaks in pieces; each stands in the log before the next comes."""
        await ctx.begin_step(model="scripted")
        if fails:
            await ctx.pause(0.01, "overloaded")
            await ctx.begin_step(model="scripted")
        message = ctx.new_message()
        for piece in PIECES:
            seq = ctx.state.seq
            await ctx.say(piece, message_id=message)
            await until(lambda seq=seq: ctx.state.seq > seq)
        await ctx.end_step(Usage(input_tokens=1, output_tokens=1))

    async def _record(self, ctx: RunContext, calls: list[CallRequest], checkpoint: bytes) -> None:
        """The calls of a step, with ids as the context gives them."""
        assert ctx.new_calls(len(calls)) == [call.call_id for call in calls]
        await ctx.request(calls, checkpoint=checkpoint)

    def _tool(self, name: str, hold: str = "") -> Callable[[Json], Any]:
        async def tool(_: Json) -> Json:
            self._fault.strike("before", "tool", name)
            self._note(f"{name} {current_call().idempotency_key}")
            self._fault.strike("after", "tool", name)
            if hold:
                await until((self._folder / hold).exists)
            return f"{name} done"

        return tool

    def _note(self, what: str) -> None:
        with (self._folder / "diary").open("a") as diary:
            diary.write(f"{os.getpid()} {what}\n")


def _request(call_id: str, name: str, effect: Effect = "writes") -> CallRequest:
    return CallRequest(
        call_id=call_id, args={"name": name}, spec=ToolSpec(name=name, effect=effect, approval="allow")
    )


async def until(come: Callable[[], bool]) -> None:
    """Wait until it is so."""
    while not come():  # noqa: ASYNC110  files, and a state that others read
        await asyncio.sleep(0.002)


async def open_mortal_store(settings: Settings) -> Store:
    """The store of the settings. Of a server that tests share, the part that is the folder's."""
    store: Store = (
        await RedisStore.open(settings.redis, prefix=(settings.data_dir / "prefix").read_text())
        if settings.redis is not None
        else await open_store(settings)
    )
    return cast("Store", MortalStore(store, Fault(settings.data_dir)))


if __name__ == "__main__":
    worker_process.open_store = open_mortal_store
    module = ModuleType("jackline.agents.early")
    module.agent_to_serve = Walker  # type: ignore[attr-defined]
    module.EarlyAgent = type(None)  # type: ignore[attr-defined]
    sys.modules["jackline.agents.early"] = module
    worker_process.main()
