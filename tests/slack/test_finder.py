"""How runs that were started elsewhere are found, against a server that counts what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from jackline.slack.finder import Finder
from jackline.slack.ledger import Ledger, Thread
from jackline.slack.people import People
from tests.support.processes import HOST


class Server:
    """The feed and the list of a server. `say` sends a frame to whoever listens."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.after: list[str] = []
        self.runs: list[str] = []
        self.refuse: set[str] = set()
        self.frames: asyncio.Queue[tuple[str, str, dict[str, object]]] = asyncio.Queue()

    def say(self, event: str, cursor: str, **data: object) -> None:
        self.frames.put_nowait((event, cursor, data))

    async def feed(self, request: web.Request) -> web.StreamResponse:
        self.asked["feed"] += 1
        after = request.query.get("after", "")
        self.after.append(after)
        if after in self.refuse:
            no = {"type": "about:blank", "title": "no", "status": 400, "detail": "another store's"}
            return web.json_response(no, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        begin = "c0" if after == "now" else after
        await self._send(response, "ready", begin, {"cursor": begin, "newest": "c9"})
        while True:
            await self._send(response, *await self.frames.get())

    async def _send(
        self, response: web.StreamResponse, event: str, cursor: str, data: dict[str, object]
    ) -> None:
        await response.write(f"id: {cursor}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode())

    async def listed(self, request: web.Request) -> web.Response:
        self.asked["runs"] += 1
        runs = [
            {"run_id": run, "conversation_id": run.split(".")[0], "created_at": "2026-11-28T12:00:00Z"}
            for run in self.runs
        ]
        return web.json_response({"runs": runs, "next": None})


@contextlib.asynccontextmanager
async def finding(
    server: Server, path: Path, found: list[str]
) -> AsyncGenerator[tuple[Finder, Ledger, anyio.Event]]:
    """A finder that listens for ana. The event: something was found since it was looked at."""
    app = web.Application()
    app.router.add_get("/api/v1/agent/feed", server.feed)
    app.router.add_get("/api/v1/agent/runs", server.listed)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    people = People(f"http://{HOST}:{runner.addresses[0][1]}", {"UANA": ""})
    ledger = Ledger(path / "slack.db")
    ledger.begin(Thread(conversation_id="c", channel="C1", ts="1.0", user="UANA"), "c.1")
    news = anyio.Event()

    def note(run_id: str, conversation_id: str) -> None:
        found.append(run_id)
        if run_id == "last.1":
            news.set()

    finder = Finder(ledger, people, note)
    try:
        async with anyio.create_task_group() as group:
            finder.listen(group, "UANA")
            finder.listen(group, "UANA")
            yield finder, ledger, news
            group.cancel_scope.cancel()
    finally:
        ledger.close()
        await people.aclose()
        await runner.cleanup()


@pytest.mark.anyio
async def test_runs_are_listed_once_and_then_heard_of(tmp_path: Path) -> None:
    """An idle bridge asks the server nothing; a gap is worth another look at the list."""
    server, found = Server(), list[str]()
    server.runs = ["c.2"]
    async with finding(server, tmp_path, found) as (finder, _, news):
        server.say("workflow", "c1", run_id="c.3", seq=1, state="queued", conversation_id="c", ts=TS)
        server.say("workflow", "c2", run_id="c.3", seq=2, state="executing", ts=TS)
        server.say("workflow", "c3", run_id="last.1", seq=1, state="queued", conversation_id="last", ts=TS)
        with anyio.fail_after(30):
            await news.wait()
        assert found == ["c.2", "c.3", "last.1"]
        assert server.asked == {"feed": 1, "runs": 1}
        server.runs = ["c.4"]
        await finder.look("UANA", "c")
        assert found[-1] == "c.4"
    assert server.after == ["now"]


@pytest.mark.anyio
async def test_the_next_bridge_reads_on_and_lists_where_it_cannot(tmp_path: Path) -> None:
    """G1: from the cursor that was kept; from the list after a gap, and where the store is another one."""
    ledger = Ledger(tmp_path / "slack.db")
    ledger.hear("UANA", "kept", 1.0)
    ledger.close()
    server, found = Server(), list[str]()
    server.say("gap", "", **{"from": "kept", "to": "c5"})
    server.say("workflow", "c6", run_id="last.1", seq=1, state="queued", conversation_id="last", ts=TS)
    server.runs = ["c.5"]
    async with finding(server, tmp_path, found) as (_, _, news):
        with anyio.fail_after(30):
            await news.wait()
    assert server.after == ["kept"]
    assert found == ["c.5", "last.1"]

    server, found = Server(), list[str]()
    server.runs = ["last.1"]
    ledger = Ledger(tmp_path / "slack.db")
    ledger.hear("UANA", "kept", 1.0)
    ledger.close()
    server.refuse = {"kept"}
    async with finding(server, tmp_path, found) as (_, _, news):
        with anyio.fail_after(30):
            await news.wait()
    assert server.after == ["kept", "now"]


TS = "2026-11-28T12:00:00.000Z"
