"""An MCP server for the tests: its tools leave traces in the directory given as argument. Over stdio;
with `http` as second argument over HTTP, its port in the trace `port`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

TRACES = Path(sys.argv[1])
app = MCPServer("probe")


def leave(name: str, text: str) -> None:
    half = TRACES / f".{name}"
    half.write_text(text)
    half.rename(TRACES / name)


@app.tool(annotations=ToolAnnotations(read_only_hint=True))
async def hello(who: str) -> dict[str, str]:
    """Greets."""
    return {"hello": who, "pid": str(os.getpid())}


@app.tool(annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True))
async def settle(key: str) -> str:
    """Writes the same thing however often."""
    leave(f"settle-{key}", key)
    return key


@app.tool(meta={"jackline/verifies": "settle"})
async def unannotated(n: int) -> int:
    """Says nothing of itself."""
    return n


@app.tool()
async def hang(key: str) -> str:
    """Waits for ever, and tells when it was cancelled."""
    leave(f"began-{key}", str(os.getpid()))
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        leave(f"cancelled-{key}", key)
        raise
    return "never"


@app.tool()
async def block(key: str) -> str:
    """Blocks the server's own loop: it sees neither a cancellation nor the end of its stdin."""
    import subprocess

    child = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220
    leave(f"blocked-{key}", f"{os.getpid()} {child.pid}")
    child.wait()
    return "never"


@app.tool()
async def key(ctx: Context) -> str:
    """The key that its caller hands it."""
    meta = ctx.request_context.meta or {}
    return str(dict(meta).get("jackline/idempotency_key", "none"))


@app.tool()
async def count(upto: int, ctx: Context) -> str:
    """Reports progress."""
    for n in range(1, upto + 1):
        await ctx.report_progress(n, upto, f"at {n}")
    return "counted"


@app.tool()
async def fail() -> str:
    """Fails with a reason."""
    raise ToolError("the disk is on fire")


@app.tool()
async def die() -> str:
    """Ends its server in the middle of the call."""
    leave("died", str(os.getpid()))
    os._exit(3)


@app.tool()
async def environment() -> dict[str, str]:
    """What the server can see."""
    return dict(os.environ)


@app.tool()
async def complain(kilobytes: int) -> str:
    """Writes a lot to stderr."""
    for _ in range(kilobytes):
        sys.stderr.write("x" * 1023 + "\n")
    sys.stderr.flush()
    return "complained"


def serve() -> None:
    """Over HTTP, on a port that the system chooses."""
    import socket

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    leave("port", str(listener.getsockname()[1]))
    config = uvicorn.Config(app.streamable_http_app(), log_level="error")
    uvicorn.Server(config).run(sockets=[listener])


if sys.argv[2:] == ["http"]:
    serve()
else:
    app.run()
