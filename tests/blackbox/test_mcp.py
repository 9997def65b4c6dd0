"""MCP servers nobody here wrote, used in runs of the built-in agent: their annotations decide what a
person is asked, and the operator has the last word."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.api import ROOT, Check, call, steps
from tests.blackbox.conftest import World, world
from tests.support.node import EVERYTHING, NODE
from tests.support.provider import Provider, provider

RULES = """
[tools.git_git_branch]
approval = "ask"

[tools.git_git_create_branch]
approval = "allow"

[tools."git_git_re*"]
approval = "deny"

[tools.git_git_log]
verifies = "git_git_commit"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A server whose agent has two foreign MCP servers, one of them on a Git repository."""

    world: World
    provider: Provider
    repository: Path

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.repository, *args], capture_output=True, text=True, check=True
        )
        return done.stdout

    def call(self, name: str, **args: object) -> dict[str, Any]:
        """A step that calls one of Git's tools."""
        return call(f"git_{name}", repo_path=str(self.repository), **args)

    def write(self, name: str) -> str:
        """A new file in the repository."""
        (self.repository / name).write_text(f"{name}\n")
        return name


def configuration(path: Path, repository: Path) -> Path:
    git = {
        "command": sys.executable,
        "args": ["-m", "mcp_server_git", "--repository", str(repository)],
        "env": {"HOME": str(path)},
    }
    every = {"command": str(NODE), "args": [str(EVERYTHING), "stdio"]}
    config = path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"git": git, "every": every}}))
    return config


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bench]:
    path = tmp_path_factory.mktemp("mcp")
    repository = path / "repository"
    for command in (
        ["init", "-q", "-b", "main", str(repository)],
        ["-C", str(repository), "config", "user.email", "ana@example.org"],
        ["-C", str(repository), "config", "user.name", "Ana"],
        ["-C", str(repository), "commit", "-q", "--allow-empty", "-m", "the first"],
    ):
        subprocess.run(["git", *command], check=True)
    (path / "jackline.toml").write_text(RULES)
    with provider() as model:
        env = {
            "OPENAI_API_KEY": "test",
            "JACKLINE_MODEL": "openai:scripted",
            "JACKLINE_MODEL_BASE_URL": model.url,
            "JACKLINE_MCP_CONFIG": str(configuration(path, repository)),
        }
        with world(path, agent=None, **env) as made:
            yield Bench(world=made, provider=model, repository=repository)


def question(bench: Bench, run_id: str) -> str:
    """The call that a person is asked about."""
    questions = bench.world.api.until(run_id, "awaiting_approval")["approvals"]
    (pending,) = [each for each in questions if each["state"] == "pending"]
    return pending["call_id"]


def test_what_only_reads_runs_at_once(bench: Bench) -> None:
    """Two calls in one step, by `readOnlyHint` alone; what they give is the repository's real state."""
    api = bench.world.api
    name = bench.write("untracked.txt")
    both = {"calls": [*bench.call("git_status")["calls"], *bench.call("git_log", max_count=1)["calls"]]}
    run_id = api.start(steps({"say": "I look.", **both}))
    snapshot = api.ended(run_id)
    assert (snapshot["state"], snapshot["output"]) == ("completed", "done ")
    check = Check(log=api.log(run_id))
    assert [entry for entry in check.log if "round" in entry] == []
    results = {tool["name"]: json.dumps(tool["result"]) for tool in snapshot["tools"]}
    assert name in results["git_git_status"]
    assert bench.git("rev-parse", "HEAD").strip()[:7] in results["git_git_log"]
    assert snapshot["usage"]["input_tokens"] == 200
    told = [message for message in bench.provider.requests[-1]["messages"] if message["role"] == "tool"]
    assert name in str(told)


def test_what_writes_waits_for_a_person_and_is_then_done_and_verified(bench: Bench) -> None:
    """G5: a commit is made after the approval and not before; the log shows its check."""
    api = bench.world.api
    name = bench.write("approved.txt")
    run_id = api.start(
        steps(
            bench.call("git_add", files=[name]),
            bench.call("git_commit", message="the approved one"),
            bench.call("git_log", max_count=1),
        )
    )
    add = question(bench, run_id)
    assert name not in bench.git("diff", "--cached", "--name-only")
    assert api.decide(add, approve=True).json()["state"] == "granted"
    api.until_tool(run_id, "git_git_commit", "requested")
    commit = question(bench, run_id)
    assert "the approved one" not in bench.git("log", "--format=%s")
    assert api.decide(commit, approve=True).json()["state"] == "granted"
    assert api.ended(run_id)["state"] == "completed"
    assert bench.git("log", "-1", "--format=%s") == "the approved one\n"
    check = Check(log=api.log(run_id))
    assert check.tools("finished") == ["git_git_add", "git_git_commit", "git_git_log"]
    assert check.log[-1]["state"] == "completed"
    verified = [entry["verifies"] for entry in check.log if "verifies" in entry]
    assert verified
    assert set(verified) == {commit}


def test_what_a_person_denies_is_not_done(bench: Bench) -> None:
    """G5: the model is told, and the run goes on."""
    api = bench.world.api
    before = bench.git("log", "--format=%s")
    run_id = api.start(steps(bench.call("git_commit", message="the denied one"), {"say": "as you wish"}))
    assert api.decide(question(bench, run_id), approve=False, reason="not on Friday").status_code == 200
    assert api.ended(run_id)["output"] == "as you wish "
    assert bench.git("log", "--format=%s") == before
    check = Check(log=api.log(run_id))
    assert (check.tools("started"), check.tools("denied")) == ([], ["git_git_commit"])
    assert "not on Friday" in str(bench.provider.requests[-1]["messages"])


def test_edited_arguments_are_what_is_done(bench: Bench) -> None:
    """G5: a person corrects the message of a commit; the log and Git have the corrected one."""
    api = bench.world.api
    subprocess.run(["git", "-C", bench.repository, "add", bench.write("edited.txt")], check=True)
    run_id = api.start(steps(bench.call("git_commit", message="a typpo")))
    args = {"repo_path": str(bench.repository), "message": "a typo"}
    call_id = question(bench, run_id)
    wrong = api.decide(call_id, approve=True, args={**args, "message": 7})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "args.message")
    assert api.decide(call_id, approve=True, args=args).status_code == 200
    assert api.ended(run_id)["state"] == "completed"
    assert bench.git("log", "-1", "--format=%s") == "a typo\n"
    assert [entry["args"] for entry in api.log(run_id) if entry.get("state") == "started"] == [args]
    assert "changed the arguments" in str(bench.provider.requests[-1]["messages"])


def test_the_operator_has_the_last_word(bench: Bench) -> None:
    """A rule lets a writing tool run at once, asks for a reading one, and forbids a third."""
    api = bench.world.api
    run_id = api.start(
        steps(
            bench.call("git_create_branch", branch_name="by-rule"),
            bench.call("git_reset"),
            bench.call("git_branch", branch_type="local"),
        )
    )
    call_id = question(bench, run_id)
    check = [entry for entry in api.log(run_id) if "call_id" in entry]
    assert [(entry["name"], entry["state"]) for entry in check if entry["state"] != "requested"] == [
        ("git_git_create_branch", "started"),
        ("git_git_create_branch", "finished"),
        ("git_git_reset", "denied"),
        ("git_git_branch", "pending"),
    ]
    assert "by-rule" in bench.git("branch", "--format=%(refname:short)")
    assert api.decide(call_id, approve=True).status_code == 200
    assert api.ended(run_id)["state"] == "completed"
    branches = next(
        tool["result"] for tool in api.snapshot(run_id)["tools"] if tool["name"] == "git_git_branch"
    )
    assert "by-rule" in str(branches)


def test_a_tools_error_stands_in_the_log_and_the_run_goes_on(bench: Bench) -> None:
    """G8: what the server says is what the log and the model get."""
    api = bench.world.api
    run_id = api.start(steps(bench.call("git_show", revision="no-such-revision"), {"say": "noted"}))
    assert api.ended(run_id)["output"] == "noted "
    check = Check(log=api.log(run_id))
    (failed,) = [entry for entry in check.log if entry.get("state") == "failed"]
    assert failed["name"] == "git_git_show"
    assert "no-such-revision" in failed["error"]["message"]


def test_a_server_on_node_is_used_the_same_way(bench: Bench) -> None:
    """`server-everything`: reading tools run at once and tell how far they are; another asks."""
    api = bench.world.api
    long = call("every_trigger-long-running-operation", duration=0.3, steps=3)
    run_id = api.start(
        steps(
            call("every_get-sum", a=40, b=2),
            long,
            call("every_toggle-simulated-logging"),
        )
    )
    call_id = question(bench, run_id)
    log = api.log(run_id)
    sums = [entry["result"] for entry in log if entry.get("name") == "every_get-sum" and "result" in entry]
    assert "42" in str(sums)
    progress = [entry["progress"]["progress"] for entry in log if entry.get("state") == "progress"]
    assert progress == [1.0, 2.0, 3.0]
    assert api.decide(call_id, approve=False).status_code == 200
    assert api.ended(run_id)["state"] == "completed"
    Check(log=api.log(run_id))


def test_the_catalogue_says_what_would_be_asked(bench: Bench) -> None:
    """Annotations as the servers give them, the policy's verdict beside."""
    tools = {tool["name"]: tool for tool in bench.world.api.http.get(f"{ROOT}/tools").json()["tools"]}
    verdicts = {name: tool["approval"] for name, tool in tools.items()}
    assert verdicts["git_git_status"] == verdicts["every_echo"] == "allow"
    assert verdicts["git_git_commit"] == verdicts["every_toggle-simulated-logging"] == "ask"
    rules = {"git_git_branch": "ask", "git_git_create_branch": "allow", "git_git_reset": "deny"}
    assert {name: verdicts[name] for name in rules} == rules
    assert tools["git_git_status"]["annotations"]["readOnlyHint"] is True
    assert tools["git_git_status"]["origin"] == "mcp:git"
    assert tools["git_git_log"]["verifies"] == "git_git_commit"
