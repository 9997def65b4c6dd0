"""Rings and pages: whatever is cut where, the same entries come out."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.events import Entry, Token, Workflow, encode
from jackline.sse import Decoder, ServerSentEvent
from jackline.web.pages import Leaf
from jackline.web.ring import RING_ENTRIES, Joined, Ring
from tests.web.harness import API, TS, data_of, running

RUN = "k3v9q0zj2m5x7w1trb8e.1"


def token(text: str, message: str = "m1") -> Entry:
    return encode(Token(ts=TS, text=text, kind="text", message_id=message))


def step() -> Entry:
    return encode(Workflow(ts=TS, state="executing", attempt=1))


def shown(joined: Joined) -> list[ServerSentEvent]:
    return Decoder().feed(joined.data)


def numbers(events: list[ServerSentEvent]) -> list[str]:
    return [str(event.id) for event in events]


def said(events: list[ServerSentEvent]) -> list[str]:
    """Each character that was said, with what is no token between."""
    return [
        piece
        for event in events
        for piece in (data_of(event)["text"] if event.event == "token" else [f"<{event.id}>"])
    ]


logs = st.lists(st.sampled_from(["m1", "m2", "step"]), min_size=1, max_size=30)


def entries_of(kinds: list[str]) -> list[Entry]:
    return [step() if kind == "step" else token(chr(ord("a") + at), kind) for at, kind in enumerate(kinds)]


@given(kinds=logs, first=st.integers(1, 300), data=st.data())
@settings(deadline=None, database=None)
def test_a_page_gives_what_a_viewer_has_not_seen_however_tokens_are_merged(
    kinds: list[str], first: int, data: st.DataObject
) -> None:
    """G1: from every cursor, up to every place, in any number of portions."""
    leaf = Leaf(RUN, first, entries_of(kinds), 0)
    plain = said(shown(Leaf(RUN, first, entries_of(kinds), 0).joined(first - 1, leaf.last, compact=False)))
    after = data.draw(st.integers(first - 1, leaf.last - 1))
    found: list[str] = []
    at = after
    while at < leaf.last:
        joined = leaf.joined(at, data.draw(st.integers(at + 1, leaf.last + 5)), compact=True)
        events = shown(joined)
        assert events[-1].id == str(joined.last)
        for event in events:
            given = data_of(event)
            assert int(str(event.id)) - given.get("merged_from", given["seq"]) >= 0
        found += said(events)
        at = joined.last
    assert found == plain[after + 1 - first :]


def test_a_page_with_an_epoch_has_cursors_of_it() -> None:
    leaf = Leaf(RUN, 5, [token("a"), token("b"), step()], 2)
    assert numbers(shown(leaf.joined(4, 99, compact=True))) == ["6.2", "7.2"]
    assert numbers(shown(leaf.joined(4, 99, compact=False))) == ["5.2", "6.2", "7.2"]


def test_a_ring_holds_about_what_it_may_and_gives_it_in_portions() -> None:
    """G10."""
    ring = Ring(RUN, max_bytes=10_000)
    for _ in range(1000):
        ring.add(token("x" * 100), 0)
    assert ring.last == 1000
    assert ring.first > 900
    found: list[str] = []
    at = ring.first - 1
    while at < ring.last:
        joined = ring.joined(at, 1000)
        assert len(joined.data) <= 1000
        found += numbers(shown(joined))
        at = joined.last
    assert found == [str(seq) for seq in range(ring.first, 1001)]
    assert ring.joined(999, 1).data == shown_alone(ring, 1000)


def shown_alone(ring: Ring, seq: int) -> bytes:
    ((found, entry),) = ring.entries(seq - 1, 1, 1)
    assert found == seq
    alone = Ring(RUN, 10_000)
    alone.begin(seq)
    alone.add(entry, 0)
    return alone.joined(seq - 1, 1).data


def test_a_ring_of_small_entries_is_bounded_too() -> None:
    ring = Ring(RUN, max_bytes=1 << 30)
    for _ in range(2 * RING_ENTRIES):
        ring.add(step(), 0)
    assert ring.last - ring.first < 2 * RING_ENTRIES * 5 // 8


def test_a_type_of_a_later_version_and_a_body_of_many_lines_are_framed_all_the_same() -> None:
    ring = Ring(RUN, max_bytes=10_000)
    ring.add(Entry("x-later", b'{"ts":"x"}'), 0)
    ring.add(Entry("token", b'{"ts":"x",\n"text":"a"}'), 3)
    events = shown(ring.joined(0, 10_000))
    assert [(event.event, event.id) for event in events] == [("x-later", "1"), ("token", "2.3")]
    assert data_of(events[1])["text"] == "a"


def test_the_chunk_of_frames_has_their_length() -> None:
    """RFC 9112, section 7.1."""
    joined = Joined(1, b"id: 1\n\n")
    assert joined.chunk == b"7\r\nid: 1\n\n\r\n"


@pytest.mark.anyio
async def test_a_crowd_sees_what_one_viewer_sees() -> None:
    """G1, G10: more viewers than are served in one turn of the loop."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        here = asyncio.Barrier(601)

        async def view(at: int) -> list[str | None]:
            path = f"{API}/runs/{run_id}/events?compact=0&tick={5 * (at % 2)}"
            async with setup.client.open("GET", path) as stream:
                await stream.until("workflow", state="executing")
                await here.wait()
                return [event.id for event in (await stream.whole()).events() if event.id]

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(view(at)) for at in range(600)]
            await here.wait()
            for text in "abcdefgh":
                await worker.say(text)
            await worker.complete()
        assert {tuple(task.result()) for task in tasks} == {tuple(str(seq) for seq in range(1, 12))}


@pytest.mark.anyio
async def test_those_who_come_back_at_once_share_what_is_read() -> None:
    """G10: a page is read once for all of them."""
    async with running(ring_bytes=2048) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        for _ in range(20):
            await worker.say(*("word " for _ in range(100)))
        path = f"{API}/runs/{run_id}/events?compact=0&until=pause"
        await worker.ask()
        async with setup.client.open("GET", path) as warm:
            await warm.whole()
        reads = setup.store.reads
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(setup.client.get(f"{path}&after={after}")) for after in range(100, 300, 2)
            ]
        for after, task in zip(range(100, 300, 2), tasks, strict=True):
            ids = [int(event.id) for event in task.result().events() if event.id]
            assert ids == list(range(after + 1, 2006))
        # One reading of the log's end for each wave of them, and no page twice.
        assert setup.store.reads - reads < 50
