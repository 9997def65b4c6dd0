"""The journal: one writer, no entry lost or twice, nothing that cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from itertools import product
from typing import Any

import pytest

from jackline.errors import EntryTooLarge, Fenced, IllegalTransition, StopRequested
from jackline.events import Approval, Token, Tool, Unknown, Workflow, encode, type_of
from jackline.ids import conversation_of
from jackline.journal import MAX_WAITING_BYTES, Journal
from jackline.log.base import Appended, News, Serves
from jackline.log.memory import MemoryStore
from jackline.run import fold
from tests.worker.house import Clock, CrowdedStore, FlakyStore, House, until

pytestmark = pytest.mark.anyio

TS = "2026-01-01T00:00:00.000Z"


def token(text: str) -> Token:
    return Token(ts=TS, text=text, kind="text", message_id="m1")


def executing(step: int | None = None) -> Workflow:
    return Workflow(ts=TS, state="executing", attempt=1, step=step)


def stopping(mode: str = "immediate") -> Workflow:
    return Workflow(
        ts=TS, state="stopping", attempt=1, mode="after_step" if mode == "after_step" else "immediate"
    )


@contextlib.asynccontextmanager
async def journal(store: MemoryStore) -> AsyncGenerator[Journal]:
    """A journal of a run that has just begun to execute."""
    house = House(store=store)
    await house.start()
    lease = await store.claim("w1", 15, [Serves(name="a", revision="1")])
    assert lease is not None
    journal = Journal(store, lease, await house.state(lease.run_id))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(journal.run()), group.create_task(journal.watch())]
        await journal.commit([executing()], expect=True)
        try:
            yield journal
        finally:
            for task in tasks:
                task.cancel()


async def texts(store: MemoryStore, run_id: str) -> list[str]:
    events = await House(store=store).events(run_id)
    fold(run_id, events)
    return [event.text for event in events if isinstance(event, Token)]


PLANS = [
    "".join(plan)
    for plan in product("ba.", repeat=3)  # before, after, well
]


@pytest.mark.parametrize("plan", PLANS)
async def test_no_entry_is_lost_or_twice_however_the_store_fails(
    plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G8: whether the write of a lost answer took place or not, each entry stands there once."""
    monkeypatch.setattr("jackline.journal.RETRY_SECONDS", (0.01,))
    how = {"b": "before", "a": "after", ".": ""}
    store = FlakyStore(lambda count: how[plan[(count - 1) % 3]] if count <= 9 else "")
    async with journal(store) as j:
        store.on = True
        said: list[str] = []
        for number in range(6):
            said.append(f"{number % 2}")  # the same again and again: equal entries are no repetition
            j.put(token(said[-1]))
            if number % 2:
                await j.commit([executing(step=number)], expect=number % 3 == 0)
        await j.commit([Workflow(ts=TS, state="completed", attempt=1)], expect=True, close=True)
    assert await texts(store, j.lease.run_id) == said
    assert (await House(store=store).state(j.lease.run_id)).state == "completed"


async def test_every_barrier_is_written_though_others_write_too() -> None:
    """G3, G4: `Moved` is read, obeyed and tried again."""
    store = CrowdedStore()
    async with journal(store) as j:
        for number in range(5):
            j.put(token(f"{number}"))
            await j.commit([executing(step=number)], expect=True)
        await j.commit([], checkpoint=b"saved")
        await j.commit([Workflow(ts=TS, state="completed", attempt=1)], expect=True, close=True)
    assert store.notes >= 5
    assert await texts(store, j.lease.run_id) == ["0", "1", "2", "3", "4"]
    assert await store.checkpoint(j.lease.run_id) == b"saved"


async def test_a_stop_refuses_the_barriers_after_it_and_only_them() -> None:
    """G4: what expects to go on is refused; what only tells what was done is written."""
    store = MemoryStore()
    async with journal(store) as j:
        await store.append(j.lease.run_id, [encode(stopping())], once=["stop:immediate"])
        j.put(token("last words"))
        told = asyncio.ensure_future(j.commit([]))
        with pytest.raises(StopRequested):
            await j.commit([executing(step=1)], expect=True)
        await told
        assert j.immediate.is_set()
    assert await texts(store, j.lease.run_id) == ["last words"]


async def test_who_waits_for_earlier_entries_is_not_told_of_a_later_refusal() -> None:
    store = MemoryStore()
    async with journal(store) as j:
        await store.append(j.lease.run_id, [encode(stopping())], once=["stop:immediate"])
        flushed = asyncio.ensure_future(j.commit([]))
        refused = asyncio.ensure_future(j.commit([executing(step=1)], expect=True))
        await asyncio.wait([flushed, refused])
        assert flushed.exception() is None
        assert isinstance(refused.exception(), StopRequested)


async def test_progress_that_may_not_follow_a_stop_is_dropped() -> None:
    """G3: a usage that comes after the stop would make the log illegal for every reader."""
    store = MemoryStore()
    async with journal(store) as j:
        await store.append(j.lease.run_id, [encode(stopping("after_step"))], once=["stop:after_step"])
        j.put(executing(step=1), unless_stopping=True)
        j.put(token("x"))
        await j.commit([])
        assert not j.immediate.is_set()
        assert j.stopping.is_set()
    assert await texts(store, j.lease.run_id) == ["x"]


ILLEGAL = [
    Tool(ts=TS, call_id="C.1", name="t", state="progress", progress=1),
    Tool(ts=TS, call_id="C.1", name="t", state="finished"),
    Approval(ts=TS, call_id="C.1", round=1, kind="call", name="t", state="granted"),
    Workflow(ts=TS, state="awaiting_approval", attempt=1),
    Workflow(ts=TS, state="stopped", attempt=1),
]


@pytest.mark.parametrize("event", ILLEGAL, ids=type_of)
async def test_an_entry_that_cannot_be_folded_is_never_written(event: Tool | Approval | Workflow) -> None:
    """G3: one would make the run unreadable, and so unstoppable, for everybody."""
    store = MemoryStore()
    async with journal(store) as j:
        j.put(token("a"))
        j.put(event)
        j.put(token("b"))
        with pytest.raises(IllegalTransition):
            await j.commit([event])
        await j.commit([executing(step=1)], expect=True)
    assert await texts(store, j.lease.run_id) == ["a", "b"]


async def test_an_entry_above_the_limit_takes_nothing_else_along() -> None:
    store = MemoryStore()
    async with journal(store) as j:
        j.put(token("a"))
        good = asyncio.ensure_future(j.commit([executing(step=1)]))
        with pytest.raises(EntryTooLarge):
            await j.commit([token("x" * 70_000)])
        await good
        j.put(token("b"))
        await j.commit([])
    assert await texts(store, j.lease.run_id) == ["a", "b"]


async def test_an_abandoned_barrier_does_not_tear_what_stands_before_it() -> None:
    """A cancelled caller abandons its answer, nothing else."""
    store = MemoryStore()
    async with journal(store) as j:
        j.put(token("a"))
        waiting = asyncio.ensure_future(j.commit([executing(step=1)], expect=True))
        await asyncio.sleep(0)
        waiting.cancel()
        j.put(token("b"))
        await j.commit([executing(step=2)], expect=True)
        assert j.state.step == 2
    assert await texts(store, j.lease.run_id) == ["a", "b"]


async def test_a_writer_whose_lease_was_taken_writes_nothing() -> None:
    """G7."""
    clock = Clock()
    store = MemoryStore(clock)
    async with journal(store) as j:
        clock.ahead = 60
        lease = await store.claim("w2", 15, [Serves(name="a", revision="1")])
        assert lease is not None
        assert lease.lapsed
        j.put(token("zombie"))
        for expect in (True, False):
            with pytest.raises(Fenced):
                await j.commit([executing(step=1)], expect=expect)
        assert j.lost.is_set()
        j.put(token("zombie"))
        await j.room()
    assert await texts(store, j.lease.run_id) == []


async def test_what_waits_for_an_absent_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """G8: the agent is held back, and goes on when the store is back."""
    monkeypatch.setattr("jackline.journal.RETRY_SECONDS", (0.01,))
    away = True
    store = FlakyStore(lambda _: "before" if away else "")
    async with journal(store) as j:
        store.on = True
        piece = "x" * 50_000
        for _ in range(MAX_WAITING_BYTES // len(piece) + 10):
            j.put(token(piece))
        held = asyncio.ensure_future(j.room())
        await until(lambda: j.away)
        assert not held.done()
        away = False
        await held
        await j.commit([])
    assert len(await texts(store, j.lease.run_id)) == MAX_WAITING_BYTES // len(piece) + 10


async def test_entries_of_a_later_version_are_folded_around() -> None:
    store = CrowdedStore()
    async with journal(store) as j:
        await j.commit([executing(step=1)], expect=True)
    events = await House(store=store).events(j.lease.run_id)
    assert any(isinstance(event, Unknown) for event in events)
    assert conversation_of(j.lease.run_id) == j.state.conversation_id


class SlowDisk(MemoryStore):
    """Appends stand in the log, and everybody hears of them, before the disk has them."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = asyncio.Event()
        self.durable.set()
        self._hear: list[Callable[[News | None], None]] = []

    def last(self, run_id: str) -> int:
        return len(self._runs[run_id].entries)

    async def append(self, *args: Any, **options: Any) -> Appended:
        appended = await super().append(*args, **options)
        for hear in self._hear:
            hear(News(appended.first, args[1], closed=bool(options.get("close")), epoch=0))
        if options.get("fence") is not None:
            await self.durable.wait()
        return appended

    @contextlib.contextmanager
    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        self._hear.append(hear)
        try:
            yield
        finally:
            self._hear.remove(hear)


async def test_a_stop_is_noticed_while_an_append_that_was_read_back_waits_for_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G4: what is under way explains its own entries only."""
    monkeypatch.setattr("jackline.journal.WATCH_SECONDS", 3600.0)
    store = SlowDisk()
    async with journal(store) as j:
        store.durable.clear()
        async with asyncio.TaskGroup() as group:
            barrier = group.create_task(j.commit([executing(1), token("a"), token("b")], expect=True))
            before = j.state.seq
            await until(lambda: store.last(j.lease.run_id) == before + 3)
            await store.append(j.lease.run_id, [encode(stopping("after_step"))])
            await until(j.stopping.is_set)
            await store.append(j.lease.run_id, [encode(stopping())])
            await until(j.immediate.is_set)
            assert not barrier.done()
            store.durable.set()
