"""The commands with pipes: what programs and scripts see."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import pytest

from tests.cli.terminal import jackline
from tests.cli.toy import CALL, CONVERSATION, RUN, Toy, objects
from tests.client.server import (
    Connection,
    Request,
    Server,
    gap,
    problem,
    ready,
    reply,
    serving,
    stream,
    token,
    workflow,
)
from tests.client.server import end as end_frame

pytestmark = pytest.mark.anyio


async def test_chat_prints_the_run_and_exits_with_0(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("I look ")
    toy.say("at the disk.")
    toy.tool("requested", "df", args={"path": "/"})
    toy.tool("started", "df", args={"path": "/"})
    toy.tool("finished", "df", result={"free": 12}, duration_ms=1500)
    toy.workflow("executing", step=1, usage={"input_tokens": 1000, "output_tokens": 5, "cost_usd": 0.002})
    toy.workflow("executing", step=2, usage={"input_tokens": 234, "output_tokens": 1, "cost_usd": 0.0004})
    toy.workflow("completed", output="All fine.")
    done = await jackline("chat", "is the disk full?", "--url", server.url, "--agent", "demo")
    assert done.out == (
        f"run {RUN} queued\n"
        "executing\n"
        "I look at the disk.\n"
        '> df {"path": "/"}\n'
        '< df after 1.5 s: {"free": 12}\n'
        "All fine.\n"
        "completed (1,234 tokens in, 6 out, $0.0024)\n"
    )
    assert (done.err, done.code) == ("", 0)
    assert toy.requests[0].json == {
        "messages": [{"role": "user", "content": "is the disk full?"}],
        "agent": "demo",
    }


async def test_json_is_the_wires_frames(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.finish()
    done = await jackline("chat", "-", "--url", server.url, "--json", stdin="größe?".encode())
    assert done.code == 0
    frames = objects(done.out)
    assert [(frame["event"], frame.get("id")) for frame in frames] == [
        ("ready", None),
        ("workflow", "1"),
        ("workflow", "2"),
        ("workflow", "3"),
        ("end", None),
    ]
    assert frames[1]["data"]["input"] == [{"role": "user", "content": "restart web"}]
    assert toy.requests[0].json["messages"][0]["content"] == "größe?"


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("stopped", 3)])
async def test_the_exit_code_is_the_runs(server: Server, toy: Toy, state: str, code: int) -> None:
    toy.workflow("queued")
    toy.workflow(state, error={"type": "limit_reached", "message": "too long"})
    assert (await jackline("tail", RUN, "--url", server.url)).code == code


async def test_nobody_there_is_code_4_and_one_line() -> None:
    async with serving() as gone:
        url = gone.url
    for command in (["chat", "hello"], ["runs"], ["approve", CALL, "--follow"]):
        done = await jackline(*command, JACKLINE_URL=url)
        assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
        assert url in done.err
        assert "jackline serve" in done.err


async def test_wrong_usage_is_code_2(server: Server) -> None:
    for command in (
        ["chat"],
        ["approve", CALL, "--args", "{"],
        ["approve", CALL, "--result", "1"],
        ["runs", "--limit", "0"],
        ["runs", "--url", "nowhere"],
    ):
        done = await jackline(*command, JACKLINE_URL=server.url)
        assert (done.code, done.out) == (2, ""), command
        assert done.err
    assert server.requests == []


async def test_a_field_at_fault_is_named(server: Server) -> None:
    """G11"""
    server.answer(problem(422, errors=[{"field": "messages.0.content", "detail": "must not be empty"}]))
    done = await jackline("chat", "", "--url", server.url)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "messages.0.content: must not be empty" in done.err


async def test_a_refusal_is_one_line_on_stderr(server: Server) -> None:
    server.answer(problem(409, by="user:bo", state="denied", at="noon"))
    done = await jackline("approve", CALL, "--url", server.url)
    assert (done.code, done.out, done.err) == (1, "", "jackline: already denied by user:bo at noon\n")


async def test_tail_begins_where_it_is_told(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.say("hello")
    toy.finish()
    done = await jackline("tail", RUN, "--after", "2", "--url", server.url, "--json")
    assert [frame.get("id") for frame in objects(done.out)] == [None, "3", "4", None]


async def test_tail_after_the_last_entry_tells_the_state(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.workflow("stopped")
    done = await jackline("tail", RUN, "--after", "3", "--url", server.url)
    assert done.code == 3
    assert "stopped" in done.err


async def test_tail_survives_a_cut(server: Server, toy: Toy) -> None:
    """G1"""
    toy.begin()
    toy.say("one ")
    toy.say("two")
    toy.finish()
    toy.cut_after = 3
    done = await jackline("tail", RUN, "--url", server.url)
    assert "one two\n" in done.out
    assert "connection lost" in done.err
    assert done.code == 0


async def test_tail_until_pause_ends_where_a_person_is_asked(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.ask()
    toy.workflow("awaiting_approval")
    done = await jackline("tail", RUN, "--until-pause", "--url", server.url)
    assert done.code == 0
    assert f"jackline approve {CALL}" in done.out


async def test_a_question_without_a_terminal_says_how_to_answer_and_goes_on(server: Server, toy: Toy) -> None:
    """G5: somebody else decides, and the same stream goes on."""
    asked = False

    async def answer(request: Request, connection: Connection) -> None:
        nonlocal asked
        if not asked:
            asked = True
            toy.begin()
            toy.ask()
            toy.workflow("awaiting_approval")
            toy.decided("granted", by="user:bo")
            toy.workflow("executing")
            toy.finish()
        await toy.answer(request, connection)

    server.answer(answer)
    done = await jackline("chat", "restart web", "--url", server.url)
    assert f"answer with: jackline approve {CALL} --url {server.url}\n" in done.out
    assert f"or: jackline deny {CALL} --reason" in done.out
    assert '"service": "web"' in done.out
    assert "? restart: granted by user:bo\n" in done.out
    assert done.code == 0


async def test_with_json_a_question_is_on_stderr(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.ask()
    toy.finish()
    done = await jackline("tail", RUN, "--url", server.url, "--json")
    assert len(objects(done.out)) == 6
    assert f"jackline approve {CALL}" in done.err


async def test_approve_prints_the_state(server: Server, toy: Toy) -> None:
    done = await jackline("approve", CALL, "--args", '{"service": "db"}', "--url", server.url)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{CALL}: granted by user:ana\n")
    assert toy.decisions == [{"call_id": CALL, "approve": True, "args": {"service": "db"}}]


async def test_approve_settles_an_outcome(server: Server, toy: Toy) -> None:
    done = await jackline(
        "approve", CALL, "--outcome", "done", "--result", '"ok"', "--reason", "I looked", "--url", server.url
    )
    assert "answered" in done.out
    assert toy.decisions == [{"call_id": CALL, "outcome": "done", "result": "ok", "reason": "I looked"}]


async def test_deny_and_follow(server: Server, toy: Toy) -> None:
    def denied(decision: dict[str, Any]) -> None:
        toy.decided("denied", by="user:ana", reason=decision["reason"])
        toy.tool("denied")
        toy.finish()

    toy.begin()
    toy.ask()
    toy.on_decision = denied
    done = await jackline("deny", CALL, "--reason", "not now", "--follow", "--url", server.url)
    assert done.code == 0
    assert done.out.splitlines()[:2] == ["? restart: denied by user:ana: not now", "< restart denied"]


async def test_runs_are_listed(server: Server) -> None:
    page = {
        "runs": [
            {
                "run_id": RUN,
                "conversation_id": CONVERSATION,
                "state": "awaiting_approval",
                "agent": "demo",
                "updated_at": "2026-11-22T12:00:00.000Z",
                "title": "restart\x1b[2J web",
                "waiting_for": [CALL],
            }
        ],
        "next": "c2",
    }
    server.answer(reply(page))
    done = await jackline("runs", "--state", "awaiting_approval", "--limit", "1", "--url", server.url)
    assert done.out.splitlines() == [
        f"{RUN}  awaiting_approval  2026-11-22T12:00:00.000Z  demo",
        "    restart[2J web",
        f"    waits for: jackline approve {CALL} --url {server.url}",
    ]
    assert "--cursor c2" in done.err
    assert server.requests[0].query == {"state": "awaiting_approval", "limit": "1"}
    as_json = await jackline("runs", "--json", "--url", server.url)
    assert json.loads(as_json.out) == page


async def test_nothing_untrusted_reaches_the_terminal(server: Server, toy: Toy) -> None:
    """A model or a tool must not be able to repaint the screen, or make arguments read as others."""
    evil = "\x1b[2J\x1b]0;x\x07\x9b31m\r[bold]:smile:\u202e\u200b\ud800"
    toy.begin()
    toy.say(evil)
    toy.say("split \x1b")
    toy.say("[31m here\n")
    toy.tool("requested", f"df{evil}", args={"path": evil})
    toy.tool("finished", "df", result=f"ok\n? restart needs your approval{evil}")
    toy.ask(args={"path": "a\u202eb"}, name=f"restart{evil}")
    toy.decided("denied", reason=evil, by=evil)
    toy.workflow("failed", error={"type": evil, "message": evil})
    done = await jackline("tail", RUN, "--url", server.url)
    assert done.code == 1
    for forbidden in "\x1b\x07\x9b\r\u202e\u200b":
        assert forbidden not in done.out + done.err
    # Markup and emoji codes are text; what a person decides on shows what it hides.
    assert "[bold]:smile:" in done.out
    assert '"a\\u202eb"' in done.out
    # A result cannot pass for a line of the command's own.
    assert "\n? restart needs your approval[" not in done.out


async def test_what_is_said_again_is_announced(server: Server, toy: Toy) -> None:
    """G7: the boundary is visible."""
    toy.begin()
    toy.say("half a sen", "m1")
    toy.add("workflow", state="executing", attempt=2, reason="takeover", supersedes=["m1"])
    toy.say("Half a sentence.", "m2")
    toy.finish()
    done = await jackline("tail", RUN, "--url", server.url)
    assert done.out.splitlines()[3:7] == [
        "half a sen",
        "attempt 2: another worker took the run over",
        "what was being said above is void and will be said again",
        "Half a sentence.",
    ]


async def test_merged_tokens_are_one_text(server: Server) -> None:
    server.answer(
        stream(
            ready(),
            workflow(1, "queued"),
            token(4, "Hello, ", merged_from=2),
            token(5, "you."),
            workflow(6, "completed", output="Hello, you."),
            end_frame(6),
        )
    )
    done = await jackline("tail", RUN, "--url", server.url)
    assert done.out == f"run {RUN} queued\nHello, you.\ncompleted\n"


async def test_a_gap_is_said(server: Server) -> None:
    """G1: never silence."""
    transcript = [{"role": "assistant", "kind": "text", "text": "so far"}]
    server.answer(stream(ready(2), gap(3, 9, state="executing", transcript=transcript), end_frame(9)))
    done = await jackline("tail", RUN, "--after", "2", "--url", server.url)
    assert "entries 3 to 9 are gone; the run is executing" in done.err
    assert done.out == "so far\n"


async def test_an_outcome_that_is_not_known_is_a_question(server: Server, toy: Toy) -> None:
    """G6: a person decides."""
    toy.begin()
    toy.tool("unknown")
    toy.ask(kind="outcome", choices=["retry", "done", "abort"])
    toy.workflow("awaiting_approval")
    done = await jackline("tail", RUN, "--until-pause", "--url", server.url)
    assert "< restart: whether it had its effect is not known" in done.out
    assert f"answer with: jackline approve {CALL} --outcome retry|done|abort" in done.out


async def test_a_reader_that_leaves_is_no_crash(server: Server, toy: Toy) -> None:
    """G2"""
    toy.begin()
    for _ in range(2000):
        toy.say("x" * 200)
    toy.finish()
    shell = (
        'exec 3>&1; "$0" -m jackline tail "$1" --url "$2" 2>&3 | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}'
    )
    done = await anyio.run_process(["bash", "-c", shell, sys.executable, RUN, server.url], check=False)
    assert done.stdout.decode() == "141\n"


async def test_help_is_light() -> None:
    """`jackline --help` imports no server, no HTTP client and no rich."""
    code = (
        "import sys\n"
        "from jackline.cli import main\n"
        "assert not {m.split('.')[0] for m in sys.modules} & {'typer', 'rich'}\n"
        "sys.argv = ['jackline', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "loaded = {m.split('.')[0] for m in sys.modules}\n"
        "heavy = {'httpx2', 'pydantic', 'pydantic_ai', 'starlette', 'rich', 'anyio', 'msgspec', 'uvicorn'}\n"
        "print(sorted(loaded & heavy))\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code])
    assert done.stdout.decode().splitlines()[-1] == "[]"


async def test_a_client_command_imports_no_server(server: Server, toy: Toy) -> None:
    toy.begin()
    toy.finish()
    code = (
        "import sys\n"
        "from jackline.cli import main\n"
        f"sys.argv = ['jackline', 'tail', '{RUN}', '--url', '{server.url}']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "loaded = {m.split('.')[0] for m in sys.modules}\n"
        "print(sorted(loaded & {'pydantic_ai', 'pydantic_settings', 'starlette', 'uvicorn', 'mcp'}))\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code])
    assert done.stdout.decode().splitlines()[-1] == "[]"
