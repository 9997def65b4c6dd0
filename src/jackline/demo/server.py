"""The demo's tools, with true annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict

from jackline.demo import files, host
from jackline.demo.scratch import MAX_FILES, MEBIBYTE, Refused, Scratch
from jackline.demo.services import Restarted, Services, ServiceStatus, Started, Stopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

VERIFIES: Final = "jackline/verifies"
READS: Final = {"read_only_hint": True, "open_world_hint": False}
WRITES: Final = {"read_only_hint": False, "destructive_hint": False, "open_world_hint": False}

ServiceName = Annotated[str, Field(description="The service's name, such as 'demo'.")]
Limit = Annotated[int, Field(ge=1, le=50, description="How many to list.")]


class MadeFiles(TypedDict):
    """What was written."""

    files: list[str]
    bytes: int
    directory: str


class CleanedFiles(TypedDict):
    """What was deleted, and what is kept because it is younger."""

    deleted: list[str]
    freed_bytes: int
    kept: int


def build(scratch: Scratch) -> MCPServer:
    """The server, with everything that it writes in `scratch`."""
    server = MCPServer(
        "jackline-demo",
        title="Jackline's demo host tools",
        instructions="Reads this host. Writes only to scratch services and files of its own.",
        log_level="WARNING",
    )
    _reading(server, scratch)
    _service_tools(server, Services(scratch))
    _file_tools(server, scratch)
    return server


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    try:
        # A call that is cancelled answers at once; the thread only reads, or ends what it has begun.
        return await anyio.to_thread.run_sync(lambda: function(*args), abandon_on_cancel=True)
    except Refused as error:
        raise ToolError(str(error)) from error
    except OSError as error:
        raise ToolError(f"{error.filename or 'the host'}: {error.strerror}") from error


def _reading(server: MCPServer, scratch: Scratch) -> None:
    @server.tool(title="Host overview", annotations=ToolAnnotations.model_validate(READS))
    async def host_overview() -> host.HostOverview:
        """Load, memory, processors and uptime of this host."""
        return await _in_thread(host.overview)

    @server.tool(title="Watch the load", annotations=ToolAnnotations.model_validate(READS))
    async def watch_load(
        ctx: Context,
        seconds: Annotated[int, Field(ge=1, le=600, description="For how long.")] = 30,
    ) -> host.LoadWatch:
        """Look at load, processors and memory once a second for a while, and report each look."""
        begun = anyio.current_time()
        looks: list[host.LoadLook] = []
        while len(looks) < seconds:
            await anyio.sleep_until(begun + len(looks))
            look = await _in_thread(host.look_at_load, len(looks))
            looks.append(look)
            told = f"load {look['load_1']:g}, processors {look['cpu_percent']:g} % busy"
            await ctx.report_progress(len(looks), seconds, told)
        return host.LoadWatch(cpus=host.cpus(), looks=looks)

    @server.tool(title="Disk usage", annotations=ToolAnnotations.model_validate(READS))
    async def disk_usage() -> host.DiskUsage:
        """The mounted file systems and how full they are, fullest first."""
        return await _in_thread(host.disk_usage, scratch.path)

    @server.tool(title="Top processes", annotations=ToolAnnotations.model_validate(READS))
    async def top_processes(
        by: Annotated[Literal["cpu", "memory"], Field(description="What to rank by.")] = "cpu",
        limit: Limit = 5,
    ) -> host.TopProcesses:
        """The processes that use most processor time or memory."""
        return await _in_thread(host.top_processes, by, limit)

    @server.tool(title="Largest files", annotations=ToolAnnotations.model_validate(READS))
    async def largest_files(
        directory: Annotated[str, Field(description="Where to look, with all below it.")],
        ctx: Context,
        limit: Limit = 10,
    ) -> files.LargestFiles:
        """The largest files below a directory. Follows no links, stays on one file system, and stops
        after 10 seconds or 300,000 entries, which it then says."""
        walk: files.Walk = await _in_thread(files.Walk, directory, limit)
        await _report_while(walk, ctx.report_progress)
        return walk.result()

    @server.tool(title="Tail a log", annotations=ToolAnnotations.model_validate(READS))
    async def tail_log(
        path: Annotated[str, Field(description="A log: in /var/log, or ending in .log, .out or .err.")],
        lines: Annotated[int, Field(ge=1, le=500, description="How many lines.")] = 20,
    ) -> files.LogTail:
        """The last lines of a log file."""
        return await _in_thread(files.tail, path, lines, scratch.path)


async def _report_while(walk: files.Walk, report: Callable[..., Awaitable[None]]) -> None:
    def steps() -> bool:
        stop_at = walk.entries + files.REPORT_EVERY
        while walk.entries < stop_at:
            if not walk.step():
                return False
        return True

    while await _in_thread(steps):  # between two of these a cancellation ends the walk
        await report(walk.entries, None, f"{walk.entries} entries looked at")


def _service_tools(server: MCPServer, services: Services) -> None:
    @server.tool(
        title="Service status",
        annotations=ToolAnnotations.model_validate(READS),
        meta={VERIFIES: "restart_scratch_service"},
    )
    async def service_status(name: ServiceName = "demo") -> ServiceStatus:
        """Whether a scratch service runs, since when, and how it does."""
        return await _in_thread(services.status, name)

    @server.tool(
        title="Start a scratch service",
        annotations=ToolAnnotations.model_validate(WRITES | {"idempotent_hint": True}),
    )
    async def start_scratch_service(name: ServiceName = "demo") -> Started:
        """Start a small service of the demo's own, which ends by itself after 15 minutes."""
        return await _to_its_end(services.start, name)

    @server.tool(
        title="Restart a scratch service",
        annotations=ToolAnnotations.model_validate(WRITES | {"idempotent_hint": False}),
    )
    async def restart_scratch_service(
        name: ServiceName = "demo",
        minutes: Annotated[
            int, Field(ge=1, le=60, description="After so many minutes it ends by itself.")
        ] = 15,
    ) -> Restarted:
        """Stop a scratch service if it runs, empty its cache, and start it."""
        return await _to_its_end(services.restart, name, minutes * 60.0)

    @server.tool(
        title="Stop a scratch service",
        annotations=ToolAnnotations.model_validate(WRITES | {"idempotent_hint": True}),
    )
    async def stop_scratch_service(name: ServiceName = "demo") -> Stopped:
        """Stop a scratch service."""
        return await _to_its_end(services.stop, name)


def _file_tools(server: MCPServer, scratch: Scratch) -> None:
    @server.tool(
        title="Make scratch files",
        annotations=ToolAnnotations.model_validate(WRITES | {"idempotent_hint": False}),
    )
    async def make_scratch_files(
        ctx: Context,
        count: Annotated[int, Field(ge=1, le=MAX_FILES, description="How many files.")] = 3,
        megabytes: Annotated[int, Field(ge=1, le=64, description="MiB of each.")] = 1,
    ) -> MadeFiles:
        """Write files of the demo's own into its scratch directory."""

        def made(number: int) -> None:
            anyio.from_thread.check_cancelled()
            anyio.from_thread.run(ctx.report_progress, number, count, f"{number} of {count} files")

        names: list[str] = await _to_its_end(scratch.make, count, megabytes * MEBIBYTE, made)
        size = len(names) * megabytes * MEBIBYTE
        return MadeFiles(files=names, bytes=size, directory=str(scratch.files))

    @server.tool(
        title="Clean scratch files",
        annotations=ToolAnnotations.model_validate(
            WRITES | {"destructive_hint": True, "idempotent_hint": True}
        ),
    )
    async def clean_scratch_files(
        older_than_minutes: Annotated[
            float, Field(ge=0, description="Only files at least as old; 0 for all of them.")
        ] = 0,
    ) -> CleanedFiles:
        """Delete scratch files that the demo made, and nothing else."""
        deleted: dict[str, int] = await _to_its_end(scratch.clean, older_than_minutes * 60)
        return CleanedFiles(
            deleted=list(deleted), freed_bytes=sum(deleted.values()), kept=len(scratch.held())
        )


async def _to_its_end(function: Callable[..., T], *args: Any) -> T:
    """In a thread that is waited for even when the call is cancelled: it writes."""
    try:
        return await anyio.to_thread.run_sync(lambda: function(*args))
    except Refused as error:
        raise ToolError(str(error)) from error
