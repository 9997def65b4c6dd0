"""Records and heads that another version has written, and this one goes on with."""

from __future__ import annotations

import pytest

from jackline.errors import Fenced
from jackline.ids import conversation_of
from jackline.log.base import Serves
from jackline.log.packing import pack
from jackline.log.redis import RedisStore
from tests.contract.helpers import begin_run, entries, entry, must_claim, texts_of
from tests.log_redis.behind import Behind

pytestmark = pytest.mark.anyio

FORMER: tuple[str, ...] = ()
"""A record of the version before: without a format of its own."""

NEXT = ("v", "2", "digest", "of a later version", "parts", "1")
"""A record of the version after: another format, more fields."""


async def written(
    client: Behind, prefix: str, run_id: str, at: int, fields: tuple[str, ...], *texts: str
) -> None:
    """What the append of another version leaves behind: a record, the head, a name of `once`."""
    base = f"{prefix}:{{{conversation_of(run_id)}}}"
    last = at + len(texts) - 1
    await client.do("XADD", f"{base}:e:1", f"{last}-0", *fields, "e", pack(entries(*texts)))
    await client.do("HSET", f"{base}:r:1", "seq", last)
    await client.do("HSET", f"{base}:o:1", f"name-{at}", at)


@pytest.mark.parametrize("fields", [FORMER, NEXT], ids=["former", "next"])
async def test_a_log_with_records_of_a_neighbour_is_read_and_continued(
    store: RedisStore, other: RedisStore, client: Behind, prefix: str, fields: tuple[str, ...]
) -> None:
    """G1, G5: the entries are in order and as they were written; a name they took stays taken."""
    run = await begin_run(store)
    await written(client, prefix, run, 2, fields, "a", "b")
    appended = await store.append(run, entries("c"), expect=3)
    await written(client, prefix, run, 5, fields, "d")
    assert (appended.first, appended.last) == (4, 4)
    for each in (store, other):
        assert await texts_of(each, run) == [entry(text).body for text in ("hello", "a", "b", "c", "d")]
    again = await other.append(run, entries("twice"), once=["name-5"])
    assert again.repeated
    assert again.taken["name-5"].entry == entry("d")
    closed = await other.append(run, entries("end"), expect=5, close=True)
    assert closed.last == 6


@pytest.mark.parametrize(
    "removed", [("renewed",), ("unreleased",), ("revision",)], ids=lambda names: names[0]
)
async def test_a_lease_that_a_neighbour_wrote_is_kept_and_taken_over(
    store: RedisStore, other: RedisStore, client: Behind, prefix: str, removed: tuple[str, ...]
) -> None:
    """G7: more fields are left alone, some may be missing; the fence holds between versions."""
    run = await begin_run(store)
    lease = await must_claim(store, "of another version", ttl=60)
    head = f"{prefix}:{{{conversation_of(run)}}}:r:1"
    await client.do("HSET", head, "mood", "fine", "priority", "7")
    await client.do("HDEL", head, *removed)
    told = await other.head(run)
    assert (told.worker, told.worker_id) == ("alive", "of another version")
    assert await other.claim("w2", 60, [Serves(name="helper", revision="r1")]) is None
    await store.append(run, entries("mine"), fence=lease.generation)
    await store.release(lease, "now", expect=2)
    taken = await must_claim(other, "w2")
    assert taken.generation > lease.generation
    with pytest.raises(Fenced):
        await store.append(run, entries("too late"), fence=lease.generation)
    await other.append(run, entries("mine now"), fence=taken.generation)
    assert await client.do("HGET", head, "mood") == b"fine"
