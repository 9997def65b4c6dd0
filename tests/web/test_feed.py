"""The feed over HTTP: what happens in all runs that the caller may see."""

from __future__ import annotations

import pytest

from tests.web.harness import ANA, API, BOB, JSON, KEYS, as_user, data_of, entries_of, running

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
            assert ready.event == "ready"
            events = await exchange.until("workflow", state="completed")
        assert [(event.event, event.data) for event in events] == of_run
        page = await setup.client.get(FEED, **JSON)
        assert [entry["id"] for entry in page.json()["entries"]] == [event.id for event in events]
        assert page.json()["next"] == events[-1].id == data_of(ready)["newest"]


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
        assert entries_of([]) == []
