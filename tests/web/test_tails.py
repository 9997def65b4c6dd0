"""Tails and viewers where things happen in an awkward order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from jackline.log.base import Appended, News, Page
from jackline.web.pages import PAGE_ENTRIES
from tests.web.harness import API, FlakyStore, eventually, running

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
