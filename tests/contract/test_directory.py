from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jackline.errors import Busy, UnknownRun
from jackline.ids import new_conversation_id
from jackline.log.base import Artifact, Reservation, Start
from tests.contract.helpers import (
    SHORT,
    begin,
    begin_run,
    claim,
    entries,
    must_claim,
    must_lapse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jackline.log.base import Head, Store

pytestmark = pytest.mark.anyio

NOWHERE = "aaaaaaaaaaaaaaaaaaaa"


async def test_a_begun_run_is_there_with_its_entries(store: Store, other: Store) -> None:
    before = await store.now_ms()
    begun = await begin(store, "talktalktalktalktalk", texts=("one", "two"), summary=b"sum")
    assert (begun.run_id, begun.last, begun.repeated, begun.active) == (
        "talktalktalktalktalk.1",
        2,
        False,
        None,
    )
    assert list((await other.read(begun.run_id)).entries) == entries("one", "two")
    head = await other.head(begun.run_id)
    assert (head.run_id, head.agent, head.owner, head.last) == (begun.run_id, "helper", "user:ana", 2)
    assert (head.revision, head.closed, head.waiting, head.summary) == (
        "",
        False,
        False,
        b"sum",
    )
    after = await store.now_ms()
    assert before <= head.created_ms <= head.updated_ms <= after
    assert head.due_ms is not None
    assert before <= head.due_ms <= after
    talk = await other.conversation("talktalktalktalktalk")
    assert (talk.conversation_id, talk.owner, talk.active) == (
        "talktalktalktalktalk",
        "user:ana",
        begun.run_id,
    )
    assert talk.run_ids == (begun.run_id,)
    assert before <= talk.created_ms <= after


async def test_a_conversation_that_is_not_new_must_exist(store: Store) -> None:
    start = Start(
        conversation_id=NOWHERE,
        new_conversation=False,
        token="t",
        agent="helper",
        owner="user:ana",
        entries=entries("x"),
        summary=b"",
    )
    with pytest.raises(UnknownRun) as refused:
        await store.begin(start)
    assert refused.value.run_id == NOWHERE
    with pytest.raises(UnknownRun):
        await store.conversation(NOWHERE)


async def test_the_same_start_again_gives_the_same_run(store: Store, other: Store) -> None:
    """A retry completes what the first try began, and makes no second run."""
    talk = new_conversation_id()
    first = await begin(store, talk, token="t1")
    await store.append(first.run_id, entries("more"))
    again = await begin(other, talk, token="t1", texts=("other",))
    assert (again.run_id, again.last, again.repeated, again.active) == (first.run_id, 2, True, None)
    await store.append(first.run_id, entries("end"), close=True)
    assert (await begin(store, talk, token="t1")).repeated
    second = await begin(store, talk, token="t2")
    assert (second.run_id, second.repeated) == (f"{talk}.2", False)
    assert (await begin(store, talk, token="t1")).run_id == first.run_id
    assert (await store.conversation(talk)).run_ids == (f"{talk}.1", f"{talk}.2")


async def test_the_same_start_at_once_makes_one_run(store: Store, other: Store) -> None:
    talk = new_conversation_id()
    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task(begin((store, other)[i % 2], talk, token="t")) for i in range(8)]
    results = [one.result() for one in tries]
    assert {begun.run_id for begun in results} == {f"{talk}.1"}
    assert sum(not begun.repeated for begun in results) == 1


async def test_a_conversation_has_one_active_run(store: Store) -> None:
    talk = new_conversation_id()
    first = await begin(store, talk)
    with pytest.raises(Busy) as busy:
        await begin(store, talk, token="t2")
    assert busy.value.run_id == first.run_id
    assert (await store.conversation(talk)).run_ids == (first.run_id,)
    await store.append(first.run_id, entries("end"), close=True)
    assert (await store.conversation(talk)).active is None
    assert (await begin(store, talk, token="t2")).run_id == f"{talk}.2"


async def test_queued_runs_wait_their_turn_in_order(store: Store, other: Store) -> None:
    talk = new_conversation_id()
    first = await begin_run(store, talk)
    second = await begin(store, talk, token="t2", queue=True)
    third = await begin(other, talk, token="t3", queue=True)
    assert (second.active, third.active) == (first, first)
    assert [(await store.head(run)).waiting for run in (first, second.run_id, third.run_id)] == [
        False,
        True,
        True,
    ]
    again = await begin(store, talk, token="t3", queue=True)
    assert (again.run_id, again.repeated, again.active) == (third.run_id, True, first)
    with pytest.raises(Busy) as busy:
        await begin(store, talk, token="t4")
    assert busy.value.run_id == first
    for run in (first, second.run_id, third.run_id):
        assert (await store.conversation(talk)).active == run
        assert (await must_claim(store)).run_id == run
        assert await claim(other) is None
        await store.append(run, entries("end"), close=True)
    assert (await store.conversation(talk)).active is None
    repeated = await begin(store, talk, token="t3", queue=True)
    assert (repeated.repeated, repeated.active) == (True, None)


async def test_a_waiting_run_that_ends_before_its_turn_is_skipped(store: Store) -> None:
    """G4: a stop is valid while queued."""
    talk = new_conversation_id()
    first = await begin_run(store, talk)
    second = (await begin(store, talk, token="t2", queue=True)).run_id
    third = (await begin(store, talk, token="t3", queue=True)).run_id
    await store.append(second, entries("stopped"), close=True)
    head = await store.head(second)
    assert (head.closed, head.waiting) == (True, False)
    assert (await store.conversation(talk)).active == first
    assert (await store.head(third)).waiting
    await store.append(first, entries("end"), close=True)
    assert (await store.conversation(talk)).active == third
    assert not (await store.head(third)).waiting
    assert (await must_claim(store)).run_id == third


async def test_due_does_not_make_a_waiting_run_claimable(store: Store) -> None:
    talk = new_conversation_id()
    await begin_run(store, talk)
    waiting = (await begin(store, talk, token="t2", queue=True, agent="second")).run_id
    await store.append(waiting, entries("stopping"), due="now")
    assert await claim(store, agent="second") is None
    await store.append(waiting, [], due="never")
    await store.append(f"{talk}.1", entries("end"), close=True)
    assert (await must_claim(store, agent="second")).run_id == waiting


async def test_the_head_follows_the_log(store: Store) -> None:
    run = await begin_run(store)
    made = await store.head(run)
    await store.append(run, entries("x", "y"), summary=b"two more")
    head = await store.head(run)
    assert (head.last, head.summary, head.created_ms) == (3, b"two more", made.created_ms)
    assert head.updated_ms >= made.updated_ms
    await store.append(run, entries("end"), close=True)
    assert (await store.head(run)).closed


async def _pages(
    store: Store, *, limit: int, open_only: bool = False, talk: str = ""
) -> AsyncIterator[list[Head]]:
    cursor = ""
    while True:
        page, cursor = await store.runs(cursor=cursor, limit=limit, open_only=open_only, conversation_id=talk)
        yield page
        if not cursor:
            return


async def _all_runs(store: Store, *, limit: int = 100, open_only: bool = False, talk: str = "") -> list[str]:
    pages = [page async for page in _pages(store, limit=limit, open_only=open_only, talk=talk)]
    assert all(len(page) <= limit for page in pages)
    return [head.run_id for page in pages for head in page]


async def test_runs_are_listed_newest_first_in_pages(store: Store) -> None:
    assert await store.runs() == ([], "")
    made = [await begin_run(store) for _ in range(7)]
    made.reverse()
    for limit in (1, 2, 3, 7, 100):
        assert await _all_runs(store, limit=limit) == made
    page, cursor = await store.runs(limit=7)
    assert (len(page), cursor) == (7, "")
    assert page[0] == await store.head(made[0])


async def test_a_cursor_stays_good_while_runs_are_made_and_deleted(store: Store) -> None:
    made = [await begin_run(store) for _ in range(6)]
    page, cursor = await store.runs(limit=2)
    assert [head.run_id for head in page] == [made[5], made[4]]
    await begin_run(store)
    for gone in (made[4], made[2]):
        await store.append(gone, entries("end"), close=True)
        await store.delete(gone)
    page, cursor = await store.runs(cursor=cursor, limit=2)
    assert [head.run_id for head in page] == [made[3], made[1]]
    page, cursor = await store.runs(cursor=cursor, limit=2)
    assert ([head.run_id for head in page], cursor) == ([made[0]], "")


async def test_runs_can_be_listed_of_one_conversation_and_open_ones_only(store: Store) -> None:
    talk = new_conversation_id()
    elsewhere = await begin_run(store)
    first = await begin_run(store, talk)
    second = (await begin(store, talk, token="t2", queue=True)).run_id
    await store.append(first, entries("end"), close=True)
    assert await _all_runs(store, talk=talk, limit=1) == [second, first]
    assert await _all_runs(store, talk=talk, open_only=True) == [second]
    assert await _all_runs(store, open_only=True, limit=1) == [second, elsewhere]
    assert await _all_runs(store, talk=NOWHERE) == []


async def test_conversations_are_listed_newest_first_in_pages(store: Store) -> None:
    assert await store.conversations() == ([], "")
    talks = [new_conversation_id() for _ in range(5)]
    for talk in talks:
        await begin_run(store, talk)
    page, cursor = await store.conversations(limit=2)
    assert [one.conversation_id for one in page] == [talks[4], talks[3]]
    assert page[0] == await store.conversation(talks[4])
    await begin_run(store)
    page, cursor = await store.conversations(cursor=cursor, limit=2)
    assert [one.conversation_id for one in page] == [talks[2], talks[1]]
    page, cursor = await store.conversations(cursor=cursor, limit=2)
    assert ([one.conversation_id for one in page], cursor) == ([talks[0]], "")


async def test_a_deleted_run_is_gone_everywhere(store: Store, other: Store) -> None:
    talk = new_conversation_id()
    run = await begin_run(store, talk)
    await store.put_artifact(run, "big", Artifact(media_type="text/plain", data=b"x"))
    with pytest.raises(Busy) as busy:
        await store.delete(run)
    assert busy.value.run_id == run
    await store.append(run, entries("end"), once=["stop:immediate"], checkpoint=b"c", close=True)
    await other.delete(run)
    for reading in (store.read(run), store.head(run), store.checkpoint(run), store.delete(run)):
        with pytest.raises(UnknownRun):
            await reading
    with pytest.raises(UnknownRun):
        await store.append(run, entries("x"), once=["stop:immediate"])
    assert await store.artifact(run, "big") is None
    assert await _all_runs(store) == []
    assert (await store.conversation(talk)).run_ids == ()
    assert (await begin(store, talk, token="t2")).run_id == f"{talk}.2"


async def test_a_deleted_conversation_takes_its_runs_with_it(store: Store) -> None:
    talk, kept = new_conversation_id(), new_conversation_id()
    await begin_run(store, kept)
    first = await begin_run(store, talk)
    second = (await begin(store, talk, token="t2", queue=True)).run_id
    await store.put_artifact(second, "big", Artifact(media_type="text/plain", data=b"x"))
    await store.append(first, entries("end"), close=True)
    with pytest.raises(Busy) as busy:
        await store.delete(talk)
    assert busy.value.run_id == second
    assert (await store.read(first)).last == 2
    await store.append(second, entries("end"), close=True)
    await store.delete(talk)
    for run in (first, second):
        with pytest.raises(UnknownRun):
            await store.read(run)
    assert await store.artifact(second, "big") is None
    with pytest.raises(UnknownRun):
        await store.conversation(talk)
    with pytest.raises(UnknownRun):
        await store.delete(talk)
    assert await _all_runs(store) == [f"{kept}.1"]
    assert [one.conversation_id for one in (await store.conversations())[0]] == [kept]


async def test_a_lapsed_run_is_open_and_cannot_be_deleted(store: Store) -> None:
    run = await begin_run(store)
    await must_claim(store, ttl=SHORT)
    await must_lapse(store, run)
    with pytest.raises(Busy):
        await store.delete(run)


async def test_the_first_reservation_of_a_key_stands(store: Store, other: Store) -> None:
    mine = Reservation(digest="d1", target=f"{NOWHERE}.1")
    assert await store.reserve("key", mine) == mine
    assert await other.reserve("key", Reservation(digest="d2", target=f"{NOWHERE}.2")) == mine
    assert await store.reserve("key", mine) == mine
    another = Reservation(digest="d2", target=NOWHERE)
    assert await store.reserve("another key", another) == another


async def test_of_reservations_at_once_one_stands(store: Store, other: Store) -> None:
    wanted = [Reservation(digest=f"d{i}", target=f"{new_conversation_id()}.1") for i in range(10)]
    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task((store, other)[i % 2].reserve("key", one)) for i, one in enumerate(wanted)]
    assert len({one.result() for one in tries}) == 1


async def test_an_artifact_comes_back_as_it_went(store: Store, other: Store) -> None:
    run = await begin_run(store)
    large = Artifact(media_type="application/octet-stream", data=bytes(range(256)) * 20_000)
    await store.put_artifact(run, "1", large)
    await store.put_artifact(run, "2", Artifact(media_type="text/plain", data=b""))
    assert await other.artifact(run, "1") == large
    assert await other.artifact(run, "2") == Artifact(media_type="text/plain", data=b"")
    assert await store.artifact(run, "3") is None
    assert await store.artifact(f"{NOWHERE}.1", "1") is None
    with pytest.raises(UnknownRun):
        await store.put_artifact(f"{NOWHERE}.1", "1", large)


async def test_an_open_store_answers_and_says_what_it_is(store: Store) -> None:
    await store.ping()
    assert store.describe()
    first = await store.now_ms()
    assert first <= await store.now_ms()
