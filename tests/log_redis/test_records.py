"""Group records, their bytes, and reading across them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackline.events import Entry
from jackline.ids import conversation_of
from jackline.log.base import Page
from jackline.log.packing import pack, unpack
from jackline.log.redis import RedisStore
from jackline.log.redis_keys import record
from jackline.log.redis_wire import array
from tests.contract.helpers import begin_run, entries
from tests.log_redis.behind import Behind

pytestmark = pytest.mark.anyio

TYPES = st.text("ab -:\u2603", min_size=1, max_size=8)
ENTRIES = st.lists(st.builds(Entry, TYPES, st.binary(max_size=40)), max_size=6)


@given(ENTRIES)
def test_packed_entries_come_back(group: list[Entry]) -> None:
    assert unpack(pack(group)) == group


@given(st.lists(ENTRIES, max_size=4))
def test_joined_records_come_back_as_one_sequence(groups: list[list[Entry]]) -> None:
    joined = b"".join(map(pack, groups))
    assert unpack(joined) == [entry for group in groups for entry in group]


def test_a_body_of_several_lines_passes_for_no_other_entries() -> None:
    group = [Entry("token", b"{}\ntool 2\n{}"), Entry("tool", b"\n"), Entry("token", b"")]
    assert unpack(pack(group)) == group


@pytest.mark.parametrize("rest", [b"token", b"token x\n{}\n"])
def test_what_follows_the_last_entry_of_a_record_is_not_passed_over(rest: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(pack(entries("a")) + rest)


def test_fields_of_a_later_version_are_passed_over() -> None:
    fields = [b"v", b"2", b"later", b"x", b"e", pack(entries("a", "b"))]
    found = record(b"7-0", fields)
    assert (found.first, found.last, found.entries) == (6, 7, entries("a", "b"))


async def test_a_group_is_one_record_whose_id_is_its_last_seq(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    run = await begin_run(store)
    await store.append(run, entries("a", "b", "c"))
    await store.append(run, [], summary=b"s")
    await store.append(run, entries("d"))
    key = f"{prefix}:{{{conversation_of(run)}}}:e:1"
    records = array(await client.do("XRANGE", key, "-", "+"))
    assert [array(item)[0] for item in records] == [b"1-0", b"4-0", b"5-0"]


async def test_every_cursor_and_limit_cuts_groups_right(store: RedisStore) -> None:
    """G1: exactly the entries after the cursor, also from the middle of a group."""
    run = await begin_run(store, agent="a")
    bodies = [b'{"text":"hello"}']
    for size in (3, 1, 7, 2, 40, 1):
        group = entries(*(f"{len(bodies) + i}" for i in range(size)))
        await store.append(run, group)
        bodies += [entry.body for entry in group]
    for after in range(len(bodies) + 2):
        for limit in (1, 2, 5, 1000):
            page = await store.read(run, after, limit)
            assert [entry.body for entry in page.entries] == bodies[after : after + limit]
            assert (page.first, page.last) == (after + 1, len(bodies))
        page = await store.read(run, after, max_bytes=30)
        assert_within(page, bodies[after:], 30)


def assert_within(page: Page, bodies: list[bytes], limit: int) -> None:
    found = [entry.body for entry in page.entries]
    assert found == bodies[: len(found)]
    assert len(found) == min(1, len(bodies)) or sum(map(len, found)) <= limit


async def test_a_long_log_is_read_whole_and_in_order(store: RedisStore) -> None:
    run = await begin_run(store)
    for number in range(0, 3000, 3):
        await store.append(run, entries(f"{number}", f"{number + 1}", f"{number + 2}"))
    page = await store.read(run, 1, 5000)
    assert [entry.body for entry in page.entries] == [b'{"text":"%d"}' % n for n in range(3000)]


async def test_a_group_much_larger_than_a_page_is_read_from_every_place_in_it(store: RedisStore) -> None:
    """G1: a page ends where it must, however far beyond it its last record reaches."""
    run = await begin_run(store)
    bodies = [b"%d" % number for number in range(3000)]
    await store.append(run, [Entry("token", body) for body in bodies])
    for after in (0, 1, 2, 1500, 2999, 3000):
        for limit in (1, 3):
            page = await store.read(run, after, limit)
            expected = [b'{"text":"hello"}', *bodies][after : after + limit]
            assert [entry.body for entry in page.entries] == expected
            assert (page.first, page.last) == (after + 1, 3001)


async def test_a_hole_in_a_log_ends_a_page_and_the_next_one_begins_behind_it(
    store: RedisStore, client: Behind, prefix: str
) -> None:
    """G1: what is no longer held is never passed over as though it had not been."""
    run = await begin_run(store)
    for number in range(5):
        await store.append(run, entries(f"{number}", f"{number}+"))
    await client.do("XDEL", f"{prefix}:{{{conversation_of(run)}}}:e:1", "5-0", "9-0")
    pages: list[Page] = []
    after = 0
    while after < 11:
        pages.append(await store.read(run, after))
        after = pages[-1].first + len(pages[-1].entries) - 1
    found = [(page.first, [entry.body for entry in page.entries[-2:]]) for page in pages]
    assert found == [
        (1, [b'{"text":"0"}', b'{"text":"0+"}']),
        (6, [b'{"text":"2"}', b'{"text":"2+"}']),
        (10, [b'{"text":"4"}', b'{"text":"4+"}']),
    ]


async def test_a_trimmed_log_says_where_it_begins(store: RedisStore, client: Behind, prefix: str) -> None:
    """G1: never silence; the page's first seq shows the gap."""
    run = await begin_run(store)
    await store.append(run, entries("a", "b"))
    await store.append(run, entries("c"))
    key = f"{prefix}:{{{conversation_of(run)}}}:e:1"
    await client.do("XTRIM", key, "MINID", "4-0")
    page = await store.read(run, 1)
    assert (page.first, page.last, page.entries) == (4, 4, tuple(entries("c")))
    await client.do("XTRIM", key, "MAXLEN", 0)
    page = await store.read(run, 1)
    assert (page.first, page.last, page.entries) == (5, 4, ())
