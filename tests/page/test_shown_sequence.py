"""One sequence, whatever happens to the connection: what the page shows is what the log tells."""

from __future__ import annotations

import contextlib
import signal

import pytest
from playwright.async_api import Error, Page, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, connection, dock, pending, row, send, shot, state
from tests.page.shown import logged, narration, shown
from tests.support.processes import eventually_async

pytestmark = pytest.mark.anyio


def story(name: str) -> str:
    """Words at the test's pace, a call, a question, and more words."""
    return steps(
        {"paced": f"{name}-a", "times": 3, **call("note", text=name)},
        call("delete", path=f"/{name}"),
        {"paced": f"{name}-b", "times": 2},
    )


async def said(page: Page, words: str) -> None:
    await expect(page.get_by_role("feed")).to_contain_text(words)


async def approved(page: Page) -> None:
    """Wait until an approval has arrived; press again where the page says that it may not have."""
    approve = pending(page).get_by_role("button", name="Approve", exact=True)

    async def gone() -> bool:
        with contextlib.suppress(Error):  # it may go while it is looked at
            if await approve.is_enabled(timeout=500):
                await approve.click(timeout=500)
        return await pending(page).count() == 0

    await eventually_async(gone, what="the question is answered")


async def test_reloads_in_the_middle_show_the_same_sequence(server: World, visitors: Visitors) -> None:
    """G1: between words, while it waits for a person, and after the end: nothing twice, nothing missing."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, story("reload"))
    server.open_gate("reload-a-0")
    server.open_gate("reload-a-1")
    await said(page, "0 1")
    await page.reload()
    await said(page, "0 1")
    assert await shown(page) == logged(server.api, run_id)
    server.open_gate("reload-a-2")
    await expect(pending(page)).to_contain_text("delete")
    await page.reload()
    await expect(pending(page)).to_contain_text("delete")
    assert await shown(page) == logged(server.api, run_id)
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    server.open_gate("reload-b-0")
    await expect(state(page)).to_have_text("running")
    await page.reload()
    server.open_gate("reload-b-1")
    await expect(state(page)).to_have_text("completed")
    lines = await shown(page)
    await page.reload()
    await expect(state(page)).to_have_text("completed")
    assert lines == await shown(page) == logged(server.api, run_id)
    assert narration(lines) == "01201"
    assert server.effects.count("delete /reload") == 1


async def test_a_server_killed_under_the_open_page_costs_nothing(
    own_server: World, visitors: Visitors
) -> None:
    """G1, G7: `kill -9` while it waits, and again while it speaks: the page says so, and goes on."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, story("killed"))
    own_server.open_gate("killed-a-0")
    own_server.open_gate("killed-a-1")
    own_server.open_gate("killed-a-2")
    await expect(pending(page)).to_contain_text("delete")
    own_server.server.kill(signal.SIGKILL)
    own_server.server.process.end()
    await expect(connection(page)).to_contain_text("Reconnecting")
    await expect(connection(page)).not_to_contain_text("Live")
    # An answer that may not have arrived is said to be so, and is safe to give again.
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    await shot(page, "server-killed")
    own_server.open_gate("killed-b-0")
    own_server.server.launch()
    await said(page, "0 1 2")
    await approved(page)
    own_server.api.until_tool(run_id, "delete", "finished")
    own_server.server.restart()
    own_server.open_gate("killed-b-1")
    await expect(state(page)).to_have_text("completed")
    await expect(row(page, run_id)).to_contain_text("completed")
    assert await shown(page) == logged(own_server.api, run_id)
    assert own_server.effects.count("delete /killed") == 1


async def test_offline_and_online_again_is_told_and_loses_nothing(server: World, visitors: Visitors) -> None:
    """G1, G5: a decision without a network is not claimed to have arrived; given again it counts once."""
    visitor = await visitors.come(server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, story("offline"))
    for number in range(3):
        server.open_gate(f"offline-a-{number}")
    await expect(pending(page)).to_contain_text("delete")
    await visitor.context.set_offline(True)
    await expect(connection(page)).to_contain_text("offline")
    await expect(connection(page)).not_to_contain_text("Live")
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    await expect(pending(page)).to_contain_text("no answer yet")
    await shot(page, "offline-approving")
    assert server.api.snapshot(run_id)["state"] == "awaiting_approval"
    await visitor.context.set_offline(False)
    for number in range(2):
        server.open_gate(f"offline-b-{number}")
    await approved(page)
    await expect(state(page)).to_have_text("completed")
    assert await shown(page) == logged(server.api, run_id)
    assert server.effects.count("delete /offline") == 1


async def test_a_stop_by_key_is_seen_from_stopping_to_its_receipt(server: World, visitors: Visitors) -> None:
    """G4: a tool that swallows its cancellation keeps it `stopping` until it is killed, and that is told."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, steps({"say": "it begins ", **call("stubborn", seconds=600)}))
    server.api.until_tool(run_id, "stubborn", "started")
    await expect(page.get_by_role("feed")).to_contain_text("stubborn")
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Press Esc again to stop")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(dock(page)).to_have_text("Stopping", use_inner_text=True)
    await shot(page, "stopping")
    await expect(state(page)).to_have_text("stopped")
    receipt = page.get_by_role("group", name="Receipt of the stop")
    await expect(receipt).to_contain_text("stubborn")
    assert await shown(page) == logged(server.api, run_id)
    [outcome] = [tool["outcome"] for tool in server.api.snapshot(run_id)["receipt"]["tools"]]
    words = {"killed": "its process was killed", "unknown": "unknown", "cancelled": "cancelled while it ran"}
    await expect(receipt).to_contain_text(words[outcome])
    await shot(page, "stopped-killed")


async def test_who_hammers_on_esc_stops_the_run_in_front_and_no_other(
    own_server: World, visitors: Visitors
) -> None:
    """G4: once the run in front has ended, another one that goes on is named before a key can stop it."""
    other = own_server.api.start(steps({"silent": 600}))
    page = await (await visitors.come(own_server.server.url)).open()
    run_id = await send(page, steps({"say": "here ", "silent": 600}))
    await expect(page.get_by_role("feed")).to_contain_text("here")
    hammer = """async () => {
        const press = () => document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'Escape', bubbles: true, cancelable: true}));
        const state = () => document.querySelector('.run').dataset.state;
        press(); press();
        while (state() !== 'stopped') {
            await new Promise(resolve => setTimeout(resolve, 50));
            press();
        }
        press();
    }"""
    await page.evaluate(hammer)
    await expect(state(page)).to_have_text("stopped")
    assert own_server.api.snapshot(run_id)["state"] == "stopped"
    await expect(dock(page).get_by_role("button", name="Stop", exact=True)).to_be_visible()
    assert own_server.api.snapshot(other)["state"] == "executing"
