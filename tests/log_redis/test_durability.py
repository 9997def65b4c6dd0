"""What is awaited on disk, and what the store says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from jackline.errors import StoreUnavailable
from jackline.log.base import NEVER, NOW, Lease
from jackline.log.redis import RedisStore
from tests.contract.helpers import begin_run, claim, entries, must_claim, until
from tests.contract.redis_server import RedisServer, redis_server
from tests.log_redis.behind import Behind, behind

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(always: RedisServer) -> AsyncGenerator[Behind]:
    """A plain client of the test's own server."""
    async with behind(always.url) as opened:
        yield opened


async def test_barriers_are_awaited_on_disk_and_tokens_are_not(always: RedisServer, client: Behind) -> None:
    """G8: acknowledged as durably as the store can."""
    store = await RedisStore.open(always.url)
    try:
        assert store.describe() == f"Redis 127.0.0.1:{always.port} (AOF always)"
        run = await begin_run(store)
        seen = await client.waits()
        assert seen == 1, "a start is awaited"
        lease = await must_claim(store)
        fence = lease.generation
        assert await client.waits() == 2, "a claim is awaited"
        await store.append(run, entries("token"), fence=fence)
        await store.append(run, entries("token"), fence=fence, summary=b"s", due=NEVER)
        assert await client.waits() == 2, "tokens are not"
        await store.append(run, entries("a"), once=["a"])
        await store.append(run, entries("a"), once=["a"])
        await store.append(run, entries("b"), expect=4, fence=fence)
        await store.append(run, [], checkpoint=b"c", fence=fence)
        await store.append(run, entries("end"), close=True)
        assert await client.waits() == 7, "barriers are, and the answer that one was there already"
    finally:
        await store.aclose()


async def test_those_who_wait_for_the_disk_share_the_wait(always: RedisServer, client: Behind) -> None:
    store = await RedisStore.open(always.url)
    try:
        runs = [await begin_run(store) for _ in range(20)]
        before = await client.waits()
        await asyncio.gather(*(store.append(run, entries("x"), expect=1) for run in runs))
        assert await client.waits() - before < 10
    finally:
        await store.aclose()


async def test_once_a_second_is_enough_for_everybody(tmp_path: Path) -> None:
    with redis_server(tmp_path, aof="everysec") as server:
        store = await RedisStore.open(server.url)
        try:
            assert "AOF everysec" in store.describe()
            runs = await asyncio.gather(*(begin_run(store) for _ in range(50)))
            await asyncio.gather(*(store.append(run, entries("x"), expect=1) for run in runs))
        finally:
            await store.aclose()


async def test_tokens_do_not_wait_behind_somebody_elses_barrier(tmp_path: Path) -> None:
    """G8, and a stream stays live: the wait for the disk has a connection of its own."""
    with redis_server(tmp_path, aof="everysec") as server:
        store = await RedisStore.open(server.url)
        try:
            runs = [await begin_run(store), await begin_run(store)]
            barrier = asyncio.create_task(store.append(runs[0], entries("x"), expect=1))
            tokens = 0
            while not barrier.done():
                await store.append(runs[1], entries("token"))
                tokens += 1
            await barrier
            # Behind it there would be at most one before each barrier's end.
            assert tokens > 2
        finally:
            await store.aclose()


async def test_without_aof_nothing_is_awaited_and_that_is_said(store: RedisStore) -> None:
    await begin_run(store)
    assert "no AOF: a crash of Redis loses what it had not saved" in store.describe()


async def test_aof_switched_off_later_is_noticed(always: RedisServer, client: Behind) -> None:
    store = await RedisStore.open(always.url)
    try:
        run = await begin_run(store)
        await client.do("CONFIG", "SET", "appendonly", "no")
        await store.append(run, entries("x"), expect=1)
        assert "no AOF" in store.describe()
    finally:
        await store.aclose()


async def test_a_write_that_is_not_known_to_be_on_disk_is_not_acknowledged(tmp_path: Path) -> None:
    """G8: with a fsync that does not come in time the caller is told."""
    with redis_server(tmp_path, aof="everysec") as server:
        store = await RedisStore.open(server.url, deadline=0.4)
        try:
            async with behind(server.url) as client:
                await client.do("CONFIG", "SET", "appendfsync", "no")
            with pytest.raises(StoreUnavailable, match="disk"):
                await begin_runs_for_ever(store)  # the last fsync of before may still cover the first ones
        finally:
            await store.aclose()


async def test_a_claim_that_is_cancelled_gives_the_run_back(always: RedisServer) -> None:
    """G7: a worker that is told to go while it claims does not take the run with it for a lease's time."""
    store, other = await RedisStore.open(always.url), await RedisStore.open(always.url)
    try:
        run = await begin_run(store)
        for steps in range(24):  # cancelled before, between and after each of its commands
            claiming = asyncio.create_task(claim(store))
            for _ in range(steps // 2):
                await other.ping()
            if steps % 2:
                await asyncio.sleep(0)
            claiming.cancel()
            (outcome,) = await asyncio.gather(claiming, return_exceptions=True)
            lease = outcome
            if not isinstance(lease, Lease):
                assert isinstance(outcome, asyncio.CancelledError)
                lease = await must_claim(other, "w2")
            assert (lease.run_id, lease.lapsed) == (run, False)
            await store.release(lease, NOW, expect=1)
    finally:
        await store.aclose()
        await other.aclose()


async def begin_runs_for_ever(store: RedisStore) -> None:
    while True:
        await begin_run(store)


async def test_a_write_is_acknowledged_once_replicas_have_it_too(tmp_path: Path) -> None:
    """G8: where the operator asks for it, a failover loses nothing that was acknowledged."""
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    with (
        redis_server(folders[0], aof="always") as primary,
        redis_server(folders[1], aof="always") as replica,
    ):
        store = await RedisStore.open(primary.url, deadline=1.0, replicas=1)
        try:
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                await begin_run(store)
            replica.do(f"REPLICAOF 127.0.0.1 {primary.port}")

            async def begun() -> str:
                try:
                    return await begin_run(store)
                except StoreUnavailable:
                    return ""

            assert await until(begun)
            replica.freeze()
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                await begin_run(store)
            replica.thaw()
        finally:
            await store.aclose()
