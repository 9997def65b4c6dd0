"""Each main state, light and dark, on a desktop and a phone: nothing for axe to say, and a picture."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, pending, row, state
from tests.page.shown import inspect

pytestmark = pytest.mark.anyio

WORDS = """## What I found

The disk of **db-3** is *nearly* full: see the table, and `df -h`.

| mount | used |
|---|---|
| `/` | 91 % |
| `/var` | 40 % |

1. remove what is old
2. look again

"""


async def test_welcome(demo: World, visitors: Visitors) -> None:
    """What a newcomer sees first, and with all that is folded there."""
    page = await (await visitors.come(demo.server.url)).open()
    await expect(page.get_by_role("button", name="Check this host")).to_be_visible()
    await inspect(page, "welcome")
    for each in await page.locator(".welcome-more summary").all():
        await each.click()
    await inspect(page, "welcome-unfolded")


async def test_list_and_failed_run(own_server: World, visitors: Visitors) -> None:
    """Runs in each state; one that failed, told in words."""
    api = own_server.api
    stopped, waiting = api.start(steps({"silent": 600})), api.start(steps(call("delete", path="/shown")))
    api.stop(stopped, wait=30)
    failed, completed = api.start(steps({"say": "I try. ", "fail": 401})), api.start("all is well")
    going = api.start(steps({"say": "at work ", "silent": 600}))
    for run_id in (failed, completed):
        api.ended(run_id)
    page = await (await visitors.come(own_server.server.url)).open()
    for run_id in (stopped, waiting, failed, completed, going):
        await expect(row(page, run_id)).to_be_visible()
    await expect(row(page, waiting)).to_contain_text("waits for you")
    await inspect(page, "list")
    await page.goto(f"{own_server.server.url}/#/runs/{failed}")
    await expect(page.get_by_role("feed")).to_contain_text("The model could not be asked")
    await inspect(page, "failed")


async def test_live_run(server: World, visitors: Visitors) -> None:
    """Words, a call that is done and one that runs."""
    first = {"say": WORDS, **call("note", text="what is old")}
    run_id = server.api.start(steps(first, call("wait_for", name="shown-live")))
    page = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    await expect(page.locator('.jl-tool[data-state="started"]')).to_be_visible()
    await inspect(page, "live")
    server.open_gate("shown-live")
    server.api.ended(run_id)


async def test_approval_that_waits_and_is_edited(server: World, visitors: Visitors) -> None:
    """Two questions of a step; one of them with its arguments open."""
    asks = {"say": "May I? ", "calls": [["delete", {"path": "/a"}], ["explode", {"path": "/b"}]]}
    run_id = server.api.start(steps(asks))
    page = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    await expect(pending(page)).to_contain_text("2 calls of this step wait for you")
    await inspect(page, "approvals")
    await pending(page).get_by_role("button", name="Edit arguments").first.click()
    await pending(page).get_by_label("path").fill("/another/place")
    await inspect(page, "approval-edited")
    await pending(page).get_by_role("button", name="Approve all").click()
    await inspect(page, "approve-all")
    server.api.stop(run_id)


async def test_stopped_with_receipt_and_help(server: World, visitors: Visitors) -> None:
    """What became of each call; and over it the keys."""
    calls = {"say": "Both at once. ", "calls": [["slow", {"seconds": 600}], ["note", {"text": "quick"}]]}
    run_id = server.api.start(steps(calls))
    server.api.until_tool(run_id, "note", "finished")
    server.api.until_tool(run_id, "slow", "started")
    server.api.stop(run_id, wait=30, reason="seen enough")
    page = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    await expect(state(page)).to_have_text("stopped")
    await expect(page.get_by_role("group", name="Receipt of the stop")).to_be_visible()
    await inspect(page, "stopped-receipt")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await inspect(page, "help")
