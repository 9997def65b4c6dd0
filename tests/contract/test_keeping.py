"""How long data is kept, and how tightly: nothing goes too early, and nothing that stays is changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackline.errors import UnknownRun
from jackline.events import Entry, Token, encode
from jackline.ids import conversation_of
from jackline.log.base import Artifact
from jackline.log.packing import CHUNK_BYTES, Packed, chunks
from tests.contract.helpers import LONG, begin, begin_run, entries, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.log.base import Store

pytestmark = pytest.mark.anyio

TS = "2026-11-22T12:00:00.{:03d}Z"


def tokens(count: int, text: str = " word") -> list[Entry]:
    """What a model says, a chunk each."""
    return [
        encode(Token(ts=TS.format(i * 37 % 1000), text=f"{text}{i % 97}", kind="text", message_id="m1"))
        for i in range(count)
    ]


async def ended_run(store: Store, said: Sequence[Entry] = (), *, group: int = 7) -> str:
    """A closed run that said this, `group` entries an append."""
    run = await begin_run(store)
    for at in range(0, len(said), group):
        await store.append(run, said[at : at + group])
    await store.append(run, entries("end"), once=["the end"], close=True)
    return run


async def later(store: Store) -> int:
    """A time by which everything so far has ended."""
    return await store.now_ms() + 1000


async def test_a_conversation_at_rest_is_found_and_forgotten_whole(store: Store, other: Store) -> None:
    run = await ended_run(store, tokens(20))
    talk = conversation_of(run)
    await store.put_artifact(run, "big", Artifact(media_type="text/plain", data=b"x"))
    await store.compact(run)
    before = await later(store)
    assert await other.ended(before, 10) == [talk]
    assert await other.forget(talk, before)
    for reading in (store.read(run), store.head(run), store.conversation(talk)):
        with pytest.raises(UnknownRun):
            await reading
    assert await store.artifact(run, "big") is None
    assert await store.ended(before, 10) == []
    assert await store.loose(before, 10) == []
    assert not await store.forget(talk, before), "it is gone"


async def test_nothing_goes_before_its_time(store: Store) -> None:
    """By the store's clock, from the last ending on."""
    run = await ended_run(store)
    closed_ms = (await store.head(run)).updated_ms
    assert await store.ended(closed_ms - 1, 10) == []
    assert not await store.forget(conversation_of(run), closed_ms - 1)
    assert (await store.head(run)).closed
    assert await store.loose(closed_ms - 1, 10) == []
    assert await store.ended(closed_ms + 60_000, 10) == [conversation_of(run)]
    assert await store.loose(closed_ms + 60_000, 10) == [run]
    assert await store.forget(conversation_of(run), closed_ms)


async def test_a_conversation_with_an_unfinished_run_stays(store: Store) -> None:
    run = await ended_run(store)
    talk = conversation_of(run)
    second = await begin(store, talk, token="second")
    before = await later(store)
    assert await store.ended(before, 10) == []
    assert not await store.forget(talk, before)
    await store.append(second.run_id, entries("end"), close=True)
    assert await until(lambda: store.ended(before + 3_600_000, 10)) == [talk]


async def test_a_later_ending_makes_a_conversation_young_again(store: Store) -> None:
    run = await ended_run(store)
    talk = conversation_of(run)
    first_ms = (await store.head(run)).updated_ms

    async def tick() -> bool:
        return await store.now_ms() > first_ms

    await until(tick)
    second = await begin(store, talk, token="second")
    await store.append(second.run_id, entries("end"), close=True)
    assert await store.ended(first_ms, 10) == []
    assert not await store.forget(talk, first_ms)
    assert len((await store.conversation(talk)).run_ids) == 2


async def test_the_longest_ended_come_first_and_no_more_than_asked_for(store: Store) -> None:
    runs = [await ended_run(store) for _ in range(5)]
    before = await later(store)
    talks = await store.ended(before, 3)
    assert len(talks) == 3
    times = [(await store.head(f"{talk}.1")).updated_ms for talk in talks]
    assert times == sorted(times)
    assert len(await store.loose(before, 2)) == 2
    assert set(await store.loose(before, 10)) == set(runs)


async def test_two_keepers_forget_once_and_do_no_harm(store: Store, other: Store) -> None:
    runs = [await ended_run(store) for _ in range(5)]
    before = await later(store)
    answers = await asyncio.gather(
        *(handle.forget(conversation_of(run), before) for run in runs for handle in (store, other))
    )
    assert sum(answers) == len(runs)


async def test_a_compacted_log_reads_the_same_from_every_cursor(store: Store, other: Store) -> None:
    """G1: byte for byte, on every replica, in pages of every size."""
    run = await ended_run(store, tokens(300))
    whole = list((await store.read(run)).entries)
    assert len(whole) == 302
    await store.compact(run)
    assert await store.loose(await later(store), 10) == []
    for after in (*range(40), 150, 299, 300, 301, 302, 303, 1 << 70):
        for limit in (1, 3, 1000):
            page = await other.read(run, after, limit)
            assert (list(page.entries), page.first) == (whole[after : after + limit], after + 1)
            assert (page.last, page.closed) == (302, True)
    short = await other.read(run, 5, max_bytes=1000)
    assert list(short.entries) == whole[5 : 5 + len(short.entries)]
    assert 1 < len(short.entries) < 20


async def test_names_are_found_in_a_compacted_log(store: Store) -> None:
    """G5: the same command again answers the same, also long after the run has ended."""
    run = await begin_run(store)
    for name in ("a", "b"):
        await store.append(run, [*entries(f"entry of {name}"), *tokens(3)], once=[name])
    await store.append(run, entries("end"), once=["end"], close=True)
    await store.compact(run)
    again = await store.append(run, entries("x", "y", "z"), once=["b", "end", "new"])
    assert again.repeated
    found = {name: (taken.seq, taken.entry) for name, taken in again.taken.items()}
    assert found == {"b": (6, entries("entry of b")[0]), "end": (10, entries("end")[0])}


async def test_an_open_run_is_not_compacted(store: Store) -> None:
    run = await begin_run(store)
    await store.append(run, tokens(5))
    await store.compact(run)
    assert await store.loose(await later(store), 10) == []
    await store.append(run, tokens(5), close=True)
    assert (await store.read(run)).last == 11
    assert await store.loose(await later(store), 10) == [run]


async def test_a_run_closed_without_a_word_is_compacted(store: Store) -> None:
    silent = await begin(store, texts=())
    await store.append(silent.run_id, [], close=True)
    assert await store.loose(await later(store), 10) == [silent.run_id]
    await store.compact(silent.run_id)
    assert await store.loose(await later(store), 10) == []
    assert (await store.read(silent.run_id)).entries == ()


async def test_compacting_what_is_not_there_does_nothing(store: Store) -> None:
    for name in ("aaaaaaaaaaaaaaaaaaaa.1", "no run"):
        await store.compact(name)


async def test_two_keepers_and_a_reader_at_once_see_one_log(store: Store, other: Store) -> None:
    """G1: a reader in the middle of its pages notices nothing."""
    run = await ended_run(store, tokens(400))
    whole = list((await store.read(run)).entries)

    async def read() -> list[Entry]:
        found: list[Entry] = []
        while len(found) < len(whole):
            found += (await other.read(run, len(found), 9)).entries
        return found

    first, second, *_ = await asyncio.gather(
        read(), read(), store.compact(run), other.compact(run), store.compact(run)
    )
    assert first == second == whole
    assert list((await store.read(run)).entries) == whole


async def test_a_run_deleted_while_it_is_compacted_is_gone(store: Store, other: Store) -> None:
    for _ in range(5):
        run = await ended_run(store, tokens(200))
        await asyncio.gather(store.compact(run), other.delete(conversation_of(run)))
        with pytest.raises(UnknownRun):
            await store.read(run)
        assert await store.loose(await later(store), 10) == []


async def test_a_name_is_held_by_one_until_its_time_is_over(store: Store, other: Store) -> None:
    assert await store.hold("archive", "a", LONG)
    assert not await other.hold("archive", "b", LONG)
    assert await other.hold("something else", "b", LONG)
    assert await store.hold("archive", "a", 0.001), "the holder may change how long"
    assert await until(lambda: other.hold("archive", "b", LONG))
    assert not await store.hold("archive", "a", LONG)


async def test_a_store_says_how_full_it_is_or_that_it_cannot(store: Store) -> None:
    fullness = await store.fullness()
    assert fullness is None or 0 <= fullness <= 1


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=30)), max_size=50), st.integers(1, 5), st.integers()
)
def test_chunks_give_back_every_entry_and_break_at_holes(
    drawn: list[tuple[bool, bytes]], step: int, start: int
) -> None:
    """G1: lossless, and none stands for entries that are not there."""
    seq, numbered = start, list[tuple[int, Entry]]()
    for hole, body in drawn:
        seq += 1 + hole * step
        numbered.append((seq, Entry("token", body)))
    made = list(chunks(numbered))
    assert [pair for chunk in made for pair in enumerate(chunk.entries, chunk.first)] == numbered
    assert all(len(chunk.entries) == chunk.last - chunk.first + 1 for chunk in made)


def test_a_token_takes_a_tenth_once_it_is_compacted() -> None:
    said = tokens(20_000)
    made = list(chunks(enumerate(said, 1)))
    assert sum(len(chunk.body) for chunk in made) * 10 < sum(len(entry.body) for entry in said)
    assert max(sum(len(entry.body) for entry in chunk.entries) for chunk in made) < CHUNK_BYTES + 200


@pytest.mark.parametrize(
    "wanted", [slice(None), slice(3, 9), slice(-4, None), slice(None, None, -7), slice(9, 3)]
)
def test_packed_entries_are_sliced_like_a_list(wanted: slice) -> None:
    said = tokens(3000)
    packed = Packed(said)
    assert (len(packed), packed[2999], packed[-1]) == (3000, said[-1], said[-1])
    assert packed[wanted] == said[wanted]
