"""`jackline chat` without a message: run after run, and what stopping and leaving mean between them."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from jackline.sse import encode
from tests.cli.terminal import PATIENCE_S, Terminal, terminal
from tests.cli.toy import API
from tests.client.server import CONVERSATION, Connection, Request, Server

pytestmark = pytest.mark.anyio

MENU = "[s]top the run"
ENDED = ("completed", "stopped", "failed")
FIRST, SECOND = f"{CONVERSATION}.1", f"{CONVERSATION}.2"


@dataclass(kw_only=True)
class Runs:
    """A conversation's runs, each as its states; `held` keeps the answers to messages back until it is set,
    `refused` refuses them."""

    states: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    stops: list[str] = field(default_factory=list[str])
    said: list[str] = field(default_factory=list[str])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    refused: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, run_id: str, *states: str) -> None:
        self.states.setdefault(run_id, []).extend(states)
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request, connection: Connection) -> None:
        match request.path.removeprefix(API).split("/")[1:]:
            case ["agents"]:
                await connection.json(200, {"agents": []})
            case ["chat"]:
                await self._start(request, connection)
            case ["conversations", _]:
                await connection.json(200, {"runs": list(self._rows())})
            case ["runs"]:
                await connection.json(200, {"runs": list(self._rows())[::-1], "next": None})
            case ["runs", run_id, "stop"]:
                self.stops.append(run_id)
                await connection.json(202, {"run_id": run_id, "state": "stopping"})
                self.add(run_id, "stopped")
            case ["runs", run_id, "events"]:
                await self._stream(run_id, connection)
            case _:
                await connection.json(404, {"title": "Not Found"})

    def _rows(self) -> list[dict[str, Any]]:
        return [{"run_id": run_id, "state": states[-1]} for run_id, states in self.states.items()]

    async def _start(self, request: Request, connection: Connection) -> None:
        self.asked.set()
        await self.held.wait()
        if self.refused:
            await connection.json(422, {"title": "no", "detail": "not like this"})
            return
        self.said.append(request.json["messages"][0]["content"])
        run_id = f"{CONVERSATION}.{len(self.states) + 1}"
        busy = any(states[-1] not in ENDED for states in self.states.values())
        self.add(run_id, "queued", *(() if busy else ("executing",)))
        await connection.json(202, {"run_id": run_id, "conversation_id": CONVERSATION, "state": "queued"})

    async def _stream(self, run_id: str, connection: Connection) -> None:
        await connection.open_stream()
        ready = {"run_id": run_id, "conversation_id": CONVERSATION, "state": "queued", "seq": 0}
        await connection.frames(encode(event="ready", data=json.dumps(ready | {"protocol": "jackline/1"})))
        seq = 0
        while True:
            changed = self._changed
            for state in self.states[run_id][seq:]:
                seq += 1
                data = {"run_id": run_id, "seq": seq, "ts": "2026-11-22T12:00:00.000Z", "state": state}
                body = json.dumps(data | {"attempt": 1})
                await connection.frames(encode(event="workflow", data=body, id=str(seq)))
                if state in ENDED:
                    end = json.dumps({"run_id": run_id, "state": state, "seq": seq})
                    await connection.frames(encode(event="end", data=end))
                    await connection.end_stream()
                    return
            await changed.wait()


@pytest.fixture
async def runs(server: Server) -> Runs:
    made = Runs()
    made.held.set()
    server.answer(made.answer)
    return made


async def drawn(screen: Terminal, text: str) -> None:
    """Wait until a person sees this."""
    with anyio.fail_after(PATIENCE_S):
        while text not in screen.seen:
            await screen.more()


async def undrawn(screen: Terminal, text: str) -> None:
    """Wait until nobody sees this any more."""
    with anyio.fail_after(PATIENCE_S):
        while text in screen.seen:
            await screen.more()


async def test_a_stop_menu_ends_with_its_run_and_stops_no_other(server: Server, runs: Runs) -> None:
    """G4: `s` means the run that the menu was about, never the next one."""
    async with terminal("chat", "--url", server.url) as screen:
        await screen.until("a new conversation")
        screen.type("first\n")
        await screen.until("executing")
        screen.type("\x1b\x1b")
        await drawn(screen, MENU)
        runs.add(FIRST, "completed")
        await drawn(screen, "● completed")
        await undrawn(screen, MENU)
        screen.type("s\x15second\n")
        await screen.until(f"run {SECOND} queued")
        runs.add(SECOND, "completed")
        await screen.until("● completed", times=2)
        screen.type("\x04")
        assert await screen.end() in {0, 130}
    assert runs.stops == []
    assert runs.said == ["first", "second"]


async def test_the_menu_of_a_run_is_not_carried_over_to_the_one_that_is_queued(
    server: Server, runs: Runs
) -> None:
    """G4"""
    async with terminal("chat", "--url", server.url) as screen:
        await screen.until("a new conversation")
        screen.type("first\n")
        await screen.until("executing")
        screen.type("second\n")
        with anyio.fail_after(PATIENCE_S):
            while len(runs.said) < 2:
                await screen.more()
        screen.type("\x1b\x1b")
        await drawn(screen, MENU)
        runs.add(FIRST, "completed")
        await screen.until(f"run {SECOND} queued")
        await undrawn(screen, MENU)
        screen.type("\x1b\x1b")
        await drawn(screen, MENU)
        screen.type("s")
        await screen.until("● stopped")
        screen.type("\x04")
        await screen.end()
    assert runs.stops == [SECOND]


async def stop_while_asking(screen: Terminal, runs: Runs, message: str) -> None:
    """Ask for a stop before the server has answered the message."""
    await screen.until("a new conversation")
    screen.type(f"{message}\n")
    with anyio.fail_after(PATIENCE_S):
        await runs.asked.wait()
    screen.type("\x1b\x1b")
    await drawn(screen, MENU)
    screen.type("s")
    await screen.until("the stop is sent as soon as the run is known")


async def test_esc_twice_right_after_enter_stops_the_run_that_is_being_started(
    server: Server, runs: Runs
) -> None:
    """G4: before the server has answered the message the menu is there, and the stop follows the run."""
    runs.held.clear()
    async with terminal("chat", "--url", server.url) as screen:
        await stop_while_asking(screen, runs, "delete everything")
        runs.held.set()
        await screen.until("● stopped")
        assert runs.stops == [FIRST]
        screen.type("\x04")
        await screen.end()


async def test_a_stop_that_was_promised_is_sent_although_one_leaves(server: Server, runs: Runs) -> None:
    """G4: the run is known only after that."""
    runs.held.clear()
    async with terminal("chat", "--url", server.url) as screen:
        await stop_while_asking(screen, runs, "delete everything")
        screen.type("\x04")
        runs.held.set()
        await screen.until(f"the stop of run {FIRST} is sent")
        await screen.end()
    assert runs.stops == [FIRST]


async def test_a_stop_that_was_promised_is_sent_from_a_terminal_that_is_held(
    server: Server, runs: Runs
) -> None:
    """G4: Ctrl-S holds what is written, and no stop."""
    runs.held.clear()
    async with terminal("chat", "--url", server.url) as screen:
        await stop_while_asking(screen, runs, "delete everything")
        await screen.hold()
        screen.process.send_signal(signal.SIGTERM)
        runs.held.set()
        assert await screen.end() == 143
    assert runs.stops == [FIRST]


async def test_a_stop_for_a_message_that_was_refused_stops_no_later_run(server: Server, runs: Runs) -> None:
    """G4"""
    runs.held.clear()
    runs.refused = True
    async with terminal("chat", "--url", server.url) as screen:
        await stop_while_asking(screen, runs, "first")
        runs.held.set()
        await screen.until("not sent")
        runs.refused = False
        screen.type("\n")
        await screen.until("executing")
        runs.add(FIRST, "completed")
        await screen.until("● completed")
        screen.type("\x04")
        await screen.end()
    assert runs.stops == []


async def test_esc_at_an_idle_prompt_does_nothing_and_the_draft_stays(server: Server, runs: Runs) -> None:
    async with terminal("chat", "--url", server.url) as screen:
        await screen.until("a new conversation")
        screen.type("a long draft")
        await drawn(screen, "> a long draft")
        screen.type("\x1b\x1b")
        screen.type("\x1b[D\x1b[C indeed\n")
        await screen.until("executing")
        runs.add(FIRST, "completed")
        await screen.until("● completed")
        screen.type("\x04")
        await screen.end()
    assert runs.said == ["a long draft indeed"]


async def test_a_conversation_that_is_come_back_to_shows_what_is_active_there(
    server: Server, runs: Runs
) -> None:
    """G2: and it can be stopped; what waits behind it follows."""
    runs.add(f"{CONVERSATION}.0", "queued", "completed")
    runs.add(FIRST, "queued", "executing")
    runs.add(SECOND, "queued")
    async with terminal("chat", "--conversation", CONVERSATION, "--url", server.url) as screen:
        await screen.until(f"conversation {CONVERSATION}, 3 runs so far")
        await screen.until(f"run {FIRST} queued")
        await screen.until("executing")
        screen.type("\x1b\x1b")
        await drawn(screen, MENU)
        screen.type("s")
        await screen.until(f"run {SECOND} queued")
        runs.add(SECOND, "completed")
        await screen.until("● completed")
        screen.type("\x04")
        await screen.end()
    assert runs.stops == [FIRST]
    assert f"run {CONVERSATION}.0" not in screen.seen


async def test_a_conversation_of_one_run_is_told_so(server: Server, runs: Runs) -> None:
    runs.add(FIRST, "queued", "completed")
    async with terminal("chat", "--conversation", CONVERSATION, "--url", server.url) as screen:
        await screen.until(f"conversation {CONVERSATION}, 1 run so far")
        screen.type("\x04")
        assert await screen.end() == 0


async def test_who_leaves_is_told_of_every_run_that_goes_on(server: Server, runs: Runs) -> None:
    """G2: also of one that waits its turn, and of one whose message was not answered yet."""
    async with terminal("chat", "--url", server.url, columns=120) as screen:
        await screen.until("a new conversation")
        screen.type("first\n")
        await screen.until("executing")
        runs.held.clear()
        runs.asked.clear()
        screen.type("second\n")
        with anyio.fail_after(PATIENCE_S):
            await runs.asked.wait()
        runs.held.set()
        screen.type("\x04")
        assert await screen.end() == 130
    assert f"come back with: jackline tail {FIRST}" in screen.seen
    assert f"run {SECOND} goes on; watch it with: jackline tail {SECOND}" in screen.seen
