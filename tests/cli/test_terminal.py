"""`jackline chat` at a terminal: questions, answers, Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.cli.terminal import terminal
from tests.cli.toy import CALL, RUN, Toy
from tests.client.server import Server
from tests.support.processes import eventually_async

pytestmark = pytest.mark.anyio

CTRL_C = "\x03"


def asking(toy: Toy) -> None:
    """A run that asks, and does as it is told."""

    def decide(decision: dict[str, Any]) -> None:
        if decision["approve"]:
            args = decision.get("args", {"service": "web"})
            toy.decided("granted", by="user:ana", args=args)
            toy.workflow("executing")
            toy.tool("started", args=args)
            toy.tool("finished", result="restarted", duration_ms=12)
        else:
            toy.decided("denied", by="user:ana", reason=decision.get("reason"))
            toy.workflow("executing")
            toy.tool("denied")
        toy.finish()

    toy.begin()
    toy.say("I restart it.")
    toy.tool("requested", args={"service": "web"})
    toy.ask()
    toy.workflow("awaiting_approval")
    toy.on_decision = decide


async def test_yes_runs_the_call_in_the_same_stream(server: Server, toy: Toy) -> None:
    """G5"""
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart? [y]es")
        screen.type("y\n")
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "approve": True}]
    assert "? restart: granted by user:ana" in screen.text
    assert "restart  service=web  12 ms" in screen.text
    assert "  restarted" in screen.text
    assert "completed" in screen.text
    assert "answer with" not in screen.text
    # One stream: the decision was a request of its own.
    assert [request.path.rpartition("/")[2] for request in toy.requests] == ["chat", CALL]


async def test_no_takes_a_reason_along(server: Server, toy: Toy) -> None:
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.type("what?\n")
        await screen.until("[y, n or e]")
        screen.type("n not during the day\n")
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "approve": False, "reason": "not during the day"}]
    assert "restart  service=web  denied" in screen.text


async def test_edited_arguments_as_a_line(server: Server, toy: Toy) -> None:
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.type("e\n")
        await screen.until("restart: arguments as one JSON object")
        screen.type('{"service": \n')
        await screen.until("not JSON")
        screen.type("e\n")
        await screen.until("restart: arguments as one JSON object", times=2)
        screen.type('{"service": "db"}\n')
        await screen.until("approve restart with these arguments?")
        screen.type("y\n")
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "approve": True, "args": {"service": "db"}}]


async def test_edited_arguments_in_an_editor(server: Server, toy: Toy, tmp_path: Path) -> None:
    asking(toy)
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "assert sys.stdin.isatty()\n"
        "path.write_text(path.read_text().replace('web', 'mail'))\n"
    )
    editor = f"{sys.executable} {script}"
    async with terminal("chat", "restart web", "--url", server.url, EDITOR=editor) as screen:
        await screen.until("approve restart?")
        screen.type("e\n")
        await screen.until("approve restart with these arguments?")
        assert '{"service": "mail"}' in screen.text
        screen.type("y\n")
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "approve": True, "args": {"service": "mail"}}]


async def test_ctrl_c_in_the_editor_is_the_editors(server: Server, toy: Toy, tmp_path: Path) -> None:
    """G5: as with git, the edit is not thrown away and the run is not left."""
    asking(toy)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))\n"
        f"open({str(gate)!r}).read()\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "path.write_text(path.read_text().replace('web', 'mail'))\n"
    )
    editor = f"{sys.executable} {script}"
    async with terminal("chat", "restart web", "--url", server.url, EDITOR=editor) as screen:
        await screen.until("approve restart?")
        screen.type("e\n")
        with await anyio.to_thread.run_sync(gate.open, "w"):
            for times in (1, 2):
                screen.type(CTRL_C)
                await screen.until("heard", times=times)
        await screen.until("approve restart with these arguments?")
        assert "[s]top the run" not in screen.text
        screen.type("y\n")
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "approve": True, "args": {"service": "mail"}}]


async def test_who_leaves_comes_back_to_the_first_that_was_not_shown(
    server: Server, toy: Toy, tmp_path: Path
) -> None:
    """G1: what was read meanwhile, and waits behind the signal, is not passed over."""
    asking(toy)
    gate, script = tmp_path / "gate", tmp_path / "editor.py"
    os.mkfifo(gate)
    script.write_text(f"open({str(gate)!r}).read()\n")
    before = len(toy.entries)
    async with terminal(
        "chat", "restart web", "--url", server.url, columns=200, EDITOR=f"{sys.executable} {script}"
    ) as screen:
        await screen.until("approve restart?")
        screen.type("e\n")
        with await anyio.to_thread.run_sync(gate.open, "w"):
            screen.process.send_signal(signal.SIGTERM)
            toy.cut_after = before + 1
            toy.say("Are you there?")

            async def is_read() -> bool:
                return toy.requests[-1].headers.get("last-event-id") == str(before + 1)

            await eventually_async(is_read, what="it is read")
        assert await screen.end() == 143
    shown = before + ("Are you there?" in screen.text)
    assert f"come back with: jackline tail {RUN} --after {shown} " in screen.text


async def test_a_question_that_another_has_answered_is_withdrawn(server: Server, toy: Toy) -> None:
    """G5: the first decision wins, and the loser is told."""
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart?")
        toy.decided("granted", by="user:bo")
        await screen.until("granted by user:bo")
        toy.workflow("executing")
        toy.finish()
        assert await screen.end() == 0
    assert toy.decisions == []
    assert "approve restart?" not in screen.text.rpartition("granted by")[2]


async def test_a_refused_decision_is_asked_again(server: Server, toy: Toy) -> None:
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart?")
        toy.refusals = [(422, {"errors": [{"field": "args.service", "detail": "must be known"}]})]
        screen.type("y\n")
        await screen.until("args.service: must be known")
        await screen.until("approve restart?", times=2)
        screen.type("y\n")
        assert await screen.end() == 0


async def test_several_questions_are_asked_one_after_the_other(server: Server, toy: Toy) -> None:
    """G5: in any order, each once."""
    toy.begin()
    toy.ask(f"{RUN}.1", "first")
    toy.ask(f"{RUN}.2", "second")
    toy.workflow("awaiting_approval")

    def decide(decision: dict[str, Any]) -> None:
        toy.decided("granted", decision["call_id"])
        if len(toy.decisions) == 2:
            toy.finish()

    toy.on_decision = decide
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve first?")
        screen.type("y\n")
        await screen.until("approve second?")
        screen.type("y\n")
        assert await screen.end() == 0
    assert [decision["call_id"] for decision in toy.decisions] == [f"{RUN}.1", f"{RUN}.2"]


async def test_an_unknown_outcome_is_asked_for(server: Server, toy: Toy) -> None:
    """G6: a person decides."""
    toy.begin()
    toy.tool("unknown")
    toy.ask(kind="outcome", choices=["retry", "done", "abort"])
    toy.workflow("awaiting_approval")
    toy.on_decision = lambda _: toy.finish()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("[r]etry it")
        screen.type("d\n")
        await screen.until("its result")
        screen.type('{"ok": true}\n')
        assert await screen.end() == 0
    assert toy.decisions == [{"call_id": CALL, "round": 1, "outcome": "done", "result": {"ok": True}}]


async def test_ctrl_c_stops_the_run(server: Server, toy: Toy) -> None:
    """G4"""
    toy.begin()
    toy.say("working")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("working")
        screen.type(CTRL_C)
        await screen.until("[s]top the run (or Esc Esc), [l]eave it running, [c]ontinue (or Esc)?")
        screen.type("s\n")
        assert await screen.end() == 3
    assert f"restart ({CALL}) was cancelled" in screen.text
    assert [request.path.rpartition("/")[2] for request in toy.requests] == ["chat", "stop"]


async def test_ctrl_c_leaves_it_running_and_says_how_to_come_back(server: Server, toy: Toy) -> None:
    """G2"""
    toy.begin()
    toy.say("working")
    async with terminal("chat", "x", "--url", server.url, columns=200) as screen:
        await screen.until("working")
        screen.type(CTRL_C)
        await screen.until("[l]eave")
        screen.type("l\n")
        assert await screen.end() == 130
    assert f"jackline tail {RUN} --after 3" in screen.text
    assert len(toy.requests) == 1


async def test_ctrl_c_and_continue(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("working")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("working")
        screen.type(CTRL_C)
        await screen.until("[c]ontinue")
        toy.say(" on")
        await screen.until("working on")
        screen.type("c\n")
        toy.finish()
        assert await screen.end() == 0


async def test_ctrl_c_twice_leaves(server: Server, toy: Toy) -> None:
    toy.begin()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("executing")
        screen.type(CTRL_C)
        await screen.until("[c]ontinue")
        screen.type(CTRL_C)
        assert await screen.end() == 130


async def test_ctrl_c_during_a_question_comes_back_to_it(server: Server, toy: Toy) -> None:
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.type(CTRL_C)
        await screen.until("[c]ontinue")
        screen.type("c\n")
        await screen.until("approve restart?", times=2)
        screen.type("y\n")
        assert await screen.end() == 0


async def test_ctrl_c_in_tail_only_leaves(server: Server, toy: Toy) -> None:
    """G2"""
    toy.begin()
    async with terminal("tail", RUN, "--url", server.url, columns=200) as screen:
        await screen.until("executing")
        screen.type(CTRL_C)
        assert await screen.end() == 130
    assert "come back with: jackline tail" in screen.text
    assert not toy.ended


async def test_a_closed_terminal_input_goes_on_watching(server: Server, toy: Toy) -> None:
    asking(toy)
    async with terminal("chat", "restart web", "--url", server.url, TERM="dumb") as screen:
        await screen.until("approve restart?")
        screen.type("\x04")
        await screen.until("answer with jackline approve")
        toy.decided("granted", by="user:bo")
        toy.finish()
        assert await screen.end() == 0


async def test_a_lost_connection_is_said_and_survived(server: Server, toy: Toy) -> None:
    """G1"""
    toy.begin()
    toy.say("one ")
    toy.say("two")
    toy.cut_after = 3
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("connection lost")
        await screen.until("two")
        toy.finish()
        assert await screen.end() == 0
    assert screen.seen.count("one two") == 1
    assert "one" not in screen.shown


async def test_a_narrow_terminal_cuts_nothing_off(server: Server, toy: Toy) -> None:
    asking(toy)
    toy.say("word " * 30)
    toy.tool("finished", result="x" * 90, call_id=f"{RUN}.9", name="long")
    async with terminal("chat", "restart web", "--url", server.url, columns=24) as screen:
        await screen.until("approve restart?")
        screen.type("y\n")
        assert await screen.end() == 0
    joined = "".join(screen.seen.split())
    assert "x" * 90 in joined
    assert joined.count("word") == 30
    assert "?restartneedsyourapproval" in joined.replace("│", "")
