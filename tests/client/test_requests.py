"""Commands and look-ups: what is sent, what is tried again, what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest

from jackline.client import Client, Decision, Entry, Follow, Frame, Refused, Unreachable
from jackline.client.http import whole
from tests.client.conftest import FAST, Connect, Kind
from tests.client.server import (
    CONVERSATION,
    EVENTS,
    RUN,
    Connection,
    Request,
    Server,
    cut,
    end,
    problem,
    ready,
    reply,
    silence,
    stream,
    token,
    workflow,
)

pytestmark = pytest.mark.anyio

CALL = f"{RUN}.1"
LASTING = replace(
    FAST, backoff_s=0.05, backoff_cap_s=3600, command_cap_s=0.05, first_budget_s=7200, connect_budget_s=7200
)
"""Twenty tries take minutes where each wait is twice the one before."""
BEGUN = {"X-Run-Id": RUN, "Location": EVENTS}


@pytest.fixture(params=["python", "node"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """What is sent is the same in a page; how it arrives is tested in test_follow.py and test_polling.py."""
    return request.param


async def frames_of(follow: Follow) -> list[Frame]:
    with anyio.fail_after(60):
        return [frame async for frame in follow]


async def seqs_of(follow: Follow) -> list[int]:
    return [frame.seq for frame in await frames_of(follow) if isinstance(frame, Entry)]


async def test_chat_posts_and_streams(server: Server, client: Client) -> None:
    server.answer(stream(ready(), workflow(1, "queued"), end(1), **BEGUN))
    follow = client.chat("hello", conversation_id=CONVERSATION, agent="demo", on_busy="queue", until="pause")
    assert await seqs_of(follow) == [1]
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/agent/chat")
    assert request.json == {
        "messages": [{"role": "user", "content": "hello"}],
        "conversation_id": CONVERSATION,
        "agent": "demo",
        "on_busy": "queue",
    }
    assert request.query == {"until": "pause"}
    assert len(request.headers["idempotency-key"]) >= 16
    assert (follow.run_id, follow.conversation_id) == (RUN, CONVERSATION)


async def test_a_chat_cut_before_its_headers_is_sent_again_with_the_same_key(
    server: Server, client: Client
) -> None:
    """No run is started twice."""
    server.answer(cut, problem(502), stream(ready(), workflow(1, "queued"), end(1), **BEGUN))
    assert await seqs_of(client.chat("hello")) == [1]
    first, *others = server.requests
    assert len(others) == 2
    for other in others:
        assert (other.method, other.path, other.body) == (first.method, first.path, first.body)
        assert other.headers["idempotency-key"] == first.headers["idempotency-key"]


@pytest.mark.parametrize("headers", [BEGUN, {"X-Run-Id": RUN}, {"Location": f"/some/prefix{EVENTS}?x=1"}])
async def test_a_chat_cut_after_its_headers_is_resumed_by_get(
    server: Server, client: Client, headers: dict[str, str]
) -> None:
    server.answer(stream(then="cut", **headers), stream(ready(), workflow(1, "queued"), end(1)))
    assert await seqs_of(client.chat("hello")) == [1]
    assert [(request.method, request.path) for request in server.requests] == [
        ("POST", "/api/v1/agent/chat"),
        ("GET", EVENTS),
    ]
    assert "idempotency-key" not in server.requests[1].headers


async def test_a_chat_cut_in_the_middle_goes_on_from_its_cursor(server: Server, client: Client) -> None:
    """G1, over a POST and a GET."""
    server.answer(
        stream(ready(), workflow(1, "queued"), token(2), then="cut", **BEGUN),
        stream(ready(2), token(3), end(3)),
    )
    assert await seqs_of(client.chat("hello")) == [1, 2, 3]
    assert server.requests[1].headers["last-event-id"] == "2"


async def test_a_chat_without_any_headers_of_ours_learns_its_run_from_the_stream(
    server: Server, client: Client
) -> None:
    server.answer(stream(ready(), workflow(1, "queued"), then="cut"), stream(ready(1), token(2), end(2)))
    assert await seqs_of(client.chat("hello")) == [1, 2]
    assert server.requests[1].path == EVENTS


async def test_two_chats_have_two_keys(server: Server, client: Client) -> None:
    server.answer(stream(ready(), end(0), **BEGUN))
    await frames_of(client.chat("hello"))
    await frames_of(client.chat("hello"))
    first, second = (request.headers["idempotency-key"] for request in server.requests)
    assert first != second


async def test_a_busy_conversation_names_its_run(server: Server, client: Client) -> None:
    server.answer(problem(409, run_id=RUN, detail="busy"))
    with pytest.raises(Refused) as caught:
        await frames_of(client.chat("hello", conversation_id=CONVERSATION))
    assert caught.value.problem["run_id"] == RUN


async def test_a_decision_streams_from_its_entry_on(server: Server, client: Client) -> None:
    server.answer(stream(ready(7), token(8), end(8), **BEGUN))
    decision = Decision(call_id=CALL, approve=True, args={"path": "/tmp"})
    assert await seqs_of(client.decide_and_follow(decision)) == [8]
    (request,) = server.requests
    assert request.path == f"/api/v1/agent/approvals/{CALL}"
    assert request.json == {"approve": True, "args": {"path": "/tmp"}}


async def test_a_decision_cut_before_its_first_entry_is_sent_again_with_the_same_key(
    server: Server, client: Client
) -> None:
    """G5: the same decision answers the same, and only it knows where its stream begins."""
    server.answer(
        stream(ready(7), then="cut", **BEGUN),
        stream(ready(7), token(8), then="cut", **BEGUN),
        stream(ready(8), token(9), end(9)),
    )
    assert await seqs_of(client.decide_and_follow(Decision(call_id=CALL, approve=True))) == [8, 9]
    first, second, third = server.requests
    assert [first.method, second.method, third.method] == ["POST", "POST", "GET"]
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_several_decisions_go_as_one(server: Server, client: Client) -> None:
    server.answer(reply({"run_id": RUN, "state": "granted"}))
    await client.decide_all(
        [Decision(call_id=CALL, approve=False, reason="no"), Decision(call_id=f"{RUN}.2", outcome="retry")]
    )
    assert server.requests[0].path == "/api/v1/agent/approvals"
    assert server.requests[0].json == {
        "decisions": [
            {"call_id": CALL, "approve": False, "reason": "no"},
            {"call_id": f"{RUN}.2", "outcome": "retry"},
        ]
    }


@pytest.mark.parametrize("members", [{}, {"approve": True, "outcome": "done"}])
def test_a_decision_is_one_thing(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either"):
        Decision(call_id=CALL, **members).members()


async def test_decide_answers_with_what_stands(server: Server, client: Client) -> None:
    server.answer(reply({"run_id": RUN, "call_id": CALL, "state": "granted", "by": "user:ana"}))
    decided = await client.decide(Decision(call_id=CALL, approve=True))
    assert (decided.run_id, decided.state, decided.by) == (RUN, "granted", "user:ana")
    assert server.requests[0].headers["accept"] == "application/json"


async def test_decided_otherwise_tells_who(server: Server, client: Client) -> None:
    """G5: the loser learns who decided."""
    server.answer(problem(409, by="user:bo", at="2026-11-22T12:00:00Z", state="denied"))
    with pytest.raises(Refused) as caught:
        await client.decide(Decision(call_id=CALL, approve=True))
    assert (caught.value.status, caught.value.problem["by"]) == (409, "user:bo")


async def test_start_does_not_watch(server: Server, client: Client) -> None:
    server.answer(reply({"run_id": RUN, "conversation_id": CONVERSATION, "state": "queued"}, status=202))
    started = await client.start("hello")
    assert (started.run_id, started.state) == (RUN, "queued")
    assert server.requests[0].headers["accept"] == "application/json"


async def test_stop_answers_at_once_or_waits(server: Server, client: Client) -> None:
    receipt: dict[str, Any] = {
        "by": "user:ana",
        "tools": [],
        "model": "closed",
        "quiet_ms": 3,
        "requested_at": "x",
    }
    server.answer(
        reply({"run_id": RUN, "state": "stopping"}, status=202),
        reply({"run_id": RUN, "state": "stopped", "receipt": receipt}),
    )
    at_once = await client.stop(RUN, reason="enough", mode="after_step")
    assert (at_once.state, at_once.quiet, at_once.receipt) == ("stopping", False, None)
    waited = await client.stop(conversation_id=CONVERSATION, wait_s=2.5)
    assert (waited.state, waited.quiet, waited.receipt) == ("stopped", True, receipt)
    first, second = server.requests
    assert (first.path, first.query) == (f"/api/v1/agent/runs/{RUN}/stop", {})
    assert first.json == {"reason": "enough", "mode": "after_step"}
    assert (second.path, second.query) == ("/api/v1/agent/stop", {"wait": "2.5"})
    assert second.json == {"conversation_id": CONVERSATION}


async def test_a_stop_names_one_thing(server: Server) -> None:
    client = Client(server.url)
    with pytest.raises(ValueError, match="name a run"):
        await client.stop()
    with pytest.raises(ValueError, match="name a run"):
        await client.stop(RUN, conversation_id=CONVERSATION)


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_command_survives_a_passing_failure_with_its_key(
    server: Server, client: Client, status: int
) -> None:
    server.answer(cut, problem(status), reply({"run_id": RUN, "state": "stopping"}, status=202))
    await client.stop(RUN)
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert (len(server.requests), len(keys)) == (3, 1)


async def test_a_command_is_tried_again_soon_however_long_nobody_answered(
    server: Server, connect: Connect
) -> None:
    """G4: a stop arrives soon after the server is back. What only looks may wait for longer each time."""
    answer = reply({"run_id": RUN, "state": "stopping"}, status=202)
    async with connect(server.url, pace=LASTING) as client:
        server.answer(*[cut] * 20, answer)
        with anyio.fail_after(60):
            await client.stop(RUN)
    assert len(server.requests) == 21


async def test_so_is_a_chat_that_is_followed(server: Server, connect: Connect) -> None:
    server.answer(*[cut] * 20, stream(ready(), workflow(1, "queued"), end(1), **BEGUN))
    async with connect(server.url, pace=LASTING) as client:
        assert await seqs_of(client.chat("hello")) == [1]


async def test_a_stop_gives_up_a_dead_connection_soon_and_a_slow_server_later_each_time(
    server: Server, connect: Connect
) -> None:
    """G4: what nobody answers is sent again on another connection, with more patience each time."""
    pace = replace(FAST, request_s=7200, stop_s=0.1, first_budget_s=7200)
    waited: list[float] = []

    async def measured(request: Request, connection: Connection) -> None:
        began = anyio.current_time()
        await silence(request, connection)
        waited.append(anyio.current_time() - began)

    server.answer(*[measured] * 5, reply({"run_id": RUN, "state": "stopping"}, status=202))
    async with connect(server.url, pace=pace) as client:
        with anyio.fail_after(60):
            await client.stop(RUN)
    assert len(server.requests) == 6
    assert waited[-1] > 3 * pace.stop_s  # of sixteen times, as promised
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


async def test_an_answer_cut_in_its_body_is_asked_for_again(server: Server, client: Client) -> None:
    async def half(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.cut()

    server.answer(half, reply({"runs": [], "next": None}))
    assert await client.runs() == {"runs": [], "next": None}


async def test_the_budget_ends_a_commands_tries(server: Server, connect: Connect) -> None:
    """G8: an outage is told, with what the server said of it."""
    server.answer(problem(503, detail="the store is away"))
    async with connect(server.url, pace=replace(FAST, first_budget_s=0)) as client:
        with pytest.raises(Unreachable, match="the store is away"):
            await client.runs()
    assert len(server.requests) == 1


async def test_a_silent_server_is_told_when_the_budget_is_over(server: Server, connect: Connect) -> None:
    server.answer(silence)
    pace = replace(FAST, heartbeat_s=0.05, first_budget_s=0.2)
    async with connect(server.url, pace=pace) as client:
        with pytest.raises(Unreachable, match="no answer"):
            await frames_of(client.chat("hello"))


async def test_an_answer_that_stops_in_its_body_is_told_too(server: Server, connect: Connect) -> None:
    """G8: that an answer may take long is no licence to hang."""

    async def stops(_: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await connection.until_gone()

    server.answer(stops)
    async with connect(server.url, pace=replace(FAST, request_s=0.2, first_budget_s=0)) as client:
        with anyio.fail_after(60), pytest.raises(Unreachable, match=r"silent for|no answer"):
            await client.runs()


class _Slow(httpx2.AsyncByteStream):
    """A body whose parts are 20 s apart, by the event loop's clock, which stands still meanwhile."""

    def __init__(self, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._parts = parts
        self._now = anyio.current_time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self._now)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._parts):
            self._now += 20
            for _ in range(3):
                await asyncio.sleep(0)  # what is due by now happens
            yield b"slow"


async def test_an_answer_may_take_longer_than_silence_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large artifact over a slow line: 80 s altogether, never more than 20 s without a part of it."""
    response = httpx2.Response(200, stream=_Slow(4, monkeypatch))
    with anyio.fail_after(30) as scope:
        await whole(response, scope, 30)
    assert response.content == b"slow" * 4


async def test_pages_are_entries(server: Server, client: Client) -> None:
    entries = [{"id": "1", "type": "workflow", "data": {"run_id": RUN, "seq": 1, "state": "queued"}}]
    server.answer(reply({"entries": entries, "next": 1}), reply({"entries": [], "next": None}))
    page = await client.page(RUN, limit=10)
    assert [(each.type, each.seq, each.id) for each in page.entries] == [("workflow", 1, "1")]
    assert page.next == 1
    assert (await client.page(RUN, after=1)).next is None
    assert server.requests[1].query["after"] == "1"


async def test_look_ups_go_where_the_protocol_says(server: Server, client: Client) -> None:
    server.answer(reply({"ok": True}))
    await client.snapshot(RUN)
    await client.runs(state="executing", conversation_id=CONVERSATION, limit=3, cursor="c")
    await client.conversations(limit=2)
    await client.conversation(CONVERSATION)
    await client.agents()
    await client.tools()
    await client.approvals()
    await client.approval(CALL)
    assert [request.path.removeprefix("/api/v1/agent") for request in server.requests] == [
        f"/runs/{RUN}",
        "/runs",
        "/conversations",
        f"/conversations/{CONVERSATION}",
        "/agents",
        "/tools",
        "/approvals",
        f"/approvals/{CALL}",
    ]
    assert server.requests[1].query == {
        "state": "executing",
        "conversation_id": CONVERSATION,
        "limit": "3",
        "cursor": "c",
    }
    assert server.requests[6].query == {"state": "pending"}


async def test_artifacts_are_bytes(server: Server, client: Client) -> None:
    async def answer(_: Request, connection: Connection) -> None:
        await connection.raw(200, b"\x00\x01", Content_Type="application/octet-stream")

    server.answer(answer)
    artifact = await client.artifact(RUN, "a1")
    assert (artifact.media_type, artifact.data) == ("application/octet-stream", b"\x00\x01")


async def test_deleting(server: Server, client: Client) -> None:
    async def answer(_: Request, connection: Connection) -> None:
        await connection.empty()

    server.answer(answer)
    await client.delete_run(RUN)
    await client.delete_conversation(CONVERSATION)
    assert [(request.method, request.path) for request in server.requests] == [
        ("DELETE", f"/api/v1/agent/runs/{RUN}"),
        ("DELETE", f"/api/v1/agent/conversations/{CONVERSATION}"),
    ]


async def test_an_address_may_have_a_prefix(server: Server, connect: Connect) -> None:
    server.answer(reply({"runs": [], "next": None}))
    async with connect(server.url + "/ops/jackline/") as client:
        await client.runs()
    assert server.requests[0].path == "/ops/jackline/api/v1/agent/runs"


@pytest.mark.parametrize("url", ["127.0.0.1:8787", "ftp://x", "http://", "http://x:y"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        Client(url)


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_an_id_cannot_name_another_path(client: Client, name: str) -> None:
    """G12"""
    with pytest.raises(ValueError, match="not an id"):
        await client.snapshot(name)


async def test_an_id_is_one_segment(server: Server, client: Client) -> None:
    """G12"""
    server.answer(reply({}))
    await client.snapshot("../stop?x#y")
    assert server.requests[0].path == "/api/v1/agent/runs/..%2Fstop%3Fx%23y"
