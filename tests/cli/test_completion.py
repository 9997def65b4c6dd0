"""What shells complete: real bash, and what every shell gets."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import anyio
import pytest

from tests.cli.terminal import environment, jackline
from tests.client.server import Connection, Request, Server, serving

pytestmark = pytest.mark.anyio

PATIENT = {"JACKLINE_COMPLETION_WITHIN": "60"}
RUNS = [
    {"run_id": "abc.2", "conversation_id": "abc", "state": "executing", "title": "x\x1b[2J$(id)"},
    {"run_id": "abd.1", "conversation_id": "abd", "state": "completed", "title": "the disk"},
    {"run_id": "$(touch evil).1", "conversation_id": "`id`", "state": "completed", "title": "t"},
]


async def answer(request: Request, connection: Connection) -> None:
    match request.path.rpartition("/")[2]:
        case "runs":
            await connection.json(200, {"runs": RUNS, "next": None})
        case "approvals":
            await connection.json(200, {"approvals": [{"call_id": "abc.2.7", "name": "rm"}], "next": None})
        case "agents":
            await connection.json(200, {"agents": [{"name": "demo", "description": "shows"}]})
        case _:
            await connection.json(404, {"title": "Not Found"})


@pytest.fixture
async def known(server: Server) -> Server:
    server.answer(answer)
    return server


async def completed(*words: str, url: str, within: str = "60") -> list[str]:
    done = await jackline(
        "completion", "bash", "--", *words, JACKLINE_URL=url, JACKLINE_COMPLETION_WITHIN=within
    )
    assert (done.code, done.err) == (0, "")
    return [line.partition("\t")[0] for line in done.out.splitlines()]


async def test_commands_and_options_are_completed_without_a_server() -> None:
    async with serving() as gone:
        url = gone.url
    assert await completed("ap", url=url) == ["approve"]
    assert await completed("bench", "", url=url) == ["stop", "viewers"]
    assert await completed("tail", "--s", url=url) == ["--since"]
    assert await completed("chat", "--on-busy", "", url=url) == ["reject", "queue", "stop"]
    assert await completed("runs", "--state", "aw", url=url) == ["awaiting_approval"]
    assert await completed("proxy", "ngi", url=url) == ["nginx", "nginx-gateway-fabric"]
    assert await completed("export", "-o", "", url=url) == ["\x06"]


async def test_ids_are_the_servers(known: Server) -> None:
    """And nothing that a shell could take for more than a word."""
    assert await completed("tail", "", url=known.url) == ["abc.2", "abd.1"]
    assert await completed("stop", "abd", url=known.url) == ["abd.1"]
    assert await completed("approve", "", url=known.url) == ["abc.2.7"]
    assert await completed("chat", "--conversation", "", url=known.url) == ["abc", "abd"]
    assert await completed("chat", "--agent", "", url=known.url) == ["demo"]
    assert await completed("delete", "ab", url=known.url) == ["abc.2", "abd.1", "abc", "abd"]
    assert await completed("tail", "abc.2", "", url=known.url) == []
    described = await jackline(
        "completion", "zsh", "--", "tail", "abc", JACKLINE_URL=known.url, JACKLINE_COMPLETION_WITHIN="60"
    )
    assert described.out == "abc.2\texecuting x[2J$(id)\n"


async def test_the_address_on_the_line_counts(known: Server) -> None:
    async with serving() as gone:
        url = gone.url
    assert await completed("tail", "--url", known.url, "abd", url=url) == ["abd.1"]


async def test_a_server_that_is_away_or_silent_completes_nothing() -> None:
    async def silent(request: Request, connection: Connection) -> None:
        await connection.until_gone()

    async with serving() as server:
        server.answer(silent)
        assert await completed("tail", "", url=server.url, within="0.2") == []
        url = server.url
    assert await completed("tail", "", url=url) == []


def command(folder: Path) -> dict[str, str]:
    """An environment in which `jackline` is a command."""
    file = folder / "jackline"
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m jackline "$@"\n')
    file.chmod(0o755)
    return environment(PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


async def test_bash_completes(known: Server, tmp_path: Path) -> None:
    """The function that bash calls at a press of Tab, in a real bash."""
    script = (
        'eval "$(jackline completion bash)"\n'
        "complete -p jackline\n"
        'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _jackline; '
        'printf "%s;" "${COMPREPLY[@]}"; echo; }\n'
        'try jackline ""\ntry jackline app\ntry jackline tail ab\ntry jackline approve ""\n'
    )
    done = await anyio.run_process(
        ["bash", "--norc", "-c", script],
        env=command(tmp_path) | PATIENT | {"JACKLINE_URL": known.url},
        cwd=tmp_path,
    )
    first, commands, *rest = done.stdout.decode().splitlines()
    assert first == "complete -F _jackline jackline"
    assert {"chat", "tail", "runs", "completion"} <= set(commands.split(";"))
    assert rest == ["approve;", "abc.2;abd.1;", "abc.2.7;"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_are_given_a_script_that_they_take(shell: str, tmp_path: Path) -> None:
    """Where the shell is installed it reads the script; everywhere it asks the same command."""
    done = await jackline("completion", shell)
    assert f"completion {shell} -- " in done.out
    found = shutil.which(shell)
    if found is not None:
        file = tmp_path / "script"
        file.write_text(done.out)
        options = ["--no-execute"] if shell == "fish" else ["-n"]
        await anyio.run_process([found, *options, str(file)], env=environment())
