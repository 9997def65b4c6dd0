"""A server that comes back with less than was seen of it: what is put back, and what is cut off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jackline.errors import Fenced, InDoubt, Moved, RunClosed, StoreUnavailable
from jackline.log.base import NOBODY, NOW, Missing
from jackline.log.redis import RedisStore
from jackline.log.redis_address import parse
from jackline.log.redis_barrier import Barrier
from tests.contract.helpers import LONG, begin_run, claim, entries, must_claim, texts_of, until
from tests.contract.redis_server import RedisServer, redis_server
from tests.log_redis.behind import answers, behind
from tests.support.forwarder import forwarder

pytestmark = pytest.mark.anyio

BRIEF = 0.3
"""Seconds of a lease that is over soon."""


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[RedisStore]:
    store = await RedisStore.open(url)
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RedisServer]:
    """One that writes to its disk each second."""
    with redis_server(tmp_path, aof="everysec") as made:
        yield made


@pytest.fixture
async def store(server: RedisServer) -> AsyncGenerator[RedisStore]:
    """The holder's store."""
    async with opened(server.url) as made:
        yield made


async def restart(server: RedisServer, *stores: RedisStore, written: int | None = None) -> None:
    server.kill()
    if written is not None:
        server.lose(written)
    server.launch()
    for store in stores:
        await until(lambda store=store: answers(store))


async def claimed(store: RedisStore) -> bool:
    return await claim(store) is not None


async def test_what_the_server_lost_is_put_back_where_it_was(server: RedisServer, store: RedisStore) -> None:
    """G1, G5, G8: the same entries at the same places, names and checkpoint too."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.append(run, entries("a"), fence=lease.generation)
    written = server.written
    await store.append(run, entries("b", "c"), fence=lease.generation, checkpoint=b"new")
    await store.append(run, entries("stop"), once=["stop:immediate"])
    whole = await texts_of(store, run)
    await restart(server, store, written=written)

    page = await store.read(run)
    assert (page.last, page.doubt) == (2, True)
    for fence in (None, NOBODY):
        with pytest.raises(InDoubt):
            await store.append(run, entries("x"), fence=fence)
    with pytest.raises(Moved):
        await store.append(run, entries("d"), fence=lease.generation, expect=5)
    assert await claim(store) is None
    put_back = (await store.read(run, 0)).entries
    assert [entry.body for entry in put_back] == whole[:2]
    missing = Missing(
        last=2,
        entries=entries("b", "c", "stop"),
        names={"stop:immediate": 5},
        checkpoint=b"new",
        summary=b"healed",
    )
    await store.heal(lease, LONG, missing)

    page = await store.read(run)
    assert ([entry.body for entry in page.entries], page.doubt, page.cuts) == (whole, False, ())
    assert await store.checkpoint(run) == b"new"
    assert (await store.head(run)).summary == b"healed"
    again = await store.append(run, entries("stop"), once=["stop:immediate"])
    assert again.taken["stop:immediate"].seq == 5
    assert (await store.append(run, entries("d"), fence=lease.generation, expect=5)).last == 6
    with pytest.raises(Moved):
        await store.heal(lease, LONG, missing)


async def test_a_holder_that_has_read_to_the_end_vouches_for_its_run(
    server: RedisServer, store: RedisStore
) -> None:
    """G8: nothing was missing, so nobody is kept waiting. An append alone does not say so: no entry
    is missing, but a checkpoint or what was stored aside may be."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await restart(server, store)
    assert (await store.read(run)).doubt
    for expect in (None, 1):
        with pytest.raises(InDoubt):
            await store.append(run, entries("a"), fence=lease.generation, expect=expect)
    await store.heal(lease, LONG, Missing(last=1))
    await store.append(run, entries("a"), fence=lease.generation, expect=1)
    assert not (await store.read(run)).doubt
    await store.append(run, entries("stop"), once=["stop:immediate"])


async def test_a_run_that_nobody_held_is_not_in_doubt(server: RedisServer, store: RedisStore) -> None:
    """G8: what was acknowledged of it had been awaited on disk."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.release(lease, NOW, expect=1)
    await restart(server, store)
    assert not (await store.read(run)).doubt
    await store.append(run, entries("stop"), once=["stop:immediate"])
    assert (await must_claim(store)).run_id == run


@pytest.mark.parametrize(("aof", "cuts"), [("everysec", (2,)), ("always", ())])
async def test_a_run_that_nobody_vouches_for_goes_on_from_what_is_left(
    tmp_path: Path, aof: str, cuts: tuple[int, ...]
) -> None:
    """G1, G7: whoever saw more is told by the cut; with `always` nobody can have seen more."""
    with redis_server(tmp_path, aof="always" if aof == "always" else "everysec") as server:
        async with opened(server.url) as store:
            run = await begin_run(store)
            dead = await must_claim(store, ttl=BRIEF)
            await store.append(run, entries("a"), fence=dead.generation)
            await restart(server, store)
            lease = await until(lambda: claim(store))
            assert lease.lapsed
            page = await store.read(run)
            assert (page.cuts, page.epoch, page.doubt, page.last) == (cuts, len(cuts), False, 2)
            with pytest.raises(Fenced):
                await store.heal(dead, LONG, Missing(last=2, entries=entries("b")))
            await store.append(run, entries("mine"), fence=lease.generation)


async def test_a_stop_ends_a_run_that_nobody_vouches_for(server: RedisServer, store: RedisStore) -> None:
    """G4, G8: refused while its holder may come back, possible once it cannot."""
    run = await begin_run(store)
    await must_claim(store, ttl=BRIEF)
    await restart(server, store)

    async def stopped() -> bool:
        try:
            await store.append(run, entries("stopped"), fence=NOBODY, expect=1, close=True)
        except (StoreUnavailable, Fenced):
            return False
        return True

    await until(stopped)
    assert (await store.read(run)).cuts == (1,)


async def test_a_log_that_cannot_be_put_back_is_cut_for_good(server: RedisServer, store: RedisStore) -> None:
    """G1, G3: the run can still be ended by who held it, in a new epoch."""
    run = await begin_run(store)
    lease = await must_claim(store)
    written = server.written
    await store.append(run, entries("a", "b"), fence=lease.generation)
    await restart(server, store, written=written)
    await store.heal(lease, LONG, Missing(last=1, cut=True))
    page = await store.read(run)
    assert (page.cuts, page.doubt, page.last) == ((1,), False, 1)
    await store.append(run, entries("failed"), fence=lease.generation, expect=1, close=True)
    with pytest.raises(RunClosed):
        await store.heal(lease, LONG, Missing(last=2, cut=True))


async def test_a_forgotten_claim_is_put_back_unless_another_came(
    server: RedisServer, store: RedisStore
) -> None:
    """G7: after the server forgot who holds the run, still only one can write."""
    run = await begin_run(store)
    before = server.written
    lease = await must_claim(store, ttl=BRIEF)
    await store.append(run, entries("a"), fence=lease.generation)
    await restart(server, store, written=before)
    assert (await store.head(run)).generation == 0
    with pytest.raises(InDoubt):
        await store.append(run, entries("b"), fence=lease.generation, expect=2)
    with pytest.raises(InDoubt):
        await store.renew(lease, LONG)
    await store.heal(lease, LONG, Missing(last=1, entries=entries("a")))
    await store.renew(lease, LONG)
    await store.append(run, entries("b"), fence=lease.generation, expect=2)

    await restart(server, store, written=before)
    other = await until(lambda: claim(store))
    assert other.generation != lease.generation
    for last in (1, 2):
        with pytest.raises(Fenced):
            await store.heal(lease, LONG, Missing(last=last, entries=entries("a", "b")))
    with pytest.raises(Fenced):
        await store.append(run, entries("c"), fence=lease.generation, expect=1)


async def test_a_write_is_not_acknowledged_by_a_later_life_of_the_server(server: RedisServer) -> None:
    """G8: the server that says `on disk` must be the one that has executed the write."""
    barrier = Barrier(parse(server.url), 5.0, "mark")
    try:
        with pytest.raises(StoreUnavailable, match="came back"):
            await barrier.passed("a former life")
    finally:
        await barrier.aclose()


async def test_a_replica_that_was_behind_is_healed_by_the_runs_holder(tmp_path: Path) -> None:
    """G7, G8: a failover that loses the newest entries and the claim itself loses nothing."""
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    with (
        redis_server(folders[0], aof="everysec") as primary,
        redis_server(folders[1], aof="everysec") as replica,
    ):
        async with behind(replica.url) as client:
            await client.do("REPLICAOF", "127.0.0.1", str(primary.port))

            async def linked() -> bool:
                info = await client.do("INFO", "replication")
                assert isinstance(info, bytes)
                return b"master_link_status:up" in info

            await until(linked)
            with forwarder(primary.port) as path:
                async with opened(primary.url.replace(str(primary.port), str(path.port))) as store:
                    run = await begin_run(store)

                    async def has_the_run() -> bool:
                        return bool(await client.do("EXISTS", f"jackline:{{{run.split('.')[0]}}}:r:1"))

                    await until(has_the_run)
                    await client.do("REPLICAOF", "NO", "ONE")
                    lease = await must_claim(store)
                    await store.append(run, entries("a"), fence=lease.generation, expect=1)
                    path.upstream = replica.port
                    primary.kill()
                    await until(lambda: answers(store))
                    page = await store.read(run)
                    assert (page.last, page.doubt) == (1, True)
                    assert not await claimed(store), "who held it has the first word"
                    await store.heal(lease, LONG, Missing(last=1, entries=entries("a")))
                    page = await store.read(run)
                    assert (page.last, page.doubt, page.cuts) == (2, False, ())


async def test_a_promoted_server_that_forgets_its_primary_has_no_new_life(tmp_path: Path) -> None:
    """G4, G8: it does so after an hour without replicas. Whoever connects after that must not take the
    runs for ones that came back: their stops would be refused, and their logs be cut."""
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    with (
        redis_server(folders[0], aof="everysec") as primary,
        redis_server(folders[1], aof="everysec", options=("--repl-backlog-ttl", "1")) as replica,
    ):
        async with behind(replica.url) as client:

            async def told(words: bytes) -> bool:
                info = await client.do("INFO", "replication")
                assert isinstance(info, bytes)
                return words in info

            await client.do("REPLICAOF", "127.0.0.1", str(primary.port))
            await until(lambda: told(b"master_link_status:up"))
            await client.do("REPLICAOF", "NO", "ONE")
            async with opened(replica.url) as store:
                run = await begin_run(store)
                lease = await must_claim(store)
                await until(lambda: told(b"master_replid2:" + b"0" * 40))
                async with opened(replica.url) as web:
                    assert not (await web.read(run)).doubt
                    await web.append(run, entries("stop"), once=["stop:immediate"])
                    await store.append(run, entries("a"), fence=lease.generation, expect=2)
                    assert (await web.read(run)).cuts == ()
