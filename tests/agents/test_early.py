"""The demo's agent, served before it is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from jackline.agents import early
from jackline.agents.early import EarlyAgent, agent_to_serve, demo_tools
from jackline.agents.load import load_agent
from jackline.errors import ConfigError
from jackline.events import Message
from jackline.mcp import toolset
from jackline.mcp_config import demo_server
from tests.agents.house import House, rule, settings_of
from tests.worker.house import House as Workshop

pytestmark = pytest.mark.anyio

QUESTION = Message(role="user", content="how full is the disk?")


def environment(scratch: Path) -> dict[str, str]:
    return {"JACKLINE_DEMO_DIR": str(scratch), "PATH": "/usr/bin:/bin"}


async def test_what_is_told_early_of_the_demos_tools_is_what_its_server_says(tmp_path: Path) -> None:
    """`agents/demo_tools.json` holds, as JSON, what `specs` gives here."""
    async with toolset(demo_server(environment(tmp_path))) as server:
        assert tuple(demo_tools()) == tuple(await server.specs())


async def test_it_says_the_same_of_itself_before_and_after(tmp_path: Path) -> None:
    """The operator's rules hold in both."""
    settings = settings_of(model="demo", tools={"disk_usage": rule(approval="deny")})
    agent = agent_to_serve(settings, environment(tmp_path))
    assert isinstance(agent, EarlyAgent)
    async with agent.opened():
        before = await agent.describe()
        after = await agent.arrived()
        assert before == after == await agent.describe()
    whole = load_agent(settings, environment(tmp_path))
    assert (agent.name, agent.revision, agent.repeats_itself) == (
        whole.name,
        whole.revision,
        whole.repeats_itself,
    )


async def test_a_run_that_begins_early_ends_as_any_other(tmp_path: Path) -> None:
    agent = agent_to_serve(settings_of(model="demo"), environment(tmp_path))
    async with agent.opened():
        state = await House(agent).chat("how full is the disk?")
    assert state.state == "completed"
    assert state.calls


async def test_a_run_can_be_stopped_while_the_agent_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G4: in every state."""
    never = asyncio.Event()

    async def hold(self: EarlyAgent, done: asyncio.Event) -> None:
        del self, done
        await never.wait()

    monkeypatch.setattr(EarlyAgent, "_hold", hold)
    agent = agent_to_serve(settings_of(model="demo"), environment(tmp_path))
    async with agent.opened():
        shop = Workshop()
        async with shop.worker(agent):
            started = await shop.commands.start(by="user:ana", agent=agent.name, messages=[QUESTION])
            await shop.reach(started.run_id, "executing")
            await shop.commands.stop(started.run_id, by="user:ana")
            state = await shop.ended(started.run_id)
    assert state.state == "stopped"


async def test_an_agent_that_cannot_open_after_all_is_told_as_one_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise ConfigError("no such thing")

    monkeypatch.setattr(early, "load_agent", load)
    agent = EarlyAgent(settings_of(model="demo"), environment(tmp_path))
    with pytest.raises(ConfigError, match="no such thing"):
        async with agent.opened():
            await asyncio.Event().wait()


@pytest.mark.parametrize("given", [{"model": "demo", "agent": "x.py:a"}, {"model": "nobody:x"}])
async def test_only_what_cannot_be_set_wrongly_is_served_early(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        agent_to_serve(settings_of(**given), environment(tmp_path))


def test_the_demos_agent_is_described_without_an_agents_library() -> None:
    code = (
        "import asyncio, sys\n"
        "from jackline.agents.early import EarlyAgent, demo_tools\n"
        "from jackline.settings import Settings\n"
        "assert EarlyAgent(Settings.model_validate({}), {}).name and demo_tools()\n"
        "sys.exit(bool({'pydantic_ai', 'mcp', 'fastmcp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
