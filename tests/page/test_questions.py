"""Questions on the page: only what was read is answered, and what became of it is told."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import DESKTOP, Visitors, pending, state
from tests.page.shown import SIZES

pytestmark = pytest.mark.anyio

NEXT_CLICK = """([x, y]) => {
    new MutationObserver((_, observer) => {
        if (document.querySelectorAll('.pending .jl-approval').length !== 2) return;
        observer.disconnect();
        const button = document.elementFromPoint(x, y);
        window.under = button.textContent;
        button.dispatchEvent(new MouseEvent('click', {detail: 2, bubbles: true, cancelable: true}));
    }).observe(document.body, {childList: true, subtree: true});
}"""
"""A click in the moment in which one of three questions has gone, where the pointer stood."""


def three(server: World, folder: str) -> str:
    """A run that asks three times in one step."""
    return server.api.start(steps({"calls": [["delete", {"path": f"/{folder}/{n}"}] for n in range(3)]}))


def answers(server: World, run_id: str) -> list[str]:
    return [each["state"] for each in server.api.snapshot(run_id)["approvals"]]


async def asked(visitors: Visitors, server: World, run_id: str, size: ViewportSize = DESKTOP) -> Page:
    """The run's page, once its questions are there."""
    visitor = await visitors.come(server.server.url, size=size)
    page = await visitor.open(f"#/runs/{run_id}")
    await expect(pending(page).get_by_role("article")).not_to_have_count(0)
    return page


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_double_click_answers_one_question(
    server: World, visitors: Visitors, size: ViewportSize
) -> None:
    """G5: the next question's Approve stands under the pointer, and nobody has read it yet."""
    run_id = three(server, f"double{size['width']}")
    page = await asked(visitors, server, run_id, size)
    approve = pending(page).get_by_role("button", name="Approve", exact=True)
    box = await approve.first.bounding_box()
    assert box is not None
    await page.evaluate(NEXT_CLICK, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    await approve.first.click()
    await page.wait_for_function("() => window.under !== undefined")
    assert await page.evaluate("window.under") == "Approve"
    # What is meant still counts, a moment later.
    await pending(page).get_by_role("button", name="Deny", exact=True).first.click()
    await expect(pending(page).get_by_role("article")).to_have_count(1)
    assert answers(server, run_id) == ["granted", "denied", "pending"]
    server.api.stop(run_id)


async def test_a_click_on_what_another_has_answered_answers_nothing_else(
    server: World, visitors: Visitors
) -> None:
    """G5: the card goes just before the click."""
    run_id = three(server, "other")
    page = await asked(visitors, server, run_id)
    box = await pending(page).get_by_role("button", name="Deny", exact=True).first.bounding_box()
    assert box is not None
    await page.evaluate(NEXT_CLICK, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    call_id = server.api.snapshot(run_id)["approvals"][0]["call_id"]
    assert server.api.decide(call_id, approve=True).status_code == 200
    await page.wait_for_function("() => window.under !== undefined")
    assert await page.evaluate("window.under") == "Deny"
    await pending(page).get_by_role("button", name="Approve", exact=True).first.click()
    await expect(pending(page).get_by_role("article")).to_have_count(1)
    assert answers(server, run_id) == ["granted", "granted", "pending"]
    server.api.stop(run_id)


async def test_a_question_that_did_not_move_can_be_answered_at_once(
    server: World, visitors: Visitors
) -> None:
    """G5: only what nobody can have meant is kept from being pressed."""
    run_id = three(server, "still")
    page = await asked(visitors, server, run_id)
    await expect(pending(page).locator('.jl-buttons[aria-disabled="true"]')).to_have_count(0)
    box = await pending(page).get_by_role("button", name="Approve", exact=True).first.bounding_box()
    assert box is not None
    await page.evaluate(NEXT_CLICK, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    last = server.api.snapshot(run_id)["approvals"][-1]["call_id"]
    assert server.api.decide(last, approve=False).status_code == 200
    await expect(pending(page).get_by_role("article")).to_have_count(1)
    assert answers(server, run_id) == ["granted", "pending", "denied"]
    server.api.stop(run_id)


async def test_a_key_that_is_held_down_decides_nothing(server: World, visitors: Visitors) -> None:
    """G5: an Enter that was meant for something else."""
    run_id = three(server, "held")
    page = await asked(visitors, server, run_id)
    await expect(pending(page).locator('.jl-buttons[aria-disabled="true"]')).to_have_count(0)
    await pending(page).get_by_role("article").first.focus()
    await page.keyboard.down("Enter")
    await pending(page).get_by_role("button", name="Approve", exact=True).first.focus()
    await page.keyboard.down("Enter")  # again, without having been let go
    await page.keyboard.up("Enter")
    await pending(page).get_by_role("button", name="Deny", exact=True).first.press("Enter")
    await expect(pending(page).get_by_role("article")).to_have_count(2)
    assert answers(server, run_id) == ["denied", "pending", "pending"]
    server.api.stop(run_id)


async def test_who_reads_by_keyboard_does_not_answer_what_just_came(
    server: World, visitors: Visitors
) -> None:
    """G5: Enter in the moment in which a question comes is for what was there before."""
    visitor = await visitors.come(server.server.url)
    page = await visitor.open()
    await page.evaluate(
        """() => new MutationObserver((_, observer) => {
            const button = document.querySelector('.pending button.primary');
            if (button === null) return;
            observer.disconnect();
            button.focus();
            button.click();
        }).observe(document.body, {childList: true, subtree: true})"""
    )
    run_id = server.api.start(steps(call("delete", path="/came")))
    await page.goto(f"{server.server.url}/#/runs/{run_id}")
    deny = pending(page).get_by_role("button", name="Deny", exact=True)
    await expect(deny).to_be_enabled()
    await deny.press("Enter")
    await expect(state(page)).to_have_text("completed")
    assert "delete /came" not in server.effects
