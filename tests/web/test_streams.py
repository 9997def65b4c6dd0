"""Streams: what viewers are sent."""

from __future__ import annotations

import asyncio
import json

import pytest

from jackline.events import Entry
from tests.web.harness import API, JSON, data_of, entries_of, eventually, message, running

pytestmark = pytest.mark.anyio


async def test_a_chat_streams_from_its_first_entry_before_any_agent_works() -> None:
    """G9: headers, `ready` and the first entry leave although no worker exists."""
    async with running() as setup:
        body = {"messages": [message("hello")]}
        async with setup.client.open("POST", f"{API}/chat", json_body=body) as stream:
            await stream.started()
            assert stream.status == 200
            ready = await stream.next()
            queued = await stream.next()
        run_id = stream.headers["x-run-id"]
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store, no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["location"] == f"{API}/runs/{run_id}/events"
        assert "connection" not in stream.headers
        assert "content-encoding" not in stream.headers
        assert ready.event == "ready"
        assert ready.id is None
        assert ready.retry == 2000
        assert data_of(ready) == {
            "run_id": run_id,
            "conversation_id": run_id.split(".")[0],
            "state": "queued",
            "seq": 0,
            "newest": 1,
            "protocol": "jackline/1",
        }
        assert (queued.event, queued.id) == ("workflow", "1")
        assert data_of(queued)["input"] == [message("hello")]
        assert data_of(queued)["run_id"] == run_id
        assert data_of(queued)["seq"] == 1


async def test_a_whole_run_has_every_entry_once_and_ends_with_end() -> None:
    """G1: seq 1…n without holes; `end` is the last frame."""
    async with running() as setup:
        run_id = await setup.whole_run()
        events = await setup.client.events(run_id, "?compact=0")
        assert events[0].event == "ready"
        assert events[-1].event == "end"
        assert data_of(events[-1]) == {"run_id": run_id, "state": "completed", "seq": len(events) - 2}
        assert [event.id for event in events[1:-1]] == [str(seq) for seq in range(1, len(events) - 1)]
        assert [data_of(event)["seq"] for event in events[1:-1]] == list(range(1, len(events) - 1))


async def test_viewers_of_every_kind_see_the_same_bytes() -> None:
    """G1: live, on another replica, attached in the middle, late, resumed at every seq, JSON page."""
    async with running() as setup, running(store=setup.store) as other:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events?compact=0"
        async with (
            setup.client.open("GET", path) as live,
            other.client.open("GET", path) as elsewhere,
        ):
            await live.until("workflow")
            await worker.execute()
            await worker.say("a", "b")
            async with setup.client.open("GET", path) as middle:
                await middle.until("token", count=2)
                await worker.ask()
                await setup.client.post(f"{API}/approvals/{run_id}.1", {"approve": True})
                await worker.run_tool()
                await worker.say("c")
                await worker.complete()
                answers = [await exchange.whole() for exchange in (live, elsewhere, middle)]
        whole = entries_of(await setup.client.events(run_id, "?compact=0"))
        assert len(whole) == 13
        for answer in answers:
            assert entries_of(answer.events()) == whole
        for seq in range(len(whole)):
            resumed = await setup.client.events(run_id, "?compact=0", last_event_id=str(seq))
            assert entries_of(resumed) == whole[seq:]
            assert data_of(resumed[0])["seq"] == seq
        page = await setup.client.get(f"{API}/runs/{run_id}/events", **JSON)
        for (event_id, kind, data), entry in zip(whole, page.json()["entries"], strict=True):
            assert (entry["id"], entry["type"]) == (event_id, kind)
            assert f'"type":"{kind}","data":{data}}}'.encode() in page.body


async def test_a_replay_merges_tokens_of_one_message_and_loses_nothing() -> None:
    """G1: the texts joined are the same; no other type is merged or overtaken."""
    async with running() as setup:
        run_id = await setup.whole_run()
        plain = await setup.client.events(run_id, "?compact=0")
        merged = await setup.client.events(run_id)
        tokens = [data_of(event) for event in merged if event.event == "token"]
        assert [(token["text"], token["seq"], token["merged_from"]) for token in tokens] == [
            ("abc", 5, 3),
            ("de", 14, 13),
        ]
        others = [event for event in plain if event.event not in {"token", "ready", "end"}]
        assert [event for event in merged if event.event not in {"token", "ready", "end"}] == others
        ids = [int(event.id) for event in merged if event.id is not None]
        assert ids == sorted(ids)


async def test_live_tokens_are_not_merged() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
            await stream.until("workflow", state="executing")
            await worker.say("a", "b", "c")
            tokens = await stream.until("token", count=3)
            assert [data_of(token)["text"] for token in tokens] == ["a", "b", "c"]
            assert all("merged_from" not in data_of(token) for token in tokens)


async def test_an_entry_that_no_fold_understands_is_shown_all_the_same() -> None:
    """G1: the log is what viewers see."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        odd = [
            Entry("later", b'{"ts":"2026-11-22T12:00:00.123Z","what":1}'),
            Entry("tool", b'{"ts":"never","call_id":"x","name":"y","state":"finished"}'),
            Entry("workflow", b'{"ts":"never","state":"executing","attempt":1}'),
            Entry("token", b'{"text":5}'),
        ]
        await setup.store.append(run_id, odd)
        await setup.store.append(run_id, [Entry("workflow", b'{"state":"gone"}')], close=True)
        events = await setup.client.events(run_id)
        assert [event.event for event in events[3:]] == [
            "later",
            "tool",
            "workflow",
            "token",
            "workflow",
            "end",
        ]
        assert data_of(events[3])["what"] == 1
        assert data_of(events[-1])["state"] == "executing"


async def test_the_header_is_stronger_than_the_query() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        events = await setup.client.events(run_id, "?after=1&compact=0", last_event_id="3")
        assert data_of(events[0])["seq"] == 3
        assert events[1].id == "4"


async def test_after_a_finished_runs_last_entry_there_is_204() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        last = (await setup.client.get(f"{API}/runs/{run_id}")).json()["seq"]
        answer = await setup.client.get(f"{API}/runs/{run_id}/events", last_event_id=str(last))
        assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5.6", "01", "", "1.0", "999", "3.7", "1e3", "٣"])
async def test_a_bad_cursor_is_400(cursor: str) -> None:
    """G11: malformed, beyond the run's end, or of an epoch that never was."""
    async with running() as setup:
        finished = await setup.whole_run()
        going_on = await setup.client.chat()
        for run_id in (finished, going_on):
            answer = await setup.client.get(f"{API}/runs/{run_id}/events?after={cursor}")
            assert answer.fields(400) == ["after"]
            answer = await setup.client.get(f"{API}/runs/{run_id}/events?after={cursor}", **JSON)
            assert answer.fields(400) == ["after"]


async def test_heartbeats_come_with_and_without_traffic() -> None:
    """G9, G10: by the wall clock; one look at the run's head per interval, however many viewers."""
    async with running(heartbeat=0.05) as setup:
        run_id = await setup.client.chat()
        path = f"{API}/runs/{run_id}/events"
        async with (
            setup.client.open("GET", path) as one,
            setup.client.open("GET", path) as two,
            setup.site.tails.watch(run_id) as tail,
        ):
            await one.until("heartbeat")
            looks = setup.store.heads - tail.beats
            beats = await one.until("heartbeat", count=3)
            await two.until("heartbeat", count=3)
            assert abs(setup.store.heads - tail.beats - looks) <= 1
            beat = data_of(beats[-1])
            assert beat.keys() == {"ts", "run_id", "state", "seq", "worker", "idle_ms"}
            assert (beat["state"], beat["seq"], beat["worker"]) == ("queued", 1, "none")
            assert beats[-1].id is None
            await setup.worker(run_id).execute()
            busy = await one.until("heartbeat", seq=2)
            assert data_of(busy[-1])["state"] == "executing"


async def test_while_the_store_is_away_streams_stay_open_and_say_so() -> None:
    """G8: heartbeats go on, with what was known last; afterwards nothing is missing."""
    async with running(heartbeat=0.05) as setup:
        run_id = await setup.client.chat()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
            await stream.until("heartbeat")
            setup.store.away = True
            away = data_of((await stream.until("heartbeat", store="away"))[-1])
            assert (away["state"], away["seq"]) == ("queued", 1)
            answer = await setup.client.post(f"{API}/runs/{run_id}/stop")
            assert answer.problem(503)
            assert int(answer.headers["retry-after"]) > 0
            setup.store.away = False
            await setup.worker(run_id).execute()
            events = await stream.until("workflow")
            assert events[-1].id == "2"


async def test_a_stream_may_end_where_the_run_waits_for_a_person() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events?until=pause"
        async with setup.client.open("GET", path) as stream:
            await stream.until("workflow")
            await worker.execute()
            await worker.ask()
            events = (await stream.whole()).events()
        assert events[-1].event == "end"
        assert data_of(events[-1]) == {"run_id": run_id, "state": "awaiting_approval", "seq": 5}
        again = await setup.client.events(run_id, "?until=pause&after=5")
        assert [event.event for event in again] == ["ready", "end"]


async def test_a_decision_streams_from_its_entry_on() -> None:
    """The same stream shows the execution; with `until=pause` to the next question."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        call_id = await worker.ask()
        path = f"{API}/approvals/{call_id}?until=pause"
        async with setup.client.open("POST", path, json_body={"approve": True}) as stream:
            granted = await stream.until("approval")
            assert [event.event for event in granted] == ["ready", "approval"]
            assert data_of(granted[0])["seq"] == 5
            assert (granted[1].id, data_of(granted[1])["state"]) == ("6", "granted")
            assert stream.headers["x-run-id"] == run_id
            assert stream.headers["location"] == f"{API}/runs/{run_id}/events"
            await worker.run_tool()
            await worker.ask(2)
            assert (await stream.whole()).events()[-1].event == "end"


async def test_a_decision_sent_again_after_the_end_streams_to_the_end() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        answer = await setup.client.call("POST", f"{API}/approvals/{run_id}.1", json_body={"approve": True})
        assert answer.status == 200
        events = answer.events()
        assert (events[1].event, data_of(events[1])["state"]) == ("approval", "granted")
        assert events[-1].event == "end"


async def test_a_viewer_that_does_not_read_holds_one_chunk_and_loses_nothing() -> None:
    """G2, G10: the others are served; it is owed nothing but what it reads from the log itself."""
    async with running(ring_bytes=4096) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events"
        async with (
            setup.client.open("GET", path, reading=False) as slow,
            setup.client.open("GET", path) as quick,
        ):
            await slow.started()
            await worker.execute()
            await quick.until("workflow", state="executing")
            texts = [f"{n:03d} " + "x" * 40 for n in range(300)]
            for text in texts:
                await worker.say(text)
            await worker.complete()
            seen = (await quick.whole()).events()
            assert "".join(data_of(e)["text"] for e in seen if e.event == "token") == "".join(texts)
            assert slow.written == 0
            slow.reading.set()
            late = (await slow.whole()).events()
        tokens = [data_of(event) for event in late if event.event == "token"]
        assert "".join(token["text"] for token in tokens) == "".join(texts)
        assert any("merged_from" in token for token in tokens)
        assert late[-1].event == "end"
        assert int(late[-2].id or 0) == 303


async def test_a_slow_viewer_that_asked_for_it_gets_every_entry_unmerged() -> None:
    async with running(ring_bytes=2048) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events?compact=0"
        async with setup.client.open("GET", path, reading=False) as slow:
            await slow.started()
            await worker.execute()
            await worker.say(*(f"{n} " for n in range(100)))
            await worker.complete()
            slow.reading.set()
            late = (await slow.whole()).events()
        assert [event.id for event in late[1:-1]] == [str(seq) for seq in range(1, 104)]


async def test_viewers_cost_no_reads_of_the_store() -> None:
    """G10: a hundred viewers of a live run cost the reads of one."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        async with asyncio.TaskGroup() as group:
            begun = asyncio.Barrier(101)

            async def view() -> str:
                async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
                    await stream.until("workflow", state="executing")
                    await begun.wait()
                    events = (await stream.whole()).events()
                    return "".join(data_of(event)["text"] for event in events if event.event == "token")

            tasks = [group.create_task(view()) for _ in range(100)]
            await begun.wait()
            reads = setup.store.reads
            for n in range(20):
                await worker.say(str(n))
            await worker.complete()
        # Each of the worker's own appends folds the run first, which is one read; the tail follows.
        assert setup.store.reads - reads <= 2 * 22 + 10
        assert {task.result() for task in tasks} == {"".join(map(str, range(20)))}


async def test_a_run_goes_on_when_every_viewer_has_left() -> None:
    """G2: no viewer's absence changes a run; its tail is let go."""
    async with running() as setup:
        body = {"messages": [message("hello")]}
        async with setup.client.open("POST", f"{API}/chat", json_body=body) as stream:
            await stream.until("workflow")
        run_id = stream.headers["x-run-id"]
        assert setup.site.tails.viewers == 0
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.complete()
        assert (await setup.client.events(run_id))[-1].event == "end"


async def test_a_tail_is_dropped_when_its_last_viewer_has_left() -> None:
    async with running(linger=0.0) as setup:
        run_id = await setup.client.chat()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
            await stream.until("workflow")
            assert setup.site.tails.watched == (run_id,)
        await eventually(lambda: not setup.site.tails.watched)


async def test_a_drain_ends_every_stream_with_shutdown() -> None:
    """G9: every stream that ends says so."""
    async with running() as setup:
        run_id = await setup.client.chat()
        path = f"{API}/runs/{run_id}/events"
        async with setup.client.open("GET", path) as one, setup.client.open("GET", path) as two:
            await one.until("workflow")
            await two.until("workflow")
            setup.site.tails.drain()
            for stream in (one, two):
                last = (await stream.whole()).events()[-1]
                assert last.event == "shutdown"
                assert last.id is None
                assert last.retry == data_of(last)["retry_ms"] > 0
        assert (await setup.client.get("/readyz")).problem(503)["detail"] == "not ready: draining"
        assert (await setup.client.events(run_id))[-1].event == "shutdown"


async def test_head_of_a_stream_has_its_headers_and_ends() -> None:
    async with running(encoding_identity=True) as setup:
        run_id = await setup.client.chat()
        answer = await setup.client.call("HEAD", f"{API}/runs/{run_id}/events")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["content-encoding"] == "identity"


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("", True),
        ("*/*", True),
        ("text/event-stream", True),
        ("text/event-stream, application/json", True),
        ("application/json, text/event-stream", True),
        ("application/json", False),
        ("application/json, */*", False),
        ("application/json;q=0.5, text/event-stream;q=0.9", True),
        ("application/json;q=0.9, text/event-stream;q=0.5", False),
        ("application/*", False),
        ("text/html, */*;q=0.1", True),
    ],
)
async def test_accept_chooses_between_stream_and_json(accept: str, *, streams: bool) -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        answer = await setup.client.get(f"{API}/runs/{run_id}/events", accept=accept)
        assert answer.headers["content-type"].startswith(
            "text/event-stream" if streams else "application/json"
        )


async def test_what_cannot_be_sent_is_406_and_starts_nothing() -> None:
    async with running() as setup:
        body = {"messages": [message("hello")]}
        answer = await setup.client.post(f"{API}/chat", body, accept="text/plain")
        assert answer.problem(406)
        assert await setup.entry_count() == 0


async def test_json_pages_go_on_where_they_ended() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say("a", "b", "c")
        path = f"{API}/runs/{run_id}/events"
        first = (await setup.client.get(f"{path}?limit=2", **JSON)).json()
        assert ([entry["id"] for entry in first["entries"]], first["next"]) == (["1", "2"], 2)
        rest = (await setup.client.get(f"{path}?after={first['next']}", **JSON)).json()
        assert ([entry["id"] for entry in rest["entries"]], rest["next"]) == (["3", "4", "5"], 5)
        empty = (await setup.client.get(f"{path}?after=5", **JSON)).json()
        assert empty == {"entries": [], "next": 5}
        merged = (await setup.client.get(f"{path}?after=2&compact=1", **JSON)).json()
        assert [(entry["id"], entry["data"]["text"]) for entry in merged["entries"]] == [("5", "abc")]
        await worker.complete()
        last = (await setup.client.get(f"{path}?after=5", **JSON)).json()
        assert ([entry["id"] for entry in last["entries"]], last["next"]) == (["6"], None)
        assert json.loads((await setup.client.get(f"{path}?after=6", **JSON)).body)["next"] is None


async def test_entries_that_the_log_no_longer_has_are_a_gap() -> None:
    """G1: never silence, and never a silent replay of everything."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say("a", "b", "c")
        setup.store.trimmed = 3
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events?after=1") as stream:
            gap = (await stream.until("gap"))[-1]
            assert (data_of(gap)["from"], data_of(gap)["to"]) == (2, 5)
            assert data_of(gap)["snapshot"]["seq"] == 5
            assert gap.id == "5"
            setup.store.trimmed = 0
            await worker.say("d")
            setup.store.trimmed = 3
            assert (await stream.next()).id == "6"
        page = (await setup.client.get(f"{API}/runs/{run_id}/events?after=1", **JSON)).json()
        assert (page["entries"], page["gap"]["from"], page["gap"]["to"], page["next"]) == ([], 2, 6, 6)
        held = (await setup.client.get(f"{API}/runs/{run_id}/events?after=3", **JSON)).json()
        assert [entry["id"] for entry in held["entries"]] == ["4", "5", "6"]


async def test_a_log_that_came_back_shorter_is_a_gap_for_whoever_saw_more() -> None:
    """G1: a cursor of the older epoch is never taken for one of the new; live viewers are told too."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say("a", "b", "c")
        path = f"{API}/runs/{run_id}/events"
        setup.store.poll = 0.01
        async with setup.client.open("GET", f"{path}?compact=0") as live:
            await live.until("token", count=3)
            setup.store.lose(run_id, keep=3)
            gap = (await live.until("gap"))[-1]
            assert (data_of(gap)["from"], data_of(gap)["to"], gap.id) == (4, 5, "3.1")
            assert [said["text"] for said in data_of(gap)["snapshot"]["transcript"]] == ["hello", "a"]
            await worker.say("x")
            assert (await live.next()).id == "4.1"
        async with setup.client.open("GET", path, headers={"last-event-id": "5"}) as returning:
            assert data_of((await returning.until("gap"))[-1])["to"] == 5
        async with setup.client.open("GET", f"{path}?compact=0", headers={"last-event-id": "2"}) as unharmed:
            assert [event.id for event in await unharmed.until("token", count=2)] == [None, "3.1", "4.1"]
        async with setup.client.open("GET", path, headers={"last-event-id": "3.1"}) as newer:
            assert [event.id for event in await newer.until("token")] == [None, "4.1"]
        assert (await setup.client.get(path, last_event_id="3.2")).problem(400)
        page = (await setup.client.get(f"{path}?after=5", **JSON)).json()
        assert (page["gap"]["from"], page["gap"]["to"], page["next"]) == (4, 5, "4.1")
        page = (await setup.client.get(f"{path}?after=2", **JSON)).json()
        assert [entry["id"] for entry in page["entries"]] == ["3.1", "4.1"]
