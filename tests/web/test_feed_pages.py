"""Pages of the feed: what a limit means, and what a poll waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jackline.events import Workflow, encode
from jackline.log.feed import FeedPage
from tests.web.harness import ANA, API, BOB, JSON, KEYS, FlakyStore, as_user, running

pytestmark = pytest.mark.anyio

FEED = f"{API}/feed"


class Thrifty(FlakyStore):
    """Gives few entries at once, so that a page takes many reads."""

    most = 256

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        return await super().read_feed(cursor, min(limit, self.most))


@pytest.mark.parametrize(("query", "most"), [("&limit=1", 256), ("", 2)], ids=["few wanted", "few given"])
async def test_a_poll_finds_an_entry_behind_many_of_others_at_once(query: str, most: int) -> None:
    """G12: that others are busy holds nobody up until the next heartbeat."""
    store = Thrifty()
    async with running(keys=KEYS, store=store, heartbeat=3600) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        theirs = await bob.chat()
        for _ in range(120):
            await store.append(theirs, [encode(Workflow(ts="", state="executing", attempt=1))])
        store.most = most
        mine = await ana.chat()
        page = (await ana.get(f"{FEED}?poll=1{query}", **JSON)).json()
        assert [entry["data"]["run_id"] for entry in page["entries"]] == [mine]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_any_size_go_on_where_they_end(limit: int) -> None:
    async with running() as setup:
        for _ in range(3):
            await setup.whole_run()
        whole = (await setup.client.get(FEED, **JSON)).json()["entries"]
        wanted, found, cursor = [entry["id"] for entry in whole], list[str](), ""
        while len(found) < len(wanted):
            page = (await setup.client.get(f"{FEED}?after={cursor}&limit={limit}", **JSON)).json()
            assert 1 <= len(page["entries"]) <= limit
            found += [entry["id"] for entry in page["entries"]]
            cursor = page["next"]
            assert cursor == found[-1]
        assert found == wanted


class InSteps(FlakyStore):
    """Appends three entries at a time: all but the last have the cursor of what came before."""

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        page = await super().read_feed(cursor, limit)
        before = [page.start, *(item.cursor for item in page.items)]
        items = [
            item if at % 3 == 2 or at + 1 == len(page.items) else replace(item, cursor=before[at - at % 3])
            for at, item in enumerate(page.items)
        ]
        return replace(page, items=items)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_a_page_ends_where_a_step_ends(limit: int) -> None:
    """A cursor in the middle of a step would give its first entries again, for ever."""
    store = InSteps()
    async with running(store=store) as setup:
        run_id = await setup.client.chat()
        for _ in range(8):
            await store.append(run_id, [encode(Workflow(ts="", state="executing", attempt=1))])
        seqs, sizes, cursor = list[int](), list[int](), ""
        while len(seqs) < 9:
            page = (await setup.client.get(f"{FEED}?after={cursor}&limit={limit}", **JSON)).json()
            seqs += [entry["data"]["seq"] for entry in page["entries"]]
            sizes.append(len(page["entries"]))
            cursor = page["next"]
        assert seqs == list(range(1, 10))
        assert set(sizes) == ({3} if limit <= 3 else {6, 3})
