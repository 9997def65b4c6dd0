"""Runs of thousands of entries: the document stays small, the thread free, and who reads is not moved."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.blackbox.api import Api, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, rows, shot, state
from tests.support.processes import eventually_async

pytestmark = pytest.mark.anyio

BLOCKS = """
window.blocks = []
new PerformanceObserver(list => blocks.push(...list.getEntries().map(each => each.duration)))
    .observe({type: 'longtask', buffered: true})
"""
SHORTEST_BLOCK = 50.0
"""Chromium tells of no shorter ones."""


def notes(count: int) -> dict[str, object]:
    """A step of so many calls, each with three entries."""
    return {"calls": [["note", {"text": str(number)}] for number in range(count)]}


async def all_in(page: Page, count: int) -> None:
    """Wait until the list has at least so many rows, and shows its end."""

    async def reached() -> bool:
        sizes = await rows(page).evaluate_all("all => all.map(one => Number(one.ariaSetSize))")
        return max(sizes, default=0) >= count

    await eventually_async(reached, what=f"{count} rows")


async def longest_block(visitors: Visitors, api: Api, run_id: str, count: int) -> float:
    """The longest that the thread was held while a run of so many rows was opened, in ms."""
    visitor = await visitors.come(api.url)
    await visitor.context.add_init_script(BLOCKS)
    page = await visitor.open(f"#/runs/{run_id}")
    await all_in(page, count)
    await expect(state(page)).to_have_text("completed")
    blocks: list[float] = await page.evaluate("blocks")
    return max(blocks, default=SHORTEST_BLOCK)


async def test_ten_thousand_entries_hold_the_thread_no_longer_than_a_few(
    own_server: World, visitors: Visitors
) -> None:
    """Opening costs work, but in pieces: keys and clicks get their turn, however long the run is."""
    api = own_server.api
    short = api.start(steps(notes(20), {"say": "end"}))
    long = api.start(steps(*[notes(200) for _ in range(16)], {"say": "x ", "times": 400}))
    api.ended(short)
    assert api.ended(long)["seq"] >= 10_000
    few = await longest_block(visitors, api, short, 20)
    many = await longest_block(visitors, api, long, 3_200)
    assert many <= max(few, SHORTEST_BLOCK) * 4
    page = await (await visitors.come(api.url)).open(f"#/runs/{long}")
    await all_in(page, 3_200)
    await expect(rows(page).last).to_be_visible()
    assert await rows(page).count() < 60
    assert await page.locator("#side *").count() < 1_000
    await shot(page, "ten-thousand")


async def test_it_stays_at_the_end_and_does_not_move_who_reads_above(
    own_server: World, visitors: Visitors
) -> None:
    """New rows come below; a button says how many, and leads there."""
    run_id = own_server.api.start(
        steps(
            notes(150), {"paced": "far", "times": 2, "calls": [["note", {"text": "x"}]]}, {"say": "the end"}
        )
    )
    page = await (await visitors.come(own_server.server.url)).open(f"#/runs/{run_id}")
    await all_in(page, 150)
    feed = page.get_by_role("feed")
    from_end = "feed => feed.scrollHeight - feed.scrollTop - feed.clientHeight"
    own_server.open_gate("far-0")
    await expect(feed).to_contain_text("0")

    async def at_end() -> bool:
        return await feed.evaluate(from_end) < 80

    await eventually_async(at_end, what="the list is at its end")
    await feed.hover()
    await page.mouse.wheel(0, -1500)
    newest = page.get_by_role("button", name="Jump to newest")
    await expect(newest).to_be_visible()
    seen = await rows(page).first.get_attribute("aria-posinset")
    top = "at => document.querySelector(`[aria-posinset='${at}']`).getBoundingClientRect().top"
    before = await page.evaluate(top, seen)
    own_server.open_gate("far-1")
    await expect(state(page)).to_have_text("completed")
    await expect(newest).to_contain_text("new")
    assert abs(await page.evaluate(top, seen) - before) < 3
    await shot(page, "reading-above")
    await newest.click()
    await expect(feed).to_contain_text("the end")
    await expect(newest).to_have_count(0)


async def ended_with_many_rows(server: World, visitors: Visitors) -> Page:
    """The page of a run with more rows than are in the document at once."""
    run_id = server.api.start(steps(notes(150), {"say": "the end"}))
    page = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    await all_in(page, 150)
    await expect(state(page)).to_have_text("completed")
    assert await page.evaluate("document.scrollingElement.scrollHeight === innerHeight")
    return page


async def test_the_list_takes_the_focus_of_a_row_that_leaves_the_document(
    own_server: World, visitors: Visitors
) -> None:
    """Who reads by keyboard goes on from there, and not from the top of the page."""
    page = await ended_with_many_rows(own_server, visitors)
    feed = page.get_by_role("feed")
    button = feed.get_by_role("button").last
    await button.focus()
    await expect(button).to_be_focused()
    await feed.evaluate("feed => feed.scrollTo(0, 0)")
    await expect(rows(page).first).to_have_attribute("aria-posinset", "1")
    await expect(feed).to_be_focused()


async def test_what_was_unfolded_is_so_still_when_its_row_comes_back(
    own_server: World, visitors: Visitors
) -> None:
    """Only what is near the eye is in the document; what was opened there is not forgotten."""
    page = await ended_with_many_rows(own_server, visitors)
    feed = page.get_by_role("feed")
    card = feed.get_by_role("button", expanded=False).last
    await card.click()
    row = await feed.get_by_role("button", expanded=True).evaluate(
        "button => button.closest('[aria-posinset]').getAttribute('aria-posinset')"
    )
    there = page.locator(f"[aria-posinset='{row}']")
    await feed.evaluate("feed => feed.scrollTo(0, 0)")
    await expect(rows(page).first).to_have_attribute("aria-posinset", "1")
    await expect(there).to_have_count(0)
    await feed.evaluate("feed => feed.scrollTo(0, feed.scrollHeight)")
    await expect(there.get_by_role("button", expanded=True)).to_be_visible()
