"""Chromium's own EventSource, in pages of the server and of another origin."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page

from tests.blackbox.api import Api
from tests.blackbox.conftest import World, world
from tests.blackbox.transcript import (
    PROMPT,
    WITHIN_A_TOKEN,
    WITHIN_THE_QUESTION,
    Seen,
    assert_same_text,
    assert_whole,
)
from tests.support.chromium import chromium
from tests.support.forwarder import forwarder
from tests.support.processes import HOST, PATIENCE, eventually_async, free_port

pytestmark = pytest.mark.anyio

LISTEN = """url => {
    window.seen = []
    window.source = new EventSource(url)
    const names = ['ready', 'token', 'workflow', 'tool', 'approval', 'heartbeat', 'gap', 'shutdown', 'end']
    for (const name of names) {
        source.addEventListener(name, event => seen.push([event.lastEventId, name, event.data]))
    }
}"""
CHAT = """async url => {
    const prompt = JSON.stringify([{say: 'tick ', times: 20}])
    try {
        const answer = await fetch(url, {
            method: 'POST',
            headers: {'Content-Type': 'application/json', 'Accept': 'application/json'},
            body: JSON.stringify({messages: [{role: 'user', content: prompt}]}),
        })
        return (await answer.json()).run_id
    } catch {
        return 'refused'
    }
}"""
CLOSED = 2


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[World, int]]:
    """A server, and the port of the one foreign origin that may read it."""
    port = free_port()
    path = tmp_path_factory.mktemp("open")
    with world(path, JACKLINE_CORS_ORIGINS=f"http://{HOST}:{port}") as made:
        yield made, port


@asynccontextmanager
async def page_of(url: str) -> AsyncGenerator[Page]:
    async with chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        answer = await page.goto(url)
        assert answer is not None
        yield page


async def seen_in(page: Page) -> list[Seen]:
    entries = {"token", "workflow", "tool", "approval"}
    found: list[tuple[str, str, str]] = await page.evaluate("seen")
    return [
        Seen(id=cursor if event in entries else None, event=event, data=decoded(data))
        for cursor, event, data in found
    ]


def decoded(data: str) -> dict[str, Any]:
    return json.loads(data)


async def closed(page: Page) -> None:
    await page.wait_for_function(f"source.readyState === {CLOSED}", polling=50)


async def approve(api: Api, page: Page) -> None:
    """Answer the question once the page has been asked it."""

    async def asked() -> Any:
        return await page.evaluate("seen.filter(([, name]) => name === 'approval').map(one => one[2])[0]")

    call_id = decoded(await eventually_async(asked, what="the page is asked"))["call_id"]
    assert api.decide(call_id, approve=True).status_code == 200


async def test_chromium_reads_a_run_over_two_cuts_and_then_stops_for_good(
    open_world: tuple[World, int],
) -> None:
    """G1: in a page of the server's own origin. The browser comes back by itself over both cuts and,
    behind the end, gets 204: it is closed, and asks no more."""
    api = open_world[0].api
    run_id = api.start(PROMPT)
    with forwarder(open_world[0].port, WITHIN_A_TOKEN, WITHIN_THE_QUESTION) as way:
        async with page_of(f"{way.url}/healthz") as page:
            await page.evaluate(LISTEN, api.events_url(run_id).replace(api.url, ""))
            await approve(api, page)
            await closed(page)
            seen = await seen_in(page)
        assert way.made == [WITHIN_A_TOKEN, WITHIN_THE_QUESTION]
    assert [each.event for each in seen].count("end") == 1
    assert_whole(api, run_id, seen)


async def test_a_page_of_an_allowed_origin_reads_and_steers(open_world: tuple[World, int]) -> None:
    """G12: CORS open for one origin: its pages read a stream over a cut and start a run."""
    made, port = open_world
    api = made.api
    with forwarder(made.port, WITHIN_A_TOKEN) as way, forwarder(made.port, port=port) as origin:
        async with page_of(f"{origin.url}/healthz") as page:
            run_id = await page.evaluate(CHAT, f"{way.url}/api/v1/agent/chat")
            await page.evaluate(LISTEN, f"{way.url}/api/v1/agent/runs/{run_id}/events?compact=0")
            await closed(page)
            assert_whole(api, run_id, await seen_in(page))
        assert way.made


async def test_a_page_of_any_other_origin_reads_nothing(open_world: tuple[World, int]) -> None:
    """G12: the browser itself keeps the answers from it, and its chat starts nothing."""
    made, _ = open_world
    run_id = made.api.start("secret")
    before = made.api.run_ids()
    with forwarder(made.port) as origin:
        async with page_of(f"{origin.url}/healthz") as page:
            await page.evaluate(LISTEN, made.api.events_url(run_id))
            await closed(page)
            assert await seen_in(page) == []
            refused = await page.evaluate(CHAT, f"{made.api.url}/api/v1/agent/chat")
            assert refused == "refused"
    assert made.api.run_ids() == before


async def test_the_default_merges_tokens_and_loses_none(open_world: tuple[World, int]) -> None:
    """G1: a replay in a browser, as the server sends it when nothing else is asked for."""
    api = open_world[0].api
    run_id = api.start(PROMPT.replace('"delete"', '"note"').replace('"path"', '"text"'))
    api.ended(run_id)
    async with page_of(f"{api.url}/healthz") as page:
        await page.evaluate(LISTEN, f"/api/v1/agent/runs/{run_id}/events")
        await closed(page)
        assert_same_text(api, run_id, await seen_in(page))
