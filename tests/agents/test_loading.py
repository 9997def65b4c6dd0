"""From `FILE.py:NAME` to an agent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackline.agents.function import FunctionAgent
from jackline.agents.load import load_agent
from jackline.agents.naming import agent_name
from jackline.agents.pydantic import PydanticAgent
from jackline.errors import ConfigError
from tests.agents.house import House, settings_of

if TYPE_CHECKING:
    from jackline.agents.base import Agent

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(path: Path, name: str, **settings: Any) -> Agent:
    return load_agent(settings_of(agent=f"{path}:{name}", **settings))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "mine.py"


AN_AGENT = """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
helper = Agent(TestModel())
"""

RENAMED = """
from jackline.agents.pydantic import PydanticAgent
helper = PydanticAgent(helper, name="x", revision="1")
"""

NO_MODEL = """
from pydantic_ai import Agent
helper = Agent()
"""


@pytest.fixture
def no_model(file: Path) -> Path:
    file.write_text(NO_MODEL)
    return file


def test_the_name_is_known_without_importing_anything() -> None:
    assert agent_name("/some where/agent.py:helper") == "helper"
    assert agent_name(None) == "jackline"
    code = "import sys, jackline.agents.naming; sys.exit('pydantic_ai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_agent_is_found_by_its_name_and_its_revision_is_its_files_digest(file: Path) -> None:
    file.write_text(AN_AGENT)
    agent = load(file, "helper")
    assert isinstance(agent, PydanticAgent)
    assert agent.name == "helper"
    assert len(agent.revision) == 12
    file.write_text(f"{AN_AGENT}\n# changed")
    assert load(file, "helper").revision != agent.revision
    assert load(file, "helper", agent_revision="v3").revision == "v3"


def test_a_factory_an_async_function_and_an_agent_of_ones_own_are_taken(file: Path) -> None:
    file.write_text(
        AN_AGENT
        + """
from jackline.agents.pydantic import PydanticAgent
def make(): return helper
async def fix(ctx): return 1
fix.revision = "r1"
def own(): return PydanticAgent(helper, name="own", revision="9", deps=lambda ctx: object())
"""
    )
    assert isinstance(load(file, "make"), PydanticAgent)
    assert load(file, "make").name == "make"
    function = load(file, "fix")
    assert isinstance(function, FunctionAgent)
    assert function.revision == "r1"
    assert load(file, "own").revision == "9"


def test_neighbours_can_be_imported_and_no_module_of_the_same_name_is_hidden(file: Path) -> None:
    (file.parent / "next_door_of_mine.py").write_text("value = 1")
    file = file.parent / "json.py"
    file.write_text(f"import next_door_of_mine\n{AN_AGENT}")
    import json

    load(file, "helper")
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("spec", "source", "words"),
    [
        ("{file}", "", "write it as FILE.py:NAME"),
        ("{file}x:a", "", "FILE.py:NAME"),
        ("{file}:helper", None, "no such file"),
        ("{file}:other", AN_AGENT, "no other in it; there is helper"),
        ("{file}:other", "", "no other in it; it needs a pydantic_ai.Agent"),
        (
            "{file}:helper",
            "import not_there_at_all",
            "ModuleNotFoundError: No module named 'not_there_at_all'",
        ),
        ("{file}:helper", "import sys\nsys.exit(3)", "SystemExit: 3"),
        ("{file}:helper", "def helper(:", "SyntaxError"),
        ("{file}:helper", "helper = 3", "is an int; it must be"),
        ("{file}:helper", "def helper(): return 3", "is an int; it must be"),
        ("{file}:helper", "def helper(a, b): ...", "needs arguments (a, b)"),
        ("{file}:helper", "def helper(): raise ValueError('no luck')", "ValueError: no luck"),
        (
            "{file}:helper",
            "from pydantic_ai import Agent\nhelper = Agent('test', deps_type=dict)",
            "wants deps of type dict",
        ),
        (
            "{file}:helper",
            f"{AN_AGENT}{RENAMED}",
            "names itself 'x'; its `name` must be 'helper'",
        ),
    ],
)
def test_what_is_wrong_with_an_agent_is_said(file: Path, spec: str, source: str | None, words: str) -> None:
    """G11: a clear error that says what to change."""
    if source is not None:
        file.write_text(source)
    with pytest.raises(ConfigError) as caught:
        load_agent(settings_of(agent=spec.format(file=file)))
    assert words in str(caught.value)


@pytest.mark.anyio
async def test_an_agent_without_a_model_gets_the_settings_one(no_model: Path) -> None:
    agent = load(no_model, "helper", model="demo")
    async with agent.opened():
        spec = await agent.describe()
    assert spec.model.startswith("demo")


@pytest.mark.anyio
async def test_the_example_with_a_model_asks_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = House(load(EXAMPLES / "disk_agent.py", "disk_agent"))
    state = await home.chat("hello")
    assert [question.name for question in state.pending] == ["write_note"]
    await home.approve("2", text="fifty percent")
    state = await home.drive()
    assert state.output == "The note says: fifty percent"
    assert state.calls[home.call("3")].verifies == home.call("2")
    assert (tmp_path / "jackline-example" / "note.txt").read_text() == "fifty percent"
    await home.chat("and again")
    await home.deny("2")
    state = await home.drive()
    assert state.output == "Then I leave it unwritten."


@pytest.mark.anyio
async def test_the_example_function_asks_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = House(load(EXAMPLES / "cleanup_function.py", "cleanup"))
    assert (await home.chat("go")).output == {"deleted": 0}
    (tmp_path / "jackline-example" / "a").write_text("x")
    state = await home.chat("go")
    assert [question.name for question in state.pending] == ["delete"]
    await home.approve("2")
    state = await home.drive()
    assert state.output == {"deleted": 1, "left": []}
    assert state.calls[home.call("3")].verifies == home.call("2")


TASKS = """
helper_tasks = [
    {"title": "Look", "prompt": "look at it"},
    {"title": "Fix", "prompt": "fix it", "description": "Asks first.", "asks": True},
]
"""


@pytest.mark.parametrize(
    "source", [AN_AGENT, "async def helper(ctx): return 1", f"{AN_AGENT}\nhelper_ = helper"]
)
def test_a_file_offers_tasks_beside_its_agent(file: Path, source: str) -> None:
    file.write_text(source + TASKS)
    spec = asyncio.run(load(file, "helper").describe())
    assert [(task.title, task.prompt, task.asks) for task in spec.tasks] == [
        ("Look", "look at it", False),
        ("Fix", "fix it", True),
    ]


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ('"look"', "helper_tasks: Expected `array`, got `str`; it must be a list of objects with title"),
        ('[{"title": "Look"}]', r"missing required field `prompt` - at `\$\[0\]`"),
        ('[{"title": "", "prompt": "x"}]', r"length >= 1 - at `\$\[0\].title`"),
        ('[{"title": "a", "prompt": "x", "ask": True}]', "unknown field `ask`"),
        ('[{"title": "a", "prompt": "x", "asks": "yes"}]', "Expected `bool`, got `str`"),
        ("object()", "helper_tasks"),
        ('[{"title": "a", "prompt": "x"}] * 13', "13 tasks; an agent offers 12 at most"),
    ],
)
def test_tasks_that_are_none_are_told_at_the_start(file: Path, tasks: str, told: str) -> None:
    """G11: with what to change."""
    file.write_text(f"{AN_AGENT}\nhelper_tasks = {tasks}\n")
    with pytest.raises(ConfigError, match=told):
        load(file, "helper")


def test_an_agent_that_describes_itself_brings_its_tasks_itself(file: Path) -> None:
    own = """
from jackline.agents.pydantic import PydanticAgent
from jackline.tools import OfferedTask
inner = helper
helper = PydanticAgent(inner, name="helper", revision="1", tasks=[OfferedTask(title="Look", prompt="look")])
"""
    file.write_text(AN_AGENT + own)
    spec = asyncio.run(load(file, "helper").describe())
    assert [task.title for task in spec.tasks] == ["Look"]
    file.write_text(AN_AGENT + own + TASKS)
    with pytest.raises(ConfigError, match=r"give it its tasks in describe\(\)"):
        load(file, "helper")
