"""What each process imports: a start must not pay for libraries that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AGENTS = {"pydantic_ai", "openai", "fastmcp", "mcp", "mcp_types", "langgraph", "agents"}
"""What only agents need, some of them."""

FUNCTION = "async def agent(ctx):\n    await ctx.say('hello')\n"
PYDANTIC = (
    "from pydantic_ai import Agent\n"
    "from pydantic_ai.models.test import TestModel\n"
    "agent = Agent(TestModel())\n"
    "no_model = Agent()\n"
)
LOAD = (
    "import jackline.cli.worker_process\n"
    "from jackline.agents.load import load_agent\n"
    "from jackline.settings import Settings\n"
    "load_agent(Settings.model_validate({settings!r}))\n"
)


def imported(code: str) -> set[str]:
    """The top names of what a process has imported once it has run `code`."""
    tail = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def load(folder: Path, source: str, name: str = "agent") -> str:
    file = folder / "mine.py"
    file.write_text(source)
    return LOAD.format(settings={"agent": f"{file}:{name}"})


def test_the_web_process_imports_no_agent() -> None:
    names = imported("import jackline.cli.serve, jackline.web.app, jackline.web.server")
    assert {"starlette", "uvicorn"} <= names
    assert names & (AGENTS | {"jsonschema", "pydantic_settings"}) == set()


def test_a_worker_process_starts_without_the_web() -> None:
    names = imported("import jackline.cli.serve, jackline.cli.worker_process")
    assert names & (AGENTS | {"starlette", "uvicorn", "jsonschema", "pydantic_settings"}) == set()


def test_the_worker_of_a_function_imports_no_agents_library(tmp_path: Path) -> None:
    assert imported(load(tmp_path, FUNCTION)) & AGENTS == set()


@pytest.mark.parametrize("name", ["agent", "no_model"])
def test_the_worker_of_an_agent_without_mcp_imports_neither_mcp_nor_a_providers_client(
    tmp_path: Path, name: str
) -> None:
    """An agent without a model of its own gets the demo's, which needs none either."""
    assert imported(load(tmp_path, PYDANTIC, name)) & AGENTS == {"pydantic_ai"}


def test_the_doctor_is_as_light_as_a_client() -> None:
    names = imported("import jackline.cli.diagnosis, jackline.doctor.measure, jackline.doctor.present")
    heavy = AGENTS | {"starlette", "uvicorn", "pydantic", "jsonschema", "structlog", "psutil"}
    assert names & heavy == set()


def test_a_throw_away_origin_has_no_store_and_no_worker() -> None:
    tail = "\nimport sys\nprint(*[name for name in sys.modules if name.startswith('jackline.')])"
    code = "import jackline.cli.diagnosis, jackline.web.probe.origin"
    done = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "jackline.web.probe.origin" in modules
    rooms = (
        "jackline.log.sqlite",
        "jackline.log.redis",
        "jackline.worker",
        "jackline.agents",
        "jackline.drive",
    )
    assert [name for name in modules if name.startswith(rooms)] == []


def test_the_help_and_a_configuration_import_neither_a_client_nor_a_server() -> None:
    code = (
        "import jackline.cli.app, typer.testing\n"
        "for args in (['--help'], ['proxy', 'nginx']):\n"
        "    done = typer.testing.CliRunner().invoke(jackline.cli.app.app, args)\n"
        "    assert done.exit_code == 0, done\n"
    )
    libraries = {"httpx2", "starlette", "uvicorn", "msgspec", "anyio"}  # typer itself needs pydantic
    assert imported(code) & (AGENTS | libraries) == set()
