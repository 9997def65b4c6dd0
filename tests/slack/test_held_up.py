"""A run that nobody works on says so, once that is no passing moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from aiohttp import web

from jackline.client.api import Client
from jackline.slack.gates import Gates
from jackline.slack.ledger import Ledger, Thread
from jackline.slack.speaker import Mouth
from jackline.slack.teller import Teller
from jackline.slack.web import SlackWeb
from tests.blackbox.api import steps
from tests.blackbox.conftest import World
from tests.slack.bridge import BridgeProcess
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of
from tests.support.processes import HOST


class Status:
    """A thread in which only the first message counts: its words, each time they change."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()

    async def post(self, _channel: str, _thread: str, _key: str, _text: str, blocks: list[Any]) -> str:
        self.texts.put_nowait(blocks[0]["text"]["text"])
        return "1.0"

    async def edit(self, _channel: str, _ts: str, _key: str, _text: str, blocks: list[Any]) -> None:
        self.texts.put_nowait(blocks[0]["text"]["text"])

    async def next(self) -> str:
        with anyio.fail_after(60):
            return await self.texts.get()


class Run:
    """A server with one run, whose frames come when they are said."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.waiting: dict[str, Any] | None = None
        self.asked = 0

    def say(self, event: str, **data: Any) -> None:
        self.frames.put_nowait((event, {"run_id": "c.1", **data}))

    def beat(self, state: str, worker: str, **more: Any) -> None:
        self.say("heartbeat", state=state, worker=worker, seq=1, idle_ms=0, **more)

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            event, data = await self.frames.get()
            cursor = f"id: {data['seq']}\n" if event == "workflow" else ""
            await response.write(f"{cursor}event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    async def snapshot(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"run_id": "c.1", "waiting": self.waiting})


@contextlib.asynccontextmanager
async def told(run: Run, path: Path) -> AsyncGenerator[Status]:
    """What is told of the run."""
    app = web.Application()
    app.router.add_get("/api/v1/agent/runs/c.1/events", run.events)
    app.router.add_get("/api/v1/agent/runs/c.1", run.snapshot)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    ledger, status = Ledger(path / "slack.db"), Status()
    thread = Thread(conversation_id="c", channel="C1", ts="1.0", user="UANA")
    mouth = Mouth(cast("SlackWeb", status), Gates(1000), ledger)
    try:
        async with (
            Client(f"http://{HOST}:{runner.addresses[0][1]}") as client,
            anyio.create_task_group() as g,
        ):
            g.start_soon(Teller(mouth, client, thread, "c.1", str).run)
            yield status
            g.cancel_scope.cancel()
    finally:
        ledger.close()
        await runner.cleanup()


@pytest.mark.anyio
async def test_what_holds_a_run_up_is_said_from_the_second_heartbeat_on(tmp_path: Path) -> None:
    """G8: one edit when it is known, one when it is over, none for a moment between two workers."""
    run = Run()
    run.waiting = {"for": "worker", "detail": "no live worker serves the agent <x>"}
    async with told(run, tmp_path) as status:
        run.say("ready", conversation_id="c", state="queued", seq=0, newest=1)
        run.say("workflow", seq=1, state="queued", by="local")
        assert "Queued" in await status.next()
        run.beat("queued", "none")
        run.beat("queued", "none")
        assert "It waits: no live worker serves the agent &lt;x&gt;" in await status.next()
        run.beat("queued", "none")
        run.say("workflow", seq=2, state="executing", attempt=1)
        assert (await status.next()).count("\n") == 0
        assert run.asked == 2, "the reason may be another one meanwhile"
        for worker in ("lost", "alive", "lost", "lost"):
            run.beat("executing", worker)
        assert "its worker is lost" in await status.next()
        run.beat("executing", "lost", store="away")
        run.beat("executing", "alive")
        assert (await status.next()).count("\n") == 0
        assert status.texts.empty()


def test_a_run_that_waits_for_its_turn_says_so(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G8: and that no worker drives it yet is no fault of the workers."""
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "held-up"}))
    slack.find(CHANNEL, ts, "one")
    first = run_of(server, ts)
    slack.mention("UANA", CHANNEL, "the second", ts)
    slack.press("UANA", slack.until_whisper("UANA", "still going"), "queue")
    status = slack.find(CHANNEL, ts, f"It waits: run {first} must end first")
    server.open_gate("held-up")
    slack.until(lambda: "Completed" in status.text)
    assert "It waits" not in status.text
