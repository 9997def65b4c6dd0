"""Where a message is written, while it is sent and when that fails."""

from __future__ import annotations

import json

import anyio
import pytest
from playwright.async_api import Request, Route, expect

from tests.blackbox.api import steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, composer, send, shot, state

pytestmark = pytest.mark.anyio

CHAT = "**/api/v1/agent/chat"


async def test_the_field_keeps_the_focus_while_its_message_is_sent(
    own_server: World, visitors: Visitors
) -> None:
    """Who types goes on typing where it failed, and cannot change what is under way."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True  # the browser writes the 422 to the console
    page = await visitor.open()
    asked = anyio.Event()
    refuse = anyio.Event()

    async def answer(route: Route) -> None:
        asked.set()
        await refuse.wait()
        await route.fulfill(status=422, content_type="application/problem+json", body='{"detail": "not so"}')

    await page.route(CHAT, answer)
    await composer(page).fill("do it")
    await composer(page).press("Enter")
    await asked.wait()
    await expect(page.get_by_role("button", name="Sending …")).to_be_disabled()
    await expect(composer(page)).to_be_focused()
    await page.keyboard.type(" twice")
    await expect(composer(page)).to_have_value("do it")
    refuse.set()
    await expect(page.get_by_role("alert")).to_contain_text("Not sent. not so")
    await expect(composer(page)).to_be_focused()
    await page.keyboard.type(" now")
    await expect(composer(page)).to_have_value("do it now")


async def test_a_message_that_may_have_arrived_is_not_said_to_be_unsent(
    own_server: World, visitors: Visitors
) -> None:
    """G8: what nobody knows is said to be unknown; the same again makes no second run."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    await page.clock.install()
    arrived = anyio.Event()

    async def cut(route: Route) -> None:
        await route.fetch()
        arrived.set()
        await route.abort()

    await page.route(CHAT, cut)
    await composer(page).fill("do it once")
    await composer(page).press("Enter")
    await arrived.wait()
    alert = page.get_by_role("alert")
    while await alert.count() == 0:
        await page.clock.run_for(5_000)  # until it is given up
    await expect(alert).to_contain_text("It is not known whether this arrived.")
    await expect(alert).not_to_contain_text("Not sent")
    await shot(page, "not-known-whether-it-arrived")
    await page.unroute(CHAT)
    await page.get_by_role("button", name="Try again").click()
    await expect(state(page)).to_have_text("completed")
    assert len(own_server.api.run_ids()) == 1


async def test_a_message_that_was_to_wait_its_turn_is_the_same_when_it_is_sent_again(
    own_server: World, visitors: Visitors
) -> None:
    """Its answer was lost: it goes again with the same wish under the same key, and starts no second run."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True  # the browser writes the 409 to the console too
    page = await visitor.open()
    first = await send(page, steps({"say": "here I am ", "silent": 600}))
    await page.clock.install()
    await composer(page).fill("the next one")
    await composer(page).press("Enter")
    queue = page.get_by_role("button", name="Send when it has ended")
    await expect(queue).to_be_visible()
    sent: list[Request] = []
    arrived = anyio.Event()

    async def lose(route: Route) -> None:
        sent.append(route.request)
        await route.fetch()
        arrived.set()
        await route.abort()

    await page.route(CHAT, lose)
    await queue.click()
    await arrived.wait()
    again = page.get_by_role("button", name="Try again")
    while await again.count() == 0:
        await page.clock.run_for(5_000)
    await page.unroute(CHAT)
    async with page.expect_request(CHAT) as asked:
        await again.click()
    sent.append(await asked.value)
    bodies = [json.loads(request.post_data or "") for request in sent]
    assert bodies == [bodies[0]] * len(sent)
    assert bodies[0]["on_busy"] == "queue"
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    await expect(state(page)).to_have_text("queued")
    assert len(own_server.api.run_ids()) == 2
    own_server.api.stop(first)
