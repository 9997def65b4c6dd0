"""What the list does not show: what is further back than it reaches, and what came after it was read."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.blackbox.api import steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, composer, dock, row, shot, state, turn

pytestmark = pytest.mark.anyio

LISTED = re.compile(r"/api/v1/agent/runs\?limit=100$")


def told(change: Callable[[Any], None]) -> Callable[[Route], Awaitable[None]]:
    """The server's answer, changed."""

    async def fulfil(route: Route) -> None:
        answer = await route.fetch()
        body = json.loads(await answer.text())
        change(body)
        await route.fulfill(response=answer, json=body)

    return fulfil


async def test_a_conversations_address_leads_to_a_run_that_the_list_does_not_reach(
    own_server: World, visitors: Visitors
) -> None:
    """The server is asked: "there is none" is said of what it does not have."""
    first = own_server.api.start("one")
    own_server.api.ended(first)
    conversation_id = first.rsplit(".", 1)[0]
    newest = own_server.api.start("two", conversation_id=conversation_id)
    visitor = await visitors.come(own_server.server.url)
    await visitor.context.route(LISTED, told(lambda body: body.update(runs=[])))
    page = await visitor.open(f"#/conversations/{conversation_id}")
    await page.wait_for_url(lambda url: url.endswith(f"#/runs/{newest}"))
    await page.goto(f"{own_server.server.url}/#/conversations/{'z' * 20}")
    await expect(page.get_by_role("heading", name="There is no such conversation")).to_be_visible()


async def test_a_conversations_address_without_an_answer_does_not_say_that_it_is_gone(
    own_server: World, visitors: Visitors
) -> None:
    """What failed is told, and can be tried again."""
    run_id = own_server.api.start("one")
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    asked = re.compile(r"conversation_id=")

    async def fail(route: Route) -> None:
        await route.fulfill(status=418, content_type="application/problem+json", body='{"detail": "not now"}')

    await visitor.context.route(asked, fail)
    page = await visitor.open(f"#/conversations/{run_id.rsplit('.', 1)[0]}")
    await expect(page.get_by_role("alert")).to_contain_text("not now")
    await visitor.context.unroute(asked, fail)
    await page.get_by_role("button", name="Try again").click()
    await page.wait_for_url(lambda url: url.endswith(f"#/runs/{run_id}"))


async def test_deleting_a_conversation_says_how_many_runs_go(own_server: World, visitors: Visitors) -> None:
    """Those too which the list does not show."""
    first = own_server.api.start("one")
    own_server.api.ended(first)
    second = own_server.api.start("two", conversation_id=first.rsplit(".", 1)[0])
    own_server.api.ended(second)
    alone = own_server.api.start("alone")
    own_server.api.ended(alone)
    visitor = await visitors.come(own_server.server.url)

    def forget(body: Any) -> None:
        body["runs"] = [each for each in body["runs"] if each["run_id"] != first]

    await visitor.context.route(LISTED, told(forget))
    page = await visitor.open()
    await row(page, alone).hover()
    await row(page, alone).get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("button", name="Delete this run")).to_be_visible()
    await expect(page.get_by_role("button", name="Delete the conversation")).to_have_count(0)
    await page.get_by_role("button", name="Keep it").click()
    await row(page, second).hover()
    await row(page, second).get_by_role("button", name="Delete").click()
    await shot(page, "delete-conversation")
    await page.get_by_role("button", name="Delete the conversation (2 runs)").click()
    await expect(row(page, second)).to_have_count(0)
    assert own_server.api.run_ids() == {alone}


async def test_an_agent_that_is_served_later_is_offered(own_server: World, visitors: Visitors) -> None:
    """To whoever comes back to the page, and where a new conversation begins: no reload is needed."""
    served: list[str] = []

    def add(body: Any) -> None:
        body["agents"] += [{**body["agents"][0], "name": name} for name in served]

    visitor = await visitors.come(own_server.server.url)
    await visitor.context.route("**/api/v1/agent/agents", told(add))
    page = await visitor.open()
    offered = page.locator(".welcome-task")
    await expect(offered).to_have_count(1)
    served.append("later")
    await turn(page, away=True)
    await turn(page, away=False)
    await expect(offered).to_have_count(2)
    await composer(page).fill("go")
    await composer(page).press("Enter")
    await page.wait_for_url(re.compile("#/runs/"))
    served.append("still-later")
    await page.get_by_role("link", name="New conversation").click()
    await expect(offered).to_have_count(3)


async def test_list_and_run_live_behind_a_proxy_that_holds_streams_back(
    own_server: World, visitors: Visitors
) -> None:
    """G1, G4, G9: no stream arrives, and all the same it is there, goes on and can be stopped."""

    async def hold(route: Route) -> None:
        if "text/event-stream" not in route.request.headers.get("accept", ""):
            await route.fallback()

    first = own_server.api.start(steps({"say": "begun", "gate": "held"}))
    visitor = await visitors.come(own_server.server.url)
    await visitor.context.route("**/api/v1/agent/**", hold)
    page = await visitor.open("#/")
    await expect(row(page, first)).to_be_visible()
    later = own_server.api.start(steps({"gate": "later"}))
    await expect(row(page, later)).to_be_visible()
    await row(page, first).click()
    await expect(page.get_by_role("feed")).to_contain_text("begun")
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(state(page)).to_have_text("stopped")
    own_server.api.stop(later)
