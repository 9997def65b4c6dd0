"""Several people and several keys: who decided is named, and nobody sees what is not theirs."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from playwright.async_api import Page, expect

from tests.blackbox.api import Api, call, steps
from tests.blackbox.conftest import World, world
from tests.blackbox.test_auth import ANA, BOB, key
from tests.page.conftest import Visitors, pending, row, shot, state
from tests.page.shown import inspect, logged, shown, unfold

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with two people's keys."""
    path = tmp_path_factory.mktemp("page-people")
    (path / "jackline.toml").write_text(key("user:ana", ANA) + key("user:bob", BOB))
    with world(path) as made:
        yield made


@pytest.fixture(scope="module")
def ana(locked: World) -> Api:
    """What ana sees."""
    return locked.client(Authorization=f"Bearer {ANA}")


async def enter(visitors: Visitors, locked: World, secret: str, place: str = "") -> Page:
    visitor = await visitors.come(locked.server.url)
    visitor.cuts = True  # the browser writes a 401 to the console by itself
    page = await visitor.open(place)
    await page.get_by_label("Key", exact=True).fill(secret)
    await page.get_by_role("button", name="Log in").click()
    return page


async def test_the_key_prompt_is_accessible_and_tells_a_wrong_key(locked: World, visitors: Visitors) -> None:
    """G12: nothing of the server is shown before the key is right."""
    page = await enter(visitors, locked, "no such key")
    await expect(page.get_by_role("alert")).to_contain_text("no key of this server")
    await expect(page.get_by_role("navigation", name="Runs")).to_have_count(0)
    await inspect(page, "key-prompt")


async def test_an_approval_in_a_second_browser_is_seen_in_the_first(
    locked: World, ana: Api, visitors: Visitors
) -> None:
    """G5: the first sees who decided and why, and both end with the same."""
    run_id = ana.start(steps({"say": "May I? ", **call("delete", path="/two")}, {"say": "It is gone."}))
    first = await enter(visitors, locked, ANA, f"#/runs/{run_id}")
    second = await enter(visitors, locked, ANA, f"#/runs/{run_id}")
    for page in (first, second):
        await expect(pending(page)).to_contain_text("/two")
    await pending(second).get_by_label("Reason").fill("I have looked")
    await pending(second).get_by_role("button", name="Approve", exact=True).click()
    for page in (first, second):
        await expect(state(page)).to_have_text("completed")
        await expect(pending(page)).to_have_count(0)
    decided = (await unfold(first, "delete")).locator(".jl-decided")
    await expect(decided).to_contain_text("approved by user:ana")
    await expect(decided).to_contain_text("“I have looked”")
    await shot(first, "decided-elsewhere")
    assert await shown(first) == await shown(second) == logged(ana, run_id)
    assert locked.effects.count("delete /two") == 1


async def test_somebody_elses_run_is_not_there(locked: World, ana: Api, visitors: Visitors) -> None:
    """G12: not in the list, not by its address, not while it waits for its owner."""
    run_id = ana.start(steps(call("delete", path="/ana")))
    ana.until(run_id, "awaiting_approval")
    page = await enter(visitors, locked, BOB, f"#/runs/{run_id}")
    await expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    await expect(row(page, run_id)).to_have_count(0)
    await expect(page).to_have_title("Jackline")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await shot(page, "not-yours")
    assert ana.snapshot(run_id)["state"] == "awaiting_approval"
    ana.stop(run_id)
