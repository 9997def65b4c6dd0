"""Stopping in the page: by button, by key, from the list, with many tabs, with a server that is away."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, Route, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, composer, dock, row, send, shot, state, turn

pytestmark = pytest.mark.anyio

LONG = steps({"say": "here I am ", "silent": 600})
LONG_CALL = steps(call("slow", seconds=600))


async def escs(page: Page) -> Callable[..., Awaitable[None]]:
    """Presses Esc as the keyboard does, so many seconds after now by the event's own clock: however long the
    test itself takes from one to the next."""
    began = time.time()
    session = await page.context.new_cdp_session(page)

    async def press(at: float, *, repeat: bool = False) -> None:
        key = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27, "timestamp": began + at}
        for event in ({"type": "rawKeyDown", "autoRepeat": repeat, **key}, {"type": "keyUp", **key}):
            await session.send("Input.dispatchKeyEvent", event)  # pyright: ignore[reportUnknownMemberType]

    return press


async def test_the_button_stops_and_the_receipt_follows(server: World, visitors: Visitors) -> None:
    """G4: from the click to what was cancelled."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, LONG_CALL)
    server.api.until_tool(run_id, "slow", "started")
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(state(page)).to_have_text("stopped")
    await expect(page.get_by_role("feed")).to_contain_text("slow")
    await expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    assert server.api.snapshot(run_id)["receipt"]["tools"][0]["outcome"] == "cancelled"
    await shot(page, "stopped")


async def test_esc_twice_stops_from_within_a_field(server: World, visitors: Visitors) -> None:
    """G4: the first Esc says what the second does; wherever the focus is."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, LONG)
    await composer(page).fill("half a word")
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Press Esc again to stop")).to_be_visible()
    await shot(page, "esc-once")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(state(page)).to_have_text("stopped")
    await expect(composer(page)).to_have_value("half a word")
    assert server.api.snapshot(run_id)["state"] == "stopped"


async def test_the_list_stops_what_is_not_in_front(server: World, visitors: Visitors) -> None:
    """Each row of what goes on has its stop."""
    run_id = server.api.start(LONG)
    page = await (await visitors.come(server.server.url)).open()
    await row(page, run_id).get_by_role("button", name="Stop").click()
    await expect(row(page, run_id)).to_contain_text("stopped")


async def test_a_conversations_row_shows_and_stops_the_run_that_acts(
    own_server: World, visitors: Visitors
) -> None:
    """G4: what is queued behind it is newer, and hides neither that nor its stop."""
    first = own_server.api.start(LONG)
    conversation_id = first.rsplit(".", 1)[0]
    second, third = [
        own_server.api.start(LONG, conversation_id=conversation_id, on_busy="queue") for _ in range(2)
    ]
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(row(page, first)).to_contain_text("running")
    await expect(row(page, first)).to_contain_text("2 more wait")
    await expect(page.locator(".run-row")).to_have_count(1)
    await page.get_by_label("Show").select_option("Running")
    await expect(row(page, first)).to_contain_text("running")
    await row(page, first).get_by_role("link").click()
    nested = page.get_by_role("list", name="Runs of this conversation")
    await expect(nested.get_by_role("listitem")).to_have_count(3)
    await shot(page, "conversation-with-queued-runs")
    await nested.locator(f'[data-run="{third}"]').get_by_role("button").click()
    await expect(row(page, first)).to_contain_text("1 more waits")
    assert own_server.api.ended(third)["state"] == "stopped"
    await row(page, first).locator(".run-row-main").get_by_role("button", name="Stop").click()
    assert own_server.api.ended(first)["state"] == "stopped"
    await expect(row(page, second)).to_contain_text("running")
    await page.get_by_label("Show").select_option("Stopped")
    await expect(page.locator(".run-row")).to_contain_text("stopped")


async def test_a_stop_after_the_step_lets_the_step_end(server: World, visitors: Visitors) -> None:
    """G4: the second choice; what runs is finished, nothing begins after it."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, steps(call("wait_for", name="step"), call("note", text="never")))
    server.api.until_tool(run_id, "wait_for", "started")
    await page.get_by_role("button", name="Stop after this step").click()
    await expect(dock(page)).to_contain_text("Stopping after this step")
    server.open_gate("step")
    await expect(state(page)).to_have_text("stopped")
    assert "note never" not in server.effects


async def test_anothers_stop_after_the_step_can_be_made_one_at_once(
    own_server: World, visitors: Visitors
) -> None:
    """G4: from the list, for a stop that the page saw and for one from before it was opened."""
    runs = [own_server.api.start(LONG_CALL) for _ in range(2)]
    for run_id in runs:
        own_server.api.until_tool(run_id, "slow", "started")
    own_server.api.stop(runs[0], mode="after_step")
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(row(page, runs[0])).to_contain_text("stopping")
    own_server.api.stop(runs[1], mode="after_step")
    await expect(row(page, runs[1])).to_contain_text("stopping")
    await row(page, runs[0]).get_by_role("button", name="Stop").click()
    assert own_server.api.ended(runs[0])["state"] == "stopped"
    await expect(row(page, runs[0])).to_contain_text("stopped")
    await expect(dock(page)).to_contain_text("Stopping after this step")
    await row(page, runs[1]).get_by_role("button", name="Stop").click()
    assert own_server.api.ended(runs[1])["state"] == "stopped"


async def test_a_stop_that_the_store_has_lost_is_sent_again(server: World, visitors: Visitors) -> None:
    """G4: it was accepted, and the log does not tell of it: the page says so, and a press sends another."""
    page = await (await visitors.come(server.server.url)).open()
    run_id = await send(page, LONG)
    sent: list[str] = []

    async def lose(route: Route) -> None:
        sent.append(route.request.url)
        await route.fulfill(status=202, json={"run_id": run_id, "state": "stopping"})

    await page.route("**/stop", lose)
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(dock(page)).to_contain_text("Stopping")
    esc = await escs(page)
    await esc(0)
    await esc(0.1)
    await expect(dock(page).get_by_role("button", name="Stop again")).to_be_visible()
    assert len(sent) == 2, "each press is a stop"
    await expect(dock(page)).to_contain_text("the run does not tell of it")
    await expect(row(page, run_id).get_by_role("button")).to_have_text("Stop again")
    await shot(page, "stop-lost")
    await page.unroute("**/stop", lose)
    await dock(page).get_by_role("button", name="Stop again").click()
    await expect(state(page)).to_have_text("stopped")


async def test_a_run_that_the_page_does_not_hear_of_is_not_blamed_for_a_stop(
    own_server: World, visitors: Visitors
) -> None:
    """G4: it was accepted, and then the stream was cut: what became of it shows when the page hears again."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, LONG)
    await expect(page.get_by_role("feed")).to_contain_text("here I am")

    async def lose(route: Route) -> None:
        await route.fulfill(status=202, json={"run_id": run_id, "state": "stopping"})

    await page.route("**/stop", lose)
    own_server.server.process.end()
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(dock(page)).to_contain_text("Accepted. Reconnecting, to hear of the run.")
    await expect(row(page, run_id)).to_contain_text("Accepted")
    await expect(dock(page).get_by_role("button")).to_have_count(0)
    await shot(page, "stop-unheard")
    own_server.server.launch()
    await expect(dock(page)).to_contain_text("the run does not tell of it")
    await page.unroute("**/stop", lose)
    await dock(page).get_by_role("button", name="Stop again").click()
    await expect(state(page)).to_have_text("stopped")


async def test_where_several_go_on_esc_asks_which(own_server: World, visitors: Visitors) -> None:
    """Nothing is stopped by guess."""
    runs = [own_server.api.start(LONG) for _ in range(2)]
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(dock(page)).to_contain_text("2 runs go on")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    choice = page.get_by_role("dialog", name="What is to be stopped?")
    await expect(choice).to_be_visible()
    await shot(page, "stop-choice")
    await choice.get_by_role("button", name="Stop all 2").click()
    for run_id in runs:
        assert own_server.api.ended(run_id)["state"] == "stopped"
    await expect(dock(page)).to_have_count(0)


async def test_who_hammers_on_esc_finds_the_choice_open(own_server: World, visitors: Visitors) -> None:
    """G4: a third and a fourth Esc do not close what the second has opened; after a pause one closes it."""
    runs = [own_server.api.start(LONG) for _ in range(2)]
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(dock(page)).to_contain_text("2 runs go on")
    esc = await escs(page)
    for at in (0, 0.12, 0.24, 0.36):
        await esc(at)
    stop_all = page.get_by_role("dialog").get_by_role("button", name="Stop all 2")
    await expect(stop_all).to_be_focused()
    await esc(0.4, repeat=True)
    await expect(stop_all).to_be_visible()
    await esc(3)
    await expect(stop_all).to_be_hidden()
    await page.evaluate("new Promise(requestAnimationFrame)")  # it has told that it is closed
    await esc(6)
    await esc(6.1)
    await expect(stop_all).to_be_focused()
    await page.keyboard.press("Enter")
    for run_id in runs:
        assert own_server.api.ended(run_id)["state"] == "stopped"


async def test_the_choice_opens_again_however_fast_it_is_asked_for(
    own_server: World, visitors: Visitors
) -> None:
    """G4: also before the page was painted. It would stay closed, and Esc would do nothing any more."""
    for _ in range(2):
        own_server.api.start(LONG)
    page = await (await visitors.come(own_server.server.url)).open()
    await expect(dock(page)).to_contain_text("2 runs go on")
    esc = await escs(page)
    await esc(0)
    await esc(0.1)
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.evaluate(
        """() => {
            const dialog = document.querySelector('dialog[open]');
            dialog.addEventListener('close', () => {
                for (const later of [60_000, 60_100]) {
                    const press = new KeyboardEvent('keydown', {key: 'Escape', cancelable: true});
                    Object.defineProperty(press, 'timeStamp', {value: performance.now() + later});
                    dispatchEvent(press);
                }
            }, {once: true});
            dialog.close();
        }"""
    )
    await expect(page.get_by_role("dialog").get_by_role("button", name="Stop all 2")).to_be_visible()


async def test_a_stop_that_does_not_arrive_says_so_and_arrives_later(
    own_server: World, visitors: Visitors
) -> None:
    """Never an unmeant silence: it is told, tried again, and takes effect once the server is back."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, LONG)
    own_server.server.process.end()
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(dock(page)).to_contain_text("No answer yet")
    await shot(page, "stop-unanswered")
    own_server.server.launch()
    assert own_server.api.ended(run_id)["state"] == "stopped"
    await expect(state(page)).to_have_text("stopped")


@pytest.mark.parametrize("away", [False, True], ids=["all-shown", "hidden"])
async def test_with_eight_tabs_a_stop_waits_for_nothing(
    own_server: World, visitors: Visitors, away: bool
) -> None:
    """G4: a browser has six connections to a server: a ninth tab's stop is sent all the same."""
    runs = [own_server.api.start(LONG) for _ in range(8)]
    visitor = await visitors.come(own_server.server.url)
    tabs: list[Page] = []
    for run_id in runs:
        tabs.append(await visitor.open(f"#/runs/{run_id}"))
        await expect(state(tabs[-1])).to_have_text("running")
        await expect(tabs[-1].get_by_role("feed")).to_contain_text("here I am")
        if away:
            await turn(tabs[-1], away=True)
    page = await visitor.open(f"#/runs/{runs[0]}")
    await expect(page.get_by_role("feed")).to_contain_text("here I am")
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(state(page)).to_have_text("stopped")
    # Each of the others stops as well, and every tab comes to know of all of it.
    for tab, run_id in list(zip(tabs, runs, strict=True))[1:]:
        await row(page, run_id).get_by_role("button", name="Stop").click()
        if away:
            await turn(tab, away=False)
        await expect(state(tab)).to_have_text("stopped")
