"""Hints between processes."""

from __future__ import annotations

import asyncio

import pytest

from jackline.ids import conversation_of
from jackline.log.base import follow
from jackline.log.packing import pack
from jackline.log.redis import RedisStore
from jackline.log.redis_address import parse
from jackline.log.redis_connection import Connection
from jackline.log.redis_wire import Reply
from tests.contract.helpers import LONG, begin, begin_run, claim, entries, must_claim, until
from tests.contract.redis_server import shared_url
from tests.log_redis.behind import Behind

pytestmark = pytest.mark.anyio


async def test_a_hint_crosses_stores(store: RedisStore, other: RedisStore) -> None:
    """The poll would take ten minutes: only a hint can be in time."""
    run = await begin_run(store)
    async with asyncio.timeout(30):
        for number in range(50):
            waiting = asyncio.create_task(other.wait(run, 1 + number, 600.0))
            if number % 2:
                await asyncio.sleep(0)
            await store.append(run, entries("x"))
            await waiting
        waiting = asyncio.create_task(other.wait(run, 1000, 600.0))
        await store.append(run, [], close=True)
        await waiting


async def test_followers_of_many_runs_share_one_connection(
    store: RedisStore, other: RedisStore, client: Behind
) -> None:
    """G10: a viewer costs no connection."""
    runs = [await begin_run(store) for _ in range(50)]

    async def watch(run: str) -> int:
        count = 0
        async for page in follow(other, run, poll=600.0):
            count += len(page.entries)
        return count

    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(watch(run)) for run in runs for _ in range(4)]
        before = await client.info("connected_clients")
        for number in range(5):
            await asyncio.gather(*(store.append(run, entries("x"), close=number == 4) for run in runs))
        assert await client.info("connected_clients") == before
        assert await asyncio.gather(*tasks) == [6] * len(tasks)


async def test_a_wait_ends_when_its_listener_loses_the_connection(
    store: RedisStore, other: RedisStore, client: Behind
) -> None:
    """A hint of the time without a connection is lost; so the reader is sent to look."""
    run = await begin_run(store)
    async with asyncio.timeout(30):
        for _ in range(5):
            waiting = asyncio.create_task(other.wait(run, 1000, 600.0))
            await until(lambda: client.do("CLIENT", "LIST", "TYPE", "pubsub"))
            await client.do("CLIENT", "KILL", "TYPE", "pubsub")
            await waiting


async def test_a_start_wakes_a_worker_elsewhere(store: RedisStore, other: RedisStore) -> None:
    async with asyncio.timeout(30):
        for number in range(10):
            assert await claim(other) is None
            waiting = asyncio.create_task(other.wait_due(600.0))
            if number % 2:
                await asyncio.sleep(0)
            await begin_run(store)
            await waiting
            assert await must_claim(other) is not None


async def test_the_end_of_a_run_wakes_a_worker_for_the_next_one(store: RedisStore, other: RedisStore) -> None:
    run = await begin_run(store)
    lease = await must_claim(store)
    conversation = run.split(".", maxsplit=1)[0]
    await begin(store, conversation, token="second", queue=True)
    assert await claim(other) is None
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(other.wait_due(600.0))
        await store.append(run, entries("end"), fence=lease.generation, close=True)
        await waiting
        following = await other.claim("w2", LONG, [])
        assert following is None, "it serves nothing"
        assert (await must_claim(other)).run_id == f"{conversation}.2"


async def test_a_hint_carries_a_small_group_and_only_the_place_of_a_large_one(
    store: RedisStore, prefix: str
) -> None:
    pushed: asyncio.Queue[list[Reply]] = asyncio.Queue()
    connection = Connection(parse(shared_url()), 5.0, on_push=pushed.put_nowait)
    await connection.start()
    try:
        run = await begin_run(store)
        assert connection.link is not None
        connection.link.write(("SSUBSCRIBE", f"{prefix}:{{{conversation_of(run)}}}:h"))
        async with asyncio.timeout(30):
            assert (await pushed.get())[0] == b"ssubscribe"
            await store.append(run, entries("a", "b"))
            assert (await pushed.get())[2] == b"1 2 3 0 0\n" + pack(entries("a", "b"))
            await store.append(run, entries(*["x" * 30_000] * 3), close=True)
            assert (await pushed.get())[2] == b"1 4 6 1 0\n"
    finally:
        await connection.aclose()
