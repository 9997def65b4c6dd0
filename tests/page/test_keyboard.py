"""The page by keyboard alone, and what it tells those who do not see it."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, composer, pending, row, shot, state

pytestmark = pytest.mark.anyio


async def focus_is_in(page: Page, selector: str) -> bool:
    return await page.evaluate(
        "selector => document.activeElement?.closest(selector) !== null"
        " && document.activeElement !== document.body",
        selector,
    )


async def test_a_run_is_started_asked_about_and_approved_by_keyboard(
    own_server: World, visitors: Visitors
) -> None:
    """A letter leads to the button, Enter decides: no stray key approves anything."""
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.keyboard.press("c")
    assert await focus_is_in(page, "#composer")
    await page.keyboard.type(steps(call("delete", path="/k"), {"say": "gone"}))
    await page.keyboard.press("Enter")
    approve = pending(page).get_by_role("button", name="Approve", exact=True)
    await expect(approve).to_be_enabled()  # not in the moment in which it comes
    await composer(page).blur()
    await page.keyboard.press("a")  # no question has the focus: nothing happens
    await page.keyboard.press("Enter")
    await expect(state(page)).to_have_text("waits for you")
    await page.keyboard.press("q")
    await page.keyboard.press("a")
    await expect(approve).to_be_focused()
    await expect(state(page)).to_have_text("waits for you")
    assert own_server.effects.count("delete /k") == 0
    await page.keyboard.press("Enter")
    await expect(state(page)).to_have_text("completed")
    assert own_server.effects.count("delete /k") == 1


async def test_the_list_is_walked_with_j_and_k(own_server: World, visitors: Visitors) -> None:
    """j and k move the focus, Enter opens; what waits is one key away."""
    older, newer = own_server.api.start("older"), own_server.api.start("newer")
    for run_id in (older, newer):
        own_server.api.ended(run_id)
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(row(page, older)).to_be_visible()
    await page.keyboard.press("j")
    assert await focus_is_in(page, f'[data-run="{newer}"]')
    await page.keyboard.press("j")
    assert await focus_is_in(page, f'[data-run="{older}"]')
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await page.wait_for_url(lambda url: url.endswith(newer))
    asking = own_server.api.start(steps(call("delete", path="/w")))
    await expect(page.get_by_role("region", name="Waiting for you").first).to_be_visible()
    await page.keyboard.press("w")
    await page.wait_for_url(lambda url: url.endswith(asking))


async def test_the_help_names_the_keys_and_turns_single_ones_off(
    own_server: World, visitors: Visitors
) -> None:
    """Single letters get in the way of speech input: they can be turned off, and stay so."""
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    await expect(dialog).to_be_visible()
    await shot(page, "help")
    await dialog.get_by_label("Single letters do something").uncheck()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await page.reload()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.keyboard.press("c")
    assert not await focus_is_in(page, "#composer")


async def test_the_first_tab_stop_leads_past_the_list(own_server: World, visitors: Visitors) -> None:
    """A skip link, as the first thing."""
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the run")).to_be_focused()
    await page.keyboard.press("Enter")
    assert await focus_is_in(page, "main")


async def test_changes_of_state_are_said_and_tokens_are_not(server: World, visitors: Visitors) -> None:
    """A screen reader hears that the run waits and how it ended, and not every word."""
    run_id = server.api.start(steps({"say": "word ", **call("delete", path="/s")}))
    page = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    news = page.get_by_role("status", name="News")
    await expect(news).to_have_text("The run waits for you: delete")
    await pending(page).get_by_role("button", name="Deny", exact=True).click()
    server.api.decide(server.api.snapshot(run_id)["approvals"][0]["call_id"], approve=False)
    await expect(news).to_have_text("The run is completed")
    live = await page.get_by_role("feed").evaluate(
        "feed => feed.closest('[aria-live]') ?? feed.querySelector('[aria-live]:not([aria-live=off])')"
    )
    assert live is None


async def test_the_colours_are_the_systems_until_one_chooses(server: World, visitors: Visitors) -> None:
    """Dark where the system is; what is chosen outlives a reload."""
    visitor = await visitors.come(server.server.url, dark=True)
    page = await visitor.open()
    paper = "getComputedStyle(document.body).backgroundColor"
    await expect(page.get_by_role("button", name="Auto colours")).to_be_visible()
    dark = await page.evaluate(paper)
    await page.get_by_role("button", name="Auto colours").click()
    light = await page.evaluate(paper)
    assert light != dark
    await page.reload()
    await expect(page.get_by_role("button", name="Light colours")).to_be_visible()
    assert await page.evaluate(paper) == light
