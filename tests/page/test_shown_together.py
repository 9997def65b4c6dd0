"""The page, the command line and Slack at once: the same run everywhere, with the same transcript."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TypeVar

import anyio
import pytest
from playwright.async_api import Page, expect

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.cli.terminal import Finished, jackline
from tests.page.conftest import Visitors, dock, pending, row, send, shot, state
from tests.page.shown import logged, narration, plain, printed, shown, unfold
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.stand_in import StandIn, slack_in_thread
from tests.slack.test_runs import CHANNEL, run_of
from tests.support.processes import eventually_async

pytestmark = pytest.mark.anyio

T = TypeVar("T")
BEGUN = "Begun."


@pytest.fixture(scope="module")
def slack() -> Generator[StandIn]:
    """A Slack for all tests here: they use threads of their own."""
    with slack_in_thread() as made:
        yield made
        assert made.pinged == [], "nothing may ping anybody"


@pytest.fixture(scope="module")
def bridged(
    slack: StandIn, server: World, tmp_path_factory: pytest.TempPathFactory
) -> Generator[BridgeProcess]:
    """A bridge between it and the server."""
    with bridge(slack, server.server.url, tmp_path_factory.mktemp("page-slack")) as made:
        yield made


async def aside(do: Callable[[], T]) -> T:
    """Wait for Slack in a thread, so that the browser's events come in meanwhile."""
    return await anyio.to_thread.run_sync(do)


def story(name: str) -> str:
    return steps(
        {"say": f"{BEGUN} ", "gate": name, **call("note", text=name)},
        call("delete", path=f"/{name}"),
        {"say": "and that is done. ", "times": 3},
    )


async def test_tabs_the_command_line_and_slack_tell_the_same(
    server: World, slack: StandIn, bridged: BridgeProcess, visitors: Visitors
) -> None:
    """G1, G2: a run from Slack and one from `chat`, each watched by two tabs and by `tail`, all at once."""
    url = server.server.url
    ts = await aside(lambda: slack.mention("UANA", CHANNEL, story("together-s")))
    from_slack = await aside(lambda: run_of(server, ts))
    visitor = await visitors.come(url)
    before = server.api.run_ids()
    output: dict[str, Finished] = {}
    tabs: list[Page] = []
    chats: list[str] = []

    async def run(name: str, *args: str) -> None:
        output[name] = await jackline(*args, "--json", "--url", url)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "chat", "chat", story("together-c"))
        tasks.start_soon(run, "tail slack's", "tail", from_slack)
        tabs.append(await visitor.open(f"#/runs/{from_slack}"))
        tabs.append(await (await visitors.come(url)).open(f"#/runs/{from_slack}"))

        async def begun() -> str | None:
            return next(iter(server.api.run_ids() - before), None)

        chats.append(await eventually_async(begun, what="the run of chat"))
        tasks.start_soon(run, "tail chat's", "tail", chats[0])
        tabs.append(await visitor.open(f"#/runs/{chats[0]}"))
        for tab in tabs:
            await expect(tab.get_by_role("feed")).to_contain_text(BEGUN)
        for name in ("together-s", "together-c"):
            server.open_gate(name)
        for tab in tabs[1:]:
            await pending(tab).get_by_role("button", name="Approve", exact=True).click()
        for tab in tabs:
            await expect(state(tab)).to_have_text("completed")
    page, other, third = tabs
    await aside(lambda: slack.find(CHANNEL, ts, "Completed"))
    lines = logged(server.api, from_slack)
    assert await shown(page) == await shown(other) == lines
    assert printed(output["tail slack's"].out) == lines
    await aside(lambda: slack.until(lambda: "done." in slack.transcript(CHANNEL, ts)))
    assert plain(slack.transcript(CHANNEL, ts)) == narration(lines)
    tools = [re.search(r"\*(note|delete)\*", each.text) for each in slack.thread(CHANNEL, ts)]
    assert [found[1] for found in tools if found][:2] == ["note", "delete"]
    lines = logged(server.api, chats[0])
    assert await shown(third) == lines
    assert printed(output["chat"].out) == printed(output["tail chat's"].out) == lines
    assert [each.code for each in output.values()] == [0, 0, 0], output
    assert server.effects.count("delete /together-s") == server.effects.count("delete /together-c") == 1


async def open_run(visitors: Visitors, server: World, run_id: str) -> Page:
    return await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")


async def test_a_run_from_slack_is_in_the_list_and_approved_there_seen_here(
    server: World, slack: StandIn, bridged: BridgeProcess, visitors: Visitors
) -> None:
    """G5: it shows up live; who pressed in Slack is named in the page; the command line opens it too."""
    page = await (await visitors.come(server.server.url)).open()
    await expect(page.get_by_role("navigation", name="Runs")).to_be_visible()
    prompt = steps(call("delete", path="/from-slack"), {"say": "that was it"})
    ts = await aside(lambda: slack.mention("UANA", CHANNEL, prompt))
    question = await aside(lambda: slack.find(CHANNEL, ts, "[Approve]"))
    run_id = await aside(lambda: run_of(server, ts))
    await expect(row(page, run_id)).to_contain_text("waits for you")
    await row(page, run_id).get_by_role("link").first.click()
    await expect(pending(page)).to_contain_text("/from-slack")
    # Who is unknown to the bridge is refused, and the question stays.
    await aside(lambda: slack.press("UEVE", question, "approve"))
    await aside(lambda: slack.until_whisper("UEVE", "slack_users"))
    await expect(state(page)).to_have_text("waits for you")
    assert "delete /from-slack" not in server.effects
    await aside(lambda: slack.press("UBOB", question, "approve"))
    await expect(state(page)).to_have_text("completed")
    decided = (await unfold(page, "delete")).locator(".jl-decided")
    await expect(decided).to_contain_text("“bob in Slack”")
    await shot(page, "approved-in-slack")
    tailed = await jackline("tail", run_id, "--json", "--url", server.server.url)
    assert tailed.code == 0, tailed.err
    assert printed(tailed.out) == await shown(page) == logged(server.api, run_id)
    opened = await jackline("open", run_id, "--json", "--url", server.server.url)
    assert run_id in opened.out


async def test_a_stop_in_the_page_is_seen_in_slack_with_its_receipt(
    server: World, slack: StandIn, bridged: BridgeProcess, visitors: Visitors
) -> None:
    """G4: the button in the page; the thread says what became of the call, and offers no stop any more."""
    prompt = steps({"say": "I wait. ", **call("slow", seconds=600)})
    ts = await aside(lambda: slack.mention("UANA", CHANNEL, prompt))
    await aside(lambda: slack.find(CHANNEL, ts, "started"))
    page = await open_run(visitors, server, await aside(lambda: run_of(server, ts)))
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(state(page)).to_have_text("stopped")
    receipt = await aside(lambda: slack.find(CHANNEL, ts, "was cancelled"))
    assert "*slow* was cancelled" in receipt.text
    await aside(lambda: slack.until(lambda: "[Stop]" not in slack.thread_text(CHANNEL, ts)))
    await expect(page.get_by_role("group", name="Receipt of the stop")).to_contain_text("slow cancelled")


async def test_a_stranger_in_slack_starts_nothing(
    server: World, slack: StandIn, bridged: BridgeProcess, visitors: Visitors
) -> None:
    """G12: told what to do, and no run is in the page."""
    page = await (await visitors.come(server.server.url)).open()
    before = server.api.run_ids()
    await aside(lambda: slack.mention("UEVE", CHANNEL, "let me in, I am eve"))
    await aside(lambda: slack.until_whisper("UEVE", "slack_users"))
    own = await send(page, "after eve")
    await expect(row(page, own)).to_contain_text("completed")
    await expect(page.get_by_text("let me in")).to_have_count(0)
    assert server.api.run_ids() - before == {own}
