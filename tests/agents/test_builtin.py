"""The built-in agent with its demo model and its demo tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackline.agents.load import load_agent
from tests.agents.house import House, rule, settings_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def environment(scratch: Path) -> dict[str, str]:
    return {"JACKLINE_DEMO_DIR": str(scratch), "PATH": "/usr/bin:/bin"}


async def test_reading_tools_run_unasked_and_writing_ones_are_asked_about(tmp_path: Path) -> None:
    """The verdicts come from the tools' annotations, the operator's rules override them."""
    settings = settings_of(model="demo", tools={"disk_usage": rule(approval="deny")})
    agent = load_agent(settings, environment(tmp_path))
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
    agent = load_agent(settings_of(model="demo"), environment(tmp_path))
    async with agent.opened():
        home = House(agent)
        state = await home.chat("how full is the disk?")
    assert state.state == "completed"
    assert state.copy_text()
    assert state.calls
    assert all(call.state == "finished" for call in state.calls.values())
    assert all(call.effect == "read_only" for call in state.calls.values())


@pytest.mark.parametrize("reason", [None, "go ahead"])
async def test_a_change_is_asked_about_made_and_verified(tmp_path: Path, reason: str | None) -> None:
    """The policy holds in a run too: what is not declared read-only waits for a person."""
    agent = load_agent(settings_of(model="demo"), environment(tmp_path))
    async with agent.opened():
        home = House(agent)
        state = await home.chat("restart the service")
        assert state.state == "awaiting_approval"
        asked = state.pending[0]
        assert not state.calls[asked.call_id].started_at
        await home.approve(asked.call_id.rpartition(".")[2], reason=reason)
        state = await home.drive()
    assert state.state == "completed"
    checks = [call for call in state.calls.values() if call.verifies == asked.call_id]
    assert len(checks) == 1
    assert state.calls[asked.call_id].state == "finished"
