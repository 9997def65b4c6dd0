"""A server that wants a key: asked for, told when it is wrong, forgotten when one logs out."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from playwright.async_api import Page, expect

from tests.blackbox.api import steps
from tests.blackbox.conftest import World, world
from tests.blackbox.test_auth import ANA, BOB, key
from tests.page.conftest import Visitor, Visitors, composer, row, send, shot, state

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with two people's keys."""
    path = tmp_path_factory.mktemp("page-locked")
    (path / "jackline.toml").write_text(key("user:ana", ANA) + key("user:bob", BOB))
    with world(path) as made:
        yield made


async def log_in(page: Page, secret: str, *, remember: bool = False) -> None:
    await page.get_by_label("Key", exact=True).fill(secret)
    if remember:
        await page.get_by_label("Remember it in this browser").check()
    await page.get_by_role("button", name="Log in").click()


async def come(visitors: Visitors, locked: World) -> Visitor:
    visitor = await visitors.come(locked.server.url)
    visitor.cuts = True  # a 401 is written to the console by the browser itself
    return visitor


async def test_a_key_is_asked_for_and_a_wrong_one_is_told(locked: World, visitors: Visitors) -> None:
    """G12: without a key nothing is shown; with a wrong one neither; with a right one all."""
    page = await (await come(visitors, locked)).open()
    await shot(page, "key")
    await log_in(page, "wrong")
    await expect(page.get_by_role("alert")).to_contain_text("no key of this server")
    await log_in(page, ANA)
    await send(page, "with a key")
    await expect(state(page)).to_have_text("completed")
    await page.reload()
    await expect(state(page)).to_have_text("completed")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()


async def test_a_remembered_key_serves_the_next_tab(locked: World, visitors: Visitors) -> None:
    """Without the tick the key stays in its tab."""
    visitor = await come(visitors, locked)
    page = await visitor.open()
    await log_in(page, ANA)
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    other = await visitor.open()
    await log_in(other, ANA, remember=True)
    await expect(other.get_by_role("navigation", name="Runs")).to_be_visible()
    third = await visitor.open()
    await expect(third.get_by_role("navigation", name="Runs")).to_be_visible()


async def test_who_logs_out_is_logged_out_of_every_tab_that_has_the_key_remembered(
    locked: World, visitors: Visitors
) -> None:
    """G12: nobody who comes to the browser after that finds a tab that goes on."""
    visitor = await come(visitors, locked)
    page = await visitor.open()
    await log_in(page, ANA, remember=True)
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    other = await visitor.open()
    await expect(other.get_by_role("navigation", name="Runs")).to_be_visible()
    await other.get_by_role("button", name="Log out").click()
    for tab in (page, other):
        await expect(tab.get_by_label("Key", exact=True)).to_be_visible()


async def test_a_new_key_takes_the_place_of_one_that_is_refused(locked: World, visitors: Visitors) -> None:
    """G12: wherever the old one was kept, a reload does not bring it back."""
    visitor = await come(visitors, locked)
    page = await visitor.open()
    await page.evaluate("sessionStorage.setItem('jackline:key', 'taken back')")
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("does not take the key any more")
    await log_in(page, ANA, remember=True)
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    await expect(page.get_by_label("Key", exact=True)).to_have_count(0)


async def test_two_people_in_one_browser_see_their_own_alone(locked: World, visitors: Visitors) -> None:
    """G12: tabs with another key have another feed."""
    visitor = await come(visitors, locked)
    ana, bob = await visitor.open(), await visitor.open()
    await log_in(ana, ANA)
    await log_in(bob, BOB)
    run_id = await send(ana, steps({"say": "mine"}))
    own = await send(bob, steps({"say": "yours"}))
    await expect(row(ana, run_id)).to_contain_text("completed")
    await expect(row(bob, own)).to_contain_text("completed")
    await expect(row(bob, run_id)).to_have_count(0)
    await expect(row(ana, own)).to_have_count(0)


async def test_what_was_typed_is_for_who_typed_it(locked: World, visitors: Visitors) -> None:
    """G12: a draft outlives a reload; whoever logs in after a log-out, or in another tab, does not find it.
    The browser's storage does not tell the key."""
    visitor = await come(visitors, locked)
    page, other = await visitor.open(), await visitor.open()
    await log_in(page, ANA)
    await composer(page).fill("between me and my agent")
    await page.reload()
    await expect(composer(page)).to_have_value("between me and my agent")
    await log_in(other, BOB)
    await expect(composer(other)).to_have_value("")
    stored = await page.evaluate("JSON.stringify(localStorage)")
    assert "between me" in stored
    assert ANA not in stored
    await page.get_by_role("button", name="Log out").click()
    await log_in(page, BOB)
    await expect(composer(page)).to_have_value("")
    assert "between me" not in await page.evaluate("JSON.stringify(localStorage)")
