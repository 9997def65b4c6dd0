"""A run that waits says why."""

from __future__ import annotations

import pytest

from tests.cli.terminal import jackline
from tests.cli.toy import RUN
from tests.client.server import Connection, Request, Server, end, heartbeat, ready, reply, workflow

pytestmark = pytest.mark.anyio

DETAIL = "it began with revision old of the agent a, which no live worker serves; served: new"


class Waits:
    """A run that heartbeats, and gives one reason after the other for waiting."""

    def __init__(self, *reasons: object) -> None:
        self.reasons = list(reasons)
        self.asked = 0

    async def answer(self, request: Request, connection: Connection) -> None:
        if request.path.endswith("/events"):
            await connection.open_stream()
            await connection.frames(ready(0, "queued"), workflow(1, "queued"))
            for _ in self.reasons:
                await connection.frames(heartbeat(state="queued", worker="none", seq=1))
            await connection.frames(
                workflow(2, "executing"),
                heartbeat(state="executing", worker="alive", seq=2),
                workflow(3, "completed"),
                end(3),
            )
            await connection.end_stream()
            return
        reason = self.reasons[self.asked]
        self.asked += 1
        await connection.json(200, {"run_id": RUN, "state": "queued", "waiting": reason})


async def test_tail_says_why_nobody_drives_the_run_and_says_it_once(server: Server) -> None:
    nobody = {"for": "worker", "detail": "no worker \x1b[2Jlives"}
    waits = Waits(nobody, nobody, None, {"for": "revision", "detail": DETAIL}, {"from": "a later version"})
    server.answer(waits.answer)
    done = await jackline("tail", RUN, "--url", server.url)
    assert waits.asked == 5
    said = [line for line in done.err.splitlines() if "waits" in line]
    assert said == ["[it waits: no worker [2Jlives]", f"[it waits: {DETAIL}]"]
    assert done.code == 0


async def test_a_refusal_to_say_why_is_no_end(server: Server) -> None:
    waits = Waits({"for": "worker", "detail": "no worker lives"})

    async def answer(request: Request, connection: Connection) -> None:
        if request.path.endswith("/events"):
            await waits.answer(request, connection)
        else:
            await connection.json(404, {"title": "Not Found", "detail": "gone"})

    server.answer(answer)
    done = await jackline("tail", RUN, "--url", server.url)
    assert (done.code, "waits" in done.err) == (0, False)


async def test_lists_say_why_runs_wait(server: Server) -> None:
    runs = [
        {"run_id": RUN, "state": "queued", "waiting": {"for": "revision", "detail": DETAIL}},
        {
            "run_id": "b.1",
            "state": "awaiting_approval",
            "waiting_for": ["b.1.1"],
            "waiting": {"for": "approval", "detail": "the answer to a question"},
        },
        {"run_id": "c.1", "state": "executing", "waiting": None},
    ]
    server.answer(reply({"runs": runs, "next": None}))
    done = await jackline("runs", "--url", server.url)
    assert [line.strip() for line in done.out.splitlines() if line.startswith(" ")] == [
        f"waits: {DETAIL}",
        f"waits for: jackline approve b.1.1 --url {server.url}",
    ]
