"""A newcomer's first run, from the offered task to the verified effect."""

from __future__ import annotations

import psutil
import pytest
from playwright.async_api import expect

from tests.blackbox.api import Check
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, dock, pending, shot, state
from tests.page.shown import logged, shown

pytestmark = pytest.mark.anyio


async def test_a_whole_run_from_the_offered_task_to_the_verified_effect(
    demo: World, visitors: Visitors
) -> None:
    """G5: nothing is set, nothing typed: press, watch, approve, and see that it took effect."""
    page = await (await visitors.come(demo.server.url)).open()
    await page.get_by_role("button", name="Restart a service").click()
    await expect(pending(page)).to_contain_text("restart_scratch_service")
    await expect(state(page)).to_have_text("waits for you")
    run_id = page.url.rsplit("/", 1)[-1]
    assert await shown(page) == logged(demo.api, run_id)
    await shot(page, "demo-asks")
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    await expect(state(page)).to_have_text("completed")
    await expect(dock(page)).to_have_count(0)
    await expect(page.get_by_role("feed")).to_contain_text("Verified")
    await expect(page.get_by_text("Checks what")).to_contain_text("restart_scratch_service")
    await shot(page, "demo-completed")
    assert await shown(page) == logged(demo.api, run_id)
    log = demo.api.log(run_id)
    names = ["service_status", "restart_scratch_service", "service_status"]
    assert Check(log=log).tools("finished") == names
    restarted, checked = [entry["result"] for entry in log if "result" in entry][-2:]
    assert restarted["new_pid"] == checked["pid"]
    assert psutil.pid_exists(checked["pid"])


async def test_a_watch_is_stopped_and_its_receipt_read(demo: World, visitors: Visitors) -> None:
    """G4: the task that is there to be stopped, by key, in the middle of its tool."""
    page = await (await visitors.come(demo.server.url)).open()
    await page.get_by_role("button", name="Watch the load").click()
    await expect(page.get_by_role("progressbar")).to_be_visible()
    run_id = page.url.rsplit("/", 1)[-1]
    await shot(page, "demo-running")
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Press Esc again to stop")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(state(page)).to_have_text("stopped")
    receipt = page.get_by_role("group", name="Receipt of the stop")
    await expect(receipt).to_contain_text("watch_load cancelled while it ran")
    await shot(page, "demo-stopped")
    assert await shown(page) == logged(demo.api, run_id)
    told = [entry["state"] for entry in demo.api.log(run_id) if "attempt" in entry]
    assert told[-2:] == ["stopping", "stopped"]
