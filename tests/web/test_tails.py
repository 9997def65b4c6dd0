"""Tails and viewers where things happen in an awkward order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from jackline.commands import read_state
from jackline.errors import InDoubt
from jackline.events import Workflow, encode
from jackline.log.base import Appended, News, Page
from jackline.web.pages import PAGE_ENTRIES
from jackline.web.tails import Tails
from jackline.web.viewers import Viewer
from tests.web.harness import API, TS, FlakyStore, data_of, eventually, running

pytestmark = pytest.mark.anyio


class TellingStore(FlakyStore):
    """A store whose hints carry what was appended, and whose pages for those who replay may be late."""

    def __init__(self) -> None:
        super().__init__()
        self.late = asyncio.Event()
        self.late.set()
        self.held = 0
        self._told: dict[str, list[Callable[[News | None], None]]] = {}

    async def append(self, *args: Any, **options: Any) -> Appended:
        appended = await super().append(*args, **options)
        for hear in tuple(self._told.get(args[0], ())):
            closed = bool(options.get("close"))
            hear(News(appended.first, args[1], closed=closed, epoch=len(self.cuts)))
        return appended

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        page = await super().read(run_id, after, limit, max_bytes)
        if limit == PAGE_ENTRIES:
            self.held += 1
            await self.late.wait()
            self.held -= 1
        return page

    @contextmanager
    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        self._told.setdefault(run_id, []).append(hear)
        try:
            yield
        finally:
            self._told[run_id].remove(hear)


async def test_a_page_from_before_the_ending_does_not_open_the_run_again() -> None:
    """G1, G9: whoever was reading it then still gets the rest, and the end."""
    store = TellingStore()
    async with running(store=store, ring_bytes=1000) as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say(*["x" * 100] * 400)
        path = f"{API}/runs/{run_id}/events"
        async with setup.client.open("GET", f"{path}?compact=0&after=402") as live:
            await live.until("ready")
            await worker.say("y")
            await live.until("token")
            store.late.clear()
            async with setup.client.open("GET", f"{path}?compact=0&after=1") as behind:
                await eventually(lambda: store.held == 1)
                await worker.complete()
                await live.until("end")
                store.late.set()
                seen = await behind.until("end")
        assert [event.id for event in seen[1:-1]] == [str(seq) for seq in range(2, 405)]


async def test_a_log_that_holds_none_of_its_entries_is_a_gap() -> None:
    """G1: never silence."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say("a", "b")
        setup.store.trimmed = 4
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events?after=1") as stream:
            gap = (await stream.until("gap"))[-1]
            assert (data_of(gap)["from"], data_of(gap)["to"]) == (2, 4)
            await setup.store.append(run_id, [encode(Workflow(ts=TS, state="failed", attempt=1))], close=True)
            assert [event.event for event in await stream.until("end")] == ["workflow", "end"]


async def test_entries_that_are_lost_before_the_tail_has_read_them_are_a_gap() -> None:
    """G1: and the log is not read over and over for them."""
    async with running() as setup:
        run_id = await setup.client.chat()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as live:
            await live.until("workflow")
            setup.store.trimmed = 3
            executing = Workflow(ts=TS, state="executing", attempt=1)
            await setup.store.append(run_id, [encode(executing), encode(executing)])
            gap = (await live.until("gap"))[-1]
            assert (data_of(gap)["from"], data_of(gap)["to"]) == (2, 3)
            await setup.store.append(run_id, [encode(Workflow(ts=TS, state="failed", attempt=1))], close=True)
            assert [event.event for event in await live.until("end")] == ["workflow", "end"]


class BrokenStore(FlakyStore):
    """A store with a fault that no store should have."""

    broken = 0

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        if self.broken and limit in (self.broken, PAGE_ENTRIES):
            raise ZeroDivisionError
        return await super().read(run_id, after, limit, max_bytes)


@pytest.mark.parametrize("limit", [1000, PAGE_ENTRIES])
async def test_a_fault_in_one_runs_reading_is_no_other_runs_matter(limit: int) -> None:
    """G10: the app goes on, and so do its other viewers."""
    store = BrokenStore()
    async with running(store=store, ring_bytes=1000) as setup:
        run_id, other = await setup.client.chat(), await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say(*["x" * 100] * 40)
        async with setup.client.open("GET", f"{API}/runs/{other}/events") as live:
            await live.until("workflow")
            store.broken = limit
            with suppress(ZeroDivisionError):
                async with setup.client.open("GET", f"{API}/runs/{run_id}/events?compact=0") as stream:
                    await stream.whole()
            store.broken = 0
            await setup.worker(other).execute()
            await live.until("workflow")
        answer = await setup.client.get(f"{API}/runs/{run_id}")
        assert answer.status == 200


async def test_viewers_and_heartbeats_end_with_an_app_that_fails() -> None:
    """G10: nothing goes on behind it."""
    loop = asyncio.get_running_loop()
    store, faults, later = FlakyStore(), list[object](), asyncio.Event()
    async with running(store=store) as setup:
        run_id = await setup.client.chat()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    tails = Tails(store, heartbeat=0.01, now=lambda: 0.0)
    with suppress(ExceptionGroup):
        async with tails.running(), tails.watch(run_id):
            raise ZeroDivisionError
    loop.call_later(0.2, later.set)
    await later.wait()
    assert not faults
    assert not tails.watched
    with pytest.raises(RuntimeError):
        await tails.enter(run_id)


async def test_a_fault_with_one_viewer_cuts_that_one_off_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """G9: the others of the same run go on; the one that is cut comes back with its cursor."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        path = f"{API}/runs/{run_id}/events"
        async with setup.client.open("GET", path) as faulty, setup.client.open("GET", path) as other:
            await faulty.until("workflow")
            await other.until("workflow")
            (tail,) = setup.site.tails._tails.values()  # pyright: ignore[reportPrivateUsage]
            (flock,) = tail.flocks.values()
            first = next(iter(flock.viewers))
            look = Viewer.look

            def fail(viewer: Viewer) -> None:
                if viewer is first:
                    raise ZeroDivisionError
                look(viewer)

            monkeypatch.setattr(Viewer, "look", fail)
            await worker.execute()
            await other.until("workflow", state="executing")
            await faulty.whole()
            await worker.complete()
            await other.until("end")
        assert "ZeroDivisionError" in caplog.text


async def test_a_decision_on_a_log_without_its_entries_is_answered_and_not_waited_for() -> None:
    """G8: the store came back without what the run's head says; who asks is told to come back."""
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        call_id = await worker.ask()
        setup.store.trimmed = 100
        async with asyncio.timeout(20):
            answer = await setup.client.post(f"{API}/approvals/{call_id}", {"approve": True})
            with pytest.raises(InDoubt):
                await read_state(setup.store, run_id)
        answer.problem(503)
        setup.store.trimmed = 0
        answer = await setup.client.post(f"{API}/approvals/{call_id}", {"approve": True})
        assert answer.status == 200


async def test_a_tail_that_is_dropped_while_somebody_enters_it_leaves_nothing_behind() -> None:
    """G2: whoever entered has a tail that lives; the app ends."""
    async with running() as setup:
        run_id = await setup.client.chat()
        entering = asyncio.ensure_future(setup.site.tails.enter(run_id))
        await asyncio.sleep(0)
        setup.site.tails.forget(run_id)
        async with asyncio.timeout(20):
            tail = await entering
        assert not tail.gone
        assert setup.site.tails.watched == (run_id,)
        setup.site.tails.leave(tail)
        assert setup.site.tails.viewers == 0
