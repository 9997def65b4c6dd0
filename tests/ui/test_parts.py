"""The page's parts in Chromium: what they show, what they send, and what they never do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from playwright.async_api import Browser, Locator, expect

from tests.ui.logs import RUN
from tests.ui.parts import Parts, parts

pytestmark = pytest.mark.anyio

CALL = f"{RUN}.1"
ARGS = {"service": "postgresql@15-main", "environment": "production", "delay_s": 30, "force": False}
SHOTS = Path(__file__).parents[2] / ".test-output/ui"
"""Pictures for a person to look at."""

HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    '<a href="javascript:window.hit=1">x</a>',
    "[x](javascript:window.hit=1)",
    "[x](  JaVaScRiPt:window.hit=1)",
    "[x](java&#115;cript:window.hit=1)",
    "[x](<javascript:window.hit=1>)",
    "<javascript:window.hit=1>",
    "[x](data:text/html,<script>window.hit=1</script>)",
    "[x](vbscript:x)",
    "[x]: javascript:window.hit=1\n\n[x]",
    "![x](https://evil.example/x.png)",
    "![x](javascript:window.hit=1)",
    "[![x](https://evil.example/x.png)](https://evil.example)",
    "<svg onload='window.hit=1'><style>*{display:none}</style></svg>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "`<script>window.hit=1</script>`",
    "```html\n<script>window.hit=1</script>\n```",
    '```"><script>window.hit=1</script>\nx\n```',
    "| <img src=x onerror=window.hit=1> |\n|---|\n| <script>window.hit=1</script> |",
    '[x](https://a.example/"onmouseover="window.hit=1)',
    "[x](https://a.example 'title\" onmouseover=\"window.hit=1')",
    "<form action=https://evil.example><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example>",
    "- [ ] <input autofocus onfocus=window.hit=1>",
    "https://a.example/<script>window.hit=1</script>",
]
TAGS = (
    "a blockquote br button code del div em h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul"
)

# Shows each of these, and tells which elements, with which attributes, there were at any time.
FOUND = """shown => {
    const found = new Map()
    for (const show of shown) {
        show()
        for (const element of document.querySelectorAll('#app *')) {
            const attributes = [...element.attributes].map(attribute => [attribute.name, attribute.value])
            const told = {tag: element.localName, attributes: Object.fromEntries(attributes)}
            found.set(JSON.stringify(told), told)
        }
    }
    return [...found.values()]
}"""
SAID = "texts => (" + FOUND + ")(texts.flatMap(text => [() => stream([text], true), ...prefixes(text)]))"
GIVEN = "values => (" + FOUND + ")(values.map(it => () => window.value(it)))"


async def assert_harmless(it: Parts, found: list[dict[str, Any]]) -> None:
    """Only what the parts themselves make was in the document, and nothing ran."""
    assert found
    names = "aria-label aria-live aria-expanded class data-kind href rel role scope start tabindex"
    allowed = {*names.split(), "target", "title", "type"}
    for element in found:
        attributes = element["attributes"]
        assert element["tag"] in TAGS.split(), element
        assert set(attributes) <= allowed, element
        if element["tag"] == "a":
            assert attributes["href"].split(":")[0] in ("http", "https", "mailto"), element
            assert (attributes["rel"], attributes["target"]) == ("noopener noreferrer", "_blank")
    assert await it.page.evaluate("window.hit") is None


async def test_nothing_that_a_model_says_becomes_markup_or_asks_anybody(browser: Browser) -> None:
    """G11: as a whole, at every moment while it comes, and around other text."""
    async with parts(browser) as it:
        for text in HOSTILE:
            shapes = [text, f"so: {text} there", f"> {text}", f"- {text}"]
            await assert_harmless(it, await it.page.evaluate(SAID, shapes))


async def test_nothing_that_a_tool_gives_becomes_markup(browser: Browser) -> None:
    async with parts(browser) as it:
        for text in HOSTILE:
            values = [text, {text: [text]}, [[text]], {"__proto__": text, "artifact": text}]
            await assert_harmless(it, await it.page.evaluate(GIVEN, values))
        await it.page.evaluate("value => window.value(value)", HOSTILE[0])
        assert await it.page.locator("#app code").inner_text() == json.dumps(HOSTILE[0])


async def test_text_is_shown_the_same_whether_it_came_in_pieces_or_at_once(browser: Browser) -> None:
    text = "# One\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n\n## Two\n**bold** [a](https://a.example)\n\nend"
    async with parts(browser) as it:
        stream = "([pieces, done]) => stream(pieces, done)"
        shown, _ = await it.page.evaluate(stream, [list(text), False])
        _, done = await it.page.evaluate(stream, [list(text), True])
        _, whole = await it.page.evaluate(stream, [[text], True])
        assert shown[-1] == done == whole
        levels = "[...document.querySelectorAll('#app :is(h4, h5)')].map(each => each.localName)"
        headings = await it.page.evaluate(levels)
        assert headings == ["h4", "h5"]


async def test_a_block_that_is_done_keeps_its_element_while_the_text_goes_on(browser: Browser) -> None:
    """So that a selection, a scrolled table or a focused button outlives the next token."""
    async with parts(browser) as it:
        kept = await it.page.evaluate(
            """() => {
                const grow = growing('```\\ncode\\n```\\n\\nnext')
                const button = document.querySelector('.jl-code button')
                button.focus()
                grow(' and more\\n\\n- a list\\n\\nand')
                grow(' the end', true)
                const after = document.querySelector('.jl-code button')
                return [after === button, document.activeElement === button]
            }"""
        )
        assert kept == [True, True]


async def test_an_approval_is_sent_as_it_was_asked_for(browser: Browser) -> None:
    """G5: nothing that a person did not change is sent back, and it is sent once."""
    async with parts(browser) as it:
        await it.show("asking")
        card = it.page.get_by_role("article", name="May restart_service run?")
        await expect(card).to_contain_text("makes changes")
        await expect(card).to_contain_text("Connections are cut for about ten seconds.")
        await expect(card.get_by_role("group", name="Arguments")).to_contain_text('"postgresql@15-main"')
        await card.get_by_label("Reason").fill(" go ")
        await card.get_by_role("button", name="Approve").dblclick()
        await expect(card.get_by_role("status")).to_contain_text("the server has it")
        await expect(card.get_by_role("button", name="Approve")).to_be_disabled()
        assert await it.said() == [[CALL, {"approve": True, "reason": "go"}]]


async def test_a_denial_needs_no_mouse(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.get_by_label("Reason").focus()
        await it.page.keyboard.type("not now")
        await it.page.keyboard.press("Tab")
        await it.page.keyboard.press("Tab")
        await it.page.keyboard.press("Enter")
        await expect(it.page.get_by_role("status")).to_contain_text("Deny")
        assert await it.said() == [[CALL, {"approve": False, "reason": "not now"}]]


async def test_enter_in_the_reason_approves_nothing(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.get_by_label("Reason").fill("hm")
        await it.page.keyboard.press("Enter")
        assert await it.said() == []


async def test_edited_arguments_are_checked_while_they_are_typed(browser: Browser) -> None:
    """G11: the field at fault is named, and nothing wrong can be sent."""
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.get_by_role("button", name="Edit arguments").click()
        delay = it.page.get_by_label("delay_s")
        await delay.fill("601")
        await expect(it.page.get_by_text("delay_s must be 600 or less")).to_be_visible()
        await expect(delay).to_have_attribute("aria-invalid", "true")
        await expect(it.page.get_by_role("button", name="Approve")).to_be_disabled()
        await delay.fill("0")
        await it.page.get_by_label("environment").select_option("staging")
        await it.page.get_by_label("force").check()
        assert await it.violations() == []
        await it.page.get_by_role("button", name="Approve with changes").click()
        edited = ARGS | {"delay_s": 0, "environment": "staging", "force": True}
        assert await it.said() == [[CALL, {"approve": True, "args": edited}]]


async def test_arguments_can_be_edited_as_json_too(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.get_by_role("button", name="Edit arguments").click()
        await it.page.get_by_label("delay_s").fill("5")
        await it.page.get_by_role("button", name="Edit as JSON").click()
        area = it.page.get_by_label("Arguments, as JSON")
        assert json.loads(await area.input_value()) == ARGS | {"delay_s": 5}
        await area.fill('{"service": 5}')
        await expect(it.page.get_by_text("service: must be a string")).to_be_visible()
        await area.fill("{")
        await expect(it.page.get_by_text("is not JSON")).to_be_visible()
        await area.fill(json.dumps(ARGS | {"note": "x"}))
        await it.page.get_by_role("button", name="Approve with changes").click()
        assert await it.said() == [[CALL, {"approve": True, "args": ARGS | {"note": "x"}}]]


async def test_the_form_has_what_was_written_as_json(browser: Browser) -> None:
    """G5: what is sent is what was typed: no name is dropped, and none comes back."""
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.get_by_role("button", name="Edit arguments").click()
        await it.page.get_by_role("button", name="Edit as JSON").click()
        wanted = {"service": "web", "environment": "staging", "delay_s": 1, "force": None, "extra": ""}
        await it.page.get_by_label("Arguments, as JSON").fill(json.dumps(wanted))
        await it.page.evaluate("change('asking', {args_schema: {type: 'object'}})")
        await it.page.get_by_role("button", name="Edit as a form").click()
        await expect(it.page.get_by_label("extra")).to_have_value("")
        await it.page.get_by_role("textbox", name="service").fill("db")
        await it.page.get_by_role("button", name="Approve with changes").click()
        assert await it.said() == [[CALL, {"approve": True, "args": wanted | {"service": "db"}}]]


async def test_a_number_that_a_browser_has_rounded_says_so_where_one_decides(browser: Browser) -> None:
    """G5: nobody approves, or copies, another number than the one that is sent."""
    async with parts(browser) as it:
        await it.show("huge")
        await expect(it.page.get_by_text("(rounded by the browser)")).to_be_visible()
        await it.page.get_by_role("button", name="Copy").click()
        await expect(it.page.get_by_text("Copied")).to_be_visible()
        copied = json.loads(await it.page.evaluate("navigator.clipboard.readText()"))
        assert copied == {"id": "12345678901234567000 (rounded by the browser)"}
        await it.page.evaluate("value({ids: [1, 2 ** 60]})")
        await expect(it.page.get_by_text("(rounded by the browser)")).to_have_count(1)


async def test_arguments_that_a_browser_cannot_keep_are_not_edited(browser: Browser) -> None:
    """They would be sent back as others than were asked for."""
    async with parts(browser) as it:
        await it.show("huge")
        await expect(it.page.get_by_text("more digits than a browser can keep")).to_be_visible()
        assert await it.page.get_by_role("button", name="Edit arguments").count() == 0
        await it.page.get_by_role("button", name="Approve").click()
        assert await it.said() == [[CALL, {"approve": True}]]


async def test_what_the_server_refuses_stands_at_its_field(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.evaluate(
            """refuse(422, {detail: 'args.service: no such unit',
                errors: [{field: 'args.service', pointer: '/args/service', detail: 'no such unit'}]})"""
        )
        await it.page.get_by_role("button", name="Edit arguments").click()
        await it.page.get_by_role("textbox", name="service").fill("postgres")
        await it.page.get_by_role("button", name="Approve with changes").click()
        await expect(it.page.get_by_text("service no such unit")).to_be_visible()
        await expect(it.page.get_by_role("textbox", name="service")).to_have_attribute("aria-invalid", "true")
        await expect(it.page.get_by_role("button", name="Approve with changes")).to_be_enabled()
        await it.page.get_by_role("textbox", name="service").fill("postgresql")
        await expect(it.page.get_by_text("service no such unit")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "problem", "told"),
    [
        (
            409,
            {"detail": "x", "by": "user:bob", "at": "2026-11-22T12:03:00.000Z", "state": "denied"},
            "Your answer came too late: denied by user:bob at 12:03:00.",
        ),
        (404, {"detail": "no such thing, or not yours"}, "no such thing, or not yours"),
        (0, {}, "It is not known whether your answer arrived."),
    ],
)
async def test_an_answer_that_did_not_count_says_so(
    browser: Browser, status: int, problem: dict[str, Any], told: str
) -> None:
    """G5, G8: never a silent failure, and never a claim that nobody can make."""
    async with parts(browser) as it:
        await it.show("asking")
        await it.page.evaluate("([status, problem]) => refuse(status, problem)", [status, problem])
        await it.page.get_by_role("button", name="Deny").click()
        await expect(it.page.get_by_role("alert")).to_contain_text(told)
        await expect(it.page.get_by_role("button", name="Deny")).to_be_enabled()


async def test_a_call_tells_who_approved_it_and_what_they_changed(browser: Browser) -> None:
    """G5: what was asked for is still to be seen once something else has run."""
    async with parts(browser) as it:
        await it.show("answered", {"state": "granted", "args": ARGS | {"delay_s": 0}, "reason": "go"})
        await it.page.get_by_role("button", name="restart_service").click()
        card = it.page.get_by_role("group", name="restart_service")
        await expect(card).to_contain_text("approved by user:bob at 12:01:00: “go”")
        await expect(card.get_by_role("term")).to_have_text("delay_s")
        await expect(card.locator("del")).to_have_text("30")
        await expect(card.locator("ins")).to_have_text("0")


async def test_a_call_that_was_approved_as_it_was_shows_no_change(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("answered", {"state": "granted", "args": ARGS})
        await it.page.get_by_role("button", name="restart_service").click()
        await expect(it.page.get_by_text("approved by user:bob")).to_be_visible()
        assert await it.page.get_by_text("Changed before it ran").count() == 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"state": "denied", "reason": "no"}, "denied by user:bob"),
        ({"state": "expired", "by": "system"}, "not answered in time: that means no"),
        ({"state": "withdrawn", "by": "user:ana"}, "withdrawn, because the run was stopped"),
    ],
)
async def test_every_end_of_a_question_is_told(browser: Browser, fields: dict[str, str], told: str) -> None:
    async with parts(browser) as it:
        await it.show("answered", fields)
        await it.page.get_by_role("button", name="restart_service").click()
        await expect(it.page.get_by_role("group", name="restart_service")).to_contain_text(told)


async def test_a_question_tells_how_long_it_waits_and_what_silence_means(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("expiring")
        await expect(it.page.get_by_role("article")).to_contain_text("s left, then it is denied")


@pytest.mark.parametrize(
    ("choice", "result", "sent"),
    [
        ("It is done", '{"rows": 5}', {"outcome": "done", "result": {"rows": 5}}),
        ("It is done", "it worked", {"outcome": "done", "result": "it worked"}),
        ("It is done", "", {"outcome": "done"}),
        ("Run it again", None, {"outcome": "retry"}),
        ("Give up", None, {"outcome": "abort"}),
    ],
)
async def test_an_unknown_outcome_is_settled_by_a_person(
    browser: Browser, choice: str, result: str | None, sent: object
) -> None:
    """G6: nothing is chosen beforehand."""
    async with parts(browser) as it:
        await it.show("lost")
        card = it.page.get_by_role("article", name="What became of vacuum_full?")
        await expect(card.get_by_role("button", name="Answer")).to_be_disabled()
        await card.get_by_role("radio", name=choice).check()
        if result is not None:
            await card.get_by_role("textbox", name="Result").fill(result)
        await card.get_by_role("button", name=choice).click()
        assert await it.said() == [[CALL, sent]]


async def test_all_calls_of_a_step_are_answered_together_after_a_second_look(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("several")
        await it.page.get_by_role("button", name="Approve all").click()
        assert await it.said() == []
        await expect(it.page.get_by_role("list")).to_contain_text("path=/var/tmp/dump-3.sql.gz")
        await it.page.get_by_role("button", name="Cancel").click()
        await it.page.get_by_role("button", name="Deny all").click()
        await it.page.get_by_label("Reason").fill("not yet")
        await it.page.get_by_role("button", name="Deny 3 calls").click()
        await expect(it.page.get_by_role("status")).to_contain_text("the server has it", ignore_case=True)
        decisions = [
            {"call_id": f"{RUN}.{n}", "round": 1, "approve": False, "reason": "not yet"} for n in (1, 2, 3)
        ]
        assert await it.said() == [decisions]


@pytest.mark.parametrize("waiting", [[2, 3], [4, 5]], ids=["one-less", "next-step"])
async def test_what_was_confirmed_for_some_calls_is_not_said_of_others(
    browser: Browser, waiting: list[int]
) -> None:
    """G5: another has answered one, or the next step asks: what waits now is listed before it is answered."""
    async with parts(browser) as it:
        await it.show("several")
        await it.page.get_by_role("button", name="Approve all").click()
        await it.page.get_by_label("Reason").fill("I have read these three")
        await it.page.evaluate("numbers => change('several', numbers)", waiting)
        await it.page.get_by_role("button", name="Approve all").click()
        await expect(it.page.get_by_label("Reason")).to_have_value("")
        await it.page.get_by_role("button", name="Approve 2 calls").click()
        decisions = [{"call_id": f"{RUN}.{n}", "round": 1, "approve": True} for n in waiting]
        assert await it.said() == [decisions]


async def test_calls_that_come_later_are_not_answered_with_those_that_were_listed(browser: Browser) -> None:
    """G5: only what was read."""
    async with parts(browser) as it:
        await it.show("several", [1, 2])
        await it.page.get_by_role("button", name="Approve all").click()
        await it.page.evaluate("change('several', [1, 2, 3])")
        await expect(it.page.locator(".jl-step h3")).to_have_text("3 calls of this step wait for you")
        await it.page.get_by_role("button", name="Approve 2 calls").click()
        [decisions] = await it.said()
        assert [each["call_id"] for each in decisions] == [f"{RUN}.1", f"{RUN}.2"]


async def test_the_next_step_can_be_answered_as_one_too(browser: Browser) -> None:
    """G5: however late the server confirms the answer to the step before."""
    async with parts(browser) as it:
        await it.show("several")
        await it.page.evaluate("void (answer = () => new Promise(resolve => { window.arrives = resolve }))")
        await it.page.get_by_role("button", name="Approve all").click()
        await it.page.get_by_role("button", name="Approve 3 calls").click()
        await expect(it.page.get_by_role("status")).to_have_text("Sending …")
        await it.page.evaluate("change('several', [4, 5])")
        await it.page.evaluate("window.arrives()")
        await it.page.get_by_role("button", name="Deny all").click()
        await it.page.get_by_role("button", name="Deny 2 calls").click()
        assert [len(decisions) for decisions in await it.said()] == [3, 2]


async def test_an_answer_to_a_step_that_came_too_late_says_so(browser: Browser) -> None:
    """G5: also where what waits has changed by then."""
    async with parts(browser) as it:
        await it.show("several")
        await it.page.evaluate("refuse(409, {detail: 'x', by: 'user:bob'})")
        await it.page.get_by_role("button", name="Approve all").click()
        await it.page.get_by_role("button", name="Approve 3 calls").click()
        await expect(it.page.get_by_role("alert")).to_contain_text("answered meanwhile by user:bob")
        await it.page.evaluate("change('several', [2, 3])")
        await expect(it.page.get_by_role("button", name="Approve all")).to_be_visible()
        await expect(it.page.get_by_role("alert")).to_contain_text("answered meanwhile by user:bob")
        await it.page.evaluate("change('several', [3])")
        await expect(it.page.get_by_role("button", name="Approve all")).to_have_count(0)
        await expect(it.page.get_by_role("alert")).to_contain_text("answered meanwhile by user:bob")
        await it.page.evaluate("change('several', [4, 5])")
        await expect(it.page.get_by_role("alert")).to_have_count(0)


async def test_a_call_shows_what_it_was_given_and_what_it_came_to(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("tools")
        cards = it.page.locator(".jl-tool")
        states = [each.lower() for each in await it.page.locator(".jl-tool .jl-badge").all_inner_texts()]
        assert states == ["done", "done", "done", "failed", "done", "denied", "running"]
        await expect(cards.nth(0)).to_contain_text("host=db-3 depth=2")
        await expect(cards.nth(0)).to_contain_text("812 ms")
        await expect(cards.nth(3)).to_contain_text('relation "orders_2026" does not exist')
        await expect(cards.nth(4)).to_contain_text("Checks what migrate did")
        await expect(cards.nth(6).get_by_role("progressbar")).to_have_attribute("value", str(100 * 34 / 96))
        await expect(cards.nth(6)).to_contain_text("34 of 96")
        toggle = cards.nth(1).get_by_role("button", name="shell")
        await expect(toggle).to_have_attribute("aria-expanded", "false")
        await toggle.press("Enter")
        await expect(toggle).to_have_attribute("aria-expanded", "true")
        await cards.nth(1).get_by_role("button", name="Show all").click()
        await expect(cards.nth(1)).to_contain_text("/srv/39")
        await cards.nth(4).get_by_role("button", name="migrate").click()
        assert ["show", f"{RUN}.4"] in await it.said()


async def test_a_running_calls_duration_ticks(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("tool", 7)
        before = await it.page.locator(".jl-duration").inner_text()
        await expect(it.page.locator(".jl-duration")).not_to_have_text(before)


async def test_what_is_stored_aside_is_fetched_when_asked_for(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("tool", 3)
        await it.page.get_by_role("button", name="fetch_log").click()
        await expect(it.page.get_by_text("Large (48 kB)")).to_be_visible()
        async with it.page.expect_download() as downloading:
            await it.page.get_by_role("button", name="Download").click()
        download = await downloading.value
        assert await anyio.Path(await download.path()).read_text() == "line one\nline two <b>\n"
        assert download.suggested_filename == f"{RUN}.3-result.txt"
        await it.page.get_by_role("button", name="Show all").click()
        await expect(it.page.get_by_text("line two <b>")).to_be_visible()
        assert await it.said() == [["artifact", RUN, f"{RUN}.3:result"]] * 2


async def test_json_is_walked_through_by_key_and_copied(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("json")
        tree = it.page.get_by_role("group", name="Facts")
        many = tree.get_by_role("button", name="many")
        await many.focus()
        await it.page.keyboard.press("ArrowRight")
        await expect(many).to_have_attribute("aria-expanded", "true")
        await expect(tree.get_by_role("button", name="70 more")).to_be_visible()
        await it.page.keyboard.press("ArrowLeft")
        await expect(many).to_have_attribute("aria-expanded", "false")
        await it.page.keyboard.press("ArrowDown")
        await expect(tree.get_by_role("button", name="deep")).to_be_focused()
        await expect(tree).to_contain_text("turned \\u{202e}around")
        await tree.get_by_role("button", name="Show all 900 characters").click()
        await expect(tree).to_contain_text("x" * 900)
        await tree.get_by_role("button", name="Copy").click()
        await expect(tree.get_by_text("Copied")).to_be_visible()
        copied = json.loads(await it.page.evaluate("navigator.clipboard.readText()"))
        assert copied["deep"] == {"a": {"b": {"c": {"d": 1}}}}


async def test_the_receipt_tells_first_what_nobody_knows(browser: Browser) -> None:
    """G4."""
    async with parts(browser) as it:
        await it.show("receipt")
        lines = await it.page.get_by_role("listitem").all_inner_texts()
        assert [line.split()[0] for line in lines] == ["resize", "copy_backup", "disk_usage", "notify"]
        receipt = it.page.get_by_role("group", name="Receipt of the stop")
        for words in ("Quiet after 412 ms", "user:ana", "the wrong host", "was cut off", "is unknown"):
            await expect(receipt).to_contain_text(words)
        await expect(receipt).to_contain_text(
            "What became of one call is unknown: look at what it was to change."
        )
        await it.show("receipt", "read_only")
        await expect(receipt).to_contain_text("What became of one call is unknown; it only reads.")


async def test_the_timeline_tells_where_the_time_went(browser: Browser) -> None:
    async with parts(browser) as it:
        await it.show("past")
        side = it.page.get_by_label("Timeline and figures")
        for words in ("Model, step 1", "Pause before asking again", "rate limit", "Tokens in", "4,424"):
            await expect(side).to_contain_text(words)
        await side.get_by_role("button", name="migrate").click()
        assert await it.said() == [["span", f"{RUN}.4"]]


@pytest.mark.parametrize("width", [1200, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(
    browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    async with parts(browser, scheme=scheme, width=width, reduced=True) as it:
        await it.page.evaluate("gallery()")
        await it.page.get_by_role("button", name="Edit arguments").first.click()
        await it.page.get_by_role("button", name="Approve all").click()
        await it.page.evaluate(
            "document.querySelectorAll('.jl-tool-toggle[aria-expanded=false]').forEach(each => each.click())"
        )
        await expect(it.page.locator(".jl-tool-toggle[aria-expanded=false]")).to_have_count(0)
        assert await it.violations() == []
        assert await it.page.evaluate("document.documentElement.scrollWidth") <= width
        if width < 400:
            await assert_roomy(it.page.locator("#app :is(button, summary, input, select, textarea)"))
        SHOTS.mkdir(parents=True, exist_ok=True)
        await it.page.screenshot(path=SHOTS / f"parts-{scheme}-{width}.png", full_page=True)


async def assert_roomy(targets: Locator) -> None:
    """A finger hits them: 44 px, or a label around them that has as much."""
    small = await targets.evaluate_all(
        """all => all.filter(each => {
            const target = each.closest('label, .jl-switch') ?? each
            return each.getClientRects().length > 0 && target.getBoundingClientRect().height < 44
        }).map(each => each.outerHTML.slice(0, 120))"""
    )
    assert small == []


async def test_nothing_moves_for_who_wants_no_motion(browser: Browser) -> None:
    async with parts(browser, reduced=True) as it:
        await it.show("tools")
        moving = await it.page.evaluate("document.getAnimations().length")
        assert moving == 0
