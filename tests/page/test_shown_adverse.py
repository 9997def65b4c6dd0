"""What nobody thinks of: hostile words, huge results, races, wrong clocks, a server that forgot."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.blackbox.api import ROOT, Check, call, steps
from tests.blackbox.conftest import World, world
from tests.page.adverse_agents import LONG
from tests.page.conftest import PHONE, Visitors, composer, connection, dock, pending, row, send, shot, state
from tests.page.shown import SIZES, card, inspect, logged, shown, sideways, unfold

pytestmark = pytest.mark.anyio

AGENTS = Path(__file__).with_name("adverse_agents.py")

TYPING = """() => {
    window.typed = window.typedOn = 0;
    const typing = setInterval(() => {
        const gone = document.querySelector('.pending') === null;
        for (const key of ['n', 'c']) {
            document.activeElement.dispatchEvent(
                new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
        }
        ++window.typed;
        if (gone && ++window.typedOn === 3) clearInterval(typing);
    }, 20);
}"""
"""Somebody who types on, also in the moment in which the field goes."""

TURNED_TO = """() => {
    dispatchEvent(new Event('focus'));
    return document.querySelector('.connection').textContent.includes('Deleted');
}"""
"""Somebody who turns to the tab again and again: it does not ask each time."""

HOSTILE = """<script>window.stolen = 1</script> <img src=x onerror="window.stolen = 2">
[a](javascript:window.stolen=3) [b](JaVaScRiPt:window.stolen=4) [c](data:text/html,<script>stolen=5</script>)
![d](http://127.0.0.2:9/pixel.png) <javascript:window.stolen=6> [e](https://example.org/fine)
<a href="javascript:window.stolen=7">f</a> [g](java&#115;cript:window.stolen=8) <svg onload="window.stolen=9">
"""


@pytest.fixture(scope="module")
def adverse(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with a tool of a very long name."""
    path = tmp_path_factory.mktemp("page-adverse")
    with world(path, agent=f"{AGENTS}:agent", PYTHONPATH=str(AGENTS.parents[2])) as made:
        yield made


@pytest.fixture
def expiring(tmp_path: Path) -> Generator[World]:
    """A server whose questions expire soon."""
    with world(tmp_path / "expiring", JACKLINE_APPROVAL_EXPIRY="15") as made:
        yield made


async def opened(visitors: Visitors, server: World, run_id: str) -> Page:
    return await (await visitors.come(server.server.url)).open(f"#/runs/{run_id}")


async def test_hostile_words_do_nothing(server: World, visitors: Visitors) -> None:
    """No script runs, no link leads to one, no picture is fetched, wherever the words stand."""
    asks = {"calls": [["note", {"text": HOSTILE}], ["delete", {"path": HOSTILE}]]}
    run_id = server.api.start(steps({"say": HOSTILE, **asks}))
    page = await opened(visitors, server, run_id)
    await expect(pending(page)).to_contain_text("window.stolen")
    await unfold(page, "note")
    assert await page.evaluate("window.stolen") is None
    links = await page.locator("main a").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    # A picture is a link to it: fetched when somebody wants it, and not before.
    assert {link for link in links if not link.startswith("#/")} == {
        "https://example.org/fine",
        "http://127.0.0.2:9/pixel.png",
    }
    assert await page.locator("main img, main script, main svg[onload]").count() == 0
    await expect(page.get_by_role("feed")).to_contain_text("<script>window.stolen = 1</script>")
    await shot(page, "hostile")
    server.api.stop(run_id)


async def test_a_result_of_a_megabyte_is_stored_aside_and_fetched_when_asked_for(
    server: World, visitors: Visitors, tmp_path: Path
) -> None:
    """Its beginning is shown, all of it comes at a click, whole."""
    run_id = server.api.start(steps(call("big", size=1_000_000), {"say": "large"}))
    page = await opened(visitors, server, run_id)
    await expect(state(page)).to_have_text("completed")
    body = await unfold(page, "big")
    await expect(body).to_contain_text("this is how it begins")
    async with page.expect_download() as download:
        await body.get_by_role("button", name="Download").click()
    target = tmp_path / "artifact"
    await (await download.value).save_as(target)
    whole = "0123456789" * 100_000
    assert target.read_text() in {whole, json.dumps(whole)}
    await body.get_by_role("button", name="Show all").click()
    await expect(body).not_to_contain_text("this is how it begins")
    assert (await body.inner_text()).count("0123456789") >= 100_000
    assert await sideways(page) == 0
    await shot(page, "megabyte")


async def test_a_name_of_two_hundred_characters_breaks_no_line(adverse: World, visitors: Visitors) -> None:
    """In a card, a question, the timeline and the list, on a phone too."""
    assert len(LONG) > 200
    run_id = adverse.api.start(steps(call(LONG, path="/" + "x" * 300), {"say": "done"}))
    page = await opened(visitors, adverse, run_id)
    await expect(pending(page)).to_contain_text(LONG)
    await inspect(page, "long-name")
    await page.set_viewport_size(PHONE)
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    await expect(state(page)).to_have_text("completed")
    await unfold(page, LONG)
    await shot(page, "phone-long-name-completed")
    assert await sideways(page) == 0


async def test_a_schema_that_takes_for_ever_freezes_neither_the_page_nor_the_server(
    adverse: World, visitors: Visitors
) -> None:
    """G4: a stop is always there; G11: what could not be checked is refused, and the question stays open."""
    run_id = adverse.api.start(steps(call("endless", host="aaa"), {"say": "done"}))
    page = await opened(visitors, adverse, run_id)
    visitors.made[0].cuts = True  # the browser writes the 422 to the console
    question = pending(page)
    await question.get_by_role("button", name="Edit arguments").click()
    await question.get_by_label("host").fill("b")
    await expect(question).to_contain_text("must match")
    await question.get_by_label("host").fill("a" * 60 + "!")
    await expect(question).to_contain_text("cannot be checked here")
    await question.get_by_role("button", name="Approve with changes").click()
    await expect(question).to_contain_text("takes longer than")
    assert adverse.api.snapshot(run_id)["state"] == "awaiting_approval"
    await shot(page, "endless-schema")
    await dock(page).get_by_role("button", name="Stop", exact=True).click()
    await expect(state(page)).to_have_text("stopped")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_what_decides_stays_in_sight_however_long_the_arguments_are(
    server: World, visitors: Visitors, size: ViewportSize
) -> None:
    """G5: nobody has to look for the answer; the arguments stand once, and scroll."""
    path = "\n".join(f"/line/{n}" for n in range(40))
    run_id = server.api.start(steps(call("delete", path=path)))
    page = await (await visitors.come(server.server.url, size=size)).open(f"#/runs/{run_id}")
    await pending(page).get_by_role("button", name="Show all").click()
    await expect(pending(page)).to_contain_text("/line/39")
    await pending(page).evaluate("section => section.scrollTo(0, 0)")
    for name in ("Approve", "Deny"):
        await expect(pending(page).get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("feed").get_by_role("group", name="Arguments")).to_have_count(0)
    await shot(page, f"long-arguments-{size['width']}")
    server.api.stop(run_id)


async def test_fifty_questions_of_a_step_are_answered_at_once(server: World, visitors: Visitors) -> None:
    """G5: all are listed before one says yes; the run stays in sight beside them; each runs once."""
    asks = {"say": "All of these? ", "calls": [["delete", {"path": f"/fifty/{n}"}] for n in range(50)]}
    run_id = server.api.start(steps(asks, {"say": "all gone"}))
    page = await opened(visitors, server, run_id)
    await expect(pending(page)).to_contain_text("50 calls of this step wait for you")
    box = await page.get_by_role("feed").bounding_box()
    assert box is not None
    assert box["height"] > 100, "the run is still to be read"
    await inspect(page, "fifty")
    await pending(page).get_by_role("button", name="Approve all").click()
    await pending(page).get_by_role("button", name="Approve 50 calls").click()
    await expect(state(page)).to_have_text("completed")
    assert await shown(page) == logged(server.api, run_id)
    gone = [line for line in server.effects if "/fifty/" in line]
    assert sorted(gone) == sorted(f"delete /fifty/{n}" for n in range(50))


async def test_a_question_that_expires_under_the_eye_says_what_that_meant(
    expiring: World, visitors: Visitors
) -> None:
    """G5: it counts down, is no longer offered, and the run goes on with a no."""
    run_id = expiring.api.start(steps(call("delete", path="/late"), {"say": "not done"}))
    page = await opened(visitors, expiring, run_id)
    await expect(pending(page)).to_contain_text("left, then it is denied")
    await expect(pending(page)).to_have_count(0)
    await expect(state(page)).to_have_text("completed")
    await unfold(page, "delete")
    await expect(card(page, "delete")).to_contain_text("not answered in time: that means no")
    await shot(page, "expired")
    assert "delete /late" not in expiring.effects


async def test_a_decision_by_another_while_arguments_are_edited_is_told(
    server: World, visitors: Visitors
) -> None:
    """G5: who types is told who was first; what is typed after that goes nowhere and triggers nothing."""
    run_id = server.api.start(steps(call("delete", path="/first"), {"gate": "edited"}))
    page = await opened(visitors, server, run_id)
    await pending(page).get_by_role("button", name="Edit arguments").click()
    await pending(page).get_by_label("path").fill("/second")
    await pending(page).get_by_label("path").focus()
    await page.evaluate(TYPING)
    await page.wait_for_function("window.typed > 0")  # before the field goes
    call_id = server.api.snapshot(run_id)["approvals"][0]["call_id"]
    assert server.api.decide(call_id, approve=True, reason="I was first").status_code == 200
    await expect(pending(page)).to_have_count(0)
    await expect(page.get_by_text("delete was answered meanwhile: approved by local")).to_be_visible()
    await shot(page, "decided-while-edited")
    await page.wait_for_function("window.typedOn >= 3")
    assert page.url.endswith(run_id), "one of them has led away"
    await expect(composer(page)).not_to_be_focused()
    server.open_gate("edited")
    await expect(state(page)).to_have_text("completed")
    assert server.effects.count("delete /first") == 1
    assert "delete /second" not in server.effects


async def test_a_stop_in_the_moment_of_a_decision_ends_in_one_truth(
    server: World, visitors: Visitors
) -> None:
    """G3, G4, G5: whichever comes first, no call starts after the stop, and both browsers show the same."""
    run_id = server.api.start(steps(call("delete", path="/race"), call("slow", seconds=600)))
    one, other = [await opened(visitors, server, run_id) for _ in range(2)]
    for visitor in visitors.made:
        visitor.cuts = True  # the browser writes the 409 of who comes too late to the console
    approve = pending(one).get_by_role("button", name="Approve", exact=True)
    await expect(approve).to_be_visible()
    stop = dock(other).get_by_role("button", name="Stop", exact=True)
    await expect(stop).to_be_visible()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(approve.click)
        tasks.start_soon(stop.click)
    for page in (one, other):
        await expect(state(page)).to_have_text("stopped")
        await expect(pending(page)).to_have_count(0)
    check = Check(log=server.api.log(run_id))
    check.no_start_after_stop()
    assert await shown(one) == await shown(other) == logged(server.api, run_id)


async def test_a_run_that_is_deleted_while_it_is_open_is_said_to_be_gone(
    server: World, visitors: Visitors
) -> None:
    """What was read stays to be read; to go on with it, or to come back, says that it is gone."""
    run_id = server.api.start("soon gone")
    server.api.ended(run_id)
    visitor = await visitors.come(server.server.url)
    visitor.cuts = True  # the browser writes a 404 to the console by itself
    page = await visitor.open(f"#/runs/{run_id}")
    await expect(state(page)).to_have_text("completed")
    assert server.api.http.delete(f"{ROOT}/runs/{run_id}").status_code in {200, 204}
    # Nobody tells of a deletion: who turns to the tab again has it asked.
    await page.wait_for_function(TURNED_TO)
    await expect(connection(page)).to_contain_text("somebody has deleted it")
    await expect(page.get_by_role("feed")).to_contain_text("soon gone")
    await expect(row(page, run_id)).to_have_count(0)
    await shot(page, "deleted-elsewhere")
    await page.reload()
    await expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    await expect(row(page, run_id)).to_have_count(0)


async def test_a_server_that_comes_back_with_other_data_is_told_of(
    own_server: World, visitors: Visitors
) -> None:
    """G1: never an old list, never a spinner: the open run is not there, and the list is the new one."""
    visitor = await visitors.come(own_server.server.url)
    visitor.cuts = True
    page = await visitor.open()
    run_id = await send(page, steps({"say": "of the old data ", "silent": 600}))
    await expect(page.get_by_role("feed")).to_contain_text("of the old data")
    own_server.server.process.end()
    server = own_server.server
    server.env = {**server.env, "JACKLINE_DATA_DIR": str(own_server.path / "other-data")}
    server.launch()
    await expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    await expect(row(page, run_id)).to_have_count(0)
    await expect(dock(page)).to_have_count(0)
    await shot(page, "other-data")
    await page.get_by_role("link", name="Back to the list").click()
    fresh = await send(page, "of the new data")
    await expect(state(page)).to_have_text("completed")
    await expect(row(page, fresh)).to_contain_text("completed")


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_browser_whose_clock_is_wrong_shows_right_durations(
    server: World, visitors: Visitors, hours: int
) -> None:
    """An hour off, either way: nothing is negative, nothing lasts an hour, no question has expired."""
    visitor = await visitors.come(server.server.url)
    await visitor.context.add_init_script(
        f"""Date = class extends Date {{
            constructor(...given) {{ given.length ? super(...given) : super(Date.now()) }}
            static now() {{ return super.now() + {hours} * 3_600_000 }}
        }}"""
    )
    page = await visitor.open()
    run_id = await send(page, steps(call("delete", path="/clock"), call("wait_for", name=f"clock{hours}")))
    await expect(pending(page)).to_be_visible()
    await pending(page).get_by_role("button", name="Approve", exact=True).click()
    server.api.until_tool(run_id, "wait_for", "started")
    await expect(page.locator('.jl-tool[data-state="started"] .jl-duration')).to_contain_text("s")
    await shot(page, f"clock{hours}")
    await expect(row(page, run_id).locator(".when")).to_have_text(re.compile(r"^(now|\d+ s)$"))
    durations = await page.locator(".clock, .jl-duration, .jl-span-length, .jl-sums dd").all_inner_texts()
    assert len(durations) > 6
    assert [each for each in durations if not re.match(r"[0-9.]+ (ms|s)\b", each)] == []
    server.open_gate(f"clock{hours}")
    await expect(state(page)).to_have_text("completed")
