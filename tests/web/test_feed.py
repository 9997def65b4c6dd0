"""The feed over HTTP: what happens in all runs that the caller may see."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from jackline.events import Workflow, encode
from jackline.log.feed import FeedPage
from jackline.log.memory import MemoryStore
from jackline.sse import Decoder
from jackline.web import feed as feeding
from tests.web.harness import (
    ANA,
    API,
    BOB,
    JSON,
    KEYS,
    FlakyStore,
    Setup,
    as_user,
    data_of,
    eventually,
    running,
)

pytestmark = pytest.mark.anyio

FEED = f"{API}/feed"


async def test_it_has_the_workflow_and_approval_entries_as_their_runs_have_them() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        of_run = [
            (event.event, event.data)
            for event in await setup.client.events(run_id, "?compact=0")
            if event.event in {"workflow", "approval"}
        ]
        async with setup.client.open("GET", FEED) as exchange:
            ready = await exchange.next()
            assert (ready.event, ready.id) == ("ready", None)
            events = await exchange.until("workflow", state="completed")
        assert [(event.event, event.data) for event in events] == of_run
        page = await setup.client.get(FEED, **JSON)
        assert [entry["id"] for entry in page.json()["entries"]] == [event.id for event in events]
        assert page.json()["next"] == events[-1].id == data_of(ready)["newest"]
        assert (await setup.client.get(f"{FEED}?after=0", **JSON)).json() == page.json(), "0 is before all"


async def test_it_goes_on_after_a_cursor_and_lives() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        ids = [entry["id"] for entry in (await setup.client.get(FEED, **JSON)).json()["entries"]]
        async with setup.client.open("GET", FEED, headers={"last-event-id": ids[-2]}) as exchange:
            ready, last = [await exchange.next() for _ in range(2)]
            assert (data_of(ready)["cursor"], last.id) == (ids[-2], ids[-1])
            other = await setup.client.chat()
            assert data_of(await exchange.next())["run_id"] == other != run_id
        async with setup.client.open("GET", f"{FEED}?after=now") as exchange:
            assert data_of(await exchange.next())["cursor"] not in ids
            third = await setup.client.chat()
            assert data_of(await exchange.next())["run_id"] == third


async def test_nobody_sees_what_happens_in_the_runs_of_others() -> None:
    """G12"""
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        mine, theirs = await ana.chat(), await bob.chat()
        for client, run_id in ((ana, mine), (bob, theirs)):
            page = (await client.get(FEED, **JSON)).json()
            assert [entry["data"]["run_id"] for entry in page["entries"]] == [run_id]
        async with ana.open("GET", FEED) as exchange:
            await exchange.until("workflow")
            await bob.chat()
            another = await ana.chat()
            events = await exchange.until("workflow")
            assert [data_of(event)["run_id"] for event in events if event.event != "heartbeat"] == [another]
        (await setup.client.get(FEED)).problem(401)


@pytest.mark.parametrize("cursor", ["7", "0123abcd-1", "now!", "a" * 500, "-", "~"])
async def test_a_cursor_that_is_none_of_its_own_is_refused(cursor: str) -> None:
    """G11"""
    async with running() as setup:
        for headers in ({}, JSON):
            assert (await setup.client.get(f"{FEED}?after={cursor}", **headers)).fields(400) == ["after"]


async def ids_of(setup: Setup) -> list[str]:
    """The cursors of all entries."""
    return [entry["id"] for entry in (await setup.client.get(FEED, **JSON)).json()["entries"]]


async def test_a_heartbeat_comes_with_the_cursor_of_what_others_did() -> None:
    """G9: who sees nothing for long must not come back with a cursor from long ago."""
    async with running(keys=KEYS, heartbeat=0.05) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        async with ana.open("GET", FEED) as exchange:
            begin = data_of(await exchange.next())["cursor"]
            await bob.chat()
            newest = (await bob.get(FEED, **JSON)).json()["next"]
            await exchange.until("heartbeat", cursor=newest)
        async with ana.open("GET", f"{FEED}?after={begin}") as exchange:
            assert (await exchange.next()).event == "ready"
            caught_up = await exchange.next()
            assert caught_up.event == "heartbeat"
            assert data_of(caught_up) == {"ts": data_of(caught_up)["ts"], "cursor": newest}


async def test_while_the_store_is_away_it_stays_open_and_says_so() -> None:
    """G8"""
    async with running(heartbeat=0.02) as setup, setup.client.open("GET", FEED) as exchange:
        await exchange.until("heartbeat")
        setup.store.away = True
        await exchange.until("heartbeat", store="away")
        assert (await setup.client.get(FEED, **JSON)).problem(503)
        setup.store.away = False
        while "store" in data_of((await exchange.until("heartbeat"))[-1]):
            pass
        run_id = await setup.client.chat()
        await exchange.until("workflow", run_id=run_id)


async def test_a_drain_ends_it_with_shutdown_and_a_poll_with_503() -> None:
    """G9"""
    async with running() as setup:
        async with (
            setup.client.open("GET", FEED) as stream,
            setup.client.open("GET", f"{FEED}?poll=1", headers=JSON) as poll,
        ):
            await stream.until("ready")
            await eventually(lambda: setup.site.tails.viewers == 2)
            setup.site.tails.drain()
            assert (await stream.until("shutdown"))[-1].event == "shutdown"
            await stream.whole()
            (await poll.whole()).problem(503)
        assert setup.site.tails.viewers == 0


async def test_a_poll_is_answered_by_what_comes_first() -> None:
    async with running(heartbeat=30) as setup:
        async with setup.client.open("GET", f"{FEED}?poll=1&after=now", headers=JSON) as poll:
            await eventually(lambda: setup.site.tails.viewers == 1)
            run_id = await setup.client.chat()
            page = (await poll.whole()).json()
        assert [entry["data"]["run_id"] for entry in page["entries"]] == [run_id]
        assert page["next"] == page["entries"][-1]["id"]
        named = {"accept": "text/event-stream"}
        async with setup.client.open("GET", f"{FEED}?poll=1&after={page['next']}", headers=named) as stream:
            await eventually(lambda: setup.site.tails.viewers == 1)
            other = await setup.client.chat()
            events = Decoder().feed((await stream.whole()).body)
        assert [event.event for event in events] == ["ready", "workflow", "shutdown"]
        assert data_of(events[1])["run_id"] == other
    async with running(heartbeat=0.05) as setup:
        page = (await setup.client.get(f"{FEED}?poll=1", **JSON)).json()
        assert page["heartbeat"]["cursor"] == page["next"]
        assert page["entries"] == []


async def test_head_is_the_headers_alone_and_takes_no_seat() -> None:
    async with running(max_streams=1) as setup:
        for _ in range(2):
            answer = await setup.client.call("HEAD", FEED)
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
        async with setup.client.open("GET", FEED) as exchange:
            await exchange.next()
            assert setup.site.crowd.streams == 1
            assert (await setup.client.get(FEED)).problem(503)
            assert (await setup.client.get(FEED, **JSON)).status == 200
        await eventually(lambda: setup.site.crowd.streams == 0)
        assert setup.site.tails.viewers == 0


async def test_what_is_not_held_any_more_is_a_gap() -> None:
    store = FlakyStore(feed_entries=5)
    async with running(store=store) as setup:
        first = (await setup.client.get(f"{FEED}?after=now", **JSON)).json()["next"]
        runs = [await setup.client.chat() for _ in range(8)]
        async with setup.client.open("GET", f"{FEED}?after={first}") as exchange:
            ready, gap, *entries = [await exchange.next() for _ in range(7)]
            assert data_of(ready)["cursor"] == first
            assert data_of(gap) == {"from": first, "to": gap.id}
            assert [data_of(entry)["run_id"] for entry in entries] == runs[3:]
        page = (await setup.client.get(f"{FEED}?after={first}", **JSON)).json()
        assert page["gap"] == data_of(gap)
        assert [entry["data"]["run_id"] for entry in page["entries"]] == runs[3:]
        again = (await setup.client.get(f"{FEED}?after={gap.id}", **JSON)).json()
        assert "gap" not in again


async def test_who_watched_a_store_that_was_emptied_is_cut_off_and_refused_on_return() -> None:
    """Redis was emptied, say: what its tail knows is of no feed any more."""
    async with running(heartbeat=30) as setup:
        await setup.client.chat()
        async with setup.client.open("GET", FEED) as exchange:
            old = (await exchange.until("workflow"))[-1].id
            setup.store.__dict__.update(MemoryStore().__dict__ | {"_listeners": setup.store._listeners})  # pyright: ignore[reportPrivateUsage]
            run_id = await setup.client.chat()
            await exchange.whole()
        assert (await setup.client.get(f"{FEED}?after={old}")).fields(400) == ["after"]
        page = (await setup.client.get(FEED, **JSON)).json()
        assert [entry["data"]["run_id"] for entry in page["entries"]] == [run_id]


async def test_one_reading_is_enough_for_all_who_watch() -> None:
    """G10"""
    async with running() as setup, AsyncExitStack() as stack:
        exchanges = [
            await stack.enter_async_context(setup.client.open("GET", f"{FEED}?after=now")) for _ in range(50)
        ]
        for exchange in exchanges:
            await exchange.until("ready")
        before = setup.store.feed_reads
        run_id = await setup.client.chat()
        for exchange in exchanges:
            await exchange.until("workflow", run_id=run_id)
        assert setup.store.feed_reads - before <= 3


async def test_one_that_does_not_read_loses_nothing_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G10: what it missed is read again from the store."""
    monkeypatch.setattr(feeding, "_RING_SLOTS", 8)
    async with (
        running() as setup,
        setup.client.open("GET", FEED, reading=False) as slow,
        setup.client.open("GET", FEED) as quick,
    ):
        await quick.until("ready")
        runs = [await setup.client.chat() for _ in range(40)]
        seen = await quick.until("workflow", count=40)
        assert [data_of(event)["run_id"] for event in seen] == runs
        slow.reading.set()
        caught = [event for event in await slow.until("workflow", count=40) if event.event == "workflow"]
        assert [data_of(event)["run_id"] for event in caught] == runs
        last = await setup.client.chat()
        assert data_of((await slow.until("workflow"))[-1])["run_id"] == last


async def test_a_run_that_is_deleted_is_gone_from_it() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        stays = await setup.client.chat()
        assert (await setup.client.call("DELETE", f"{API}/runs/{run_id}")).status == 204
        page = (await setup.client.get(FEED, **JSON)).json()
        assert {entry["data"]["run_id"] for entry in page["entries"]} == {stays}
        assert len(await ids_of(setup)) == 1


async def test_pages_of_any_size_are_the_whole() -> None:
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        mine: list[str] = []
        for _ in range(7):
            mine.append(await ana.chat())
            await bob.chat()
        found: list[str] = []
        cursor = ""
        async with asyncio.timeout(20):
            while len(found) < len(mine):
                page = (await ana.get(f"{FEED}?limit=2&after={cursor}", **JSON)).json()
                assert len(page["entries"]) <= 2
                found += [entry["data"]["run_id"] for entry in page["entries"]]
                cursor = page["next"]
        assert found == mine
        (await ana.get(f"{FEED}?limit=0", **JSON)).problem(422)


class Holding(FlakyStore):
    """Hands over what it has read after a cursor only when it is let, once."""

    held = "-"

    def __init__(self) -> None:
        super().__init__()
        self.read_it = asyncio.Event()
        self.let = asyncio.Event()

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        page = await super().read_feed(cursor, limit)
        if cursor == self.held:
            self.held = "-"
            self.read_it.set()
            await self.let.wait()
        return page


async def test_what_comes_while_the_first_page_is_on_its_way_is_not_lost() -> None:
    """The tail of those who watch already is ahead of it then."""
    store = Holding()
    async with running(store=store) as setup, setup.client.open("GET", f"{FEED}?after=now") as early:
        await early.until("ready")
        runs = [await setup.client.chat()]
        await early.until("workflow", run_id=runs[0])
        store.held = ""
        async with setup.client.open("GET", FEED) as late:
            await store.read_it.wait()
            runs.append(await setup.client.chat())
            await early.until("workflow", run_id=runs[1])
            store.let.set()
            seen = [event for event in await late.until("workflow", run_id=runs[1]) if event.id]
        assert [data_of(event)["run_id"] for event in seen] == runs


async def test_a_viewer_or_a_page_has_no_more_at_once_than_others_have() -> None:
    """G10: large entries make smaller pages, and all of them come."""
    store = FlakyStore(max_entry_bytes=1 << 20)
    async with running(store=store) as setup:
        run_id = await setup.client.chat("x" * 60_000)
        text = "y" * 60_000
        for _ in range(30):
            await store.append(run_id, [encode(Workflow(ts="", state="executing", attempt=1, reason=text))])
        sizes: list[int] = []
        cursor, seqs = "", list[int]()
        while len(seqs) < 31:
            answer = await setup.client.get(f"{FEED}?after={cursor}", **JSON)
            sizes.append(len(answer.body))
            seqs += [entry["data"]["seq"] for entry in answer.json()["entries"]]
            cursor = answer.json()["next"]
        assert seqs == list(range(1, 32))
        assert max(sizes) < 1_200_000
        page = await setup.site.tails.feed.read("")
        assert page.more
        assert sum(len(item.entry.body) for item in page.items) < 400_000
        async with setup.client.open("GET", FEED) as exchange:
            events = [event for event in await exchange.until("workflow", count=31) if event.id]
        assert [data_of(event)["seq"] for event in events] == seqs


async def test_who_polls_does_not_read_the_store_for_what_others_do() -> None:
    """G10"""
    async with running(keys=KEYS, heartbeat=30) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        now = (await ana.get(f"{FEED}?after=now", **JSON)).json()["next"]
        async with AsyncExitStack() as stack:
            polls = [
                await stack.enter_async_context(ana.open("GET", f"{FEED}?poll=1&after={now}", headers=JSON))
                for _ in range(20)
            ]
            await eventually(lambda: setup.site.tails.viewers == len(polls))
            await eventually(lambda: setup.site.tails.feed.followed)
            before = setup.store.feed_reads
            for _ in range(5):
                await bob.chat()
            newest = (await bob.get(FEED, **JSON)).json()["next"]
            await eventually(lambda: setup.site.tails.feed.cursor == newest)
            assert setup.store.feed_reads - before <= 20
            run_id = await ana.chat()
            for poll in polls:
                entries = (await poll.whole()).json()["entries"]
                assert [entry["data"]["run_id"] for entry in entries] == [run_id]


async def test_nobody_waits_for_a_tail_that_has_failed() -> None:
    """G9: they come back, and there is a new one."""
    async with running(heartbeat=30) as setup:
        async with (
            setup.client.open("GET", f"{FEED}?after=now") as stream,
            setup.client.open("GET", f"{FEED}?poll=1&after=now", headers=JSON) as poll,
        ):
            await stream.until("ready")
            await eventually(lambda: setup.site.tails.viewers == 2)
            setup.site.tails.feed.end()
            await stream.whole()
            (await poll.whole()).problem(503)
        async with setup.client.open("GET", f"{FEED}?after=now") as stream:
            await stream.until("ready")
            run_id = await setup.client.chat()
            await stream.until("workflow", run_id=run_id)
