from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jackline.errors import EntryTooLarge, Fenced, Moved, RunClosed, UnknownRun
from jackline.events import Entry
from jackline.log.base import MAX_ENTRY_BYTES, NEVER, NOBODY, NOW
from tests.contract.helpers import (
    LONG,
    SHORT,
    begin,
    begin_run,
    claim,
    entries,
    entry,
    must_claim,
    must_lapse,
    texts_of,
)

if TYPE_CHECKING:
    from jackline.log.base import Store

pytestmark = pytest.mark.anyio


async def test_seqs_count_from_one_without_holes(store: Store) -> None:
    """G1: one sequence."""
    begun = await begin(store, texts=("one", "two"))
    assert begun.last == 2
    third = await store.append(begun.run_id, entries("three"))
    assert (third.first, third.last, third.repeated, third.taken) == (3, 3, False, {})
    more = await store.append(begun.run_id, entries("four", "five"))
    assert (more.first, more.last) == (4, 5)
    page = await store.read(begun.run_id)
    assert list(page.entries) == entries("one", "two", "three", "four", "five")
    assert (page.first, page.last, page.closed, page.epoch) == (1, 5, False, 0)


async def test_many_writers_at_once_leave_no_hole_and_lose_nothing(store: Store, other: Store) -> None:
    """G1: one sequence, whoever writes."""
    run = await begin_run(store)
    async with asyncio.TaskGroup() as tasks:
        writers = [
            tasks.create_task((store if i % 2 else other).append(run, entries(f"{i}a", f"{i}b")))
            for i in range(40)
        ]
    firsts = sorted(writer.result().first for writer in writers)
    assert firsts == list(range(2, 82, 2))
    held = (await other.read(run)).entries
    for i, writer in enumerate(writers):
        done = writer.result()
        assert list(held[done.first - 1 : done.last]) == entries(f"{i}a", f"{i}b")


async def test_bytes_and_types_come_back_as_they_went(store: Store) -> None:
    run = await begin_run(store)
    strange = [
        Entry("a-later-type", bytes(range(256))),
        Entry("tool", '{"ü":"\\u0000 ☃"}'.encode()),
        Entry("x", b""),
    ]
    await store.append(run, strange)
    page = await store.read(run, 1)
    assert list(page.entries) == strange
    assert all(type(found) is Entry for found in page.entries)


async def test_an_append_to_no_run_is_refused(store: Store) -> None:
    run = await begin_run(store)
    for unknown in ("aaaaaaaaaaaaaaaaaaaa.1", run[:-1] + "2"):
        with pytest.raises(UnknownRun) as refused:
            await store.append(unknown, entries("x"))
        assert refused.value.run_id == unknown


async def test_a_name_is_used_once_and_the_second_try_learns_by_what(store: Store) -> None:
    """G4, G5: the first stop, the first decision wins."""
    run = await begin_run(store)
    first = await store.append(run, entries("stop"), once=["stop:immediate"])
    assert (first.first, first.last, first.repeated) == (2, 2, False)
    second = await store.append(run, entries("stop again"), once=["stop:immediate"])
    assert second.repeated
    assert second.taken["stop:immediate"].seq == 2
    assert second.taken["stop:immediate"].entry == entry("stop")
    assert (await store.read(run)).last == 2
    assert not (await store.append(run, entries("other name"), once=["stop:after_step"])).repeated


async def test_the_same_name_in_another_run_is_another_name(store: Store) -> None:
    one, two = await begin_run(store), await begin_run(store)
    await store.append(one, entries("x"), once=["start"])
    assert not (await store.append(two, entries("x"), once=["start"])).repeated


async def test_several_names_are_all_taken_or_none(store: Store) -> None:
    """G5: decisions of one request, all or none."""
    run = await begin_run(store)
    await store.append(run, entries("b"), once=["approval:b:1"])
    names = ["approval:a:1", "approval:b:1", "approval:c:1"]
    refused = await store.append(run, entries("A", "B", "C"), once=names)
    assert refused.repeated
    assert {name: (taken.seq, taken.entry) for name, taken in refused.taken.items()} == {
        "approval:b:1": (2, entry("b"))
    }
    assert (await store.read(run)).last == 2
    done = await store.append(run, entries("A", "C", "more"), once=["approval:a:1", "approval:c:1"])
    assert (done.first, done.last, done.repeated) == (3, 5, False)
    both = await store.append(run, entries("x", "y"), once=["approval:c:1", "approval:a:1"])
    assert {name: taken.seq for name, taken in both.taken.items()} == {"approval:a:1": 3, "approval:c:1": 4}


async def test_a_name_of_a_refused_append_is_still_free(store: Store) -> None:
    run = await begin_run(store)
    with pytest.raises(Moved):
        await store.append(run, entries("x"), once=["start"], expect=0)
    assert not (await store.append(run, entries("x"), once=["start"])).repeated


async def test_more_names_than_entries_is_the_callers_error(store: Store) -> None:
    run = await begin_run(store)
    for names in (["a", "b"], ["a", "a"]):
        with pytest.raises(ValueError, match="once"):
            await store.append(run, entries("x"), once=names)
    assert (await store.read(run)).last == 1


async def test_two_at_once_with_one_name_write_once(store: Store, other: Store) -> None:
    """G5: one decision."""
    run = await begin_run(store)
    async with asyncio.TaskGroup() as tasks:
        tries = [
            tasks.create_task((store, other)[i % 2].append(run, entries(f"try {i}"), once=["approval:c:1"]))
            for i in range(10)
        ]
    results = [one.result() for one in tries]
    (winner,) = [i for i, result in enumerate(results) if not result.repeated]
    for result in results:
        if result.repeated:
            assert result.taken["approval:c:1"].entry == entry(f"try {winner}")
    assert (await store.read(run)).last == 2


async def test_nothing_follows_the_closing_append(store: Store) -> None:
    """G3: one ending, for ever."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.append(run, entries("completed"), fence=lease.generation, close=True)
    page = await store.read(run)
    assert (page.last, page.closed) == (2, True)
    for late in (
        store.append(run, entries("x")),
        store.append(run, entries("x"), fence=lease.generation),
        store.append(run, entries("x"), fence=NOBODY),
        store.append(run, entries("x"), expect=2, close=True),
        store.append(run, [], due=NOW),
        store.append(run, [], checkpoint=b"x"),
    ):
        with pytest.raises(RunClosed) as refused:
            await late
        assert refused.value.run_id == run
    assert (await store.read(run)) == page
    assert await store.checkpoint(run) is None
    assert await claim(store) is None


async def test_the_checks_come_in_the_contracts_order(store: Store) -> None:
    """once, then closed, then fence, then expect."""
    run = await begin_run(store)
    lease = await must_claim(store)
    wrong = lease.generation + 7
    await store.append(run, entries("stop"), once=["stop:immediate"])
    again = await store.append(run, entries("x"), once=["stop:immediate"], fence=wrong, expect=0)
    assert again.repeated
    with pytest.raises(Fenced):
        await store.append(run, entries("x"), fence=wrong, expect=0, once=["free"])
    with pytest.raises(Moved) as moved:
        await store.append(run, entries("x"), fence=lease.generation, expect=1)
    assert moved.value.last == 2
    await store.append(run, entries("stopped"), fence=lease.generation, expect=2, close=True)
    with pytest.raises(RunClosed):
        await store.append(run, entries("x"), fence=wrong, expect=0, once=["free"])
    closed = await store.append(run, entries("x"), once=["stop:immediate"], fence=wrong, expect=0)
    assert closed.repeated
    assert closed.taken["stop:immediate"].seq == 2


async def test_expect_holds_the_writer_to_what_it_has_read(store: Store) -> None:
    """G4: no tool starts after a stop that its starter has not read."""
    run = await begin_run(store)
    assert (await store.append(run, entries("read"), expect=1)).last == 2
    with pytest.raises(Moved) as moved:
        await store.append(run, entries("start"), expect=1)
    assert (moved.value.run_id, moved.value.last) == (run, 2)
    assert (await store.read(run)).last == 2


async def test_an_earlier_workers_fence_is_refused_after_a_takeover(store: Store, other: Store) -> None:
    """G7: a zombie can write nothing."""
    run = await begin_run(store)
    dead = await must_claim(store, "dead", SHORT)
    alive = await must_claim(other, "alive", LONG)
    assert alive.generation > dead.generation
    with pytest.raises(Fenced) as fenced:
        await store.append(run, entries("zombie"), fence=dead.generation)
    assert fenced.value.run_id == run
    assert (await other.append(run, entries("mine"), fence=alive.generation)).last == 2
    assert len(await texts_of(store, run)) == 2


async def test_a_lapsed_lease_that_nobody_took_over_still_appends(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store, ttl=SHORT)
    await must_lapse(store, run)
    assert (await store.append(run, entries("late, but mine"), fence=lease.generation)).last == 2


async def test_a_released_lease_appends_no_more(store: Store) -> None:
    """G7: who gave the run back writes nothing."""
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.release(lease, NEVER, expect=1)
    with pytest.raises(Fenced):
        await store.append(run, entries("x"), fence=lease.generation)


async def test_nobody_appends_where_no_lease_is(store: Store) -> None:
    run = await begin_run(store)
    assert (await store.append(run, entries("x"), fence=NOBODY)).last == 2
    lease = await must_claim(store)
    await store.release(lease, NEVER, expect=2)
    assert (await store.append(run, entries("y"), fence=NOBODY)).last == 3


async def test_nobody_is_refused_while_a_lease_lives(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store)
    with pytest.raises(Fenced):
        await store.append(run, entries("x"), fence=NOBODY)
    assert (await store.append(run, entries("y"), fence=lease.generation)).last == 2


async def test_nobody_ends_a_lapsed_lease(store: Store) -> None:
    """G7: from then on its holder is fenced, and the takeover is still seen as one."""
    run = await begin_run(store)
    dead = await must_claim(store, "dead", SHORT)
    await must_lapse(store, run)
    with pytest.raises(Moved):
        await store.append(run, entries("x"), fence=NOBODY, expect=0)
    assert (await store.append(run, entries("still mine"), fence=dead.generation)).last == 2
    await store.append(run, entries("expired"), fence=NOBODY)
    with pytest.raises(Fenced):
        await store.append(run, entries("zombie"), fence=dead.generation)
    with pytest.raises(Fenced):
        await store.renew(dead, LONG)
    head = await store.head(run)
    assert (head.worker, head.worker_id) == ("none", "")
    following = await must_claim(store, "next")
    assert following.lapsed
    assert following.generation > dead.generation


async def test_nobody_with_never_leaves_a_lapsed_run_unclaimable(store: Store) -> None:
    run = await begin_run(store)
    await must_claim(store, ttl=SHORT)
    await must_lapse(store, run)
    await store.append(run, entries("parked"), fence=NOBODY, due=NEVER)
    assert await claim(store) is None
    assert await store.overdue() == []


async def test_checkpoint_and_summary_are_replaced_with_the_entries(store: Store) -> None:
    begun = await begin(store, summary=b"s0")
    run = begun.run_id
    assert await store.checkpoint(run) is None
    await store.append(run, entries("x"), checkpoint=b"c1", summary=b"s1")
    assert (await store.checkpoint(run), (await store.head(run)).summary) == (b"c1", b"s1")
    await store.append(run, entries("y"))
    assert (await store.checkpoint(run), (await store.head(run)).summary) == (b"c1", b"s1")
    with pytest.raises(Moved):
        await store.append(run, entries("z"), checkpoint=b"c2", summary=b"s2", expect=0)
    assert (await store.checkpoint(run), (await store.head(run)).summary) == (b"c1", b"s1")
    await store.append(run, entries("z"), checkpoint=b"", summary=b"")
    assert (await store.checkpoint(run), (await store.head(run)).summary) == (b"", b"")


async def test_an_append_without_entries_sets_what_it_names(store: Store) -> None:
    run = await begin_run(store)
    lease = await must_claim(store)
    await store.append(
        run, [], checkpoint=b"state", summary=b"sum", due=NEVER, fence=lease.generation, expect=1
    )
    assert (await store.read(run)).last == 1
    head = await store.head(run)
    assert (head.last, head.summary, head.due_ms, await store.checkpoint(run)) == (1, b"sum", None, b"state")
    with pytest.raises(Moved):
        await store.append(run, [], checkpoint=b"later", expect=0)
    with pytest.raises(Fenced):
        await store.append(run, [], checkpoint=b"later", fence=lease.generation + 1)
    assert await store.checkpoint(run) == b"state"


async def test_large_checkpoints_come_back_whole(store: Store) -> None:
    run = await begin_run(store)
    large = bytes(range(256)) * 8192
    await store.append(run, entries("x"), checkpoint=large)
    assert await store.checkpoint(run) == large


async def test_an_entry_above_the_limit_is_refused_before_anything_is_written(store: Store) -> None:
    """G11: nothing changed."""
    run = await begin_run(store)
    await store.append(run, [Entry("tool", b"x" * MAX_ENTRY_BYTES)])
    with pytest.raises(EntryTooLarge) as refused:
        await store.append(
            run, [entry("fine"), Entry("tool", b"x" * (MAX_ENTRY_BYTES + 1))], checkpoint=b"no"
        )
    assert (refused.value.size, refused.value.limit) == (MAX_ENTRY_BYTES + 1, MAX_ENTRY_BYTES)
    assert (await store.read(run)).last == 2
    assert await store.checkpoint(run) is None


async def test_what_a_person_says_may_be_larger_than_an_entry_of_the_agent(store: Store) -> None:
    """The limit of a first entry is the request's body, which is checked where it comes in."""
    await begin(store, "looooooooooooooooong", texts=("x" * (4 * MAX_ENTRY_BYTES),))
    page = await store.read("looooooooooooooooong.1")
    assert len(page.entries[0].body) > 4 * MAX_ENTRY_BYTES


async def test_a_refused_append_among_many_undoes_no_other(store: Store) -> None:
    run = await begin_run(store)

    async def one(i: int) -> bool:
        try:
            await store.append(run, entries(f"{i}"), expect=0 if i % 3 == 0 else None)
        except Moved:
            return False
        return True

    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task(one(i)) for i in range(60)]
    assert [one.result() for one in tries] == [i % 3 != 0 for i in range(60)]
    assert set(await texts_of(store, run)) == {entry(f"{i}").body for i in range(60) if i % 3} | {
        entry("hello").body
    }


async def test_an_abandoned_append_touches_no_other(store: Store) -> None:
    run = await begin_run(store)
    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task(store.append(run, entries(f"{i}"))) for i in range(30)]
        await asyncio.sleep(0)
        for abandoned in tries[::2]:
            abandoned.cancel()
    held = await texts_of(store, run)
    for i, one in enumerate(tries):
        if not one.cancelled():
            assert held[one.result().first - 1] == entry(f"{i}").body
    assert (await store.append(run, entries("after"))).last == len(held) + 1
