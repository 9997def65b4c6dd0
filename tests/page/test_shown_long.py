"""A run of ten thousand entries that still grows: both its ends, all that lies between, and a free thread."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.blackbox.api import ROOT, Api, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, rows, shot, state
from tests.page.shown import logged, shown
from tests.page.test_long_runs import BLOCKS, SHORTEST_BLOCK, all_in, notes
from tests.support.processes import eventually

pytestmark = pytest.mark.anyio

CALLS = 3_000
WORDS = 1_000
TALL = ViewportSize(width=1280, height=4000)
"""So that fewer screens are to be scrolled through."""


async def while_it_grows(page: Page, world: World, run_id: str, name: str) -> float:
    """Let the run go on to its end under the open page; the longest that the thread was held by it, in ms."""
    await page.evaluate("window.blocks.length = 0")
    world.open_gate(name)
    await expect(state(page)).to_have_text("completed")
    blocks: list[float] = await page.evaluate("blocks")
    return max(blocks, default=SHORTEST_BLOCK)


async def opened(visitors: Visitors, api: Api, run_id: str, count: int) -> Page:
    visitor = await visitors.come(api.url, size=TALL)
    await visitor.context.add_init_script(BLOCKS)
    page = await visitor.open(f"#/runs/{run_id}")
    await all_in(page, count)
    return page


@pytest.mark.timeout(400)
async def test_ten_thousand_entries_are_all_there_while_more_come(
    own_server: World, visitors: Visitors
) -> None:
    """G1: opened at its end, followed while it grows, read from the first row to the last: none is lost."""
    api = own_server.api
    tail = {"say": "more ", "times": 100, **notes(50)}
    many = [notes(200) for _ in range(CALLS // 200)]
    long = api.start(
        steps({"say": "first of all ", "times": WORDS, **notes(1)}, *many, {"gate": "long", **notes(1)}, tail)
    )
    short = api.start(steps(notes(20), {"gate": "short", **notes(1)}, tail))
    few = await while_it_grows(await opened(visitors, api, short, 21), own_server, short, "short")
    listed = lambda: {run["run_id"]: run["seq"] for run in api.http.get(f"{ROOT}/runs").json()["runs"]}  # noqa: E731
    eventually(lambda: listed()[long] >= 10_000, what="ten thousand entries")
    page = await opened(visitors, api, long, 3 + CALLS)
    await expect(rows(page).last).to_have_attribute("aria-posinset", str(3 + CALLS))
    blocked = await while_it_grows(page, own_server, long, "long")
    assert blocked <= max(few, SHORTEST_BLOCK) * 4
    assert await rows(page).count() < 150
    lines = await shown(page)
    assert len(lines) > CALLS
    assert lines == logged(api, long)
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.keyboard.press("e")
    await expect(rows(page).last).to_contain_text("Completed")
    assert await rows(page).count() < 60
    await shot(page, "ten-thousand-end")
