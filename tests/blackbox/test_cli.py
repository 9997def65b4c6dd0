"""The command line against a real server: what a person types, sees, and can rely on in a script."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.blackbox.transcript import logged
from tests.cli.terminal import PATIENCE_S, Terminal, environment, jackline, terminal
from tests.support.processes import HOST, eventually_async, free_port, serve

pytestmark = pytest.mark.anyio

CTRL_C = "\x03"
JSON_SECTION = (
    (Path(__file__).parents[2] / "docs" / "cli.md").read_text().partition("### JSON")[2].partition("\n## ")[0]
)
NARROW = 40
WIDE = 200


def lines(out: str) -> list[dict[str, Any]]:
    """The frames that `--json` printed."""
    return [json.loads(line) for line in out.splitlines()]


def asking(path: str) -> str:
    """A prompt: something to say, a call to be approved, its check."""
    return steps({"say": "I look. ", **call("delete", path=path)}, call("check", path=path))


def run_of(screen: Terminal) -> str:
    """The run that the terminal shows."""
    found = re.search(r"run (\S+) queued", screen.text)
    assert found is not None, screen.text
    return found[1]


async def test_serve_says_where_it_is_what_it_has_and_what_to_type(demo: World) -> None:
    """One look tells the address, the store, the model and the next command."""
    said = demo.server.log()
    assert f"Jackline on {demo.server.url}" in said
    assert f"SQLite {demo.server.data_dir}" in said
    assert "demo (scripted, no language model" in said
    (typed,) = re.findall(r"^  jackline (chat .*)$", said, re.MULTILINE)
    command = re.fullmatch(r'chat --url (\S+) "(.+)"', typed)
    assert command is not None
    done = await jackline("chat", "--url", command[1], command[2])
    assert (done.code, done.err) == (0, "")
    assert "host_overview" in done.out
    assert "completed" in done.out


async def test_yes_at_the_terminal_runs_the_call(embedded: World) -> None:
    """G5: narration, the call with its arguments, the question, the result, its check, the end."""
    async with terminal("chat", asking("/cli-yes"), "--url", embedded.server.url) as screen:
        await screen.until("approve delete?")
        assert "delete /cli-yes" not in embedded.effects
        screen.type("y\n")
        assert await screen.end() == 0
    text = screen.text
    parts = [
        "queued",
        "I look.",
        "delete needs your approval",
        "the run waits for an approval",
        "? delete: granted by local",
        "delete  path=/cli-yes",
        "deleted /cli-yes",
        "check  path=/cli-yes",
        "/cli-yes is gone",
        "completed",
    ]
    assert [part for part in parts if part not in text] == []
    assert [text.index(part) for part in parts[:4]] == sorted(text.index(part) for part in parts[:4])
    assert embedded.effects.count("delete /cli-yes") == 1


async def test_no_at_the_terminal_runs_nothing(embedded: World) -> None:
    """G5: with the reason, which the log keeps."""
    async with terminal("chat", asking("/cli-no"), "--url", embedded.server.url) as screen:
        await screen.until("approve delete?")
        screen.type("n far too risky\n")
        assert await screen.end() == 0
    assert "? delete: denied by local: far too risky" in screen.text
    assert "delete /cli-no" not in embedded.effects
    log = embedded.api.log(run_of(screen))
    (answer,) = [entry for entry in log if "round" in entry and entry["state"] == "denied"]
    assert answer["reason"] == "far too risky"


async def test_edited_arguments_are_checked_and_executed(embedded: World) -> None:
    """G5: what does not fit the tool is refused and asked again; what fits is what runs."""
    async with terminal("chat", asking("/cli-typo"), "--url", embedded.server.url) as screen:
        await screen.until("approve delete?")
        screen.type("e\n")
        await screen.until("arguments as one JSON object")
        screen.type('{"path": 7}\n')
        await screen.until("with these arguments?")
        screen.type("y\n")
        await screen.until("refused (422): args.path")
        await screen.until("with these arguments?", times=2)
        screen.type("e\n")
        await screen.until("arguments as one JSON object", times=2)
        screen.type('{"path": "/cli-edited"}\n')
        await screen.until("with these arguments?", times=3)
        screen.type("y\n")
        assert await screen.end() == 0
    assert "deleted /cli-edited" in screen.text
    assert [line for line in embedded.effects if "/cli-" in line and line.startswith("delete /cli-e")] == [
        "delete /cli-edited"
    ]
    assert "delete /cli-typo" not in embedded.effects


async def test_ctrl_c_leaves_the_run_running_and_says_how_to_come_back(
    embedded: World, tmp_path: Path
) -> None:
    """G2: the printed command shows the rest, and nothing twice."""
    gate = f"cli-{tmp_path.name}"
    prompt = steps({"say": "before ", "gate": gate, **call("note", text="cli-after")})
    async with terminal("chat", prompt, "--url", embedded.server.url) as screen:
        await screen.until("before")
        screen.type(CTRL_C)
        await screen.until("[l]eave it running")
        screen.type("l\n")
        assert await screen.end() == 130
    run_id = run_of(screen)
    assert f"run {run_id} goes on" in screen.text
    back = re.search(
        r"come back with: jackline tail (\S+)((?: --\S+ [^\s\]]+)*)", " ".join(screen.text.split())
    )
    assert back is not None, screen.text
    assert back[1] == run_id
    embedded.open_gate(gate)
    assert embedded.api.ended(run_id)["state"] == "completed"
    rest = await jackline("tail", back[1], *back[2].split(), "--url", embedded.server.url)
    assert rest.code == 0
    assert "noted cli-after" in rest.out
    assert "before" not in rest.out
    again = await jackline("tail", run_id, "--url", embedded.server.url)
    assert again.out.count("before") >= 1
    assert again.code == 0


async def model_asked(world: World, before: int) -> bool:
    return world.effects.count("model") > before


async def test_ctrl_c_stops_the_run_where_that_is_wanted(embedded: World) -> None:
    """G4: the receipt stands on the same screen."""
    asked = embedded.effects.count("model")
    async with terminal("chat", steps({"silent": 1000}), "--url", embedded.server.url) as screen:
        await screen.until("executing")
        await eventually_async(lambda: model_asked(embedded, asked), what="the model is asked")
        screen.type(CTRL_C)
        await screen.until("[s]top the run")
        screen.type("s\n")
        assert await screen.end() == 3
    assert "stop asked for by local; quiet" in screen.text
    assert "the model's stream was closed" in screen.text


async def test_json_is_the_log_as_it_is_on_the_wire(embedded: World) -> None:
    """G1: one object per line, the ids of the log, its entries unchanged."""
    done = await jackline("chat", "hello there", "--json", "--url", embedded.server.url)
    assert (done.code, done.err) == (0, "")
    frames = lines(done.out)
    assert (frames[0]["event"], frames[-1]["event"]) == ("ready", "end")
    run_id = frames[0]["data"]["run_id"]
    entries = [(frame["id"], frame["event"], frame["data"]) for frame in frames if "id" in frame]
    assert entries == logged(embedded.api, run_id)
    after = await jackline("tail", run_id, "--after", "3", "--json", "--url", embedded.server.url)
    resumed = [(frame["id"], frame["event"], frame["data"]) for frame in lines(after.out) if "id" in frame]
    assert resumed == entries[3:]


async def test_exit_codes_say_how_it_ended(embedded: World) -> None:
    """0 completed, 1 failed, 2 usage, 3 stopped, 4 not reachable."""
    url = embedded.server.url
    codes = {
        0: ["chat", "hello", "--url", url],
        1: ["chat", steps({"fail": 400}), "--url", url],
        2: ["chat", "--url", url],
        4: ["chat", "hello", "--url", f"http://{HOST}:{free_port()}"],
    }
    for code, command in codes.items():
        done = await jackline(*command)
        assert done.code == code, done
        assert "Traceback" not in done.err
    run_id = embedded.api.start(steps({"silent": 1000}))
    embedded.api.stop(run_id)
    assert (await jackline("tail", run_id, "--url", url)).code == 3
    unknown = await jackline("tail", "aaaaaaaaaaaaaaaaaaaa.1", "--url", url)
    assert unknown.code == 1
    assert unknown.err.count("\n") == 1
    assert "not found" in unknown.err
    agent = await jackline("chat", "x", "--agent", "nobody", "--url", url)
    assert (agent.code, "agent" in agent.err) == (2, True)


async def test_a_narrow_terminal_breaks_no_id(embedded: World) -> None:
    """Everything fits 40 columns, and what is to be copied stays in one piece."""
    prompt = asking("/cli-" + "narrow-" * 20)
    async with terminal("chat", prompt, "--url", embedded.server.url, columns=NARROW) as screen:
        await screen.until("approve delete?")
        screen.type(CTRL_C)
        await screen.until("[l]eave")
        screen.type("l\n")
        assert await screen.end() == 130
    run_id = run_of(screen)
    # Twice: when it was queued, and in the command to come back with.
    assert screen.text.count(run_id) >= 2
    listed = await jackline("runs", "--url", embedded.server.url, COLUMNS=str(NARROW))
    assert f"jackline approve {run_id}.1" in listed.out
    assert embedded.api.stop(run_id, wait=30).json()["state"] == "stopped"


async def test_stop_prints_the_receipt_in_words(embedded: World) -> None:
    """G4: who asked, how soon it was quiet, and what became of each call."""
    api = embedded.api
    prompt = steps({"calls": [["note", {"text": "cli-first"}], ["slow", {"seconds": 1000}]]})
    run_id = api.start(prompt)
    api.until_tool(run_id, "note", "finished")
    api.until_tool(run_id, "slow", "started")
    url = embedded.server.url
    done = await jackline("stop", run_id, "--wait", "30", "--reason", "enough", "--url", url)
    assert (done.code, done.err) == (0, "")
    assert f"run {run_id} stopped" in done.out
    assert re.search(r"stop asked for by local; quiet [\d.]+ m?s later", done.out)
    assert f"note ({run_id}.1) had finished before the stop" in done.out
    assert f"slow ({run_id}.2) was cancelled" in done.out
    again = await jackline("stop", run_id, "--json", "--url", url)
    assert json.loads(again.out)["state"] == "stopped"
    assert api.snapshot(run_id)["stop"]["reason"] == "enough"


async def test_runs_approve_and_deny_from_another_terminal(embedded: World) -> None:
    """G5: who was not there finds what waits, decides it, and a late other answer is told who did."""
    api, url = embedded.api, embedded.server.url
    first, second = (api.start(asking(f"/cli-{name}")) for name in ("approved", "denied"))
    for run_id in (first, second):
        api.until(run_id, "awaiting_approval")
    listed = await jackline("runs", "--state", "awaiting_approval", "--url", url)
    for run_id in (first, second):
        assert f"jackline approve {run_id}.1" in listed.out
    approved = await jackline("approve", f"{first}.1", "--url", url)
    assert (approved.code, approved.err) == (0, "")
    assert "granted by local" in approved.out
    denied = await jackline("deny", f"{second}.1", "--reason", "no", "--follow", "--url", url)
    assert denied.code == 0
    assert "denied by local: no" in denied.out
    assert "completed" in denied.out
    assert api.ended(first)["state"] == "completed"
    assert embedded.effects.count("delete /cli-approved") == 1
    assert "delete /cli-denied" not in embedded.effects
    late = await jackline("deny", f"{first}.1", "--url", url)
    assert late.code == 1
    assert "already granted by local" in late.err
    page = await jackline("runs", "--json", "--limit", "2", "--url", url)
    assert [run["run_id"] for run in json.loads(page.out)["runs"]] == [second, first]


# -- lists and conversations ------------------------------------------------------------------------


async def test_what_json_prints_has_the_documented_members(embedded: World) -> None:
    """docs/cli.md says the shapes; these are what the commands print."""
    api, url = embedded.api, embedded.server.url
    documented = dict(re.findall(r"^\| (`[a-z].*?) \| (.+) \|$", JSON_SECTION, re.MULTILINE))
    run_id = api.start(asking("/cli-json"))
    api.until(run_id, "awaiting_approval")
    listed = json.loads((await jackline("runs", "--json", "--url", url)).out)
    assert set(listed) == set(re.findall(r'"(\w+)"', documented["`runs`"]))
    opened = json.loads((await jackline("open", run_id, "--json", "--url", url)).out)
    assert set(opened) == set(re.findall(r'"(\w+)"', documented["`open`"]))
    denied = json.loads((await jackline("deny", f"{run_id}.1", "--json", "--url", url)).out)
    assert set(denied) == set(re.findall(r'"(\w+)"', documented["`approve`, `deny`"]))
    api.ended(run_id)
    frames = lines((await jackline("tail", run_id, "--json", "--url", url)).out)
    events = {frame["event"] for frame in frames}
    assert events <= set(re.findall(r"`(\w+)`", documented[next(key for key in documented if "tail" in key)]))
    assert {*frames[1]} == {"event", "id", "data"}
    stopped = json.loads((await jackline("stop", run_id, "--json", "--url", url)).out)
    assert set(stopped) <= {"run_id", "state", "receipt"}
    deleted = json.loads((await jackline("delete", run_id, "--yes", "--json", "--url", url)).out)
    assert deleted == {"deleted": run_id}


async def test_a_list_that_is_watched_says_what_changes(embedded: World, tmp_path: Path) -> None:
    """Piped: a line for each run, then one for each change, questions with the command that answers."""
    api, url = embedded.api, embedded.server.url
    before = api.start("hello")
    api.ended(before)
    async with terminal("runs", "--watch", "--url", url, columns=200, TERM="dumb") as screen:
        await screen.until(f"{before} completed")
        run_id = api.start(asking("/cli-watched"))
        await screen.until(f"{run_id} asks for delete: jackline approve {run_id}.1")
        await screen.until(f"{run_id} awaiting_approval")
        await jackline("approve", f"{run_id}.1", "--url", url)
        await screen.until(f"delete ({run_id}.1) granted by local")
        await screen.until(f"{run_id} completed")
        screen.type(CTRL_C)
        assert await screen.end() == 130
    assert screen.text.count(f"{run_id} queued") == 1
    assert screen.text.count(f"{run_id} completed") == 1


async def test_what_waits_for_a_person_is_on_top_of_the_live_list(embedded: World) -> None:
    api, url = embedded.api, embedded.server.url
    async with terminal("runs", "--watch", "--url", url, columns=100, rows=12) as screen:
        await screen.until("waiting for you")
        run_id = api.start(asking("/cli-board"))
        later = api.start("hello")
        await screen.until(f"jackline approve {run_id}.1")
        await screen.until(f"completed  {later}")
        shown = screen.shown
        asked = next(at for at, line in enumerate(shown) if run_id in line)
        assert asked < next(at for at, line in enumerate(shown) if later in line)
        await jackline("deny", f"{run_id}.1", "--url", url)
        await screen.until(f"completed  {run_id}")
        screen.type(CTRL_C)
        assert await screen.end() == 130


async def test_tail_f_goes_on_with_the_conversations_next_run(embedded: World) -> None:
    """As `tail -f` does: what comes is shown until it is left."""
    api, url = embedded.api, embedded.server.url
    first = api.start("hello one")
    api.ended(first)
    conversation = first.rpartition(".")[0]
    async with terminal("tail", "-f", first, "--url", url, TERM="dumb") as screen:
        await screen.until("completed")
        done = await jackline("chat", "hello two", "--conversation", conversation, "--url", url)
        assert done.code == 0
        await screen.until(f"run {conversation}.2 queued")
        await screen.until("completed", times=2)
        screen.type(CTRL_C)
        assert await screen.end() == 0


async def test_a_beginning_can_be_asked_for(embedded: World) -> None:
    api, url = embedded.api, embedded.server.url
    run_id = api.start("hello")
    api.ended(run_id)
    whole = [
        frame["id"]
        for frame in lines((await jackline("tail", run_id, "--json", "--url", url)).out)
        if "id" in frame
    ]

    async def ids(*args: str) -> list[str]:
        done = await jackline("tail", run_id, *args, "--json", "--url", url)
        return [frame["id"] for frame in lines(done.out) if "id" in frame]

    assert await ids("--lines", "2") == whole[-2:]
    assert await ids("--since", "3") == whole[2:]
    assert await ids("--since", "1h") == whole
    assert await ids("--since", "2999-01-01T00:00Z") == []
    wrong = await jackline("tail", run_id, "--since", "soon", "--url", url)
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "neither a span" in wrong.err


async def test_a_conversation_is_talked_in(embedded: World) -> None:
    """Follow-ups go to the same conversation; Ctrl-D leaves."""
    async with terminal("chat", "--url", embedded.server.url) as screen:
        await screen.until("a new conversation")
        screen.type("hello first\n")
        await screen.until(" queued\n")
        first = run_of(screen)
        await screen.until("● completed")
        screen.type("hello second\n")
        conversation = first.rpartition(".")[0]
        await screen.until(f"run {conversation}.2 queued")
        await screen.until("● completed", times=2)
        screen.type("\x04")
        assert await screen.end() == 0
    assert embedded.api.ended(f"{conversation}.2")["state"] == "completed"


async def test_the_beginning_of_an_id_is_enough_where_it_is_clear(embedded: World) -> None:
    """And where it is not, nothing is stopped."""
    api, url = embedded.api, embedded.server.url
    run_id = api.start(steps({"silent": 1000}))
    done = await jackline("stop", run_id[:12], "--wait", "30", "--url", url)
    assert f"run {run_id} stopped" in done.out
    unknown = await jackline("stop", "zzzzzzzzzz", "--url", url)
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "no run begins with zzzzzzzzzz" in unknown.err


async def test_the_page_of_an_id_is_opened_or_told(embedded: World) -> None:
    api, url = embedded.api, embedded.server.url
    run_id = api.start("hello")
    conversation = run_id.rpartition(".")[0]
    for name, place in (
        ([], "/"),
        ([run_id], f"/#/runs/{run_id}"),
        ([f"{run_id}.1"], f"/#/runs/{run_id}"),
        ([conversation], f"/#/conversations/{conversation}"),
    ):
        done = await jackline("open", *name, "--print", "--url", url)
        assert (done.code, done.out, done.err) == (0, f"{url}{place}\n", "")
    unknown = await jackline("open", "aaaaaaaaaaaaaaaaaaaa.1", "--url", url)
    assert (unknown.code, "jackline runs" in unknown.err) == (1, True)


async def test_two_terminals_that_approve_one_call_run_it_once(embedded: World) -> None:
    """G5: both are told what was decided, and by whom; neither asks on."""
    url, path = embedded.server.url, "/cli-both"
    async with (
        terminal("chat", asking(path), "--url", url, columns=120) as first,
        terminal("runs", "--watch", "--url", url, columns=WIDE, TERM="dumb") as board,
    ):
        await first.until("approve delete?")
        run_id = run_of(first)
        await board.until(f"{run_id} awaiting_approval")
        # The second answers the same call in the same moment.
        first.type("y\n")
        second = await jackline("approve", f"{run_id}.1", "--follow", "--url", url)
        assert await first.end() == 0
        await board.until(f"{run_id} completed")
        board.type(CTRL_C)
        assert await board.end() == 130
    assert second.code == 0 or "already granted by local" in second.err
    assert "Traceback" not in second.err + first.text
    assert embedded.effects.count(f"delete {path}") == 1
    assert first.text.count("? delete: granted by local") == 1
    assert board.text.count(f"delete ({run_id}.1) granted by local") == 1


async def test_what_is_watched_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    """G1: a list, a conversation, and a talk over a kill -9 and a restart: nothing twice, nothing missing."""
    with serve(tmp_path) as server:
        url = server.url
        async with (
            terminal("runs", "--watch", "--url", url, columns=WIDE, TERM="dumb") as board,
            terminal("runs", "--watch", "--url", url, columns=WIDE) as painted,
            terminal("chat", "--url", url, columns=120) as talk,
            terminal("tail", "-f", "--url", url, columns=WIDE, TERM="dumb") as tail,
        ):
            await talk.until("a new conversation")
            await painted.until("Ctrl-C leaves")
            talk.type("hello first\n")
            await talk.until(" queued\n")
            first = run_of(talk)
            second = f"{first.rpartition('.')[0]}.2"
            for screen in (board, tail):
                await screen.until("completed")
            server.kill()
            await board.until("connection lost")
            await tail.until("trying again")  # whether it had begun to wait for the next run, or was about to
            await painted.until("connection lost")
            server.restart()
            await board.until("connected again")
            talk.type("hello second\n")
            await board.until(f"{second} completed\n")
            await tail.until("completed", times=2)
            await painted.until(f"completed  {second}")
            await talk.until("● completed", times=2)
            for screen in (board, painted, tail):
                screen.type(CTRL_C)
                await screen.end()
            talk.type("\x04")
            assert await talk.end() == 0
    changes = [line.partition("Z ")[2].split()[:2] for line in board.text.splitlines() if "Z " in line]
    states = ("queued", "executing", "completed")
    assert changes == [[run_id, state] for run_id in (first, second) for state in states]
    for run_id in (first, second):
        assert tail.text.count(f"run {run_id} queued") == 1


@pytest.mark.parametrize("command", [("tail",), ("tail", "--json"), ("runs", "--watch")])
async def test_a_reader_that_has_enough_ends_the_command(embedded: World, command: tuple[str, ...]) -> None:
    """`| head -3`: at once, also where nothing more is written, and without a word."""
    embedded.api.ended(embedded.api.start("hello"))
    run_id = embedded.api.start(steps({"say": "one two three", **call("delete", path="/cli-head")}))
    embedded.api.until(run_id, "awaiting_approval")
    name = [run_id] if command[0] == "tail" else []
    lines = 'set -- "$0" -m jackline "$@"; "$@" | head -3; echo "${PIPESTATUS[0]}"'
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            ["bash", "-c", lines, sys.executable, *command, *name, "--url", embedded.server.url],
            env=environment(),
        )
    *_, code = done.stdout.decode().splitlines()
    assert code == "141"
    # With --json how to answer is said on stderr; nothing else is.
    assert [
        line for line in done.stderr.splitlines() if b"jackline approve" not in line and b" or: " not in line
    ] == []
    assert embedded.api.stop(run_id, wait=30).json()["state"] == "stopped"
