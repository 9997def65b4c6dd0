"""What the page does where the page itself fails."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Route, expect

from tests.blackbox.api import steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, dock, shot, state

pytestmark = pytest.mark.anyio


async def test_a_view_that_breaks_takes_neither_the_page_nor_the_stop_with_it(
    server: World, visitors: Visitors
) -> None:
    """It is told in words; the list and the stop go on."""
    run_id = server.api.start(steps({"say": "here I am ", "silent": 600}))
    visitor = await visitors.come(server.server.url)

    async def break_it(route: Route) -> None:
        body = "export function Usage() { throw new Error('a bug') }"
        await route.fulfill(body=body, content_type="text/javascript")

    await visitor.context.route(re.compile("/ui/views/usage.js"), break_it)
    page = await visitor.open(f"#/runs/{run_id}")
    await expect(page.get_by_role("heading", name="This view has failed")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("a bug")
    await shot(page, "view-failed")
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    assert server.api.ended(run_id)["state"] == "stopped"
    assert visitor.troubles, "it stands in the console as well"
    visitor.troubles.clear()


async def test_what_fails_outside_of_a_view_is_shown(server: World, visitors: Visitors) -> None:
    """Nothing is swallowed: there is a bar that says what to do."""
    visitor = await visitors.come(server.server.url)
    page = await visitor.open()
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    await page.evaluate("() => { Promise.reject(new Error('nobody caught me')) }")
    await expect(page.get_by_role("alert")).to_contain_text("nobody caught me")
    await expect(page.get_by_role("button", name="Reload the page")).to_be_visible()
    visitor.troubles.clear()


async def test_a_gap_in_the_log_is_told_and_the_run_goes_on(own_server: World, visitors: Visitors) -> None:
    """G1: what cannot be had entry by entry is shown as what it came to."""
    run_id = own_server.api.start("all of it")
    snapshot = own_server.api.ended(run_id)
    visitor = await visitors.come(own_server.server.url)
    ready = {"run_id": run_id, "conversation_id": run_id[:-2], "state": "completed", "seq": 0, "newest": 3}
    gap = {"from": 1, "to": snapshot["seq"], "snapshot": snapshot}
    end = {"run_id": run_id, "state": "completed", "seq": snapshot["seq"]}

    async def lose_it(route: Route) -> None:
        frames = [("ready", ready, ""), ("gap", gap, f"id: {snapshot['seq']}\n"), ("end", end, "")]
        body = "".join(
            f"{cursor}event: {name}\ndata: {json.dumps(data)}\n\n" for name, data, cursor in frames
        )
        await route.fulfill(body=body, content_type="text/event-stream")

    await visitor.context.route(re.compile(f"/runs/{run_id}/events"), lose_it)
    page = await visitor.open(f"#/runs/{run_id}")
    await expect(page.get_by_role("feed")).to_contain_text("all of it")
    await expect(state(page)).to_have_text("completed")
