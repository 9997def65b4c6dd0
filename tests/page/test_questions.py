"""Questions on the page: only what was read is answered, and what became of it is told."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page, Route, ViewportSize, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import DESKTOP, Visitors, pending, rows, shot, state
from tests.page.shown import SIZES, card, unfold

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


async def aim(page: Page, name: str) -> None:
    """Let the next click come where the first button of this name is now, once the questions have changed."""
    button = pending(page).get_by_role("button", name=name, exact=True).first
    await button.hover()  # it is in sight then, and rests: measured earlier it would be somewhere else
    box = await button.bounding_box()
    assert box is not None
    await page.evaluate(NEXT_CLICK, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_double_click_answers_one_question(
    server: World, visitors: Visitors, size: ViewportSize
) -> None:
    """G5: the next question's Approve stands under the pointer, and nobody has read it yet."""
    run_id = three(server, f"double{size['width']}")
    page = await asked(visitors, server, run_id, size)
    # What is out of sight in the list of questions must not make the page scroll, and take the stop along.
    assert await page.evaluate("document.scrollingElement.scrollHeight") == size["height"]
    approve = pending(page).get_by_role("button", name="Approve", exact=True)
    await aim(page, "Approve")
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
    await aim(page, "Deny")
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
    await aim(page, "Approve")
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


async def test_the_focus_goes_from_an_answered_question_to_the_next_and_then_to_its_call(
    server: World, visitors: Visitors
) -> None:
    """G5: who answers by keyboard goes on from there, and sees what became of the last one."""
    run_id = three(server, "focus")
    page = await asked(visitors, server, run_id)
    for left in (2, 1, 0):
        deny = pending(page).get_by_role("button", name="Deny", exact=True).first
        await expect(deny).to_be_enabled()
        await deny.press("Enter")
        await expect(pending(page).get_by_role("article")).to_have_count(left)
        if left > 0:
            await expect(pending(page).get_by_role("article").first).to_be_focused()
    await expect(rows(page).filter(has_text="/focus/2").last).to_be_focused()


async def test_the_focus_of_who_is_elsewhere_stays_there(server: World, visitors: Visitors) -> None:
    """G5: a question that another answers takes the focus from nobody."""
    run_id = three(server, "elsewhere")
    page = await asked(visitors, server, run_id)
    await pending(page).get_by_role("article").first.focus()
    await page.locator("#composer").focus()
    for each in server.api.snapshot(run_id)["approvals"]:
        assert server.api.decide(each["call_id"], approve=False).status_code == 200
    await expect(pending(page)).to_have_count(0)
    await expect(page.locator("#composer")).to_be_focused()


async def test_what_was_changed_before_it_ran_is_told_by_whom(server: World, visitors: Visitors) -> None:
    """G5: the page has both, what was asked for and what has run."""
    run_id = server.api.start(steps(call("delete", path="/asked"), {"say": "gone"}))
    page = await asked(visitors, server, run_id)
    await pending(page).get_by_role("button", name="Edit arguments").click()
    await pending(page).get_by_label("path").fill("/edited")
    await pending(page).get_by_label("Reason").fill("the other one")
    await pending(page).get_by_role("button", name="Approve with changes").click()
    await expect(state(page)).to_have_text("completed")
    await unfold(page, "delete")
    await expect(card(page, "delete").locator("del")).to_have_text("/asked")
    await expect(card(page, "delete").locator("ins")).to_have_text("/edited")
    await expect(card(page, "delete")).to_contain_text("approved by local")
    await expect(card(page, "delete")).to_contain_text("the other one")
    await shot(page, "changed-before-it-ran")


async def test_a_run_that_is_known_by_its_snapshot_alone_tells_how_it_ended(
    server: World, visitors: Visitors
) -> None:
    """G1, G4: what replaces the entries that are missing has the receipt and the error, too."""
    stopped = server.api.start(steps(call("wait_for", name="never")))
    server.api.until_tool(stopped, "wait_for", "started")
    server.api.stop(stopped)
    failed = server.api.start(steps({"say": "I try. ", "fail": 401}))
    visitor = await visitors.come(server.server.url)
    bodies: dict[str, str] = {}

    async def answer(route: Route) -> None:
        run_id = route.request.url.split("/runs/")[1].split("/")[0]
        await route.fulfill(content_type="text/event-stream", body=bodies[run_id])

    for run_id, told in ((stopped, "Quiet after"), (failed, "could not be asked")):
        server.api.ended(run_id)
        snapshot = server.api.snapshot(run_id)
        seq = snapshot["seq"]
        ready = {"run_id": run_id, "state": snapshot["state"], "seq": 0, "newest": seq}
        frames = [
            ("ready", ready),
            ("gap", {"from": 1, "to": seq, "snapshot": snapshot}),
            ("end", {"run_id": run_id, "state": snapshot["state"], "seq": seq}),
        ]
        bodies[run_id] = "".join(f"event: {event}\ndata: {json.dumps(data)}\n\n" for event, data in frames)

        page = await visitor.context.new_page()
        await page.route(f"**/runs/{run_id}/events*", answer)
        await page.goto(f"{server.server.url}/#/runs/{run_id}")
        await expect(page.locator(".ending")).to_contain_text(told)
        await shot(page, f"gap-{snapshot['state']}")
