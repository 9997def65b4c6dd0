"""Paths that hold streams back: the client polls, and hands out the same frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from jackline.client import Client, Decision, End, Entry, FollowState, Frame, Gap, Heartbeat
from tests.client.conftest import FAST, Connect
from tests.client.server import (
    EVENTS,
    RUN,
    Answer,
    Connection,
    Request,
    Server,
    end,
    problem,
    ready,
    reply,
    silence,
    stream,
    token,
)

pytestmark = pytest.mark.anyio

BEYOND_EVENTSOURCE: dict[str, str] = {}
"""Polls are by fetch, whatever was tried before."""

EAGER = replace(FAST, ready_s=1.0)


def item(seq: int, **data: Any) -> dict[str, Any]:
    members = {"run_id": RUN, "seq": seq, "text": "x", "kind": "text", "message_id": "m1", **data}
    return {"id": str(seq), "type": "token", "data": members}


def page(*seqs: int, last: bool = False, **more: object) -> Answer:
    """What the server answers to a poll."""
    body: dict[str, object] = {
        "entries": [item(seq) for seq in seqs],
        "next": None if last else (seqs or (0,))[-1],
    }
    if last:
        body["end"] = {"run_id": RUN, "state": "completed", "seq": seqs[-1]}
    return reply(body | more)


async def followed(client: Client, told: list[tuple[FollowState, str]] | None = None) -> list[Frame]:
    follow = client.follow(RUN, on_state=lambda phase, why: (told or []).append((phase, why)))
    return [frame async for frame in follow]


def seqs(frames: list[Frame]) -> list[int]:
    return [frame.seq for frame in frames if isinstance(frame, Entry)]


@pytest.mark.parametrize("held", [silence, stream()], ids=["without headers", "with headers"])
async def test_a_stream_without_a_first_frame_is_polled_instead(
    server: Server, held: Answer, connect: Connect
) -> None:
    """G1: each entry once, the end as a stream's, and the reason is told."""
    server.answer(held, page(1, 2), page(2, 3), page(4, last=True))
    told: list[tuple[FollowState, str]] = [("connecting", "")]
    async with connect(server.url, pace=EAGER) as client:
        frames = await followed(client, told)
    assert seqs(frames) == [1, 2, 3, 4]
    assert isinstance(frames[-1], End)
    polls = [request for request in server.requests if request.query.get("poll") == "1"]
    assert [request.query.get("after") for request in polls] == [None, "2", "3"]
    assert {request.headers["accept"] for request in polls} == {"application/json"}
    assert [why for phase, why in told if phase == "live"] != [""]


async def test_a_start_whose_stream_is_held_back_is_sent_again_with_its_key(
    server: Server, connect: Connect
) -> None:
    """G7: the same key, so that nothing is started twice; then the run is polled."""

    async def accepted(_: Request, connection: Connection) -> None:
        await connection.json(202, {"run_id": RUN}, X_Run_Id=RUN)

    server.answer(silence, accepted, page(1, last=True))
    async with connect(server.url, pace=EAGER) as client:
        assert seqs([frame async for frame in client.chat("hello")]) == [1]
    first, again, poll = server.requests
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert (first.headers["accept"], again.headers["accept"]) == ("text/event-stream", "application/json")
    assert poll.path == EVENTS


async def test_a_decision_whose_stream_is_held_back_is_followed_from_where_it_would_have_begun(
    server: Server, connect: Connect
) -> None:
    """G5: nothing of what was before is handed out again."""

    async def decided(_: Request, connection: Connection) -> None:
        await connection.json(200, {"run_id": RUN}, X_Run_Id=RUN, Last_Event_ID="7")

    server.answer(silence, decided, page(8, last=True))
    async with connect(server.url, pace=EAGER) as client:
        follow = client.decide_and_follow(Decision(call_id=f"{RUN}.1", approve=True))
        assert seqs([frame async for frame in follow]) == [8]
    assert server.requests[-1].query["after"] == "7"


async def test_heartbeats_and_gaps_come_by_polls_too(server: Server, connect: Connect) -> None:
    beat = {"ts": "2026-11-22T12:00:00.000Z", "run_id": RUN, "state": "executing", "seq": 0, "worker": "lost"}
    hole = {"from": 1, "to": 5, "snapshot": {"seq": 5, "state": "executing"}}
    server.answer(silence, page(heartbeat=beat), page(gap=hole, next=5), page(6, last=True))
    async with connect(server.url, pace=EAGER) as client:
        frames = await followed(client)
    assert [type(frame) for frame in frames] == [Heartbeat, Gap, Entry, End]
    assert server.requests[-1].query["after"] == "5"


async def test_the_next_run_of_the_same_client_is_polled_at_once(server: Server, connect: Connect) -> None:
    server.answer(silence, page(1, last=True))
    async with connect(server.url, pace=EAGER) as client:
        await followed(client)
        before = len(server.requests)
        await followed(client)
    assert [request.query.get("poll") for request in server.requests[before:]] == ["1"]


@pytest.mark.parametrize(
    "broken",
    [silence, reply({"entries": [], "next": 1}), reply([]), stream(ready(), end(0))],
    ids=["silent", "does not wait", "no page", "a stream"],
)
async def test_where_polling_does_not_work_either_a_stream_is_tried_again(
    server: Server, broken: Answer, connect: Connect
) -> None:
    """An outage looks the same at first; and an older server knows no polls."""
    server.answer(silence, broken, problem(503), stream(ready(), token(1), end(1)))
    async with connect(server.url, pace=replace(EAGER, heartbeat_s=0.2)) as client:
        frames = await followed(client)
    assert seqs(frames) == [1]
    assert isinstance(frames[-1], End)


async def test_a_silence_after_the_first_frame_is_a_cut_and_no_reason_to_poll(
    server: Server, connect: Connect
) -> None:
    """G9: a stream that was live comes back as one."""
    server.answer(stream(ready(), token(1)), stream(ready(1), token(2), end(2)))
    async with connect(server.url, pace=replace(FAST, heartbeat_s=0.4)) as client:
        assert seqs(await followed(client)) == [1, 2]
    assert all("poll" not in request.query for request in server.requests)


async def test_a_server_that_goes_while_polled_is_polled_again(server: Server, connect: Connect) -> None:
    """A deploy: 503 is no proof that streams pass now."""
    server.answer(silence, page(1), problem(503, {"Retry-After": "0"}), page(2, last=True))
    async with connect(server.url, pace=EAGER) as client:
        assert seqs(await followed(client)) == [1, 2]
    assert [request.query.get("poll") for request in server.requests] == [None, "1", "1", "1"]


async def test_two_runs_of_one_client_are_both_polled(server: Server, connect: Connect) -> None:
    """What one of them finds out is not undone by the other, whose stream was held back as well."""

    async def held(request: Request, connection: Connection) -> None:
        if request.query.get("poll") == "1":
            await page(1, last=True)(request, connection)
        else:
            await connection.until_gone()

    server.answer(held)
    async with connect(server.url, pace=EAGER) as client:
        found: list[list[int]] = []

        async def follow() -> None:
            found.append(seqs(await followed(client)))

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            group.start_soon(follow)
    assert found == [[1], [1]]


async def test_a_stream_is_tried_again_after_a_while(server: Server, connect: Connect) -> None:
    """Whoever was only slow once is not polled for ever."""
    server.answer(silence, page(1), stream(ready(1), token(2), end(2)))
    async with connect(server.url, pace=replace(EAGER, again_s=0.0)) as client:
        assert seqs(await followed(client)) == [1, 2]
    assert [request.query.get("poll") for request in server.requests] == [None, "1", None]


async def test_a_gap_at_the_end_of_a_run_has_a_cursor_to_come_back_with(
    server: Server, connect: Connect
) -> None:
    hole = {"from": 1, "to": 5, "snapshot": {"seq": 5, "state": "completed"}}
    over = {"run_id": RUN, "state": "completed", "seq": 5}
    server.answer(silence, reply({"entries": [], "next": None, "gap": hole, "end": over}))
    async with connect(server.url, pace=EAGER) as client:
        frames = await followed(client)
    assert [frame.id for frame in frames if isinstance(frame, Gap)] == ["5"]
