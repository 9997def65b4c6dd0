"""Tools of MCP servers: from the usual JSON file to toolsets an agent can use.

One server process or session per worker and server, shared by its runs: calls on it do not wait for
each other, and cancelling one disturbs no other.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import anyio
from fastmcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from jackline.errors import ConfigError
from jackline.leash import leashed
from jackline.mcp_answers import Http, Post, Sse, Stdio, posted
from jackline.mcp_config import ServerConfig, demo_server, load_servers
from jackline.policy import VERIFIES, spec_of
from jackline.processes import running_call
from jackline.remote import ask_later
from jackline.tools import IDEMPOTENCY_META, current_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import mcp_types
    from fastmcp.client.transports import ClientTransport
    from mcp.shared.dispatcher import ProgressFnT
    from pydantic_ai import RunContext

    from jackline.endings import CallEnd
    from jackline.events import Json
    from jackline.tools import ToolSpec

    ProgressCallback = Callable[[RunContext[Any], Json], Awaitable[None]]

_CONNECT: Final = 60.0
"""Seconds for a server to start and to answer the first message: `npx` may have to fetch it first."""

_LAST_WORDS: Final = 0.2
"""Seconds in which a server that has read of a call's cancellation may still answer the call. Most never
do, as the specification wants it, and a stop should not have to wait for those."""

__all__ = ["ServerConfig", "ServerToolset", "demo_server", "load_servers", "spec_of", "toolset"]


def toolset(
    server: ServerConfig,
    *,
    on_progress: ProgressCallback | None = None,
    log_file: Path | None = None,
) -> ServerToolset:
    """The tools of `server`. Enter it once for a worker's life: the server runs while it is entered.

    `on_progress(ctx, {"progress", "total"?, "message"?})` is awaited for what a tool reports, with the
    `RunContext` of its call (`ctx.tool_call_id`, `ctx.deps`); reports that come faster than it returns
    are merged into the newest. `log_file`: what a stdio server writes on stderr goes there, appended;
    without it, to our own stderr.
    """
    return ServerToolset(server, on_progress=on_progress, log_file=log_file)


class ServerToolset(AbstractToolset[Any]):
    """The tools of one server, started on first use and again when it has died.

    A tool's error comes as `ToolFailed` (the agent is told, the run goes on). So does a server that
    dies during a call: nothing is called a second time, because what the first did is not known (G6).
    Cancelling a call sends `notifications/cancelled` for it (G4); what the server says after that goes
    into the receipt.
    """

    def __init__(
        self,
        server: ServerConfig,
        *,
        on_progress: ProgressCallback | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.server = server
        self._on_progress = on_progress
        self._log_file = log_file
        self._holders = 0
        self._inner: MCPToolset[Any] | None = None
        self._starting: asyncio.Task[MCPToolset[Any]] | None = None
        self._lock = anyio.Lock()

    @property
    def id(self) -> str | None:
        """The server's origin."""
        return self.server.origin

    async def __aenter__(self) -> Self:
        """Hold the server. It is not started before it is needed."""
        self._holders += 1
        return self

    async def __aexit__(self, *args: object) -> None:
        """Let go of it; the last one to do so stops it."""
        self._holders -= 1
        if self._holders == 0:
            # Shielded: a cancelled last holder would leave the server running. Its end is bounded.
            with anyio.CancelScope(shield=True):
                async with self._lock:
                    await self._stop()

    async def specs(self) -> list[ToolSpec]:
        """Its tools as it declares them. Raises `ConfigError` when it cannot be reached."""
        return [spec_of(tool_def, self.server.origin) for tool_def in await self.definitions()]

    async def definitions(self) -> list[ToolDefinition]:
        """Its tools, asked for each time: servers may change them."""
        try:
            tools = await (await self._live()).list_tools()
        except (MCPError, RuntimeError):  # it died since; starting it again harms nothing
            await self._lost(self._inner)
            tools = await (await self._live()).list_tools()
        return [self._definition(tool) for tool in tools if _for_models(tool)]

    def _definition(self, tool: mcp_types.Tool) -> ToolDefinition:
        meta = dict(tool.meta or {})
        if isinstance(meta.get(VERIFIES), str):
            meta[VERIFIES] = f"{self.server.prefix}{meta[VERIFIES]}"
        notes = tool.annotations
        return ToolDefinition(
            name=f"{self.server.prefix}{tool.name}",
            description=tool.description,
            parameters_json_schema=tool.input_schema,
            metadata={
                "meta": meta or None,
                "annotations": notes.model_dump(by_alias=True, exclude_none=True) if notes else None,
            },
            return_schema=tool.output_schema,
        )

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Its tools, for a step of a run."""
        definitions = await self.definitions()
        inner = await self._live()
        return {
            tool_def.name: replace(inner.tool_for_tool_def(tool_def, ctx=ctx), toolset=self)
            for tool_def in definitions
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool once. It is handed the call's idempotency key in `_meta` (`IDEMPOTENCY_META`)."""
        bare = name.removeprefix(self.server.prefix)
        inner = await self._live()
        tool = replace(tool, tool_def=replace(tool.tool_def, name=bare))

        async def call() -> Any:
            try:
                return await inner.call_tool(bare, tool_args, ctx, tool)
            except (MCPError, RuntimeError, ModelRetry) as error:
                if await _answers(inner):
                    if isinstance(error, ModelRetry):
                        raise  # the server refused the call as it was put
                    raise ToolFailed(f"{name}: {error}") from error
                await self._lost(inner)
                raise ToolFailed(
                    f"the MCP server {self.server.name} went away during {name}; "
                    "whether the call took effect is not known"
                ) from error

        post = Post()
        token = posted.set(post)
        try:
            if self._on_progress is None:
                return await call()
            callback = self._on_progress
            return await _with_progress(call, lambda report: callback(ctx, report))
        except anyio.get_cancelled_exc_class():
            ask_later(lambda seconds: _last_words(inner, post, seconds))
            raise
        finally:
            posted.reset(token)

    async def _live(self) -> MCPToolset[Any]:
        async with self._lock:
            if self._inner is None:
                self._inner = await self._started()
            return self._inner

    async def _started(self) -> MCPToolset[Any]:
        """A connection. It is made in a task of its own, which a cancelled caller leaves to the next: a
        stop need not wait until a server that has not started has ended, and others may need it."""
        if self._starting is None or _failed(self._starting):  # while nobody waited for it
            self._starting = asyncio.create_task(self._start(), name=f"start {self.server.origin}")
        try:
            return await asyncio.shield(self._starting)
        finally:
            if self._starting.done():
                self._starting = None

    async def _start(self) -> MCPToolset[Any]:
        # It serves other calls too: it must not end with the one that happened to need it first.
        running_call.set("")
        inner = _connection(self.server, self._log_file)
        try:
            await inner.__aenter__()
        except (MCPError, OSError, RuntimeError) as error:
            said = str(error) or "does not answer"
            raise ConfigError(f"MCP server {self.server.name}: {said}") from error
        return inner

    async def _lost(self, inner: MCPToolset[Any] | None) -> None:
        async with self._lock:
            if inner is self._inner:  # else another call has seen to it
                await self._stop()

    async def _stop(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                self._inner = starting.result()
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.__aexit__(None, None, None)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _for_models(tool: mcp_types.Tool) -> bool:
    """Whether a tool is meant for models (MCP Apps, SEP-1865), not only for a page of the server's."""
    ui = (tool.meta or {}).get("ui")
    visibility = cast("dict[str, object]", ui).get("visibility") if isinstance(ui, dict) else None
    return not isinstance(visibility, list) or "model" in visibility


async def _answers(inner: MCPToolset[Any]) -> bool:
    """Whether the server is still there. Asked, because the errors of a call do not tell."""
    try:
        await inner.list_tools()
    except (MCPError, RuntimeError):
        return False
    return True


async def _last_words(inner: MCPToolset[Any], post: Post, seconds: float) -> CallEnd:
    """What became of a call that was cancelled. A server that answers another request after that has
    read of the cancellation, and whatever it had answered before it has come by then."""
    alive = False
    if post.request_id is not None and post.answer is None:
        with anyio.move_on_after(seconds):
            alive = await _answers(inner)
            if alive:
                with anyio.move_on_after(_LAST_WORDS):
                    await post.come.wait()
    return post.end(alive=alive)


_report_to: ContextVar[ProgressFnT | None] = ContextVar("report_to", default=None)
"""Where the call that this task makes wants its progress: the toolset in between has no argument for it."""


class _Client(Client[Any]):
    async def call_tool(self, *args: Any, meta: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        with suppress(LookupError):  # asked for by nobody's run: then there is no key
            meta = {**(meta or {}), IDEMPOTENCY_META: current_call().idempotency_key}
        return await super().call_tool(*args, progress_handler=_report_to.get(), meta=meta, **kwargs)


def _connection(server: ServerConfig, log_file: Path | None) -> MCPToolset[Any]:
    # No time limit of its own on a call: the run has one, and its end cancels the call.
    client = _Client(_transport(server, log_file), init_timeout=_CONNECT, timeout=0)
    return MCPToolset(client, id=server.origin, tool_error_behavior="failed", cache_tools=False)


def _transport(server: ServerConfig, log_file: Path | None) -> ClientTransport:
    if server.url is not None:
        kind = Sse if server.transport == "sse" else Http
        return kind(server.url, headers=dict(server.headers))
    command = server.command or ""
    if shutil.which(command, path=server.env.get("PATH")) is None:
        raise ConfigError(f"MCP server {server.name}: no program {command!r}; install it, or give its path")
    command, args = leashed(command, server.args)
    return Stdio(command, args, env=dict(server.env), cwd=server.cwd, keep_alive=False, log_file=log_file)


async def _with_progress(
    call: Callable[[], Awaitable[Any]], report: Callable[[Json], Awaitable[None]]
) -> Any:
    """Await `call`; each report that has come meanwhile is handed on before its result is."""
    newest: list[Json] = []
    come = anyio.Event()
    over = False

    async def receive(progress: float, total: float | None, message: str | None) -> None:
        told: dict[str, Json] = {"progress": progress}
        if total is not None:
            told["total"] = total
        if message is not None:
            told["message"] = message
        newest[:] = [told]
        come.set()

    async def hand_on() -> None:
        nonlocal come
        while True:
            await come.wait()
            come = anyio.Event()
            while newest:
                await report(newest.pop())
            if over:
                return

    results: list[Any] = []
    token = _report_to.set(receive)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hand_on)
            results.append(await call())
            over = True
            come.set()
    except BaseExceptionGroup as group:
        # One thing went wrong: the call, or what it was reported to. A group would hide which.
        error = _first(group)
        raise error from error.__cause__
    finally:
        _report_to.reset(token)
    return results[0]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
