"""The feed: every entry that belongs in it, of every run, at least once, from any cursor."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from jackline.errors import Moved
from jackline.events import Entry
from jackline.ids import new_conversation_id
from jackline.log.base import Start
from tests.contract.helpers import DEADLINE, begin, entries, entry

if TYPE_CHECKING:
    from jackline.log.base import Store

pytestmark = pytest.mark.anyio


def news(text: str) -> Entry:
    """An entry that is in the feed."""
    return Entry("workflow", b'{"text":"%b"}' % text.encode())


def start(
    conversation_id: str = "", *, token: str = "first", owner: str = "user:ana", queue: bool = True
) -> Start:
    """The start of a run whose first entry is in the feed."""
    return Start(
        conversation_id=conversation_id or new_conversation_id(),
        new_conversation=True,
        token=token,
        agent="helper",
        owner=owner,
        entries=[news("queued")],
        summary=b"",
        queue=queue,
    )


async def read_all(store: Store, cursor: str = "", limit: int = 256) -> tuple[list[tuple[str, int]], str]:
    """The run and the seq of each entry after `cursor`, and the cursor after them."""
    found: list[tuple[str, int]] = []
    while True:
        page = await store.read_feed(cursor, limit)
        found += [(item.run_id, item.seq) for item in page.items]
        if not page.more or page.next == cursor:
            return found, page.next
        cursor = page.next


async def test_it_has_the_entries_of_all_runs_that_belong_in_it_and_no_others(store: Store) -> None:
    one = (await store.begin(start())).run_id
    two = (await store.begin(start(owner="user:bob"))).run_id
    await store.append(one, entries("a", "b"))
    await store.append(two, [*entries("c"), news("d"), *entries("e"), news("f")])
    await store.append(one, [news("g")])
    page = await store.read_feed()
    assert [(item.run_id, item.seq, item.owner, item.entry) for item in page.items] == [
        (one, 1, "user:ana", news("queued")),
        (two, 1, "user:bob", news("queued")),
        (two, 3, "user:bob", news("d")),
        (two, 5, "user:bob", news("f")),
        (one, 4, "user:ana", news("g")),
    ]
    assert (page.gap, page.more, page.unsettled) == (False, False, False)
    again = await store.read_feed(page.next)
    assert (list(again.items), again.next) == ([], page.next)


async def test_any_cursor_goes_on_where_it_stands(store: Store, other: Store) -> None:
    run_id = (await store.begin(start())).run_id
    for text in "abcdefgh":
        await store.append(run_id, [news(text), *entries("x")])
    whole = (await store.read_feed()).items
    for at, item in enumerate(whole):
        rest, _ = await read_all(other, item.cursor, 3)
        assert rest == [(run_id, each.seq) for each in whole[at + 1 :]]


async def test_the_end_is_before_what_comes_next(store: Store, other: Store) -> None:
    run_id = (await store.begin(start())).run_id
    end = await store.feed_end()
    assert await read_all(other, end) == ([], end)
    await other.append(run_id, [news("a")])
    assert (await read_all(store, end))[0] == [(run_id, 2)]


async def test_a_deleted_run_is_not_in_it(store: Store) -> None:
    gone, stays = (await store.begin(start())).run_id, (await store.begin(start())).run_id
    await store.append(gone, [news("end")], close=True)
    cursor = (await store.read_feed(limit=1)).next
    await store.delete(gone)
    assert (await read_all(store))[0] == [(stays, 1)]
    assert (await read_all(store, cursor))[0] == [(stays, 1)]


async def test_what_was_refused_is_not_in_it(store: Store) -> None:
    run_id = (await store.begin(start())).run_id
    await store.append(run_id, [news("a")], once=["name"])
    await store.append(run_id, [news("a")], once=["name"])
    await store.begin(start(run_id.split(".")[0]))
    with pytest.raises(Moved):
        await store.append(run_id, [news("b")], expect=1)
    assert (await read_all(store))[0] == [(run_id, 1), (run_id, 2)]


async def test_runs_with_nothing_for_it_leave_no_trace(store: Store) -> None:
    await begin(store)
    assert not (await store.read_feed()).items


class Reader:
    """Reads the feed in pages of any size, forgets where it was, and goes on from a cursor it has had."""

    def __init__(self, store: Store, dice: random.Random) -> None:
        self._store = store
        self._dice = dice
        self._cursors = [""]
        self.seen: dict[str, list[int]] = {}

    async def read(self) -> bool:
        """One page; whether there is no more."""
        if self._dice.random() < 0.2:
            del self._cursors[max(1, len(self._cursors) - self._dice.randint(0, 4)) :]
        cursor = self._cursors[-1]
        page = await self._store.read_feed(cursor, self._dice.randint(1, 7))
        cut = self._dice.randint(0, len(page.items)) if self._dice.random() < 0.3 else len(page.items)
        for item in page.items[:cut]:
            seqs = self.seen.setdefault(item.run_id, [])
            if item.seq not in seqs:
                seqs.append(item.seq)
            self._cursors.append(item.cursor)
        if cut == len(page.items):
            self._cursors.append(page.next)
        return not page.more and not page.unsettled and cut == len(page.items)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_in_between_each_run_is_whole_and_in_order(
    store: Store, other: Store, seed: int
) -> None:
    """Appends to many runs by two processes, and readers that are cut and resume: without what comes again
    it is, of each run, what the run has."""
    dice = random.Random(seed)
    runs = [
        (await dice.choice((store, other)).begin(start(owner=f"user:{number}"))).run_id for number in range(5)
    ]

    async def write(number: int) -> None:
        own = random.Random(f"{seed}.{number}")
        for step in range(25):
            group = [own.choice((news, entry))(f"{number}.{step}.{at}") for at in range(own.randint(1, 4))]
            await own.choice((store, other)).append(own.choice(runs), group, lazy=True)

    async def read(reader: Reader, written: asyncio.Event) -> None:
        over = False
        while not over:
            last = written.is_set()
            over = await reader.read() and last
            await asyncio.sleep(0)

    readers = [Reader(own, random.Random(f"{seed}.{at}")) for at, own in enumerate((store, other, store))]
    written = asyncio.Event()
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        reading = [group.create_task(read(reader, written)) for reader in readers]
        writing = [group.create_task(write(number)) for number in range(6)]
        await asyncio.wait(writing)
        written.set()
        await asyncio.wait(reading)
    for run_id in runs:
        page = await store.read(run_id)
        wanted = [seq for seq, found in enumerate(page.entries, 1) if found.type == "workflow"]
        for reader in readers:
            assert reader.seen[run_id] == wanted


async def test_whoever_listens_is_told(store: Store, other: Store) -> None:
    run_id = (await store.begin(start())).run_id
    heard = asyncio.Event()
    with store.listen_feed(heard.set):
        end = await store.feed_end()

        async def told(cursor: str) -> list[tuple[str, int]]:
            heard.clear()
            return (await read_all(store, cursor))[0]

        assert await told(end) == []
        await other.append(run_id, [news("a")])
        async with asyncio.timeout(DEADLINE):
            while not (found := await told(end)):
                await heard.wait()
        assert found == [(run_id, 2)]
