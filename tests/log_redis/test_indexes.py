"""Indexes only say where to look: they may lie or be lost, and nothing else is."""

from __future__ import annotations

import pytest

from jackline.errors import Busy
from jackline.ids import conversation_of
from jackline.log.base import NEVER, NOW
from jackline.log.redis import RedisStore
from tests.contract.helpers import SHORT, begin, begin_run, claim, entries, must_claim, must_lapse
from tests.log_redis.behind import Behind

pytestmark = pytest.mark.anyio


async def test_a_lost_place_among_the_due_is_found_again(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    """G7: a process that dies between its append and the index loses no run."""
    runs = [await begin_run(store) for _ in range(3)]
    await client.do("DEL", *await client.keys(f"{prefix}:{{index}}:due*"))
    assert await claim(store) is None
    assert [head.run_id for head in await store.overdue()] == runs
    assert {(await must_claim(store)).run_id for _ in runs} == set(runs)


async def test_a_run_that_waits_for_its_turn_is_found_when_its_waker_died(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    run = await begin_run(store)
    conversation = run.split(".", maxsplit=1)[0]
    await begin(store, conversation, token="second", queue=True)
    await store.append(run, entries("end"), close=True)
    for key in await client.keys(f"{prefix}:{{index}}:due*"):
        await client.do("ZREM", key, f"{conversation}.2")
    assert [head.run_id for head in await store.overdue()] == [f"{conversation}.2"]
    assert (await must_claim(store)).run_id == f"{conversation}.2"


async def test_places_that_no_longer_hold_are_looked_at_and_forgotten(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    held, parked, ended = [await begin_run(store) for _ in range(3)]
    lease = await must_claim(store)
    assert lease.run_id == held
    await store.append(parked, [], due=NEVER)
    await store.append(ended, entries("end"), close=True)
    names = [held, parked, ended, "nosuchrunanywhere.1", "not a run"]
    for key in (f"{prefix}:{{index}}:due", f"{prefix}:{{index}}:due:6:helper:"):
        for name in names:
            await client.do("ZADD", key, 0, name)
    for key in ("runs", "open"):
        await client.do("ZADD", f"{prefix}:{{index}}:{key}", 99, "nosuchrunanywhere.1")
    assert await claim(store) is None
    assert await store.overdue() == []
    assert {head.run_id for head in (await store.runs())[0]} == {held, parked, ended}
    assert {head.run_id for head in (await store.runs(open_only=True))[0]} == {held, parked}
    assert await client.do("ZSCORE", f"{prefix}:{{index}}:runs", "nosuchrunanywhere.1") is None
    await store.append(parked, [], due=NOW)
    assert (await must_claim(store)).run_id == parked


async def test_a_refused_start_leaves_no_trace(store: RedisStore, client: Behind, prefix: str) -> None:
    """G11: nothing changed."""
    run = await begin_run(store)
    with pytest.raises(Busy):
        await begin(store, run.split(".", maxsplit=1)[0], token="second")
    for key in ("runs", "open", "due"):
        assert await client.members(f"{prefix}:{{index}}:{key}") == [run]


async def test_deleted_conversations_leave_no_key_but_the_servers_own(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    run = await begin_run(store)
    lease = await must_claim(store, ttl=SHORT)
    await must_lapse(store, run)
    await store.append(run, entries("x"), once=["a"], checkpoint=b"c", fence=lease.generation)
    await store.append(run, entries("end"), close=True)
    await store.delete(run.split(".", maxsplit=1)[0])
    assert await client.keys(f"{prefix}*") == {f"{prefix}:{{index}}:serial", f"{prefix}:life"}


async def test_who_ended_first_comes_first_however_late_the_index_was_told(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    runs: list[str] = []
    for _ in range(3):
        run = await begin_run(store)
        await store.append(run, entries("end"), close=True)
        runs.append(run)
        ended = (await store.head(run)).updated_ms
        while await store.now_ms() <= ended:
            pass
    talks = [conversation_of(run) for run in runs]
    for score, (run, talk) in enumerate(zip(reversed(runs), reversed(talks), strict=True)):
        await client.do("ZADD", f"{prefix}:{{index}}:ended", "XX", score, talk)
        await client.do("ZADD", f"{prefix}:{{index}}:loose", "XX", score, run)
    before = await store.now_ms()
    assert await store.ended(before, 10) == talks
    assert await store.loose(before, 10) == runs
