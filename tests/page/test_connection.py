"""How the page tells of its connection: cuts, a dead server, no network, hidden tabs, many tabs."""

from __future__ import annotations

import signal

import pytest
from playwright.async_api import expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, connection, row, send, shot, state, turn

pytestmark = pytest.mark.anyio

LONG = steps({"say": "here I am ", "silent": 600})


async def test_a_live_run_says_when_its_worker_was_heard(server: World, visitors: Visitors) -> None:
    """The connection is live, and somebody works."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, LONG)
    await expect(connection(page)).to_contain_text("Live")
    await expect(connection(page)).to_contain_text("Last heard of the worker")
    server.api.stop(run_id)
    await expect(connection(page)).to_contain_text("Ended")


async def test_a_killed_server_is_counted_down_to_and_found_again(
    own_server: World, visitors: Visitors
) -> None:
    """G1, G2: under the open page the server dies and comes back: the page says so, and goes on by itself."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, steps({"paced": "back", "times": 2}))
    own_server.open_gate("back-0")
    await expect(page.get_by_role("feed")).to_contain_text("0")
    own_server.server.process.end()
    await expect(connection(page)).to_contain_text("Reconnecting in")
    await expect(connection(page).get_by_role("button", name="Try now")).to_be_visible()
    await expect(page.get_by_role("group", name="Connection of the list")).to_contain_text("Reconnecting")
    await shot(page, "reconnecting")
    own_server.open_gate("back-1")
    own_server.server.launch()
    await expect(state(page)).to_have_text("completed")
    await expect(row(page, run_id)).to_contain_text("completed")
    await expect(page.get_by_role("group", name="Connection of the list")).to_have_count(0)


async def test_a_killed_worker_is_told_of(own_server: World, visitors: Visitors) -> None:
    """G2: the worker dies: another takes over, and the page says each."""
    page = await (await visitors.come(own_server.server.url)).open()
    run_id = await send(page, steps(call("wait_for", name="lost"), {"say": "done all the same"}))
    own_server.api.until_tool(run_id, "wait_for", "started")
    await expect(connection(page)).to_contain_text("Last heard of the worker")
    for child in own_server.server.children():
        child.send_signal(signal.SIGKILL)
    await expect(page.get_by_role("feed")).to_contain_text("Another worker has taken the run over")
    await shot(page, "takeover")


async def test_without_network_the_page_says_so_and_comes_back(server: World, visitors: Visitors) -> None:
    """G1: offline and online again, as on a train."""
    visitor = await visitors.come(server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    await send(page, steps({"paced": "train", "times": 2}))
    server.open_gate("train-0")
    await expect(page.get_by_role("feed")).to_contain_text("0")
    await visitor.context.set_offline(True)
    await expect(connection(page)).to_contain_text("offline")
    await shot(page, "offline")
    server.open_gate("train-1")
    await visitor.context.set_offline(False)
    await expect(state(page)).to_have_text("completed")
    await expect(page.get_by_role("feed")).to_contain_text("0 1")


async def test_a_hidden_tab_lets_its_stream_go_and_resumes(server: World, visitors: Visitors) -> None:
    """Connections are few: a tab that nobody looks at has none, and has missed nothing when it is shown."""
    page = await (await visitors.come(server.server.url)).open()
    await send(page, steps({"paced": "hidden", "times": 3}))
    server.open_gate("hidden-0")
    await expect(page.get_by_role("feed")).to_contain_text("0")
    await turn(page, away=True)
    await expect(connection(page)).to_have_attribute("data-phase", "hidden")
    server.open_gate("hidden-1")
    server.open_gate("hidden-2")
    await turn(page, away=False)
    await expect(page.get_by_role("feed")).to_contain_text("0 1 2")
    await expect(state(page)).to_have_text("completed")


async def test_one_tab_holds_the_feed_for_all(own_server: World, visitors: Visitors) -> None:
    """Four tabs, one feed; when its tab is closed, another goes on, and nobody misses a run."""
    visitor = await visitors.come(own_server.server.url)
    tabs = [await visitor.open() for _ in range(4)]
    for tab in tabs:
        await expect(tab.get_by_text("None yet.")).to_be_visible()
    first = own_server.api.start("one")
    for tab in tabs:
        await expect(row(tab, first)).to_contain_text("completed")
    assert [visitor.feeds(tab) for tab in tabs] == [1, 0, 0, 0]
    await tabs[0].close()
    second = own_server.api.start("two")
    for tab in tabs[1:]:
        await expect(row(tab, second)).to_contain_text("completed")
    assert sorted(visitor.feeds(tab) for tab in tabs[1:]) == [0, 0, 1]


async def test_a_shown_tab_takes_the_feed_from_a_hidden_one(own_server: World, visitors: Visitors) -> None:
    """A browser slows hidden tabs down: who is looked at holds the feed."""
    visitor = await visitors.come(own_server.server.url)
    hidden = await visitor.open()
    await expect(hidden.get_by_text("None yet.")).to_be_visible()
    await turn(hidden, away=True)
    shown = await visitor.open()

    run_id = own_server.api.start("seen by both")
    await expect(row(shown, run_id)).to_contain_text("completed")
    await expect(row(hidden, run_id)).to_contain_text("completed")
    assert visitor.feeds(hidden) == 1
    assert visitor.feeds(shown) == 1


async def test_a_tab_that_is_shown_again_takes_the_feed_from_one_that_is_hidden_since(
    own_server: World, visitors: Visitors
) -> None:
    """Whoever switches between two tabs has the feed in the one before their eyes."""
    visitor = await visitors.come(own_server.server.url)
    one = await visitor.open()
    await expect(one.get_by_text("None yet.")).to_be_visible()
    other = await visitor.open()
    await expect(other.get_by_text("None yet.")).to_be_visible()
    await turn(other, away=True)
    assert [visitor.feeds(tab) for tab in (one, other)] == [1, 0]
    await turn(one, away=True)
    async with other.expect_request(lambda request: "/api/v1/agent/feed" in request.url):
        await turn(other, away=False)
    run_id = own_server.api.start("seen by both")
    for tab in (one, other):
        await expect(row(tab, run_id)).to_contain_text("completed")


async def test_without_web_locks_each_tab_has_its_own(own_server: World, visitors: Visitors) -> None:
    """A page without TLS has none: the list lives all the same."""
    visitor = await visitors.come(own_server.server.url)
    await visitor.context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"
    )
    tabs = [await visitor.open() for _ in range(2)]
    for tab in tabs:
        await expect(tab.get_by_text("None yet.")).to_be_visible()
    run_id = own_server.api.start("plain")
    for tab in tabs:
        await expect(row(tab, run_id)).to_contain_text("completed")
