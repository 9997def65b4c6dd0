"""One sequence out of any number of connections."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.client import (
    Client,
    End,
    Entry,
    Follow,
    Frame,
    Gap,
    Pace,
    ProtocolViolation,
    Ready,
    Refused,
    Shutdown,
    Unreachable,
    wire,
)
from jackline.sse import encode
from tests.client.conftest import FAST, Connect
from tests.client.javascript import SleepyClock
from tests.client.server import (
    EVENTS,
    RUN,
    Answer,
    Connection,
    Request,
    Server,
    end,
    gap,
    heartbeat,
    no_content,
    problem,
    ready,
    serving,
    shutdown,
    silence,
    stream,
    token,
    workflow,
)

pytestmark = pytest.mark.anyio

ASKS_TWICE = "EventSource does not tell an answer that is no stream, so that fetch asks for it once more"
BEYOND_EVENTSOURCE = {
    "test_a_cut_resumes_with_the_last_id": "it sends no header that a page sets",
    "test_a_redirect_is_refused_and_the_token_stays_here": "it cannot send a token",
    "test_a_refusal_raises_with_its_problem_document": ASKS_TWICE,
    "test_retry_after_beyond_the_budget_gives_up_at_once": ASKS_TWICE,
    "test_unknown_frames_are_ignored_and_unknown_entries_kept": "entries of unknown types are left to fetch",
}
"""The cases that EventSource cannot express, and why; test_javascript.py has what becomes of them there."""


async def frames_of(follow: Follow) -> list[Frame]:
    with anyio.fail_after(60):
        return [frame async for frame in follow]


async def seqs_of(follow: Follow) -> list[int]:
    return [frame.seq for frame in await frames_of(follow) if isinstance(frame, Entry)]


async def test_a_whole_run_in_one_connection(server: Server, client: Client) -> None:
    server.answer(stream(ready(), workflow(1, "queued"), token(2), workflow(3, "completed"), end(3)))
    follow = client.follow(RUN)
    frames = await frames_of(follow)
    assert [type(frame).__name__ for frame in frames] == ["Ready", "Entry", "Entry", "Entry", "End"]
    assert follow.state == "completed"
    assert follow.phase == "ended"
    (request,) = server.requests
    assert request.path == EVENTS
    assert request.headers["accept"] == "text/event-stream"
    # A page's requests have what the browser says there.
    assert request.headers["accept-encoding"] == "identity" or "sec-fetch-mode" in request.headers
    assert "last-event-id" not in request.headers


async def test_a_cut_resumes_with_the_last_id(server: Server, client: Client) -> None:
    """G1: exactly the entries after the cursor, none twice, none missing."""
    server.answer(
        stream(ready(), workflow(1, "queued"), token(2), then="cut"),
        stream(ready(2), token(3), workflow(4, "completed"), end(4)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2, 3, 4]
    assert server.requests[1].headers["last-event-id"] == "2"
    assert server.requests[1].query["after"] == "2"


async def test_a_clean_eof_without_end_is_a_cut(server: Server, client: Client) -> None:
    server.answer(
        stream(ready(), token(1), then="eof"),
        stream(ready(1), then="eof"),
        stream(ready(1), token(2), end(2)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2]
    assert len(server.requests) == 3


async def test_204_ends_the_stream(server: Server, client: Client) -> None:
    server.answer(stream(ready(), token(1), then="cut"), no_content)
    follow = client.follow(RUN)
    assert await seqs_of(follow) == [1]
    assert follow.phase == "ended"


async def test_the_id_is_opaque(server: Server, client: Client) -> None:
    server.answer(
        stream(ready(), token(1, id="1.1"), then="cut"),
        stream(ready(1), token(2, id="2.1"), end(2)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2]
    assert server.requests[1].query["after"] == "1.1"


async def test_following_may_begin_at_an_opaque_id(server: Server, client: Client) -> None:
    server.answer(stream(ready(4), token(5, id="5.1"), end(5)))
    assert await seqs_of(client.follow(RUN, after="4.1")) == [5]
    assert server.requests[0].query["after"] == "4.1"


async def test_doubles_are_dropped(server: Server, client: Client) -> None:
    """G1: a proxy that strips the cursor makes the server begin anew; nothing is handed out twice."""
    server.answer(
        stream(ready(), token(1), token(2), token(2), then="cut"),
        stream(ready(), token(1), token(2), token(3), end(3)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2, 3]


async def test_merged_tokens_that_overlap_are_asked_for_singly(server: Server, client: Client) -> None:
    server.answer(
        stream(ready(), token(1), token(2), then="cut"),
        stream(ready(), token(3, "abc", merged_from=1), end(3)),
        stream(ready(2), token(3, "c"), end(3)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2, 3]
    assert server.requests[2].query["compact"] == "0"


async def test_merged_tokens_leave_no_hole(server: Server, client: Client) -> None:
    server.answer(stream(ready(), workflow(1, "queued"), token(5, "abcd", merged_from=2), token(6), end(6)))
    assert await seqs_of(client.follow(RUN)) == [1, 5, 6]


async def test_a_hole_is_fetched_again(server: Server, client: Client) -> None:
    """G1: none missing."""
    server.answer(
        stream(ready(), token(1), token(3), end(3)),
        stream(ready(1), token(2), token(3), end(3)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2, 3]
    assert server.requests[1].headers["last-event-id"] == "1"


async def test_entries_missing_before_the_end_are_fetched(server: Server, client: Client) -> None:
    server.answer(stream(ready(), token(1), end(2)), stream(ready(1), token(2), end(2)))
    assert await seqs_of(client.follow(RUN)) == [1, 2]


async def test_a_hole_that_stays_is_an_error(server: Server, client: Client) -> None:
    """G1: never silence."""
    server.answer(stream(ready(), token(1), token(3), end(3)))
    with pytest.raises(ProtocolViolation, match="after entry 1"):
        await seqs_of(client.follow(RUN))


async def test_a_gap_is_handed_out_and_counting_goes_on_behind_it(server: Server, client: Client) -> None:
    server.answer(stream(ready(3), gap(4, 9, state="executing"), token(10), token(11), end(11)))
    frames = await frames_of(client.follow(RUN, after=3))
    (found,) = [frame for frame in frames if isinstance(frame, Gap)]
    assert (found.first, found.last, found.snapshot["state"]) == (4, 9, "executing")
    assert [frame.seq for frame in frames if isinstance(frame, Entry)] == [10, 11]


async def test_a_log_that_came_back_shorter_counts_anew(server: Server, client: Client) -> None:
    server.answer(
        stream(ready(), token(1), token(2), token(3), then="cut"),
        stream(ready(2), gap(3, 3, state="executing"), token(3, id="3.1"), then="cut"),
        stream(ready(3), token(4, id="4.1"), end(4)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2, 3, 3, 4]
    assert server.requests[2].query["after"] == "3.1"


async def test_a_shutdown_frame_means_come_back(server: Server, client: Client) -> None:
    phases: list[str] = []
    server.answer(
        stream(ready(), token(1), shutdown(5), then="eof"),
        stream(ready(1), token(2), end(2)),
    )
    frames = await frames_of(client.follow(RUN, on_state=lambda phase, _: phases.append(phase)))
    assert [frame.seq for frame in frames if isinstance(frame, Entry)] == [1, 2]
    assert any(isinstance(frame, Shutdown) for frame in frames)
    assert phases == ["live", "reconnecting", "live", "ended"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 524])
async def test_a_passing_failure_is_survived(server: Server, client: Client, status: int) -> None:
    server.answer(
        stream(ready(), token(1), then="cut"),
        problem(status),
        problem(status, detail="still not"),
        stream(ready(1), token(2), end(2)),
    )
    assert await seqs_of(client.follow(RUN)) == [1, 2]
    assert [request.query.get("after") for request in server.requests] == [None, "1", "1", "1"]


async def test_a_gateways_page_in_the_streams_place_is_survived(server: Server, client: Client) -> None:
    async def page(_: Request, connection: Connection) -> None:
        await connection.raw(200, b"<h1>be right back</h1>", Content_Type="text/html")

    server.answer(stream(ready(), token(1), then="cut"), page, stream(ready(1), end(1)))
    assert await seqs_of(client.follow(RUN)) == [1]


async def test_what_never_was_a_stream_is_an_error(server: Server, client: Client) -> None:
    async def page(_: Request, connection: Connection) -> None:
        await connection.raw(200, b"<h1>hotel wifi</h1>", Content_Type="text/html")

    server.answer(page)
    with pytest.raises(ProtocolViolation, match="text/html"):
        await frames_of(client.follow(RUN))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_refusal_raises_with_its_problem_document(
    server: Server, client: Client, status: int
) -> None:
    """G11: the field at fault reaches the caller."""
    errors = [{"field": "messages.0.role", "detail": "send user"}]
    server.answer(problem(status, detail="no", errors=errors))
    with pytest.raises(Refused) as caught:
        await frames_of(client.follow(RUN))
    assert caught.value.status == status
    assert caught.value.detail == "no"
    assert caught.value.fields == (("messages.0.role", "send user"),)
    assert len(server.requests) == 1


async def test_a_refusal_after_a_cut_raises_too(server: Server, client: Client) -> None:
    server.answer(stream(ready(), token(1), then="cut"), problem(404))
    with pytest.raises(Refused):
        await frames_of(client.follow(RUN))


async def test_a_redirect_is_refused_and_the_token_stays_here(server: Server, connect: Connect) -> None:
    server.answer(problem(302, {"Location": "https://login.example/"}))
    async with connect(server.url, "secret") as client:
        with pytest.raises(Refused, match=r"redirects to") as caught:
            await frames_of(client.follow(RUN))
    # A browser does not tell a page where to.
    assert "login.example" in str(caught.value) or "sec-fetch-mode" in server.requests[0].headers
    assert server.requests[0].headers["authorization"] == "Bearer secret"


async def test_nobody_there_is_told_after_the_budget(connect: Connect) -> None:
    async with serving() as gone:
        url = gone.url
    async with connect(url, pace=replace(FAST, connect_budget_s=0)) as client:
        with pytest.raises(Unreachable) as caught:
            await frames_of(client.follow(RUN))
    assert url in str(caught.value)


async def test_the_budget_ends_the_tries(server: Server, connect: Connect) -> None:
    """The wall clock decides: this one moves a minute whenever it is looked at."""
    server.answer(stream(ready(), token(1), then="cut"), problem(502))
    pace, clock = replace(FAST, heartbeat_s=10_000, ready_s=10_000, tick_s=1), SleepyClock(stride=60)
    async with connect(server.url, pace=pace, clock=clock) as client:
        with pytest.raises(Unreachable, match="502"):
            await frames_of(client.follow(RUN))
    assert 2 <= len(server.requests) < 10


async def test_retry_after_beyond_the_budget_gives_up_at_once(server: Server, client: Client) -> None:
    server.answer(problem(503, {"Retry-After": "9999"}))
    with pytest.raises(Unreachable, match="503"):
        await frames_of(client.follow(RUN))
    assert len(server.requests) == 1


async def test_retry_after_and_retry_are_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """G9's other side: a server that asks for time gets it."""
    waits: list[float] = []
    sleep = anyio.sleep

    async def noted(delay: float) -> None:
        waits.append(delay)
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", noted)
    pace = replace(FAST, tick_s=0.125)
    server.answer(
        stream(ready(), encode(event="token", data='{"run_id":"r","seq":1}', id="1", retry=3000), then="cut"),
        problem(503, {"Retry-After": "7"}),
        problem(502),
        stream(ready(1), end(1)),
    )
    async with Client(server.url, pace=pace, chance=lambda: 1.0) as client:
        await frames_of(client.follow(RUN))
    # Each is half as much again by chance; 3 s doubles above the cap of the pace and stays at 3 s.
    assert [wait for wait in waits if wait >= 1] == [4.5, 10.5, 4.5]


async def test_a_silent_stream_is_left_by_the_wall_clock(server: Server, connect: Connect) -> None:
    """G9: 2.5 silent heartbeats, also those a laptop slept through."""
    clock = SleepyClock()

    async def fall_asleep(_: Request, connection: Connection) -> None:
        await connection.open_stream()
        await connection.frames(ready(), token(1))
        await holding.wait()
        clock.now += 2.5 * 30 + 1
        await connection.until_gone()

    holding = anyio.Event()
    server.answer(fall_asleep, stream(ready(1), token(2), end(2)))
    reasons: list[str] = []
    async with connect(server.url, clock=clock) as client:
        follow = client.follow(RUN, on_state=lambda _, reason: reasons.append(reason))
        first = [await anext(follow), await anext(follow)]
        holding.set()
        assert [frame.seq for frame in [*first, *await frames_of(follow)] if isinstance(frame, Entry)] == [
            1,
            2,
        ]
    assert "silent for 75 s" in reasons


async def test_the_heartbeats_interval_is_learned(server: Server, connect: Connect) -> None:
    clock = SleepyClock()

    async def beat(_: Request, connection: Connection) -> None:
        await connection.open_stream()
        await connection.frames(
            ready(), heartbeat("2026-11-22T12:00:00.000Z"), heartbeat("2026-11-22T12:00:02.000Z"), token(1)
        )
        await holding.wait()
        clock.now += 5.5
        await connection.until_gone()

    holding = anyio.Event()
    server.answer(beat, stream(ready(1), end(1)))
    reasons: list[str] = []
    async with connect(server.url, clock=clock) as client:
        follow = client.follow(RUN, on_state=lambda _, reason: reasons.append(reason))
        while not isinstance(await anext(follow), Entry):
            pass
        holding.set()
        await frames_of(follow)
    assert "silent for 5 s" in reasons


async def test_missing_headers_are_not_waited_for_for_ever(server: Server, connect: Connect) -> None:
    server.answer(silence, stream(ready(), end(0)))
    async with connect(server.url, pace=replace(FAST, heartbeat_s=0.05)) as client:
        assert isinstance((await frames_of(client.follow(RUN)))[-1], End)


async def test_a_slow_reader_does_not_take_its_own_time_for_silence(server: Server, connect: Connect) -> None:
    clock = SleepyClock()
    server.answer(stream(ready(), token(1), token(2), end(2)))
    async with connect(server.url, clock=clock) as client:
        follow = client.follow(RUN)
        await anext(follow)
        clock.now += 3600
        assert await seqs_of(follow) == [1, 2]
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["python"], indirect=True)
async def test_a_cancelled_read_loses_nothing(server: Server, client: Client) -> None:
    server.answer(stream(ready(), token(1)), stream(ready(1), token(2), end(2)))
    follow = client.follow(RUN)
    await anext(follow)
    await anext(follow)
    with anyio.move_on_after(0.05) as scope:
        await anext(follow)
    assert scope.cancelled_caught
    assert await seqs_of(follow) == [2]


async def test_leaving_a_stream_lets_its_connection_go(server: Server, client: Client) -> None:
    """G2: what is left behind is only a connection."""
    gone = anyio.Event()

    async def watched(request: Request, connection: Connection) -> None:
        await stream(ready(), token(1))(request, connection)
        gone.set()

    server.answer(watched)
    async with client.follow(RUN) as follow:
        await anext(follow)
    with anyio.fail_after(30):
        await gone.wait()


async def test_unknown_frames_are_ignored_and_unknown_entries_kept(server: Server, client: Client) -> None:
    news = encode(event="news", data='{"x":1}')
    thought = encode(event="thought", id="1", data='{"run_id":"r","seq":1,"depth":3}')
    server.answer(stream(ready(), news, thought, end(1)))
    frames = await frames_of(client.follow(RUN))
    assert [type(frame) for frame in frames] == [Ready, Entry, End]
    assert wire(frames[1]) == '{"event":"thought","id":"1","data":{"run_id":"r","seq":1,"depth":3}}'


@pytest.mark.parametrize("data", ["[]", "{", "{}"])
async def test_a_frame_that_cannot_be_read_is_an_error(server: Server, client: Client, data: str) -> None:
    server.answer(stream(encode(event="ready", data=data)))
    with pytest.raises(ProtocolViolation, match="ready"):
        await frames_of(client.follow(RUN))


async def test_frames_cut_anywhere_arrive_whole(server: Server, client: Client) -> None:
    block = ready() + workflow(1, "queued") + token(2, "⚓") + end(2)

    async def crumbs(_: Request, connection: Connection) -> None:
        await connection.open_stream()
        for index in range(len(block)):
            await connection.frames(block[index : index + 1])
        await connection.until_gone()

    server.answer(crumbs)
    assert await seqs_of(client.follow(RUN)) == [1, 2]


LOG = [workflow(1, "queued"), *(token(seq) for seq in range(2, 8)), workflow(8, "completed")]


def honest(cuts: list[int]) -> Answer:
    """A server that keeps to the protocol, but whose n-th connection is cut after `cuts[n]` bytes."""
    left = iter(cuts)

    async def answer(request: Request, connection: Connection) -> None:
        after = int(request.headers.get("last-event-id", "0"))
        block = ready(after) + b"".join(LOG[after:]) + end(len(LOG))
        await connection.open_stream()
        size = next(left, None)
        if size is not None and size < len(block):
            await connection.frames(block[:size])
            connection.cut()
        else:
            await connection.frames(block)
            await connection.until_gone()

    return answer


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 1200), max_size=6))
def test_cuts_anywhere_leave_one_sequence(cuts: list[int]) -> None:
    """G1: whatever the cuts, each entry once, in order."""

    async def scenario() -> list[int]:
        async with serving() as server, Client(server.url, pace=FAST) as client:
            server.answer(honest(cuts))
            return await seqs_of(client.follow(RUN))

    assert anyio.run(scenario) == list(range(1, 9))


def test_the_defaults_are_those_of_the_protocol() -> None:
    assert (Pace().heartbeat_s, Pace().silent_heartbeats, Pace().follow_budget_s) == (15, 2.5, 300)
