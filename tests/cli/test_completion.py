"""What shells complete: real bash, and what every shell gets."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Literal

import anyio
import pytest

from tests.cli.terminal import environment, jackline, program
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
    assert await completed("tail", f"--url={known.url}", "abd", url=url) == ["abd.1"]


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
    """At a press of Tab in a real bash, which takes addresses to pieces."""
    async with serving() as gone:
        away = gone.url
    env = command(tmp_path) | PATIENT | {"JACKLINE_URL": away, "INPUTRC": os.devnull, "HOME": str(tmp_path)}
    async with program("bash", "--norc", "--noprofile", "-i", env=env, columns=200) as screen:
        screen.type('eval "$(jackline completion bash)"; cd "$HOME"; echo ready $((1 + 1))\n')
        await screen.until("ready 2")
        screen.type("jackline app\t")
        await screen.until("jackline approve ")
        screen.type(f"\x15: ; jackline tail --url {known.url} abd\t")
        await screen.until(f"--url {known.url} abd.1 ")
        screen.type(f"\x15jackline tail --url={known.url} abd\t")
        await screen.until(f"--url={known.url} abd.1 ")
        screen.type(f"\x15jackline approve --url {known.url} \t")
        await screen.until(f"approve --url {known.url} abc.2.7 ")
        screen.type(f"\x15jackline delete --url {known.url} a\t\t\t")
        await screen.until("abd.1")
        for name in ("abc.2", "abd.1", "abc ", "abd "):
            await screen.until(name)
        screen.type("\x15\x04")
        await screen.end()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_are_given_a_script_that_works(
    known: Server, shell: Literal["zsh", "fish"], tmp_path: Path
) -> None:
    done = await jackline("completion", shell)
    assert f"completion {shell} -- " in done.out
    env = command(tmp_path) | PATIENT | {"JACKLINE_URL": known.url, "HOME": str(tmp_path)}
    await {"zsh": zsh_completes, "fish": fish_completes}[shell](env)
    assert not (tmp_path / "evil").exists()


async def zsh_completes(env: dict[str, str]) -> None:
    async with program("zsh", "-f", "-i", env=env, columns=200) as screen:
        screen.type("autoload -U compinit; compinit -u -D; echo loaded $((1 + 1))\n")
        await screen.until("loaded 2")
        screen.type('eval "$(jackline completion zsh)"; cd $HOME; echo ready $((1 + 1))\n')
        await screen.until("ready 2")
        screen.type("jackline tail ab\t")
        await screen.until("abc.2  -- executing x[2J$(id)")
        await screen.until("abd.1  -- completed the disk")
        screen.type("d\t")
        await screen.until("abd.1 ")
        screen.type("\x15jackline approve \t")
        await screen.until("jackline approve abc.2.7")
        screen.type("\x15exit\n")
        await screen.end()


async def fish_completes(env: dict[str, str]) -> None:
    script = (
        "jackline completion fish | source\ncd $HOME\n"
        "for line in 'jackline app' 'jackline tail ab' 'jackline approve '\n"
        "complete -C $line\nend\n"
    )
    done = await anyio.run_process(["fish", "--no-config", "-c", script], env=env)
    assert (done.stdout.decode().splitlines(), done.stderr) == (
        [
            "approve\tApprove a tool call, or settle one whose outcome is not known",
            "abc.2\texecuting x[2J$(id)",
            "abd.1\tcompleted the disk",
            "abc.2.7\trm",
        ],
        b"",
    )
