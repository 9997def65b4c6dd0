"""The feed on Redis: pointers that come before what they announce, and what may happen in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from jackline.errors import Busy, Fenced, StoreUnavailable
from jackline.events import Entry
from jackline.ids import conversation_of, new_conversation_id
from jackline.log.base import Lease, Missing
from jackline.log.packing import pack
from jackline.log.redis import RedisStore
from jackline.log.redis_wire import integer, text
from tests.contract.helpers import LONG, entries, must_claim, until
from tests.contract.redis_server import RedisServer, redis_server, shared_url
from tests.contract.test_feed import news, read_all, start
from tests.log_redis.behind import Behind, answers, behind

pytestmark = pytest.mark.anyio


class Pen:
    """A writer that does by hand, and step by step, what an append does at once."""

    def __init__(self, client: Behind, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self.feed = f"{prefix}:{{feed}}:p"

    async def announce(self, run_id: str, after: int, mark: str, at: str = "*") -> str:
        """Its id."""
        return text(await self._client.do("XADD", self.feed, at, "p", f"{run_id} {after} {mark}"))

    async def append(self, run_id: str, seq: int, mark: str, *made: Entry) -> None:
        """Entries up to `seq`."""
        conversation_id, _, number = run_id.partition(".")
        base = f"{self._prefix}:{{{conversation_id}}}"
        await self._client.do(
            *("XADD", f"{base}:e:{number}", f"{seq}-0", "v", "1", "e", pack(made), "f", mark)
        )
        await self._client.do("HSET", f"{base}:r:{number}", "seq", seq)

    async def pointers(self) -> int:
        return integer(await self._client.do("XLEN", self.feed))


@pytest.fixture
def pen(client: Behind, prefix: str) -> Pen:
    return Pen(client, prefix)


@pytest.fixture
async def run_id(store: RedisStore) -> str:
    """A run with one entry, which is in the feed."""
    return (await store.begin(start())).run_id


async def test_what_is_announced_and_not_there_yet_is_looked_at_again(
    store: RedisStore, other: RedisStore, pen: Pen, run_id: str
) -> None:
    await pen.announce(run_id, 1, "late")
    second = (await store.begin(start())).run_id
    page = await store.read_feed()
    assert [(item.run_id, item.seq) for item in page.items] == [(run_id, 1), (second, 1)]
    assert page.unsettled
    assert not page.more
    again = await other.read_feed(page.next)
    assert (list(again.items), again.next, again.unsettled) == ([], page.next, True)
    await pen.append(run_id, 2, "late", news("late"))
    for cursor in (page.next, page.items[-1].cursor):  # wherever it is resumed, and by whomever
        assert (await read_all(other, cursor))[0] == [(run_id, 2)]
    assert not (await store.read_feed(page.next)).unsettled
    assert (await read_all(store))[0] == [(run_id, 1), (run_id, 2), (second, 1)]


async def test_what_came_before_the_end_and_lands_after_it_is_new(
    store: RedisStore, pen: Pen, run_id: str
) -> None:
    """Who asks for what is new, and then reads a list, must not miss what lands in between."""
    await pen.announce(run_id, 1, "late")
    end = await store.feed_end()
    await pen.append(run_id, 2, "late", news("late"))
    assert (await read_all(store, end))[0] == [(run_id, 2)]


async def test_what_never_came_is_forgotten(store: RedisStore, pen: Pen) -> None:
    await pen.announce(f"{new_conversation_id()}.1", 0, "never", at="1-1")
    run = (await store.begin(start())).run_id
    page = await store.read_feed()
    assert [(item.run_id, item.seq) for item in page.items] == [(run, 1)]
    assert not page.unsettled


async def test_behind_very_many_that_are_under_way_a_reader_waits_and_loses_nothing(
    store: RedisStore, pen: Pen, run_id: str
) -> None:
    marks = [f"m{number}" for number in range(10)]
    for mark in marks:
        await pen.announce(run_id, 1, mark)
    second = (await store.begin(start())).run_id
    page = await store.read_feed()
    assert page.more
    assert page.unsettled
    stuck = await store.read_feed(page.next)
    assert (stuck.next, list(stuck.items)) == (page.next, [])
    for seq, mark in enumerate(marks, 2):
        await pen.append(run_id, seq, mark, news(mark))
    assert (await read_all(store, page.next))[0] == [
        *((run_id, seq) for seq in range(2, 10)),
        (run_id, 10),
        (run_id, 11),
        (second, 1),
    ]


async def test_a_run_is_in_order_although_its_appends_overtake_their_pointers(
    store: RedisStore, pen: Pen, run_id: str
) -> None:
    await pen.announce(run_id, 1, "slow")
    await store.append(run_id, [news("fast")])
    before = await store.read_feed()
    assert [item.seq for item in before.items] == [1, 2]
    await pen.append(run_id, 3, "slow", news("slow"))
    assert (await read_all(store, before.next))[0] == [(run_id, 2), (run_id, 3)]
    assert (await read_all(store))[0] == [(run_id, 1), (run_id, 2), (run_id, 3)]


async def test_refused_appends_leave_nothing_behind(store: RedisStore, pen: Pen, run_id: str) -> None:
    await store.append(run_id, [news("a")], once=["name"])
    await store.append(run_id, [news("a")], once=["name"])
    with pytest.raises(Fenced):
        await store.append(run_id, [news("b")], fence=7)
    again = start(conversation_of(run_id))
    assert (await store.begin(again)).repeated
    with pytest.raises(Busy):
        await store.begin(start(conversation_of(run_id), token="other", queue=False))

    async def only_two() -> bool:
        return await pen.pointers() == 2

    await until(only_two)


async def test_runs_that_are_deleted_as_soon_as_they_are_over_hold_nobody_up(
    store: RedisStore, other: RedisStore
) -> None:
    """G10: one who begins and deletes very many makes nobody wait."""
    here = await store.feed_end()
    for _ in range(12):
        gone = (await store.begin(start())).run_id
        await store.append(gone, [news("end")], close=True)
        await store.delete(gone)
    gone = (await store.begin(start())).run_id
    await store.append(gone, [news("end")], close=True)
    await store.delete(conversation_of(gone))
    stays = (await store.begin(start())).run_id
    for cursor in (here, ""):
        page = await other.read_feed(cursor)
        assert [(item.run_id, item.seq) for item in page.items] == [(stays, 1)]
        assert (page.more, page.unsettled) == (False, False)


async def test_what_a_full_server_refuses_is_waited_for_by_nobody(tmp_path: Path) -> None:
    with redis_server(tmp_path, options=("--maxmemory", "32mb")) as server:
        store = await RedisStore.open(server.url)
        try:
            run = (await store.begin(start())).run_id
            async with behind(server.url) as client:
                await client.do("CONFIG", "SET", "maxmemory", "1mb")
                for _ in range(10):
                    with pytest.raises(StoreUnavailable):
                        await store.begin(start())
                await store.append(run, [news("stopping")], once=["stop"])
            page = await store.read_feed()
            assert [(item.run_id, item.seq) for item in page.items] == [(run, 1), (run, 2)]
            assert (page.more, page.unsettled) == (False, False)
        finally:
            await store.aclose()


async def test_runs_that_are_begun_at_once_are_all_in_it(store: RedisStore, other: RedisStore) -> None:
    """Each is announced under a number that another one may get."""
    conversation_id = new_conversation_id()
    begun = await asyncio.gather(
        *(
            (store, other)[number % 2].begin(start(conversation_id, token=f"t{number}"))
            for number in range(20)
        )
    )
    found, _ = await read_all(store)
    assert sorted(set(found)) == sorted((each.run_id, 1) for each in begun)


async def test_compaction_changes_nothing_of_it(store: RedisStore, other: RedisStore, run_id: str) -> None:
    """G1: every cursor goes on as before."""
    for number in range(30):
        await store.append(run_id, [*entries("x" * 4000), news(str(number)), news("again")])
    await store.append(run_id, [news("end")], close=True)
    whole = (await store.read_feed()).items
    assert len(whole) == 62
    await store.compact(run_id)
    assert [(each.seq, each.entry) for each in (await other.read_feed()).items] == [
        (each.seq, each.entry) for each in whole
    ]
    for at in range(0, 62, 7):
        rest, _ = await read_all(other, whole[at].cursor)
        assert rest[-1] == (run_id, whole[-1].seq)
        assert {(run_id, each.seq) for each in whole[at + 1 :]} <= set(rest)
        assert len(rest) <= 62 - at


async def test_a_cursor_of_another_feed_is_told_from_its_own(store: RedisStore, tmp_path: Path) -> None:
    end = await store.feed_end()
    another = await RedisStore.open(shared_url(), prefix=f"another{tmp_path.name[-8:]}")
    try:
        with pytest.raises(ValueError, match="no cursor of this feed"):
            await another.read_feed(end)
    finally:
        await another.aclose()


async def test_what_is_older_than_what_is_held_is_a_gap(prefix: str) -> None:
    small = await RedisStore.open(shared_url(), prefix=prefix, feed_entries=100)
    try:
        run = (await small.begin(start())).run_id
        early = (await small.read_feed()).next
        for number in range(400):
            await small.append(run, [news(str(number))])
        page = await small.read_feed(early, 1000)
        assert page.gap
        held = [item.seq for item in page.items]
        assert 100 <= len(held) < 300
        assert held == list(range(402 - len(held), 402))
        begin = await small.read_feed(page.start, 1000)
        assert not begin.gap
        assert [item.seq for item in begin.items] == held
        assert not (await small.read_feed("", 1000)).gap
    finally:
        await small.aclose()


async def test_a_full_server_still_tells_of_what_it_takes(tmp_path: Path) -> None:
    """G4, G8: a stop of a run on a server without memory is not to be missing in lists."""
    with redis_server(tmp_path, options=("--maxmemory", "32mb")) as server:
        store = await RedisStore.open(server.url)
        try:
            run = (await store.begin(start())).run_id
            lease = await must_claim(store)
            await store.append(run, [news("first")], fence=lease.generation)
            async with behind(server.url) as client:
                await client.do("CONFIG", "SET", "maxmemory", "1mb")
            await store.append(run, [news("stopping")], once=["stop"])
            await store.append(run, [news("stopped")], fence=lease.generation, close=True)
            assert (await read_all(store))[0] == [(run, seq) for seq in range(1, 5)]
        finally:
            await store.aclose()


@pytest.fixture
async def forgetful(tmp_path: Path) -> AsyncGenerator[RedisServer]:
    """A server that writes to its disk each second."""
    with redis_server(tmp_path, aof="everysec") as made:
        yield made


async def test_what_was_lost_and_put_back_is_in_it_again(forgetful: RedisServer) -> None:
    """G8: a cursor that the server has forgotten is a gap; what is put back comes after it."""
    store = await RedisStore.open(forgetful.url)
    try:
        run = (await store.begin(start())).run_id
        lease: Lease = await must_claim(store)
        assert await store.feed_end()
        written = forgetful.written
        await store.append(run, [news("a"), *entries("x"), news("b")], fence=lease.generation)
        cursor = (await store.read_feed()).next
        forgetful.kill()
        forgetful.lose(written)
        forgetful.launch()
        await until(lambda: answers(store))
        page = await store.read_feed(cursor)
        assert page.gap
        missing = Missing(last=1, entries=[news("a"), *entries("x"), news("b")])
        await store.heal(lease, LONG, missing)
        assert [seq for _, seq in (await read_all(store, page.next))[0]] == [2, 4]
        assert (await read_all(store))[0] == [(run, 1), (run, 2), (run, 4)]
    finally:
        await store.aclose()


async def test_who_may_not_tell_of_it_appends_all_the_same(tmp_path: Path) -> None:
    """A Redis user whose rights leave the feed out: its runs go on, and are missing in the feed."""
    with redis_server(tmp_path, aof="no") as server:
        async with behind(server.url) as admin:
            await admin.do(
                *("ACL", "SETUSER", "narrow", "on", ">secret", "+@all", "&*"),
                *("resetkeys", "~jackline:{index}:*", "~jackline:{c*", "~jackline:life", "~jackline:barrier"),
            )
        store = await RedisStore.open(server.url.replace("redis://", "redis://narrow:secret@"))
        try:
            conversation_id = "c" + new_conversation_id()[1:]
            run = (await store.begin(start(conversation_id))).run_id
            await store.append(run, [news("a")])
            assert (await store.read(run)).last == 2
        finally:
            await store.aclose()
