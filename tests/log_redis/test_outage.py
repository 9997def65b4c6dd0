"""The server goes away and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from jackline.errors import Moved, StoreUnavailable
from jackline.log.base import follow
from jackline.log.redis import RedisStore
from tests.contract.helpers import LONG, begin_run, claim, entries, must_claim, texts_of, until
from tests.contract.redis_server import RedisServer, redis_server
from tests.log_redis.behind import Behind, answers, behind

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lasting(always: RedisServer) -> AsyncGenerator[RedisStore]:
    """A store on a server that keeps every write."""
    store = await RedisStore.open(always.url)
    try:
        yield store
    finally:
        await store.aclose()


async def test_acknowledged_appends_outlive_a_kill(always: RedisServer, lasting: RedisStore) -> None:
    """G8: what was acknowledged is there when the server is back, and the store works on."""
    runs = [await begin_run(lasting) for _ in range(5)]
    lease = await must_claim(lasting)
    acknowledged: dict[str, list[bytes]] = {run: [] for run in runs}
    enough = asyncio.Event()

    async def write(run: str) -> None:
        for number in range(100_000):
            try:
                await lasting.append(run, entries(f"{number}"), once=[f"name {number}"])
            except StoreUnavailable:
                return
            acknowledged[run].append(b'{"text":"%d"}' % number)
            if sum(map(len, acknowledged.values())) >= 100:
                enough.set()

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(write(run))
        await enough.wait()
        always.kill()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await lasting.append(runs[0], entries("too late"))
    with pytest.raises(StoreUnavailable):
        await must_claim(lasting)
    assert time.monotonic() - started < 5, "refused within the deadline"

    always.launch()
    await until(lambda: answers(lasting))
    for run in runs:
        found = (await texts_of(lasting, run))[1:]
        # One more than acknowledged: written, but the server died before its answer.
        assert found[: len(acknowledged[run])] == acknowledged[run]
        assert len(found) <= len(acknowledged[run]) + 1
    await lasting.renew(lease, LONG)
    await lasting.append(lease.run_id, entries("on"), fence=lease.generation)


async def test_an_append_of_unknown_outcome_is_found_by_its_name(
    always: RedisServer, lasting: RedisStore
) -> None:
    """G8: `once` and `expect` make it safe to try again."""
    run = await begin_run(lasting)
    doomed = asyncio.create_task(lasting.append(run, entries("stop"), once=["stop:immediate"], expect=1))
    await asyncio.sleep(0)
    always.kill()
    await asyncio.gather(doomed, return_exceptions=True)
    always.launch()
    await until(lambda: answers(lasting))
    await lasting.append(run, entries("stop"), once=["stop:immediate"])
    assert (await texts_of(lasting, run))[1:] == [b'{"text":"stop"}']
    with pytest.raises(Moved):
        await lasting.append(run, entries("stop"), expect=1)


async def test_a_follower_reads_on_after_the_outage(always: RedisServer, lasting: RedisStore) -> None:
    """G1, G8: one sequence across the server's restart, woken by hints again and not by the poll."""
    run = await begin_run(lasting)
    read: list[bytes] = []
    grown = asyncio.Event()

    async def watch() -> None:
        while True:
            try:
                async for page in follow(lasting, run, len(read), poll=600.0):
                    read.extend(entry.body for entry in page.entries)
                    grown.set()
            except StoreUnavailable:
                await until(lambda: answers(lasting))
            else:
                return

    async def has(count: int) -> None:
        while len(read) < count:
            grown.clear()
            await grown.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(watch())
        await has(1)
        await lasting.append(run, entries("before"))
        await has(2)
        for number in range(3):
            always.kill()
            always.launch()
            await until(lambda: answers(lasting))
            await lasting.append(run, entries(f"after {number}"))
            await has(3 + number)
        await lasting.append(run, entries("end"), close=True)
    assert read == await texts_of(lasting, run)


async def test_wait_due_works_again_after_the_outage(always: RedisServer, lasting: RedisStore) -> None:
    always.kill()
    always.launch()
    await until(lambda: answers(lasting))
    async with asyncio.timeout(30):
        for _ in range(3):
            assert await claim(lasting) is None
            waiting = asyncio.create_task(lasting.wait_due(600.0))
            run = await begin_run(lasting)
            await waiting
            assert (await must_claim(lasting)).run_id == run


async def test_forgotten_scripts_are_sent_again(store: RedisStore, client: Behind) -> None:
    run = await begin_run(store)
    await client.do("SCRIPT", "FLUSH")
    await asyncio.gather(*(store.append(run, entries(f"{n}")) for n in range(20)))
    assert (await store.head(run)).last == 21


async def test_a_full_server_refuses_progress_whole_but_keeps_leases(tmp_path: Path) -> None:
    """G8: out of memory is said in words, nothing is half written, running runs stay with their workers."""
    with redis_server(tmp_path) as server:
        store = await RedisStore.open(server.url)
        try:
            run = await begin_run(store)
            lease = await must_claim(store)
            before = await store.head(run)
            async with behind(server.url) as client:
                await client.do("CONFIG", "SET", "maxmemory", "1")
                with pytest.raises(StoreUnavailable, match="memory"):
                    await store.append(run, entries("x"), fence=lease.generation, checkpoint=b"c")
                with pytest.raises(StoreUnavailable, match="memory"):
                    await begin_run(store)
                await store.renew(lease, LONG)
                await store.beat("w1", LONG, idle_ms=0)
                assert (await store.head(run)).last == before.last
                assert await store.checkpoint(run) is None
                await client.do("CONFIG", "SET", "maxmemory", "0")
            await store.append(run, entries("x"), once=["a"])
        finally:
            await store.aclose()


async def appends(store: RedisStore, run: str) -> bool:
    try:
        await store.append(run, entries("x"))
    except StoreUnavailable:
        return False
    return True


async def test_a_primary_that_became_a_replica_is_said_and_left(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        store = await RedisStore.open(server.url)
        try:
            run = await begin_run(store)
            async with behind(server.url) as client:
                await client.do("REPLICAOF", "127.0.0.1", "1")
                with pytest.raises(StoreUnavailable, match="replica"):
                    await store.append(run, entries("x"))
                with pytest.raises(StoreUnavailable, match="replica"):
                    await store.ping()
                await client.do("REPLICAOF", "NO", "ONE")
            # It may have missed anything that its primary took meanwhile, so the run is in doubt for a while.
            await until(lambda: appends(store, run))
            assert (await store.read(run)).cuts == (1,)
        finally:
            await store.aclose()


async def test_a_user_without_rights_on_channels_still_appends_whole(tmp_path: Path) -> None:
    """A hint that cannot be sent costs time and nothing else; waits become polls."""
    with redis_server(tmp_path) as server:
        async with behind(server.url) as client:
            await client.do("ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "resetchannels")
        store = await RedisStore.open(server.url.replace("//", "//mute:pw@"))
        try:
            run = await begin_run(store)
            lease = await must_claim(store)
            await store.append(run, entries("a"), fence=lease.generation, once=["a"], close=True)
            head = await store.head(run)
            assert (head.last, head.closed, head.worker) == (2, True, "none")
            await store.wait(run, 5, 600.0)
            await store.wait_due(600.0)
        finally:
            await store.aclose()
