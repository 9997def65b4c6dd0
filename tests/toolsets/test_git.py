"""A real server that nobody here wrote: mcp-server-git."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from pydantic_ai.exceptions import ToolFailed

from jackline.mcp import load_servers, toolset
from jackline.policy import judge
from jackline.settings import ToolRule
from tests.toolsets.calls import call

if TYPE_CHECKING:
    from pathlib import Path

    from jackline.mcp import ServerConfig

pytestmark = pytest.mark.anyio


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for command in (
        ["init", "-q", str(folder)],
        ["-C", str(folder), "config", "user.email", "ana@example.org"],
        ["-C", str(folder), "config", "user.name", "Ana"],
        ["-C", str(folder), "commit", "-q", "--allow-empty", "-m", "the first"],
    ):
        subprocess.run(["git", *command], check=True)
    return folder


@pytest.fixture
def git(tmp_path: Path, repository: Path) -> ServerConfig:
    path = tmp_path / "mcp.json"
    entry = {
        "command": sys.executable,
        "args": ["-m", "mcp_server_git", "--repository", str(repository)],
        "env": {"HOME": str(tmp_path)},
    }
    path.write_text(json.dumps({"mcpServers": {"git": entry}}))
    return load_servers(path, {})[0]


async def test_its_annotations_decide_what_needs_approval(git: ServerConfig) -> None:
    async with toolset(git) as tools:
        judged = {spec.name: judge(spec, {}) for spec in await tools.specs()}
    for name in ("git_git_status", "git_git_log", "git_git_diff_staged", "git_git_show"):
        assert (judged[name].effect, judged[name].approval) == ("read_only", "allow"), name
    for name in ("git_git_commit", "git_git_reset", "git_git_checkout", "git_git_create_branch"):
        assert judged[name].approval == "ask", name


async def test_the_operator_overrides_them(git: ServerConfig) -> None:
    rules = {
        "git_*": ToolRule.model_validate({"approval": "ask"}),
        "git_git_reset": ToolRule.model_validate({"approval": "deny"}),
    }
    async with toolset(git) as tools:
        judged = {spec.name: judge(spec, rules) for spec in await tools.specs()}
    assert judged["git_git_status"].approval == "ask"
    assert judged["git_git_reset"].approval == "deny"


async def test_it_reads_writes_and_tells_its_errors(git: ServerConfig, repository: Path) -> None:
    async with toolset(git) as tools:
        assert "the first" in str(await call(tools, "git_git_log", repo_path=str(repository)))
        (repository / "new.txt").write_text("new\n")
        await call(tools, "git_git_add", repo_path=str(repository), files=["new.txt"])
        await call(tools, "git_git_commit", repo_path=str(repository), message="the second")
        with pytest.raises(ToolFailed):
            await call(tools, "git_git_checkout", repo_path=str(repository), branch_name="no-such-branch")
    log = await anyio.run_process(["git", "-C", str(repository), "log", "--format=%s"])
    assert log.stdout == b"the second\nthe first\n"
