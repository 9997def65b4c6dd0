"""The code of docs/agents.md, run as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.models.test import TestModel

from jackline.agents.load import load_agent
from jackline.agents.models import ModelChoice
from jackline.agents.pydantic import PydanticAgent
from tests.agents.house import House, settings_of

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"
BLOCKS = {
    name: block
    for block in re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for name in re.findall(r"^# (\w+)\.py\n", block)
}


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """The agent of a block, with a model that calls every tool of it once."""
    name: str = request.param
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / f"{name}.py"
    file.write_text(BLOCKS[name])
    agent = load_agent(settings_of(agent=f"{file}:{name}"))
    if isinstance(agent, PydanticAgent):
        inner = agent.agent
        assert isinstance(inner, AbstractAgent)
        choice = ModelChoice(model=TestModel(), label="test")
        agent = PydanticAgent(inner, name=name, revision="1", choice=choice, deps=agent.deps)
    return House(agent)


def test_every_block_is_tried_here() -> None:
    text = DOCS.read_text("utf-8")
    assert len(BLOCKS) == text.count("```python") == 5


@pytest.mark.parametrize("home", ["ops"], indirect=True)
async def test_ops_asks_before_it_purges(home: House) -> None:
    state = await home.chat("go")
    assert [question.name for question in state.pending] == ["purge"]
    await home.approve("2")
    state = await home.drive()
    assert state.state == "completed"
    assert [call.effect for call in state.calls.values()] == ["read_only", "writes", "read_only"]


@pytest.mark.parametrize("home", ["copy_job"], indirect=True)
async def test_copy_job_tells_how_far_it_is(home: House) -> None:
    state = await home.chat("go")
    assert (await home.story()).count("1 progress") == 3
    assert state.calls[home.call("1")].result == f"a copied for {home.run_id}"


@pytest.mark.parametrize("home", ["shop"], indirect=True)
async def test_shop_has_deps_of_its_own(home: House) -> None:
    state = await home.chat("go")
    assert state.calls[home.call("1")].result == "Corner"


@pytest.mark.parametrize("home", ["restart"], indirect=True)
async def test_restart_asks_and_keeps_its_choice(home: House) -> None:
    state = await home.chat("please")
    host = state.calls[home.call("1")].result
    await home.approve("2")
    state = await home.drive()
    assert state.output == {"restarted": True, "up": True}
    assert state.copy_text() == f"You asked: please. restarted on {host}."
    assert state.calls[home.call("3")].verifies == home.call("2")


@pytest.mark.parametrize("home", ["restart"], indirect=True)
async def test_restart_takes_a_no(home: House) -> None:
    await home.chat("please")
    await home.deny("2", "not now")
    assert (await home.drive()).output == {"restarted": False}


@pytest.mark.parametrize("home", ["disks"], indirect=True)
async def test_disks_looks_at_this_host(home: House) -> None:
    state = await home.chat("go")
    result = state.calls[home.call("1")].result
    assert isinstance(result, dict)
    assert set(result) == {"total", "used", "free"}


def test_disks_offers_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "disks.py"
    file.write_text(BLOCKS["disks"])
    spec = asyncio.run(load_agent(settings_of(agent=f"{file}:disks", model="demo")).describe())
    assert [(task.title, task.asks) for task in spec.tasks] == [("How full?", False), ("Clean up", True)]
