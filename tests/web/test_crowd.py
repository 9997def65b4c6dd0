"""Limits on streams and connections: who is over one is told so, keeps nobody waiting, and can come back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jackline.web.addresses import Proxies
from jackline.web.counts import Refusal
from jackline.web.crowd import RETRY_SECONDS
from tests.web.harness import (
    ANA,
    API,
    BOB,
    JSON,
    KEYS,
    Answer,
    Client,
    Worker,
    as_user,
    data_of,
    eventually,
    message,
    running,
)
from tests.web.test_care import HEALTH, Line, line
from tests.web.test_server import chat, serving

pytestmark = pytest.mark.anyio

EVENT_SOURCE = {"accept": "text/event-stream"}
HELLO = {"messages": [message("hello")]}


def refused(answer: Answer, status: int) -> None:
    """Told so, with a time to come back."""
    assert answer.problem(status)
    shortest, longest = RETRY_SECONDS
    assert shortest <= int(answer.headers["retry-after"]) <= longest


def sent_away(answer: Answer) -> int:
    """A stream with one frame; when to come back, in ms."""
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    [event] = answer.events()
    assert event.event == "shutdown"
    assert event.retry == data_of(event)["retry_ms"]
    assert event.retry is not None
    assert RETRY_SECONDS[0] * 1000 <= event.retry <= RETRY_SECONDS[1] * 1000
    return event.retry


async def test_above_the_process_limit_a_stream_is_refused_and_a_seat_is_free_again_later() -> None:
    """G10: `EventSource`, which a status would end for good, is sent away and comes back."""
    async with running(max_streams=2) as setup:
        run_id = await setup.client.chat()
        path = f"{API}/runs/{run_id}/events"
        async with setup.client.open("GET", path) as one, setup.client.open("GET", path) as two:
            for exchange in (one, two):
                await exchange.until("ready")
            refused(await setup.client.get(path), 503)
            times = {sent_away(await setup.client.get(path, **EVENT_SOURCE)) for _ in range(20)}
            assert len(times) > 5, "each at a time of its own"
            assert setup.site.counts.refused["streams"] == 21
            assert (await setup.client.get(path, **JSON)).status == 200, "a page is no stream"
            one.leave()
            await eventually(lambda: setup.site.crowd.streams == 1)
            async with setup.client.open("GET", path, headers=EVENT_SOURCE) as three:
                await three.until("ready")
        assert setup.site.crowd.streams == 0


async def test_a_post_that_is_refused_has_done_nothing() -> None:
    """G11: no run, and no answer to a question; as JSON both are taken."""
    async with running(max_streams=1) as setup:
        worker = setup.worker(await setup.client.chat())
        await worker.execute()
        call_id = await worker.ask()
        async with setup.client.open("GET", f"{API}/runs/{worker.run_id}/events") as watching:
            await watching.until("ready")
            before = await setup.entry_count()
            for accept in ("*/*", "text/event-stream"):
                headers = {"accept": accept}
                for path, body in (
                    (f"{API}/chat", HELLO),
                    (f"{API}/approvals/{call_id}", {"approve": True}),
                    (f"{API}/approvals", {"decisions": [{"call_id": call_id, "approve": True}]}),
                ):
                    refused(await setup.client.call("POST", path, json_body=body, headers=headers), 503)
            assert await setup.entry_count() == before
            assert (await setup.client.post(f"{API}/chat", HELLO)).status == 202
            assert (await setup.client.post(f"{API}/approvals/{call_id}", {"approve": True})).status == 200


async def test_each_address_behind_a_trusted_proxy_has_its_own_limit() -> None:
    async with running(max_streams_address=1) as setup:
        path = f"{API}/runs/{await setup.client.chat()}/events"
        near, far = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.1, 192.0.2.2"}
        async with setup.client.open("GET", path, headers=near) as one:
            await one.until("ready")
            refused(await setup.client.call("GET", path, headers=near), 429)
            sent_away(await setup.client.call("GET", path, headers={**near, **EVENT_SOURCE}))
            assert setup.site.counts.refused["streams_address"] == 2
            async with AsyncExitStack() as stack:
                for headers in (far, {}, {}, {"x-forwarded-for": "rubbish"}):
                    other = await stack.enter_async_context(setup.client.open("GET", path, headers=headers))
                    await other.until("ready")


async def test_who_polls_counts_while_it_waits() -> None:
    """G10: a request that waits costs no less than a stream; a page that does not is none."""
    async with running(max_streams=1) as setup:
        path = f"{API}/runs/{await setup.client.chat()}/events?after=1"
        async with setup.client.open("GET", f"{path}&poll=1", headers=JSON):
            await eventually(lambda: setup.site.crowd.streams == 1)
            refused(await setup.client.get(f"{path}&poll=1", **JSON), 503)
            assert (await setup.client.get(path, **JSON)).status == 200
            setup.site.tails.drain()
        assert setup.site.crowd.streams == 0


async def test_who_is_no_trusted_proxy_is_not_believed() -> None:
    """G12: nobody gets more by saying that it asks for somebody else."""
    async with running(max_streams_address=1, trusted_proxies=["192.0.2.0/24"]) as setup:
        path = f"{API}/runs/{await setup.client.chat()}/events"
        async with setup.client.open("GET", path, headers={"x-forwarded-for": "198.51.100.1"}) as one:
            await one.until("ready")
            refused(await setup.client.get(path, x_forwarded_for="198.51.100.2"), 429)


async def test_each_principal_has_its_own_limit() -> None:
    async with running(max_streams_principal=1, keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        theirs: list[tuple[Client, str]] = [
            (user, f"{API}/runs/{await user.chat()}/events") for user in (ana, bob)
        ]
        async with AsyncExitStack() as stack:
            for user, path in theirs:
                exchange = await stack.enter_async_context(user.open("GET", path))
                await exchange.until("ready")
            for user, path in theirs:
                refused(await user.get(path), 429)
                sent_away(await user.get(path, **EVENT_SOURCE))
        assert setup.site.counts.refused["streams_principal"] == 4
        assert setup.site.crowd.streams == 0


async def test_without_keys_everybody_is_local_and_that_is_no_limit() -> None:
    async with running(max_streams_principal=1) as setup, AsyncExitStack() as stack:
        path = f"{API}/runs/{await setup.client.chat()}/events"
        for _ in range(3):
            exchange = await stack.enter_async_context(setup.client.open("GET", path))
            await exchange.until("ready")


async def test_no_answer_keeps_a_seat_that_has_no_viewer() -> None:
    """G10: an ended run's 204, a bad cursor, a HEAD, an unknown run, a store that is away."""
    async with running(max_streams=1) as setup:
        run_id = await setup.whole_run()
        path = f"{API}/runs/{run_id}/events"
        last = (await setup.client.get(f"{API}/runs/{run_id}", **JSON)).json()["seq"]
        for _ in range(3):
            assert (await setup.client.get(f"{path}?after={last}")).status == 204
            assert (await setup.client.get(f"{path}?after=9999")).problem(400)
            assert (await setup.client.call("HEAD", path)).status == 200
            assert (await setup.client.get(path)).status == 200
            setup.store.away = True
            assert (await setup.client.get(path)).problem(503)
            assert (await setup.client.call("POST", f"{API}/chat", json_body=HELLO)).problem(503)
            setup.store.away = False
        assert setup.site.crowd.streams == 0


async def head_of(here: Line, path: str, *fields: str, method: str = "GET") -> bytes:
    """Of the answer to a request on this connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]
    here.send("\r\n".join(lines).encode())
    return (await here.reader.readuntil(b"\r\n\r\n")).lower()


@pytest.mark.parametrize(
    ("values", "status", "reason"),
    [
        ({"max_connections": 4}, 503, "connections"),
        ({"max_connections_address": 4, "trusted_proxies": []}, 429, "connections_address"),
    ],
)
async def test_above_the_limit_of_connections_one_is_told_so_and_closed(
    values: dict[str, Any], status: int, reason: Refusal
) -> None:
    """G4, G10: health and stops are answered all the same; `EventSource` comes back."""
    async with serving(**values) as served, AsyncExitStack() as stack:
        run_id = await chat(served)
        await eventually(lambda: served.site.crowd.connections == 0)
        for _ in range(4):
            first = await stack.enter_async_context(line(served, HEALTH))
            assert await first.status() == 200
        events = f"{API}/runs/{run_id}/events"
        async with line(served) as here:
            head = await head_of(here, events)
            assert head.startswith(f"http/1.1 {status} ".encode())
            assert b"retry-after: " in head
            assert b"connection: close" in head
            assert b"application/problem+json" in head
            assert await here.rest()
        async with line(served) as here:
            head = await head_of(here, events, "Accept: text/event-stream")
            assert head.startswith(b"http/1.1 200 ")
            assert b"content-length: " in head
            assert (await here.rest()).startswith(b"retry: ")
        async with line(served) as here:
            stop = f"{API}/runs/{run_id}/stop"
            head = await head_of(here, stop, "Content-Length: 0", method="POST")
            assert head.startswith((b"http/1.1 202 ", b"http/1.1 200 "))
        async with line(served) as here:
            assert (await head_of(here, "/readyz")).startswith(b"http/1.1 200 ")
        assert served.site.counts.refused[reason] == 4
        await stack.aclose()
        await eventually(lambda: served.site.crowd.connections == 0)
        async with line(served) as here:
            assert (await head_of(here, events)).startswith(b"http/1.1 200 ")


async def test_far_above_the_limit_of_connections_nothing_is_said() -> None:
    """G12: even to say no takes room. Who is within the limit does not notice."""
    async with serving(max_connections=2) as served, AsyncExitStack() as stack:
        first = await stack.enter_async_context(line(served, HEALTH))
        assert await first.status() == 200
        crowd = [await stack.enter_async_context(line(served)) for _ in range(100)]
        assert await crowd[-1].rest() == b""
        first.send(HEALTH)
        await first.reader.readuntil(b"}")
        assert await first.status() == 200
        await stack.aclose()
        await eventually(lambda: served.site.crowd.connections == 0)


async def test_a_connection_has_one_place_however_many_streams_it_has_carried() -> None:
    """G10: also while a viewer has it, and after that has given it back."""
    async with serving(max_streams=1) as served, line(served) as here:
        crowd = served.site.crowd
        for _ in range(3):
            worker = Worker(store=served.store, run_id=await chat(served))
            await worker.execute()
            await eventually(lambda: crowd.connections == 1)
            await head_of(here, f"{API}/runs/{worker.run_id}/events")
            await here.reader.readuntil(b"event: ready")
            assert (crowd.connections, crowd.streams) == (1, 1)
            await worker.complete()
            await here.reader.readuntil(b"0\r\n\r\n")
            await eventually(lambda: (crowd.connections, crowd.streams) == (1, 0))
        here.writer.close()
        await eventually(lambda: crowd.connections == 0)


async def test_the_system_may_allow_fewer_connections() -> None:
    """G10: the server never runs out of descriptors: it would take no connection at all then."""
    async with serving(max_connections=None) as served:
        limit = served.site.crowd.max_connections
        assert limit is None or limit > 0
    async with serving(max_connections=10**9) as served:
        assert served.site.crowd.max_connections is not None
        assert served.site.crowd.max_connections < 10**9
    async with serving(max_connections=7) as served:
        assert served.site.crowd.max_connections == 7


@pytest.mark.parametrize(
    ("peer", "forwarded", "name"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], None),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], None),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::"),
        ("10.0.0.1", ["unknown"], None),
        ("10.0.0.1", ["198.51.100.1, "], None),
        ("10.0.0.1", ["x" * 5000], None),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", [], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        (None, [], None),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours_counts(
    peer: str | None, forwarded: list[str], name: str | None
) -> None:
    """G12: what stands to the left of it may be anybody's invention."""
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded) == name


async def test_a_hundred_at_once_get_as_many_seats_as_there_are() -> None:
    """G10: also when they all ask before the first one is answered."""
    async with running(max_streams=10) as setup:
        path = f"{API}/chat"
        async with AsyncExitStack() as stack:
            exchanges = [
                await stack.enter_async_context(setup.client.open("POST", path, json_body=HELLO))
                for _ in range(100)
            ]
            await asyncio.gather(*(exchange.started() for exchange in exchanges))
            assert sorted(exchange.status for exchange in exchanges) == [200] * 10 + [503] * 90
            heads, _ = await setup.store.runs(limit=1000)
            assert len(heads) == 10
