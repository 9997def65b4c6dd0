"""The feed: every entry that belongs in it, of every run, at least once, from any cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackline.errors import Moved
from jackline.events import Entry
from jackline.ids import new_conversation_id
from jackline.log.base import Start
from tests.contract.helpers import begin, entries

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
