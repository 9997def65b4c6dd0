"""What a newcomer sees first: what can be asked, and how to go on from the demo."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.blackbox.api import ROOT as API
from tests.blackbox.conftest import World, world
from tests.page.conftest import PHONE, Visitors, composer, shot, state

pytestmark = pytest.mark.anyio

SOURCE = Path(__file__).parents[2] / "src/jackline/web/ui/views/welcome.js"


async def test_the_demo_offers_three_tasks_and_one_press_starts_one(visitors: Visitors, demo: World) -> None:
    """The one that asks says so before; the run is the one that the server's list of tasks describes."""
    visitor = await visitors.come(demo.server.url)
    page = await visitor.open()
    cards = page.locator(".welcome-task")
    await expect(cards).to_have_count(3)
    assert await page.locator(".welcome-asks").all_inner_texts() == ["asks for your approval"]
    await expect(cards.filter(has_text="asks for your approval")).to_contain_text("Restart a service")
    await expect(page.get_by_text("a fixed script")).to_be_visible()
    await shot(page, "welcome")
    await cards.filter(has_text="Restart a service").click()
    await page.wait_for_url(re.compile("#/runs/"))
    run_id = page.url.rsplit("/", 1)[-1]
    asked = demo.api.until(run_id, "awaiting_approval")["approvals"]
    assert [question["name"] for question in asked] == ["restart_scratch_service"]
    (agent,) = demo.api.http.get(f"{API}/agents").json()["agents"]
    prompt = {task["title"]: task["prompt"] for task in agent["tasks"]}["Restart a service"]
    assert demo.api.log(run_id)[0]["input"][0]["content"] == prompt
    demo.api.decide(asked[0]["call_id"], approve=False)
    demo.api.ended(run_id)


async def test_two_presses_in_a_row_start_one_run(visitors: Visitors, demo: World) -> None:
    page = await (await visitors.come(demo.server.url)).open()
    before = demo.api.run_ids()
    card = page.locator(".welcome-task").first
    # Both before the page can turn to the run.
    await card.evaluate("card => { card.click(); card.click() }")
    await page.wait_for_url(re.compile("#/runs/"))
    await expect(state(page)).to_have_text("completed")
    assert len(demo.api.run_ids() - before) == 1


async def test_an_offered_task_without_an_answer_is_the_same_run_when_it_is_sent_again(
    visitors: Visitors, demo: World
) -> None:
    """The answer is lost: the page does not say that it was not started, and neither the card nor the draft
    starts a second one."""
    visitor = await visitors.come(demo.server.url)
    visitor.cuts = True
    before = demo.api.run_ids()

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    page = await visitor.open()
    await page.route("**/api/v1/agent/chat", lose)
    await page.locator(".welcome-task").first.click()
    await expect(page.get_by_text("It may have arrived")).to_be_visible()
    await shot(page, "offered-task-without-an-answer")
    other = await visitor.open()
    await other.locator(".welcome-task").first.click()
    await page.unroute("**/api/v1/agent/chat", lose)
    await composer(page).press("Enter")
    for tab in (page, other):
        await tab.wait_for_url(re.compile("#/runs/"))
    assert {tab.url.rsplit("/", 1)[-1] for tab in (page, other)} == demo.api.run_ids() - before
    await page.goto(f"{demo.server.url}/#/")
    await expect(composer(page)).to_have_value("")


async def test_an_offered_task_takes_nothing_of_what_was_written(visitors: Visitors, demo: World) -> None:
    """Only the text of a task that was started is gone: not another one, nor one that was changed since."""
    visitor = await visitors.come(demo.server.url)
    visitor.cuts = True
    page = await visitor.open()
    card = page.locator(".welcome-task").first

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    async def lost() -> None:
        await page.route("**/api/v1/agent/chat", lose)
        await composer(page).fill("")
        await card.click()
        while await composer(page).input_value() == "":
            await page.clock.run_for(5_000)  # until it is given up, and stands where it can be sent again
        await page.unroute("**/api/v1/agent/chat", lose)

    async def started() -> None:
        await card.click()
        await page.wait_for_url(re.compile("#/runs/"))
        await page.goto(f"{demo.server.url}/#/")

    await composer(page).fill("half a task")
    await started()
    await expect(composer(page)).to_have_value("half a task")
    await page.clock.install()
    await lost()
    await composer(page).press_sequentially(" and more")
    changed = await composer(page).input_value()
    assert changed.endswith(" and more")
    await started()
    await expect(composer(page)).to_have_value(changed)
    await lost()
    await started()
    await expect(composer(page)).to_have_value("")


async def test_it_says_how_to_go_on_with_the_address_that_it_has(visitors: Visitors, demo: World) -> None:
    """A model, an agent, the terminal: folded, by keyboard too, each command with its own copy button."""
    visitor = await visitors.come(demo.server.url, size=PHONE)
    page = await visitor.open()
    for title in ("Use a real model", "Your own agent", "From the terminal"):
        fold = page.locator("details", has_text=title)
        await expect(fold.locator("pre").first).to_be_hidden()
        await fold.locator("summary").focus()
        await page.keyboard.press("Enter")
        await expect(fold.locator("pre").first).to_be_visible()
        assert await fold.locator("pre").count() == await fold.get_by_role("button").count() > 0
    text = await page.locator(".welcome-more").inner_text()
    for command in (
        "scripts/up --model openai:",
        "scripts/up --model local",
        "--mcp-config mcp.json",
        "scripts/up --agent my_agent.py:agent",
        f"jackline chat --url {demo.server.url} ",
        f"curl -N {demo.server.url}/api/v1/agent/chat",
    ):
        assert command in text
    assert "Authorization" not in text
    wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert wide is False


async def test_its_curl_command_starts_a_run(visitors: Visitors, demo: World) -> None:
    """As it stands on the page."""
    page = await (await visitors.come(demo.server.url)).open()
    await page.get_by_text("From the terminal").click()
    command = await page.locator("pre", has_text="curl").inner_text()
    before = demo.api.run_ids()
    curl = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    said, _ = await curl.communicate()
    assert curl.returncode == 0
    assert b"event: end" in said
    assert len(demo.api.run_ids() - before) == 1


def test_the_example_of_an_own_agent_runs_as_it_stands_there(tmp_path: Path) -> None:
    """Without a model, without a key; it asks before it writes."""
    found = re.search(r"MY_AGENT = `(.*?)`", SOURCE.read_text(), re.DOTALL)
    assert found is not None
    file = tmp_path / "my_agent.py"
    file.write_text(found[1])
    note = tmp_path / "own" / "note.txt"
    with world(tmp_path / "own", agent=f"{file}:agent") as own:
        run_id = own.api.start("feed the cat")
        (question,) = own.api.until(run_id, "awaiting_approval")["approvals"]
        assert question["args"] == {"path": "note.txt", "text": "feed the cat"}
        edited = {"path": str(note), "text": "feed the dog"}
        assert own.api.decide(question["call_id"], approve=True, args=edited).status_code == 200
        assert own.api.ended(run_id)["state"] == "completed"
        said = "".join(entry.get("text", "") for entry in own.api.log(run_id))
    assert note.read_text() == "feed the dog"
    assert said.endswith("Written: 12 characters.")


async def test_an_agent_without_tasks_gets_an_example(visitors: Visitors, server: World) -> None:
    page = await (await visitors.come(server.server.url)).open()
    example = page.locator(".welcome-task")
    await expect(example).to_have_count(1)
    await expect(example).to_contain_text("Ask what it can do")
    await expect(page.get_by_text("a fixed script")).to_have_count(0)
    await expect(composer(page)).to_be_visible()


async def test_an_own_agents_tasks_are_shown_as_text(visitors: Visitors, tmp_path: Path) -> None:
    """Whatever it calls them."""
    tasks = [{"title": "<b>Look</b>", "prompt": "look", "description": "& see", "asks": True}]
    file = tmp_path / "mine.py"
    file.write_text(f"async def mine(ctx):\n    await ctx.say(ctx.text)\n\nmine_tasks = {tasks!r}\n")
    with world(tmp_path / "own", agent=f"{file}:mine") as own:
        visitor = await visitors.come(own.server.url)
        visitor.cuts = True  # the server goes before the page does
        page = await visitor.open()
        task = page.locator(".welcome-task")
        await expect(task).to_have_count(1)
        await expect(task).to_contain_text("<b>Look</b>")
        await expect(task).to_contain_text("& see")
        await task.click()
        await expect(state(page)).to_have_text("completed")
