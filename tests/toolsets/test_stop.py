"""Runs that are stopped while an MCP server works for them: what the server says is in the receipt."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest
from msgspec import UNSET
from pydantic_ai import Agent

from jackline.agents.pydantic import PydanticAgent
from jackline.events import ReceiptCall
from jackline.mcp import toolset
from tests.agents.house import House
from tests.agents.scripted import Script, calls
from tests.support.processes import eventually_async, start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from jackline.mcp import ServerConfig
    from jackline.run import RunState

pytestmark = pytest.mark.anyio

GRACE = 10.0
"""Of a stop. A deaf server costs 40 % of it."""


@pytest.fixture
def frank(probe: ServerConfig, traces: Path) -> ServerConfig:
    """A server that says what becomes of cancelled calls."""
    script = str(Path(__file__).with_name("frank.py"))
    return replace(probe, name="frank", args=(script, str(traces)), prefix="")


@asynccontextmanager
async def stopped_in(
    server: ServerConfig, tool: str, began: Path, args: str = "{}", grace: float = GRACE
) -> AsyncGenerator[House]:
    """A run in whose call of `tool` a stop comes at the end of the block, and its end is waited for."""
    model = Script([calls((tool, args))], ["never said"])
    async with toolset(server) as tools:
        agent = Agent(model.model, toolsets=[tools])
        home = House(PydanticAgent(agent, name="ops", revision="1"), stop_grace=grace)
        await home.start("go")
        async with home.driving() as task:
            await eventually_async(lambda: _there(began), what=f"{tool} at work")
            yield home
            await home.commands.stop(home.run_id, by="user:ana")
            with anyio.fail_after(60):
                await task


async def _there(path: Path) -> bool:
    return await anyio.Path(path).exists()


def told(state: RunState) -> ReceiptCall:
    assert state.state == "stopped"
    assert state.receipt is not None
    return state.receipt.tools[0]


FRANK: dict[str, tuple[str, object]] = {
    "finishes": ("finished_before_stop", {"text": "written all the same"}),
    "fails": ("finished_before_stop", {"error": {"message": "half way"}}),
    "breaks": ("finished_before_stop", {"error": {"code": -32603, "message": "the disk is on fire"}}),
    "says_so": ("cancelled", {"error": {"code": -32800, "message": "Request cancelled"}}),
    "is_silent": ("cancelled", UNSET),
    "dies": ("unknown", UNSET),
    "is_deaf": ("unknown", UNSET),
}


@pytest.mark.parametrize("tool", FRANK)
async def test_what_the_server_says_of_a_stopped_call_is_in_the_receipt(
    frank: ServerConfig, traces: Path, tool: str
) -> None:
    """G4: its own word where it gives one; `cancelled` of a silent one only if it has read the notice."""
    async with stopped_in(frank, tool, traces / "began") as home:
        pass
    state = await home.state()
    entry = told(state)
    assert (entry.outcome, entry.answer) == FRANK[tool]
    call = state.calls[home.call("1")]
    match tool:
        case "finishes":
            assert (call.state, call.result) == ("finished", {"rows": 7})
        case "fails" | "breaks":
            assert call.state == "failed"
            assert call.error is not None
            assert call.error.message in {"half way", "the disk is on fire"}
        case "is_silent":
            assert (traces / "told").exists()
            assert call.state == "cancelled"
        case _:
            assert call.state == ("cancelled" if tool == "says_so" else "unknown")


async def test_a_late_result_is_told_to_the_next_run(frank: ServerConfig, traces: Path) -> None:
    """G4: what was done was done, and the model must know."""
    async with stopped_in(frank, "finishes", traces / "began") as home:
        pass
    model = Script(["I see"])
    home.agent = PydanticAgent(Agent(model.model), name="ops", revision="1")
    await home.chat("what was done?")
    assert model.returns()["finishes"].content == {"rows": 7}


@pytest.mark.parametrize("over", ["stdio", "http"])
async def test_a_server_on_an_sdk_is_told_and_its_call_is_cancelled(
    probe: ServerConfig, traces: Path, tmp_path: Path, over: str
) -> None:
    """G4: `notifications/cancelled`, or over HTTP what stands for it there, reaches the tool."""
    async with server(probe, tmp_path, over) as (config, _):
        async with stopped_in(config, "probe_hang", traces / "began-a", '{"key": "a"}') as home:
            pass
        await eventually_async(lambda: _there(traces / "cancelled-a"))
    assert told(await home.state()).outcome == "cancelled"


async def test_a_server_over_http_that_stands_still_leaves_the_outcome_unknown(
    probe: ServerConfig, traces: Path, tmp_path: Path
) -> None:
    """G4: silence of one that has not read the notice says nothing."""
    hang, args = traces / "began-a", '{"key": "a"}'
    async with (
        server(probe, tmp_path, "http") as (config, pid),
        stopped_in(config, "probe_hang", hang, args, grace=3.0) as home,
    ):
        os.kill(pid, signal.SIGSTOP)
    assert told(await home.state()).outcome == "unknown"


async def test_a_stop_while_a_server_starts_is_not_held_up(probe: ServerConfig, traces: Path) -> None:
    """G4: nothing of the half-started server stays behind."""
    script = traces / "slow_start.py"
    script.write_text(f"import time; open({str(traces / 'starts')!r}, 'w').close(); time.sleep(3600)\n")
    slow = replace(probe, args=(str(script),))
    before = set(psutil.Process().children(recursive=True))
    async with stopped_in(slow, "never_called", traces / "starts") as home:
        pass
    state = await home.state()
    assert (state.state, state.calls) == ("stopped", {})
    assert state.receipt is not None
    assert state.receipt.quiet_ms < GRACE * 100
    await eventually_async(lambda: _only(before))


async def test_a_stop_while_a_server_lists_its_tools_is_not_held_up(
    frank: ServerConfig, traces: Path
) -> None:
    """G4."""
    mute = replace(frank, args=(*frank.args, "mute"))
    async with stopped_in(mute, "never_called", traces / "listing") as home:
        pass
    state = await home.state()
    assert (state.state, state.calls) == ("stopped", {})
    assert state.receipt is not None
    assert state.receipt.quiet_ms < GRACE * 100


async def _only(before: set[psutil.Process]) -> bool:
    return set(psutil.Process().children(recursive=True)) <= before


@asynccontextmanager
async def server(config: ServerConfig, path: Path, over: str) -> AsyncGenerator[tuple[ServerConfig, int]]:
    """The probe server over stdio or HTTP, with the pid of the one over HTTP."""
    if over == "stdio":
        yield config, 0
        return
    assert config.command is not None
    with start([sys.executable, *config.args, "http"], log_path=path / "http.log") as process:
        port = Path(config.args[1]) / "port"
        await eventually_async(lambda: _there(port))
        url = f"http://127.0.0.1:{await anyio.Path(port).read_text()}/mcp"
        yield replace(config, command=None, args=(), url=url, transport="http"), process.pid
