"""The built-in agent with its demo model and its demo tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackline.agents.load import load_agent
from jackline.settings import Settings, ToolRule
from tests.agents.house import House

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_reading_tools_run_unasked_and_writing_ones_are_asked_about(tmp_path: Path) -> None:
    """The verdicts come from the tools' annotations, the operator's rules override them."""
    settings = Settings(model="demo", tools={"disk_usage": ToolRule(approval="deny")})
    agent = load_agent(settings, {"JACKLINE_DEMO_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert agent.name == "jackline"
    async with agent.opened():
        spec = await agent.describe()
        verdicts = {tool.name: tool.approval for tool in spec.tools}
        effects = {tool.effect for tool in spec.tools if tool.approval == "allow"}
        assert set(verdicts.values()) == {"allow", "ask", "deny"}
        assert effects == {"read_only"}
        assert all(tool.origin == "mcp:demo" for tool in spec.tools)
        assert spec.model.startswith("demo")


async def test_a_demo_run_reads_the_real_host(tmp_path: Path) -> None:
    agent = load_agent(Settings(model="demo"), {"JACKLINE_DEMO_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"})
    async with agent.opened():
        home = House(agent)
        state = await home.chat("how full is the disk?")
    assert state.state == "completed"
    assert state.copy_text()
    assert state.calls
    assert all(call.state == "finished" for call in state.calls.values())
    assert all(call.effect == "read_only" for call in state.calls.values())
