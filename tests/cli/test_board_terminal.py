"""`runs --watch` at a terminal that is its own, and a server that changes under it."""

from __future__ import annotations

import asyncio
import json
import signal
import termios
from typing import Any

import pytest

from jackline.sse import encode
from tests.cli.terminal import terminal
from tests.cli.test_board import Runs, leave, row
from tests.client.server import Connection, Request, Server

pytestmark = pytest.mark.anyio


def flags(file: int) -> tuple[bool, bool]:
    """Whether it shows what is typed, and gives it line by line."""
    modes: Any = termios.tcgetattr(file)[3]
    return bool(modes & termios.ECHO), bool(modes & termios.ICANON)


async def test_what_is_typed_leaves_no_traces_and_q_leaves(server: Server) -> None:
    runs = Runs([row(f"c{n}.1", "executing", 2) for n in range(4)])
    server.answer(runs.answer)
    async with terminal("runs", "--watch", "--url", server.url) as screen:
        await screen.until("c3.1")
        screen.type("x\n\n\x1b[A\ny")
        runs.page = [row("d.1", "executing", 1), *runs.page]
        runs.add("d.1", 1, state="executing")
        await screen.until("d.1")
        screen.type("q")
        assert await screen.end() == 130
        assert flags(screen.master) == (True, True)
    ids = [line.split()[2] for line in screen.shown if "executing" in line]
    assert ids == ["d.1", "c0.1", "c1.1", "c2.1", "c3.1"]
    assert not [line for line in screen.shown if line.strip() in {"x", "y", "xy"}]


async def test_a_signal_to_end_gives_the_terminal_back(server: Server) -> None:
    server.answer(Runs([row("a.1", "executing", 2)]).answer)
    async with terminal("runs", "--watch", "--url", server.url) as screen:
        await screen.until("a.1")
        screen.process.send_signal(signal.SIGTERM)
        assert await screen.end() == 143
        assert flags(screen.master) == (True, True)
        assert b"\x1b[?2004l" in screen.raw


async def test_in_a_narrow_window_ids_and_commands_are_whole(server: Server) -> None:
    """G5: what answers a question can be read and copied."""
    run_id = "conversation0123456789.1"
    waiting = row(run_id, "awaiting_approval", 4) | {"waiting_for": [f"{run_id}.1"]}

    async def answer(request: Request, connection: Connection) -> None:
        if request.path.endswith("/approvals"):
            await connection.json(200, {"approvals": [], "next": None})
        else:
            await runs.answer(request, connection)

    runs = Runs([waiting])
    server.answer(answer)
    async with terminal("runs", "--watch", columns=30, JACKLINE_URL=server.url) as screen:
        await screen.until(f"{run_id}.1")
        live = "".join(line.strip() for line in screen.shown)
        await leave(screen)
    assert f"  {run_id}" in [line.rstrip() for line in screen.shown]
    assert f"{run_id}.1" in live
    assert f"  jackline approve {run_id}.1" in "".join(line.ljust(30) for line in screen.shown)


class Replaced:
    """A server with the run a.1, and later one with another store."""

    def __init__(self, back: Runs) -> None:
        self.gone = asyncio.Event()
        self._back = back

    async def answer(self, request: Request, connection: Connection) -> None:
        if self.gone.is_set():
            if request.headers.get("last-event-id") == "x-7":
                errors = [{"field": "after", "detail": "begin without one"}]
                await connection.json(400, {"title": "Bad Request", "errors": errors})
            else:
                await self._back.answer(request, connection)
        elif request.path.endswith("/feed"):
            await connection.open_stream()
            ready = {"cursor": "x-7", "newest": "x-7"}
            await connection.frames(encode(event="ready", data=json.dumps(ready)))
            await self.gone.wait()
            connection.cut()
        else:
            await connection.json(200, {"runs": [row("a.1", "executing", 7)], "next": None})


@pytest.mark.parametrize("term", ["dumb", "xterm"])
async def test_a_server_with_another_store_is_begun_anew(server: Server, term: str) -> None:
    """G9: the watch goes on with what there is now."""
    replaced = Replaced(Runs([row("b.1", "executing", 1)]))
    server.answer(replaced.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=200, TERM=term) as screen:
        await screen.until("a.1")
        replaced.gone.set()
        await screen.until("another store")
        await screen.until("b.1")
        await leave(screen)


@pytest.mark.parametrize("term", ["dumb", "xterm"])
async def test_the_list_of_another_store_is_asked_for_until_it_comes(server: Server, term: str) -> None:
    """G9: a server that is only just back may open the feed before it can list; that is no end."""
    back = Runs([row("b.1", "executing", 1)])
    back.refusals = [(503, "starting")]
    replaced = Replaced(back)
    server.answer(replaced.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=200, TERM=term) as screen:
        await screen.until("a.1")
        replaced.gone.set()
        await screen.until("b.1")
        assert back.refusals == []
        await leave(screen)


async def test_a_store_that_is_older_hides_nothing_that_happens_in_it(server: Server) -> None:
    """G1: what was told of a run before a backup was put back is no reason to leave out what comes."""
    back = Runs([row("a.1", "executing", 2)])
    replaced = Replaced(back)
    server.answer(replaced.answer)
    async with terminal("runs", "--watch", "--url", server.url, columns=200, TERM="dumb") as screen:
        await screen.until("a.1 executing")
        replaced.gone.set()
        await screen.until("a.1 executing", times=2)
        back.add("a.1", 3, state="stopping")
        back.add("a.1", 4, state="stopped")
        await screen.until("a.1 stopped\n")
        await leave(screen)
    assert "a.1 stopping\n" in screen.text
