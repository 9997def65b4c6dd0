"""What a run looks like at a terminal, as a terminal shows it."""

from __future__ import annotations

import signal
from typing import Any

import anyio
import pytest

from tests.cli.terminal import PATIENCE_S, terminal
from tests.cli.toy import CALL, RUN, Toy
from tests.client.server import Connection, Request, Server, entry, gap, ready, serving, stream

pytestmark = pytest.mark.anyio

EVIL = "\x1b[2J\x1b]0;x\x07\x9b31m\x1b]8;;http://evil\x1b\\\r\u202e"


async def test_narration_is_markdown_and_every_line_of_it_is_there_once(server: Server, toy: Toy) -> None:
    """Finished blocks stand in the scrollback, also when all of it is far higher than the screen."""
    toy.begin()
    text = "# Disks\n\n" + "".join(f"Line {number} is **told**.\n\n" for number in range(60))
    text += "- one\n- two\n\n```\ndf -h\n```\n\nThe end of it"
    for at in range(0, len(text), 7):
        toy.say(text[at : at + 7])
    toy.finish()
    async with terminal("tail", RUN, "--url", server.url, rows=10) as screen:
        assert await screen.end() == 0
    said = [line for line in screen.shown if line.startswith("Line")]
    assert said == [f"Line {number} is told." for number in range(60)]
    for line in ("Disks", " • one", " • two", "  df -h", "The end of it"):
        assert screen.shown.count(line) == 1, line
    assert "**" not in screen.seen


async def test_a_block_that_is_higher_than_the_screen_is_whole_in_the_end(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("```\n" + "".join(f"row {number}\n" for number in range(50)))
    async with terminal("tail", RUN, "--url", server.url, rows=8) as screen:
        await screen.until("lines above")
        await screen.until("row 49")
        assert "  row 0" not in screen.shown
        toy.say("```\n")
        toy.finish()
        assert await screen.end() == 0
    assert [line for line in screen.shown if "row" in line] == [f"  row {number}" for number in range(50)]
    assert "lines above" not in screen.seen


async def test_reasoning_is_folded_and_can_be_had_in_full(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("I wonder whether it is full. ", "r1", kind="reasoning")
    toy.say("It is not.")
    toy.finish()
    async with terminal("tail", RUN, "--url", server.url) as screen:
        assert await screen.end() == 0
    assert "I wonder" not in screen.seen
    assert ", 6 words (--full shows them)" in screen.seen
    async with terminal("tail", RUN, "--full", "--url", server.url) as screen:
        assert await screen.end() == 0
    assert "I wonder whether it is full." in screen.shown


async def test_a_call_shows_its_progress_and_then_a_result_that_says_how_to_see_all(
    server: Server, toy: Toy
) -> None:
    toy.begin()
    toy.tool("requested", "df", args={"path": "/", "all": True})
    toy.tool("started", "df", args={"path": "/", "all": True})
    toy.tool("progress", "df", progress="half of it")
    async with terminal("tail", RUN, "--url", server.url, columns=100) as screen:
        await screen.until("half of it")
        await screen.until("df  path=/  all=true  1 s")
        toy.tool("finished", "df", result="".join(f"/dev/{n}\n" for n in range(30)), duration_ms=1500)
        toy.finish()
        assert await screen.end() == 0
    assert "✓ df  path=/  all=true  1.5 s" in screen.shown
    assert "half of it" not in screen.seen
    more = f"… 22 more lines; all of it: jackline tail {RUN} --full --after 5 --url {server.url}"
    assert more in " ".join(" ".join(screen.shown).split())
    async with terminal("tail", RUN, "--full", "--after", "5", "--url", server.url) as screen:
        assert await screen.end() == 0
    assert [line for line in screen.shown if "/dev/" in line] == [f"  /dev/{n}" for n in range(30)]


async def test_a_question_stands_in_a_frame_with_everything_that_is_decided_on(
    server: Server, toy: Toy
) -> None:
    toy.begin()
    toy.tool("requested", args={"service": "web"}, effect="idempotent")
    toy.ask(reason="it hangs", expires_at="2026-11-22T13:00:00Z", on_expiry="approve")
    toy.workflow("awaiting_approval")
    async with terminal("tail", RUN, "--url", server.url, columns=60) as screen:
        await screen.until("awaiting approval")
        seen = screen.seen
    for words in (
        "restart needs your approval",
        "declared idempotent",
        "why: it hangs",
        '"service": "web"',
        "expires at 2026-11-22T13:00:00Z, then it is approved",
        f"answer with: jackline approve {CALL}",
    ):
        assert words in seen


async def test_all_of_a_step_can_be_approved_at_once(server: Server, toy: Toy) -> None:
    """G5: in one request, all or none."""
    toy.begin()
    toy.ask(f"{RUN}.1", "first")
    toy.ask(f"{RUN}.2", "second")
    toy.workflow("awaiting_approval")
    toy.on_decision = lambda _: toy.finish()
    async with terminal("chat", "x", "--url", server.url, columns=120) as screen:
        await screen.until("[a]ll 2 of this step")
        screen.type("a\n")
        await screen.until("approve all 2 of this step (first, second)?")
        screen.type("y\n")
        assert await screen.end() == 0
    assert toy.decisions == [
        {"call_id": f"{RUN}.1", "approve": True},
        {"call_id": f"{RUN}.2", "approve": True},
    ]
    assert [request.path.rpartition("/")[2] for request in toy.requests] == ["chat", "approvals"]


async def test_an_answer_to_a_question_that_is_gone_decides_nothing(server: Server, toy: Toy) -> None:
    """G5: a person who types while another decides approves nothing that they have not read."""
    toy.begin()
    toy.ask(f"{RUN}.1", "harmless")
    toy.workflow("awaiting_approval")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve harmless?")
        screen.type("y")
        await screen.until("> y")
        toy.ask(f"{RUN}.2", "terrible")
        toy.decided("granted", f"{RUN}.1", "harmless", by="user:bo")
        await screen.until("approve terrible?")
        screen.type("\n")
        await screen.until("[y, n or e]")
        assert toy.decisions == []


async def test_a_sentence_that_begins_with_a_y_is_no_yes(server: Server, toy: Toy) -> None:
    """G5"""
    toy.begin()
    toy.ask()
    toy.workflow("awaiting_approval")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve restart?")
        for number, words in enumerate(("you must be joking", "yikes", "yes but not now"), 1):
            screen.type(f"{words}\n")
            await screen.until("[y, n or e]", times=number)
        assert toy.decisions == []


@pytest.mark.parametrize("term", ["xterm", "dumb"])
async def test_what_was_typed_and_not_read_yet_is_no_answer_to_the_next_question(
    server: Server, toy: Toy, term: str
) -> None:
    """G5: however slow the command is, keys belong to the question that stood there."""
    toy.begin()
    toy.ask(f"{RUN}.1", "harmless")
    toy.workflow("awaiting_approval")
    async with terminal("chat", "x", "--url", server.url, TERM=term) as screen:
        await screen.until("approve harmless?")
        screen.process.send_signal(signal.SIGSTOP)
        screen.type("y" if term == "dumb" else "y\n")
        toy.decided("granted", f"{RUN}.1", "harmless", by="user:bo")
        toy.ask(f"{RUN}.2", "terrible")
        screen.process.send_signal(signal.SIGCONT)
        await screen.until("approve terrible?")
        if term == "dumb":
            screen.type("\n")
            await screen.until("[y, n or e]")
        else:
            screen.type("?\n")
            await screen.until("[y, n or e]")
    assert [each for each in toy.decisions if each["call_id"] != f"{RUN}.1"] == []


async def test_a_server_that_does_not_answer_a_decision_keeps_nobody_from_leaving(
    server: Server, toy: Toy
) -> None:
    """G4: nor from stopping: a request that hangs holds back nothing else."""
    toy.begin()
    toy.ask()
    asked = anyio.Event()

    async def answer(request: Request, connection: Connection) -> None:
        if request.path.endswith(CALL):
            asked.set()
            await connection.until_gone()
        else:
            await toy.answer(request, connection)

    server.answer(answer)
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.type("y\n")
        with anyio.fail_after(PATIENCE_S):
            await asked.wait()
        screen.type("\x03")
        await screen.until("[s]top the run")
        screen.type("s")
        assert await screen.end() == 3
    assert "stop asked for by user:ana" in screen.seen
    assert "left before the server had answered what was sent last" in " ".join(screen.seen.split())


async def test_calls_whose_end_is_gone_do_not_tick_for_ever(server: Server) -> None:
    """G1: after a gap only what is known is shown."""
    frames = (
        ready(0, "executing"),
        entry(1, "tool", call_id=CALL, name="df", state="requested", args={}),
        entry(2, "tool", call_id=CALL, name="df", state="started"),
        gap(3, 9, state="executing", seq=9),
    )
    server.answer(stream(*frames))
    async with terminal("tail", RUN, "--url", server.url) as screen:
        await screen.until("entries 3 to 9 are gone")
        await screen.until("executing 1 s")
        assert [line for line in screen.shown if line.startswith("◦ df")] == []


async def test_esc_twice_asks_and_one_key_stops(server: Server, toy: Toy) -> None:
    """G4"""
    toy.begin()
    toy.say("working")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("Esc Esc: stop")
        screen.type("\x1b\x1b")
        await screen.until("[s]top the run (or Esc Esc), [l]eave it running, [c]ontinue (or Esc)?")
        screen.type("s")
        assert await screen.end() == 3
    assert "stop asked for by user:ana; quiet 40 ms later; the model's stream was closed" in screen.seen
    assert f"restart ({CALL}) was cancelled" in screen.seen


async def test_esc_again_and_again_stops(server: Server, toy: Toy) -> None:
    """G4: whoever has no time to read a menu gets what they press Esc for."""
    toy.begin()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("Esc Esc: stop")
        for _ in range(4):
            screen.type("\x1b")
        assert await screen.end() == 3
    assert "stop asked for by user:ana" in screen.seen


async def test_a_stop_while_the_server_is_away_is_sent_when_it_is_back(toy: Toy) -> None:
    """G4: the line says the key all the time, and keeps the word."""
    toy.begin()
    async with serving() as first:
        first.answer(toy.answer)
        made = terminal("chat", "x", "--url", first.url)
        screen = await made.__aenter__()
        await screen.until("executing")
    try:
        await screen.until("connection lost")
        assert screen.shown[-1].endswith("Esc Esc: stop …")
        screen.type("\x1b\x1b")
        await screen.until("[s]top the run")
        screen.type("s")
        await screen.until("the stop is sent as soon as it answers")
        assert not toy.ended
        async with serving(int(first.url.rpartition(":")[2])) as second:
            second.answer(toy.answer)
            assert await screen.end() == 3
    finally:
        await made.__aexit__(None, None, None)
    assert "stop asked for by user:ana" in screen.seen


async def test_esc_leaves_the_menu(server: Server, toy: Toy) -> None:
    toy.begin()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("executing")
        screen.type("\x1b\x1b")
        await screen.until("[c]ontinue")
        screen.type("\x1b")
        await screen.until("executing")
        toy.finish()
        assert await screen.end() == 0


async def test_the_line_is_edited_like_one_and_given_back_after_a_paste(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.ask()
    toy.workflow("awaiting_approval")
    toy.on_decision = lambda _: toy.finish()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.type("not nowx\x7f\x1b[200~, it is day\x1b[201~\x01n \x05!\n")
        assert await screen.end() == 0
    assert toy.decisions[0]["reason"] == "not now, it is day!"


async def test_a_lost_connection_stands_in_the_status_line_until_it_is_back(server: Server, toy: Toy) -> None:
    """G1: shown honestly, and nothing twice."""
    toy.begin()
    toy.say("one ")
    toy.say("two ")
    toy.cut_after = 3
    async with terminal("tail", RUN, "--url", server.url, columns=100) as screen:
        await screen.until("connection lost, reconnecting in")
        await screen.until("two")
        toy.finish()
        assert await screen.end() == 0
    assert "connection lost" not in screen.seen
    assert screen.seen.count("one two") == 1


async def test_nothing_untrusted_reaches_the_terminal(server: Server, toy: Toy) -> None:
    """A model or a tool must not be able to repaint the screen, set its title, or make links."""
    toy.begin()
    toy.say(f"{EVIL}text [link](http://a.b/c) &#27;[31m &#x202e; `co{EVIL}de`\n\n")
    toy.say("split \x1b")
    toy.say("]0;title\x07 here\n")
    toy.say(f"why{EVIL}", "r1", kind="reasoning")
    toy.tool("requested", f"df{EVIL}", args={f"pa{EVIL}th": EVIL})
    toy.tool("progress", "df", progress=EVIL)
    toy.tool("finished", "df", result={"out": EVIL})
    toy.tool("requested", "du", call_id=f"{RUN}.2", args={"deep": [EVIL]})
    toy.tool("failed", "du", call_id=f"{RUN}.2", error={"type": EVIL, "message": EVIL})
    toy.ask(args={"path": "a\u202eb"}, name=f"restart{EVIL}", reason=EVIL)
    toy.decided("denied", reason=EVIL, by=EVIL)
    toy.workflow("failed", error={"type": EVIL, "message": EVIL})
    async with terminal("tail", RUN, "--full", "--url", server.url, columns=200) as screen:
        assert await screen.end() == 1
    ours = {b"?2026h", b"?2026l", b"?7l", b"?7h", b"?2004h", b"?2004l", b"K", b"J"}
    for sequence in screen.raw.split(b"\x1b[")[1:]:
        end = next(at for at, byte in enumerate(sequence) if 0x40 <= byte <= 0x7E)
        whole = sequence[: end + 1]
        assert whole in ours or (whole[-1:] in b"mABC" and whole[:-1].replace(b";", b"").isdigit()), whole
    assert screen.raw.count(b"\x1b") == screen.raw.count(b"\x1b[")
    text = screen.raw.decode()
    assert not set("\x07\x9b\u202e\x00") & set(text)
    assert "\\u202e" in text  # what is decided on shows what it hides
    assert "link (http://a.b/c)" in screen.seen


@pytest.mark.parametrize(("columns", "rows"), [(40, 24), (10, 4), (200, 60)])
async def test_every_size_of_window_shows_everything(
    server: Server, toy: Toy, columns: int, rows: int
) -> None:
    toy.begin()
    toy.say("Words that are **read** by people.\n\n| a | b |\n|---|---|\n| cell | other |\n\nmore\n")
    toy.tool("requested", args={"service": "web"})
    toy.tool("finished", result="restarted")
    toy.finish()
    async with terminal("tail", RUN, "--url", server.url, columns=columns, rows=rows) as screen:
        assert await screen.end() == 0
    joined = "".join(screen.seen.split())
    for words in ("Wordsthatarereadbypeople.", "cell", "other", "more", "service=web", "restarted", "done"):
        assert words in joined


async def test_a_window_that_changes_in_the_middle_loses_nothing(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("before it changed\n\n")
    async with terminal("chat", "x", "--url", server.url, columns=90) as screen:
        await screen.until("Esc Esc: stop")
        screen.resize(40, 12)
        toy.say("x" * 60 + "\n\n")
        await screen.until("x" * 39)
        screen.resize(120, 40)
        toy.say("y" * 100 + "\n\nlast\n\n")
        await screen.until("y" * 100)
        toy.finish()
        assert await screen.end() == 0
    for words in ("before it changed", "x" * 39, "y" * 100, "last"):
        assert words in screen.text


async def test_a_dumb_terminal_and_no_color_are_respected(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("a **word**")
    toy.finish()
    async with terminal("tail", RUN, "--url", server.url, TERM="dumb") as screen:
        assert await screen.end() == 0
    assert b"\x1b" not in screen.raw
    assert "a **word**" in screen.text
    async with terminal("tail", RUN, "--url", server.url, NO_COLOR="1") as screen:
        assert await screen.end() == 0
    assert b"\x1b[3" not in screen.raw
    assert "a word" in screen.text


async def test_a_terminal_is_given_back_as_it_was(server: Server, toy: Toy) -> None:
    """Ctrl-C in the middle of a question: the shell finds its own modes again."""
    import termios

    toy.begin()
    toy.ask()
    async with terminal("chat", "x", "--url", server.url) as screen:
        before = termios.tcgetattr(screen.master)
        await screen.until("approve restart?")
        assert termios.tcgetattr(screen.master)[3] & termios.ICANON == 0
        screen.type("\x03")
        await screen.until("[l]eave")
        screen.type("\x03")
        assert await screen.end() == 130
        after = termios.tcgetattr(screen.master)
    assert after[3] & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO
    assert before[0] == after[0]
    assert screen.raw.endswith(b"\x1b[?2004l")


async def test_sigterm_gives_the_terminal_back_and_says_that_the_run_goes_on(
    server: Server, toy: Toy
) -> None:
    """G2"""
    import termios

    toy.begin()
    toy.ask()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.process.send_signal(signal.SIGTERM)
        assert await screen.end() == 143
        modes = termios.tcgetattr(screen.master)[3]
    assert modes & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO
    assert f"run {RUN} goes on" in screen.seen


async def test_it_comes_back_after_having_been_stopped(server: Server, toy: Toy) -> None:
    """Ctrl-Z and fg: the question is there again, and a paste of several lines is still one message."""
    toy.begin()
    toy.ask()
    toy.on_decision = lambda _: toy.finish()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("approve restart?")
        screen.process.send_signal(signal.SIGSTOP)
        screen.process.send_signal(signal.SIGCONT)
        await screen.until("approve restart?", times=2)
        assert screen.raw.count(b"\x1b[?2004h") == 2
        screen.type("y\n")
        assert await screen.end() == 0


async def test_ctrl_d_is_no_end_where_no_message_is_asked_for(server: Server, toy: Toy) -> None:
    """G4: a stray key does not take the stop away."""
    toy.begin()
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("executing")
        screen.type("\x04")
        screen.type("\x1b\x1b")
        await screen.until("[s]top the run")
        screen.type("\x04s")
        assert await screen.end() == 3
    assert "terminal is closed" not in screen.seen


async def test_an_outcome_that_is_not_known_is_explained(server: Server, toy: Toy) -> None:
    """G6"""
    data: dict[str, Any] = {"kind": "outcome", "choices": ["retry", "done", "abort"]}
    toy.begin()
    toy.tool("unknown")
    toy.ask(**data)
    toy.workflow("awaiting_approval")
    async with terminal("chat", "x", "--url", server.url) as screen:
        await screen.until("[r]etry it")
        seen = " ".join(screen.seen.replace("│", " ").split())
    assert "retry runs it again, done takes it for done, abort ends the run" in seen
