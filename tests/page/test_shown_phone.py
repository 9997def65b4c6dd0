"""On a phone: list, run, approval and stop, each by touch, and never wider than the screen."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, Page, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import PHONE, Visitors, composer, dock, pending, row, shot, state
from tests.page.shown import logged, shown, sideways

pytestmark = pytest.mark.anyio

FINGER = 44
"""Pixels that a finger needs."""


async def tap(target: Locator) -> None:
    """Touch what is large enough for it, and wholly on the screen."""
    await target.scroll_into_view_if_needed()
    box = await target.bounding_box()
    assert box is not None
    assert box["height"] >= FINGER, box
    assert box["x"] >= 0, box
    assert box["x"] + box["width"] <= PHONE["width"], box
    await target.tap()


async def fits(page: Page, name: str) -> None:
    """Nothing reaches out at the side."""
    await shot(page, f"phone-{name}")
    assert await sideways(page) == 0, name


async def test_a_run_is_started_approved_and_stopped_by_touch(server: World, visitors: Visitors) -> None:
    """All an operator needs in a train: nothing needs a keyboard, nothing is cut off."""
    page = await (await visitors.come(server.server.url, size=PHONE)).open()
    long_path = "/srv/" + "a-long-folder/" * 12 + "x"
    await fits(page, "empty")
    await composer(page).fill(
        steps({"say": f"see `{long_path}` ", **call("delete", path=long_path)}, call("slow", seconds=600))
    )
    await tap(page.get_by_role("button", name="Send"))
    await expect(pending(page)).to_contain_text("May delete run?")
    await fits(page, "asks")
    run_id = page.url.rsplit("/", 1)[-1]
    await tap(page.get_by_role("link", name="Back to the list"))
    await expect(row(page, run_id)).to_contain_text("waits for you")
    await fits(page, "list-waits")
    asked = await page.get_by_role("region", name="Waiting for you").bounding_box()
    welcome = await page.get_by_role("heading", name="What is to be done?").bounding_box()
    assert asked is not None
    assert welcome is not None
    assert asked["y"] + asked["height"] <= welcome["y"], "what waits for a person comes first"
    box = await dock(page).bounding_box()
    assert box is not None
    assert box["height"] < PHONE["height"] / 5, "a long title leaves the list its room"
    await row(page, run_id).get_by_role("link").first.tap()
    await tap(pending(page).get_by_role("button", name="Edit arguments"))
    await fits(page, "edits")
    await tap(pending(page).get_by_role("button", name="Approve", exact=True))
    server.api.until_tool(run_id, "slow", "started")
    await expect(page.get_by_role("feed")).to_contain_text("slow")
    await fits(page, "runs")
    await tap(dock(page).get_by_role("button", name="Stop", exact=True))
    await expect(state(page)).to_have_text("stopped")
    await expect(page.get_by_role("group", name="Receipt of the stop")).to_be_visible()
    await fits(page, "stopped-by-touch")
    assert await shown(page) == logged(server.api, run_id)
