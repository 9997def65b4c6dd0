"""Toolsets against a real server over stdio."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import psutil
import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.models.test import TestModel

from jackline.errors import ConfigError
from jackline.mcp import toolset
from jackline.threads import running_call
from tests.support.processes import eventually, eventually_async
from tests.toolsets.calls import call, call_as, context, gone

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_ai import RunContext

    from jackline.events import Json
    from jackline.mcp import ServerConfig

pytestmark = pytest.mark.anyio


async def left(path: Path) -> str:
    """What the server writes to `path`, once it has."""

    async def text() -> str | None:
        return path.read_text() if path.exists() else None  # noqa: ASYNC240 - a small local file

    return await eventually_async(text, what=f"{path.name} from the server")


async def test_a_tool_is_called_under_its_prefixed_name(probe: ServerConfig) -> None:
    async with toolset(probe) as tools:
        assert (await call(tools, "probe_hello", who="ana"))["hello"] == "ana"


async def test_a_tool_is_handed_the_key_of_its_call(probe: ServerConfig) -> None:
    """G6: in `_meta`; outside of a run there is none."""
    async with toolset(probe) as tools:
        assert await call(tools, "probe_key") == "none"
        token = running_call.set("k3v9q0zj2m5x7w1trb8e.2.1")
        try:
            assert await call(tools, "probe_key") == "k3v9q0zj2m5x7w1trb8e.2:k3v9q0zj2m5x7w1trb8e.2.1"
        finally:
            running_call.reset(token)


async def test_specs_carry_what_the_server_declares(probe: ServerConfig) -> None:
    async with toolset(probe) as tools:
        specs = {spec.name: spec for spec in await tools.specs()}
    hello, settle, unannotated = (specs[f"probe_{name}"] for name in ("hello", "settle", "unannotated"))
    assert (hello.effect, hello.approval, hello.origin) == ("read_only", "allow", "mcp:probe")
    assert hello.annotations == {"readOnlyHint": True}
    assert hello.description == "Greets."
    assert isinstance(hello.schema, dict)
    assert hello.schema["required"] == ["who"]
    assert (settle.effect, settle.approval) == ("idempotent", "ask")
    assert (unannotated.effect, unannotated.approval) == ("writes", "ask")
    assert unannotated.annotations is None
    assert unannotated.verifies == "probe_settle"


async def test_a_cancelled_call_is_cancelled_in_the_server(probe: ServerConfig, traces: Path) -> None:
    """G4: remote tools are told of a stop."""
    async with toolset(probe) as tools:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(tools, "probe_hang", key="a"))
            await left(traces / "began-a")
            tasks.cancel_scope.cancel()
        assert await left(traces / "cancelled-a") == "a"


async def test_cancelling_a_call_leaves_its_neighbours_alone(probe: ServerConfig, traces: Path) -> None:
    """G4: a stop touches one run."""
    async with toolset(probe) as tools, anyio.create_task_group() as neighbour:
        neighbour.start_soon(lambda: call(tools, "probe_hang", key="stays"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(tools, "probe_hang", key="goes"))
            await left(traces / "began-goes")
            await left(traces / "began-stays")
            tasks.cancel_scope.cancel()
        await left(traces / "cancelled-goes")
        server = await left(traces / "began-stays")
        assert (await call(tools, "probe_hello", who="x"))["pid"] == server
        assert not (traces / "cancelled-stays").exists()
        neighbour.cancel_scope.cancel()


async def test_a_task_cancelled_from_outside_cancels_its_call(probe: ServerConfig, traces: Path) -> None:
    """G4: the same for an agent that Pydantic AI drives, where the call is a task within a task."""
    model = TestModel(call_tools=["probe_hang"])
    async with toolset(probe) as tools, anyio.create_task_group() as tasks:
        agent = Agent(model, toolsets=[tools])
        tasks.start_soon(lambda: agent.run("go"))
        await left(traces / "began-a")
        tasks.cancel_scope.cancel()
    assert await left(traces / "cancelled-a") == "a"


async def test_progress_is_reported_to_the_call_it_belongs_to(probe: ServerConfig) -> None:
    told: dict[str | None, list[Json]] = {}

    async def note(ctx: RunContext[Any], report: Json) -> None:
        told.setdefault(ctx.tool_call_id, []).append(report)

    async with toolset(probe, on_progress=note) as tools, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: call_as("three", tools, "probe_count", {"upto": 3}))
        tasks.start_soon(lambda: call_as("five", tools, "probe_count", {"upto": 5}))
    assert told["three"][-1] == {"progress": 3, "total": 3, "message": "at 3"}
    assert told["five"][-1] == {"progress": 5, "total": 5, "message": "at 5"}


async def test_reports_that_come_too_fast_are_merged_into_the_newest(probe: ServerConfig) -> None:
    told: list[Json] = []
    slow = anyio.Event()

    async def note(_: RunContext[Any], report: Json) -> None:
        told.append(report)
        if len(told) == 1:
            await slow.wait()

    async with toolset(probe, on_progress=note) as tools:
        results: list[str] = []

        async def count() -> None:
            results.append(await call(tools, "probe_count", upto=50))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)

            async def stuck() -> bool:
                return bool(told)

            await eventually_async(stuck)
            # A call on the same session, answered after all of the reports were read.
            await call(tools, "probe_hello", who="x")
            assert results == []
            slow.set()
    assert results == ["counted"]
    assert told[-1] == {"progress": 50, "total": 50, "message": "at 50"}
    assert len(told) < 50


async def test_an_error_of_the_one_who_is_told_ends_the_call_as_itself(probe: ServerConfig) -> None:
    async def refuse(_: RunContext[Any], __: Json) -> None:
        raise LookupError("not yours")

    async with toolset(probe, on_progress=refuse) as tools:
        with pytest.raises(LookupError, match="not yours"):
            await call(tools, "probe_count", upto=1)
        assert (await call(tools, "probe_hello", who="x"))["hello"] == "x"


async def test_a_tools_error_is_told_and_the_server_stays(probe: ServerConfig) -> None:
    async with toolset(probe) as tools:
        pid = (await call(tools, "probe_hello", who="x"))["pid"]
        with pytest.raises(ToolFailed, match="the disk is on fire"):
            await call(tools, "probe_fail")
        with pytest.raises(ToolFailed, match="who"):
            await call(tools, "probe_hello", whom="x")
        assert (await call(tools, "probe_hello", who="x"))["pid"] == pid


async def test_a_result_against_its_own_schema_is_told_and_the_server_stays(
    probe: ServerConfig, traces: Path
) -> None:
    """Written without an SDK, as those do not let such a result pass."""
    script = traces / "careless.py"
    script.write_text(
        "import json, os, sys\n"
        "schema = {'type': 'object', 'properties': {'n': {'type': 'integer'}}, 'required': ['n']}\n"
        "tool = {'name': 'odd', 'inputSchema': {'type': 'object'}, 'outputSchema': schema}\n"
        "answers = {\n"
        "    'initialize': {'protocolVersion': '2025-06-18', 'capabilities': {'tools': {}},\n"
        "                   'serverInfo': {'name': 'careless', 'version': '1'}},\n"
        "    'tools/list': {'tools': [tool]},\n"
        "    'tools/call': {'content': [{'type': 'text', 'text': str(os.getpid())}],\n"
        "                   'structuredContent': {'n': 'three'}},\n"
        "}\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if 'id' not in asked:\n"
        "        continue\n"
        "    answer = {'jsonrpc': '2.0', 'id': asked['id']}\n"
        "    if asked['method'] in answers:\n"
        "        answer['result'] = answers[asked['method']]\n"
        "    else:\n"
        "        answer['error'] = {'code': -32601, 'message': 'no such method'}\n"
        "    print(json.dumps(answer), flush=True)\n"
    )
    async with toolset(replace(probe, args=(str(script),), prefix="")) as tools:
        await tools.definitions()
        before = psutil.Process().children(recursive=True)
        with pytest.raises(ToolFailed, match="odd"):
            await call(tools, "odd")
        assert psutil.Process().children(recursive=True) == before


async def test_a_server_that_dies_in_a_call_is_not_asked_again(probe: ServerConfig, traces: Path) -> None:
    """G6: what the first call did is not known, so it is not made a second time."""
    async with toolset(probe) as tools:
        with pytest.raises(ToolFailed, match="whether the call took effect is not known"):
            await call(tools, "probe_die")
        died = (traces / "died").read_text()
        assert (await call(tools, "probe_hello", who="x"))["pid"] != died
        assert (traces / "died").read_text() == died


async def test_a_server_that_died_between_calls_is_started_again(probe: ServerConfig) -> None:
    async with toolset(probe) as tools:
        first = int((await call(tools, "probe_hello", who="x"))["pid"])
        os.kill(first, signal.SIGKILL)
        eventually(lambda: gone(first))
        assert int((await call(tools, "probe_hello", who="x"))["pid"]) != first


async def test_the_server_ends_with_its_last_holder(probe: ServerConfig) -> None:
    tools = toolset(probe)
    async with tools:
        async with tools:
            pid = int((await call(tools, "probe_hello", who="x"))["pid"])
        assert not gone(pid)
    eventually(lambda: gone(pid))


async def test_the_server_sees_only_what_it_is_given(
    probe: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    async with toolset(probe) as tools:
        seen = await call(tools, "probe_environment")
    assert seen["GIVEN"] == "to the server"
    assert "OPENAI_API_KEY" not in seen
    assert seen["PATH"] == os.environ["PATH"]


async def test_what_a_server_writes_to_stderr_goes_to_its_log(probe: ServerConfig, tmp_path: Path) -> None:
    """More than any pipe holds, so that a server that complains is never blocked by us."""
    log = tmp_path / "server.log"
    async with toolset(probe, log_file=log) as tools:
        assert await call(tools, "probe_complain", kilobytes=1024) == "complained"
    assert log.stat().st_size >= 1024 * 1024


async def test_a_program_that_is_missing_is_named(probe: ServerConfig) -> None:
    async with toolset(replace(probe, command="no-such-program")) as tools:
        with pytest.raises(ConfigError, match=r"probe.*no-such-program"):
            await tools.specs()


async def test_a_program_that_speaks_no_mcp_is_named(probe: ServerConfig, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with toolset(replace(probe, command="false", args=()), log_file=log) as tools:
        with pytest.raises(ConfigError, match="MCP server probe"):
            await tools.specs()


async def test_a_server_over_http_is_used_the_same_way(probe: ServerConfig, tmp_path: Path) -> None:
    script = tmp_path / "web_server.py"
    script.write_text(
        "import socket, sys, uvicorn\n"
        "from mcp.server.mcpserver import Context, MCPServer\n"
        "from mcp_types import ToolAnnotations\n"
        "app = MCPServer('web')\n"
        "@app.tool(annotations=ToolAnnotations(read_only_hint=True))\n"
        "async def twice(n: int, ctx: Context) -> int:\n"
        "    await ctx.report_progress(1, 1)\n"
        "    return 2 * n\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "server = uvicorn.Server(uvicorn.Config(app.streamable_http_app(), log_level='error'))\n"
        "server.run(sockets=[listener])\n"
    )
    reports: list[Json] = []

    async def note(_: RunContext[Any], report: Json) -> None:
        reports.append(report)

    async with await anyio.open_process([sys.executable, str(script)]) as process:
        assert process.stdout is not None
        port = int(await process.stdout.receive())
        web = replace(
            probe,
            name="web",
            command=None,
            url=f"http://127.0.0.1:{port}/mcp",
            transport="http",
            prefix="web_",
        )
        async with toolset(web, on_progress=note) as tools:
            assert (await tools.specs())[0].effect == "read_only"
            assert await call(tools, "web_twice", n=21) == 42
        assert reports == [{"progress": 1, "total": 1}]
        process.kill()


async def test_nothing_is_started_before_it_is_needed(probe: ServerConfig) -> None:
    before = set(psutil.Process().children())
    async with toolset(probe):
        assert set(psutil.Process().children()) == before


async def test_a_tool_of_a_step_is_served_by_the_toolset(probe: ServerConfig) -> None:
    async with toolset(probe) as tools:
        found = await tools.get_tools(context())
    assert found["probe_hello"].toolset is tools
    assert found["probe_hello"].tool_def.name == "probe_hello"
