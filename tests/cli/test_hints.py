"""The commands that are printed work as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jackline.cli.hints import approve, command, program
from tests.cli.terminal import jackline
from tests.cli.test_board import row
from tests.client.server import Connection, Request, Server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (["chat", "hello"], ""),
        (["chat", "--url", "http://a:1", "hello"], " --url http://a:1"),
        (["--url=http://a:1/x y"], " --url 'http://a:1/x y'"),
        (["--url", "http://a:1", "--url=http://b:2"], " --url http://b:2"),
        (["chat", "--", "--url", "http://a:1"], ""),
        (["chat", "--token", "secret"], ""),
        (["chat", "--url"], ""),
    ],
)
def test_the_server_that_was_named_is_named_again_and_its_key_is_not(line: list[str], wanted: str) -> None:
    assert command("tail", "a.1", line=["jackline", *line]) == f"jackline tail a.1{wanted}"


def test_a_program_that_the_shell_does_not_find_is_called_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert program(str(tmp_path / "my env" / "jackline")) == "'my env/jackline'"
    assert program("/lib/jackline/__main__.py") == "jackline"


def test_a_question_for_an_outcome_is_answered_with_one() -> None:
    assert approve("a.1.1", outcome=True).endswith("approve a.1.1 --outcome retry|done|abort")
    assert approve("a.1.1", outcome=True, choices=["retry"]).endswith("--outcome retry")
    assert approve("a.1.1", outcome=False).endswith("approve a.1.1")


@pytest.mark.parametrize("options", [(), ("--watch",)], ids=["list", "watched"])
async def test_lists_print_what_answers_a_question_for_an_outcome(
    server: Server, options: tuple[str, ...]
) -> None:
    """G6: a plain yes would be refused with 422."""

    def asked(call_id: str, kind: str) -> dict[str, Any]:
        return {"run_id": "a.1", "call_id": call_id, "kind": kind, "state": "pending"}

    async def answer(request: Request, connection: Connection) -> None:
        match request.path.rpartition("/")[2]:
            case "runs":
                waiting = row("a.1", "awaiting_approval", 4) | {"waiting_for": ["a.1.1", "a.1.2"]}
                await connection.json(200, {"runs": [waiting], "next": None})
            case "approvals":
                found = [asked("a.1.1", "outcome"), asked("a.1.2", "call")]
                await connection.json(200, {"approvals": found, "next": None})
            case _ if request.headers.get("last-event-id") == "now":
                await connection.open_stream()
                await connection.frames(b'event: ready\ndata: {"cursor":"x-1"}\n\n')
                await connection.end_stream()
            case _:
                await connection.json(403, {"title": "that was all"})

    server.answer(answer)
    done = await jackline("runs", *options, "--url", server.url)
    assert f"jackline approve a.1.1 --outcome retry|done|abort --url {server.url}\n" in done.out
    assert f"jackline approve a.1.2 --url {server.url}\n" in done.out
