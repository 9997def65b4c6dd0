"""Long-polling: for paths that hold a stream back whatever is done."""

from __future__ import annotations

import pytest

from tests.web.harness import API, JSON, data_of, entries_of, eventually, running

pytestmark = pytest.mark.anyio


async def test_a_poll_is_answered_as_soon_as_there_is_an_entry() -> None:
    """G1: what comes while a poll waits is in its answer, once, with the cursor to go on from."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events?poll=1"
        first = (await setup.client.get(path, **JSON)).json()
        assert [entry["id"] for entry in first["entries"]] == ["1"]
        assert first["next"] == 1
        async with setup.client.open("GET", f"{path}&after=1", headers=JSON) as waiting:
            await eventually(lambda: setup.site.tails.viewers == 1)
            await worker.execute()
            page = (await waiting.whole()).json()
        assert [entry["id"] for entry in page["entries"]] == ["2"]
        assert "end" not in page
        assert "heartbeat" not in page


async def test_the_polls_of_a_whole_run_are_its_log_and_say_where_it_ends() -> None:
    """G1: nothing is kept between polls; whoever asks on has every entry once, and `end` in the last."""
    async with running() as setup:
        run_id = await setup.whole_run()
        log = (await setup.client.get(f"{API}/runs/{run_id}/events", **JSON)).json()["entries"]
        seen: list[object] = []
        after: object = 0
        while True:
            path = f"{API}/runs/{run_id}/events?poll=1&limit=3&after={after}"
            page = (await setup.client.get(path, **JSON)).json()
            seen += page["entries"]
            after = page["next"]
            if "end" in page:
                break
        assert seen == log
        assert after is None
        assert page["end"] == {"run_id": run_id, "state": "completed", "seq": len(log)}


async def test_a_poll_without_news_is_answered_with_a_heartbeat() -> None:
    """G9: silence says whether anybody works, and no proxy's idle limit is met."""
    async with running(heartbeat=0.05) as setup:
        run_id = await setup.client.chat()
        page = (await setup.client.get(f"{API}/runs/{run_id}/events?poll=1&after=1", **JSON)).json()
        assert page["entries"] == []
        assert page["next"] == 1
        assert page["heartbeat"]["state"] == "queued"
        assert page["heartbeat"]["worker"] == "none"


async def test_a_poll_until_a_pause_ends_there() -> None:
    """G5: the answer that reaches the question says that a stream would end here."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.ask()
        path = f"{API}/runs/{run_id}/events?poll=1&until=pause"
        page = (await setup.client.get(path, **JSON)).json()
        assert page["end"]["state"] == "awaiting_approval"
        again = (await setup.client.get(f"{path}&after={page['next']}", **JSON)).json()
        assert (again["entries"], again["end"]) == ([], page["end"])


async def test_a_poll_that_waits_when_the_server_goes_is_told_to_come_back() -> None:
    """A deploy: 503 with `Retry-After`, and the cursor holds."""
    async with running() as setup:
        run_id = await setup.client.chat()
        async with setup.client.open(
            "GET", f"{API}/runs/{run_id}/events?poll=1&after=1", headers=JSON
        ) as poll:
            await eventually(lambda: setup.site.tails.viewers == 1)
            setup.site.tails.drain()
            answer = await poll.whole()
        answer.problem(503)
        assert answer.headers["retry-after"] == "1"


async def test_a_poll_of_a_run_that_is_deleted_meanwhile_is_404() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        setup.store.away = True  # so that it waits, with the run's ending before it
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events?poll=1", headers=JSON) as poll:
            (await poll.whole()).problem(503)
        setup.store.away = False
        await setup.store.delete(run_id)
        setup.site.tails.forget(run_id)
        (await setup.client.get(f"{API}/runs/{run_id}/events?poll=1", **JSON)).problem(404)


async def test_a_fault_of_the_tail_is_not_told_as_a_run_that_there_is_not() -> None:
    """G11: the run is there; who polls it comes back."""
    async with running() as setup:
        run_id = await setup.client.chat()
        path = f"{API}/runs/{run_id}/events?poll=1&after=1"
        async with setup.client.open("GET", path, headers=JSON) as poll:
            tails = setup.site.tails._tails  # pyright: ignore[reportPrivateUsage]
            await eventually(lambda: any(tail.following is not None for tail in tails.values()))
            setup.site.tails.forget(run_id)
            (await poll.whole()).problem(503)


async def test_who_hangs_up_is_not_waited_with() -> None:
    """G2: nothing stays behind of a poll that nobody waits for."""
    async with running(heartbeat=3600) as setup:
        run_id = await setup.client.chat()
        path = f"{API}/runs/{run_id}/events?poll=1&after=1"
        async with setup.client.open("GET", path, headers=JSON):
            await eventually(lambda: setup.site.tails.viewers == 1)
        assert setup.site.tails.viewers == 0


@pytest.mark.parametrize("accept", [{}, {"accept": "*/*"}, JSON])
async def test_a_poll_is_a_page_unless_the_stream_is_named(accept: dict[str, str]) -> None:
    """curl without a header too: what polls wants an answer that is complete."""
    async with running() as setup:
        run_id = await setup.whole_run()
        answer = await setup.client.get(f"{API}/runs/{run_id}/events?poll=1", **accept)
        assert answer.headers["content-type"] == "application/json"


async def test_an_eventsource_that_polls_gets_streams_that_end() -> None:
    """G1: the same frames in as many short streams as it takes; each says when to come back."""
    async with running(heartbeat=0.05) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        headers = {"accept": "text/event-stream"}
        path = f"{API}/runs/{run_id}/events?poll=1&compact=0"
        first = (await setup.client.get(path, **headers)).events()
        assert [event.event for event in first] == ["ready", "workflow", "shutdown"]
        assert first[-1].retry == data_of(first[-1])["retry_ms"] == 100
        silent = (await setup.client.get(path, **headers, last_event_id="1")).events()
        assert [event.event for event in silent] == ["ready", "heartbeat", "shutdown"]
        await worker.execute()
        await worker.say("a", "b")
        await worker.complete()
        rest = (await setup.client.get(path, **headers, last_event_id="1")).events()
        assert rest[-1].event == "end"
        whole = entries_of(await setup.client.events(run_id, "?compact=0"))
        assert entries_of(first) + entries_of(rest) == whole


async def test_a_poll_that_is_no_choice_is_refused() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        answer = await setup.client.get(f"{API}/runs/{run_id}/events?poll=yes", **JSON)
        assert answer.fields(422) == ["poll"]
