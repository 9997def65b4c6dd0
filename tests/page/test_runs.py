"""Runs in the page: started, watched, left and found again, followed by another."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import (
    PHONE,
    Visitors,
    composer,
    connection,
    pending,
    row,
    rows,
    send,
    shot,
    state,
)

pytestmark = pytest.mark.anyio


async def test_a_run_is_seen_from_its_first_word_to_its_end(server: World, visitors: Visitors) -> None:
    """What is said comes while it is said; calls and the ending are there."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, steps({"paced": "seen", "times": 2, **call("note", text="x")}, {"say": "so"}))
    await expect(state(page)).to_have_text("running")
    server.open_gate("seen-0")
    await expect(page.get_by_role("feed")).to_contain_text("0")
    server.open_gate("seen-1")
    await expect(state(page)).to_have_text("completed")
    await expect(page.get_by_role("feed")).to_contain_text("noted x")
    await expect(connection(page)).to_contain_text("Ended")
    assert page.url.endswith(run_id)
    await expect(page).to_have_title(re.compile("Jackline"))
    await shot(page, "run-completed")


async def test_a_reload_in_the_middle_loses_nothing(server: World, visitors: Visitors) -> None:
    """G1: what was said before and after the reload is there once."""
    page = await (await visitors.come(server.server.url)).open()
    await send(page, steps({"paced": "again", "times": 3}))
    for number in range(2):
        server.open_gate(f"again-{number}")
    await expect(page.get_by_role("feed")).to_contain_text("0 1")
    await page.reload()
    await expect(page.get_by_role("feed")).to_contain_text("0 1")
    await expect(state(page)).to_have_text("running")
    server.open_gate("again-2")
    await expect(page.get_by_role("feed")).to_contain_text("0 1 2")
    await expect(state(page)).to_have_text("completed")


async def test_the_list_lives(own_server: World, visitors: Visitors) -> None:
    """What others start, what it comes to, and what waits for a person shows without a reload."""
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(page.get_by_text("None yet.")).to_be_visible()
    run_id = own_server.api.start(steps(call("delete", path="/x")))
    waiting = page.get_by_role("region", name="Waiting for you")
    await expect(waiting.locator(f'[data-run="{run_id}"]')).to_be_visible()
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    await shot(page, "list-waiting")
    [call_id] = [each["call_id"] for each in own_server.api.snapshot(run_id)["approvals"]]
    assert own_server.api.decide(call_id, approve=True).status_code == 200
    await expect(row(page, run_id)).to_contain_text("completed")
    await expect(page).to_have_title(re.compile(r"^Jackline"))
    await expect(waiting).to_have_count(0)


async def test_a_question_is_answered_in_another_browser(server: World, visitors: Visitors) -> None:
    """G9: several people see the same question, and that it was answered."""
    run_id = server.api.start(steps(call("delete", path="/y"), {"say": "gone"}))
    one = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    other = await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")
    await expect(pending(one)).to_contain_text("delete")
    await expect(pending(other)).to_contain_text("delete")
    await shot(one, "question")
    await pending(other).get_by_role("button", name="Approve", exact=True).click()
    for page in (one, other):
        await expect(state(page)).to_have_text("completed")
        await expect(pending(page)).to_have_count(0)
    assert server.effects.count("delete /y") == 1


async def test_a_conversation_goes_on_with_what_was_before_above_it(
    server: World, visitors: Visitors
) -> None:
    """The earlier run stands folded above; the back button goes to it; its own address goes to the newest."""
    page = await (await visitors.come(server.server.url)).open()
    first = await send(page, "how it began")
    await expect(state(page)).to_have_text("completed")
    second = await send(page, "how it went on")
    await expect(state(page)).to_have_text("completed")
    await expect(rows(page).first).to_contain_text("how it began")
    await page.go_back()
    await expect(page.get_by_text("This is an earlier run.")).to_be_visible()
    assert page.url.endswith(first)
    conversation = first.rsplit(".", 1)[0]
    await page.goto(f"{server.server.url}/#/conversations/{conversation}")
    await page.wait_for_url(lambda url: url.endswith(second))


async def test_a_busy_conversation_is_a_choice(server: World, visitors: Visitors) -> None:
    """409 is no dead end: wait for the run that goes on, or stop it first. What was typed stays till then."""
    visitor = await visitors.come(server.server.url)
    visitor.cuts = True  # the browser writes a 409 to the console by itself
    page = await visitor.open()
    first = await send(page, steps({"silent": 600}))
    await composer(page).fill("next")
    await composer(page).press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("An earlier run of this conversation goes on.")
    await expect(composer(page)).to_have_value("next")
    await page.get_by_role("button", name="Stop it, then send").click()
    await page.wait_for_url(lambda url: not url.endswith(first))
    await expect(state(page)).to_have_text("completed")
    assert server.api.snapshot(first)["state"] == "stopped"


async def test_a_draft_outlives_a_reload_and_a_dead_server(own_server: World, visitors: Visitors) -> None:
    """What was typed is not lost, and is not sent twice when it is sent again."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    await composer(page).fill("do not lose me")
    await page.reload()
    await expect(composer(page)).to_have_value("do not lose me")
    own_server.server.process.end()
    await composer(page).press("Enter")
    await expect(page.get_by_text("No answer yet")).to_be_visible()
    own_server.server.launch()
    await page.wait_for_url(re.compile("#/runs/"))
    await expect(state(page)).to_have_text("completed")
    assert len(own_server.api.run_ids()) == 1


async def test_a_finished_run_is_deleted_after_a_question(own_server: World, visitors: Visitors) -> None:
    """Nothing goes at the first click; then it is gone, in the other tab of the browser too."""
    run_id = own_server.api.start("short")
    own_server.api.ended(run_id)
    visitor = await visitors.come(own_server.server.url)
    page = await visitor.open()
    other = await visitor.open()
    await expect(row(other, run_id)).to_be_visible()
    await row(page, run_id).hover()
    await page.get_by_role("button", name="Delete: short").click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(row(page, run_id)).to_be_visible()
    await row(page, run_id).hover()
    await page.get_by_role("button", name="Delete: short").click()
    await page.get_by_role("button", name="Delete this run").click()
    await expect(row(page, run_id)).to_have_count(0)
    await expect(row(other, run_id)).to_have_count(0)
    assert own_server.api.run_ids() == set()


async def test_older_runs_come_when_asked_for(own_server: World, visitors: Visitors) -> None:
    """The list begins with the newest hundred; of those before, the ones that go on are there as well."""
    going = own_server.api.start(steps({"silent": 600}))
    for number in range(101):
        own_server.api.ended(own_server.api.start(f"run {number}"))
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(row(page, going)).to_be_visible()
    await expect(page.get_by_text("run 0", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Load older runs").click()
    await expect(page.get_by_text("run 0", exact=True)).to_have_count(1)
    await page.get_by_label("Show").select_option("Running")
    await expect(page.locator(".run-row")).to_have_count(1)


async def test_an_unknown_run_is_told_in_words(server: World, visitors: Visitors) -> None:
    """An old bookmark leads to a way back."""
    visitor = await visitors.come(server.server.url)
    visitor.cuts = True
    page = await visitor.open("#/runs/no-such-run.1")
    await expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    await page.get_by_role("link", name="Back to the list").click()
    await expect(page.get_by_role("heading", name="There is no such run")).to_have_count(0)


async def test_on_a_phone_list_and_run_are_two_screens(server: World, visitors: Visitors) -> None:
    """Nothing is wider than the screen; the stop is large; the timeline is a sheet."""
    page = await (await visitors.come(server.server.url, size=PHONE)).open()
    run_id = await send(page, steps({"say": "on a phone", **call("wait_for", name="phone")}))
    await expect(page.get_by_role("navigation", name="Runs")).to_be_hidden()
    stop = page.get_by_role("button", name="Stop", exact=True)
    box = await stop.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    await page.get_by_role("button", name="Timeline").click()
    await expect(page.get_by_role("region", name="Timeline and figures")).to_be_visible()
    await shot(page, "phone-timeline")
    await page.get_by_role("button", name="Close", exact=True).click()
    await shot(page, "phone-run")
    await page.get_by_role("link", name="Back to the list").click()
    await expect(row(page, run_id)).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await shot(page, "phone-list")
    server.open_gate("phone")
    server.api.ended(run_id)
