"""The list of runs that is watched: which changes are told, each once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from jackline.cli.running import ENDLESS
from jackline.client.api import Client
from jackline.client.feed import FeedReady
from jackline.client.frames import Entry
from jackline.sse import encode
from tests.cli.terminal import Terminal, jackline, terminal
from tests.client.server import Connection, Request, Server, problem, serving

pytestmark = pytest.mark.anyio

CTRL_C = "\x03"
WIDE = 200
DAY_S = 86_400


class Runs:
    """A server with a list and a feed. `pages` answers each question for the list."""

    def __init__(self, page: list[dict[str, Any]]) -> None:
        self.page = page
        self.refusals: list[tuple[int, str]] = []
        self.entries: list[bytes] = []
        self.dropped = 0
        self._changed = asyncio.Event()

    def add(self, run_id: str, seq: int, event: str = "workflow", **data: Any) -> None:
        body = {"run_id": run_id, "seq": seq, "ts": "2026-11-22T12:00:00.000Z", **data}
        self.entries.append(encode(event=event, data=json.dumps(body), id=str(len(self.entries) + 1)))
        self.wake()

    def gap(self) -> None:
        """What came before is gone."""
        self.entries.append(
            encode(event="gap", data=json.dumps({"from": "0", "to": str(len(self.entries) + 1)}))
        )
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request, connection: Connection) -> None:
        if not request.path.endswith("/feed"):
            if self.refusals:
                status, title = self.refusals.pop(0)
                # Longer than anybody waits for one answer: it counts as away.
                await connection.json(status, {"title": title}, Retry_After="3600")
                return
            await connection.json(200, {"runs": self.page, "next": None})
            return
        after = request.headers.get("last-event-id", "now")
        at = int(after) if after.isdigit() else len(self.entries)
        await connection.open_stream()
        ready = {"cursor": str(at), "newest": str(len(self.entries)), "protocol": "jackline/1"}
        await connection.frames(encode(event="ready", data=json.dumps(ready)))
        while True:
            changed = self._changed
            for frame in self.entries[at:]:
                await connection.frames(frame)
            at = len(self.entries)
            await changed.wait()


def row(run_id: str, state: str, seq: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "conversation_id": run_id.partition(".")[0],
        "state": state,
        "seq": seq,
        "updated_at": "2026-11-22T12:00:00Z",
        "title": run_id,
        "waiting_for": [],
    }


def told(screen: Terminal) -> list[str]:
    """The lines without their times."""
    return [line.partition("Z ")[2] for line in screen.text.splitlines() if "Z " in line]


async def leave(screen: Terminal) -> None:
    screen.type(CTRL_C)
    assert await screen.end() == 130


async def test_a_list_that_is_ahead_of_the_feed_swallows_no_change(server: Server) -> None:
    """G1: the list may know more of a run than the feed has told; its entries are told all the same."""
    runs = Runs([])
    server.answer(runs.answer)
    command = ("runs", "--watch", "--conversation", "a", "--url", server.url)
    async with terminal(*command, columns=WIDE, TERM="dumb") as screen:
        await listening(server)
        runs.page = [row("a.1", "completed", 9)]
        runs.add("b.1", 1, state="queued")
        runs.add("a.1", 1, state="queued")
        runs.add("a.1", 2, state="executing")
        runs.add("a.1", 9, state="completed")
        await screen.until("a.1 completed\n")
        await leave(screen)
    assert told(screen) == ["a.1 queued", "a.1 executing", "a.1 completed"]


async def test_a_list_of_one_state_tells_who_comes_and_who_goes(server: Server) -> None:
    runs = Runs([row("a.1", "executing", 2)])
    server.answer(runs.answer)
    command = ("runs", "--watch", "--state", "executing", "--url", server.url)
    async with terminal(*command, columns=WIDE, TERM="dumb") as screen:
        await screen.until("a.1 executing")
        runs.add("b.1", 1, state="queued")
        runs.add("a.1", 2, state="executing")
        runs.add("a.1", 3, state="completed")
        runs.add("b.1", 2, state="executing")
        await screen.until("b.1 executing\n")
        await leave(screen)
    assert told(screen) == ["a.1 executing a.1", "a.1 completed", "b.1 executing"]


async def test_a_list_of_what_waits_tells_what_for(server: Server) -> None:
    """G5: the question comes before the state that it leads to, and the command that answers with it."""
    runs = Runs([])
    server.answer(runs.answer)
    command = ("runs", "--watch", "--state", "awaiting_approval", "--url", server.url)
    async with terminal(*command, columns=WIDE, TERM="dumb") as screen:
        await listening(server)
        runs.add("a.1", 2, state="executing")
        runs.add("a.1", 3, "approval", call_id="a.1.1", name="rm", state="pending", round=1)
        runs.add("a.1", 4, state="awaiting_approval")
        runs.add("a.1", 5, "approval", call_id="a.1.1", name="rm", state="granted", by="bo", round=1)
        runs.add("a.1", 6, state="executing")
        runs.add("a.1", 7, state="completed")
        runs.add("b.1", 3, "approval", call_id="b.1.1", name="rm", state="pending", round=1)
        await screen.until(f"b.1.1 --url {server.url}\n")
        await leave(screen)
    assert told(screen) == [
        f"a.1 asks for rm: jackline approve a.1.1 --url {server.url}",
        "a.1 awaiting_approval",
        "a.1 rm (a.1.1) granted by bo",
        "a.1 executing",
        f"b.1 asks for rm: jackline approve b.1.1 --url {server.url}",
    ]


@pytest.mark.parametrize("term", ["dumb", "xterm"])
async def test_a_list_that_cannot_be_had_now_is_asked_for_again(server: Server, term: str) -> None:
    """G1: a server that goes away between a change and the list ends no watch."""
    runs = Runs([row("a.1", "executing", 2)])
    server.answer(runs.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=WIDE, TERM=term) as screen:
        await screen.until("a.1")
        runs.refusals = [(503, "starting")]
        runs.page = [row("b.1", "executing", 1), row("a.1", "completed", 3)]
        if term == "dumb":
            runs.gap()
        else:
            runs.add("b.1", 1, state="executing")
        await screen.until("b.1")
        assert runs.refusals == []
        await leave(screen)
    assert "completed" in screen.text


async def test_the_list_stays_when_it_is_left(server: Server) -> None:
    runs = Runs([row("a.1", "awaiting_approval", 2), row("b.1", "completed", 4)])
    server.answer(runs.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=WIDE) as screen:
        await screen.until("Ctrl-C leaves")
        await leave(screen)
    assert [line.split()[2] for line in screen.shown[:1]] == ["approval"]
    assert [name for name in ("a.1", "b.1") if screen.seen.count(f"  {name}  ") != 1] == []


async def test_a_key_that_is_taken_away_ends_the_watch_with_one_line(server: Server) -> None:
    """G11: not a list that stands still."""
    runs = Runs([row("a.1", "executing", 2)])
    server.answer(runs.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=WIDE) as screen:
        await screen.until("a.1")
        runs.refusals = [(401, "gone")]
        runs.add("a.1", 3, state="completed")
        assert await screen.end() == 1
    assert "JACKLINE_TOKEN" in screen.shown[-1]


async def test_who_watches_waits_for_the_server_for_days() -> None:
    """G1: what has no end of its own is not given up, not for a stream that has not begun yet either."""
    now = [1000.0]
    async with serving() as server:
        runs = Runs([])
        server.answer(runs.answer, problem(503), problem(503), runs.answer)
        ahead: Callable[[], float] = lambda: now[0]  # noqa: E731
        async with Client(server.url, pace=ENDLESS, clock=ahead) as client:
            assert await client.runs() == {"runs": [], "next": None}
            failures: list[str] = []

            def later(phase: str, reason: str) -> None:
                failures.append(reason) if reason else None
                now[0] += 3 * DAY_S

            async with client.feed(after="now", on_state=later) as feed:
                frame = await anext(feed)
                assert isinstance(frame, FeedReady)
                assert len(failures) == 2
                runs.add("a.1", 1, state="queued")
                assert isinstance(await anext(feed), Entry)


async def test_whoever_reads_the_list_may_go_while_nothing_happens(server: Server) -> None:
    """`runs --watch | head -1` ends with head, and not with the next change."""
    runs = Runs([row("a.1", "executing", 2)])
    server.answer(runs.answer)
    await ends_with_head(server.url, "runs", "--watch")


async def ends_with_head(url: str, *command: str) -> None:
    import sys

    import anyio

    from tests.cli.terminal import PATIENCE_S, environment

    line = '"$0" -m jackline "$@" | head -1; echo "${PIPESTATUS[0]}"'
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            ["bash", "-c", line, sys.executable, *command, "--url", url], env=environment()
        )
    first, code = done.stdout.decode().splitlines()
    assert (bool(first), code, done.stderr) == (True, "141", b"")


async def listening(server: Server) -> None:
    """The feed is open and the list was asked for."""
    from tests.support.processes import eventually_async

    async def both() -> bool:
        paths = [request.path.rpartition("/")[2] for request in server.requests]
        return "feed" in paths and "runs" in paths

    await eventually_async(both, what="the list is asked for")


async def test_a_beginning_among_more_runs_than_a_page_is_said_to_be_unclear(server: Server) -> None:
    """Nothing is stopped by a guess, and what is said is true."""

    async def answer(request: Request, connection: Connection) -> None:
        assert request.method == "GET"
        await connection.json(200, {"runs": [row("abc.1", "executing", 2)], "next": "more"})

    server.answer(answer)
    for name, words in (("ab", "give the whole id"), ("zz", "older ones need the whole id")):
        done = await jackline("stop", name, "--url", server.url)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert words in done.err
