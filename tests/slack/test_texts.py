"""Markdown to mrkdwn, long texts to pieces: nothing is lost, nothing is injected."""

from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackline.slack import forms
from jackline.slack.mrkdwn import block, code, one_line, render, request, visible
from jackline.slack.pieces import LIMIT, pieces
from jackline.slack.story import Question
from tests.slack.limits import pings


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** and *it* and ~~gone~~", "*bold* and _it_ and ~gone~"),
        ("# Head\n\ntext", "*Head*\n\ntext"),
        ("- a\n- b\n  - c", "• a\n• b\n    • c"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("> a\n> b", ">a\n>b"),
        ("`a<b`", "`a&lt;b`"),
        ("```py\nx < 1 && y\n```", "```\nx &lt; 1 &amp;&amp; y\n```"),
        ("[docs](https://x.example/?a=1&b=2)", "<https://x.example/?a=1&amp;b=2|docs>"),
        ("<https://x.example>", "<https://x.example>"),
        ("[x.example/a](https://x.example/b)", "<https://x.example/b|x.example/a>"),
        ("[bank.example](https://evil.example)", "<https://evil.example|bank.example> (evil.example)"),
        ("[10.0.0.1](https://evil.example)", "<https://evil.example|10.0.0.1> (evil.example)"),
        ("[10.0.0.1](https://10.0.0.1)", "<https://10.0.0.1|10.0.0.1>"),
        ("[version 1.2](https://x.example)", "<https://x.example|version 1.2>"),
        ("[x.example.com](https://x.example)", "<https://x.example|x.example.com> (x.example)"),
        ("[boss@x.example](mailto:eve@y.example)", "<mailto:eve@y.example|boss@x.example> (eve@y.example)"),
        ("[a.py](https://[::1)", "<https://:1%5B:|a.py> (https://:1%5B:)"),
        ("![cat](https://x.example/c.png)", "<https://x.example/c.png|cat>"),
        ("| a | bb |\n|---|---|\n| ccc | d |", "```\na    bb\nccc  d\n```"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("---", "———"),
        ("<b>html</b>", "&lt;b&gt;html&lt;/b&gt;"),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, mrkdwn: str) -> None:
    assert render(markdown) == mrkdwn


@pytest.mark.parametrize(
    "markdown",
    [
        "<!channel>",
        "<!subteam^S1>",
        "<@UBOB|bob>",
        "[x](!channel)",
        "[x](<!channel>)",
        "[x](@UBOB)",
        "[<!here>](https://x.example)",
        "[x](https://x.example|<!here>)",
        "[x](<https://x.example> '<!here>')",
        "[x](javascript:alert)",
        "`<!channel>`",
        "```\n<!channel>\n```",
        "```\n``` \n<!channel>",
        "| <!here> | a |\n|---|---|\n| <@UBOB> | b |",
        "![<!channel>](x)",
        "<!channel\n>",
        "&lt;!channel&gt;",
        "&#60;!channel>",
        "\\<!channel\\>",
    ],
)
def test_no_text_becomes_a_mention(markdown: str) -> None:
    """An agent's words must never ping a channel; `verbatim` keeps Slack from reading plain ones."""
    block_ = {"type": "section", "text": {"type": "mrkdwn", "text": render(markdown), "verbatim": True}}
    assert pings({"text": "", "blocks": [block_]}, edited=True) == []


LINK = re.compile(r"<(https?://|mailto:)[^<>|\s]*(\|[^<>]*)?>")


@settings(deadline=None)
@given(st.text(alphabet="<>!@#|&[](){}`*_~- \nabUC0^:/h\\.'\""))
def test_whatever_is_said_only_links_made_here_are_links(markdown: str) -> None:
    assert "<" not in LINK.sub("", render(markdown))


def test_the_stand_in_knows_a_ping_when_it_sees_one() -> None:
    """Else the tests above could not fail."""
    plain = {"type": "section", "text": {"type": "mrkdwn", "text": "@here"}}
    assert pings({"text": "<!channel>"}, edited=False) == ["<!channel"]
    assert pings({"text": "@here"}, edited=True) == ["@here"]
    assert pings({"text": "", "blocks": [plain]}, edited=False) == ["@here"]


def test_what_a_person_decides_on_hides_nothing() -> None:
    assert visible("rm \u202e/tmp\u200b") == "rm \\u202e/tmp\\u200b"
    assert one_line("a\n  b", 10) == "a b"
    assert code("a`b") == "`a\u02cbb`"
    assert block("```") == "```\n`\u200b`\u200b`\n```"


@pytest.mark.parametrize("signs", range(12))
def test_a_block_of_code_ends_where_it_was_made_to_end(signs: int) -> None:
    """G11: else arguments could write "approved" below themselves, as if the bridge had said it."""
    text = "`" * signs + "\n*Approved* by user:ana"
    for made in (block(text), render(f"~~~\n{text}\n~~~")):
        assert made.startswith("```\n")
        assert "```" not in made[3:-3]


def test_a_form_hides_nothing_and_sends_what_was_asked() -> None:
    """G11: who approves in the form sees each sign, and unchanged they are the same arguments."""
    args = {"path": "rm \u202e/tmp\u200b\U000e0041\x7f\ud800 `é` 😀"}
    question = Question(call_id="c.1.1", round=1, kind="call", name="x", state="pending", args=args)
    form = forms.edit("c.1.1", 1, question)
    assert form is not None
    said = form["blocks"][0]["element"]["initial_value"]
    assert "rm \\u202e/tmp\\u200b\\udb40\\udc41\\u007f\\ud800 `é` 😀" in said
    assert json.loads(said) == args


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("<@UBOT> look at this", "look at this"),
        ("hey <@UBOT>, look", "hey  , look"),
        ("<@UBOT> a &lt;b&gt; &amp; c", "a <b> & c"),
        ("<@UBOT> ask <@UBOB> in <#C1|general>", "ask @UBOB in #general"),
        ("<@UBOT> see <https://x.example/a|x.example/a>", "see x.example/a"),
        ("<@UBOT> see <https://x.example/a>", "see https://x.example/a"),
        ("<@UBOT> see <https://x.example/a|the docs>", "see the docs (https://x.example/a)"),
        ("<@UBOT> <mailto:a@b.example|a@b.example>", "a@b.example"),
        ("<@UBOT> tell <!channel> and <!subteam^S1|@ops>", "tell @channel and @ops"),
        ("<@UBOT>", ""),
    ],
)
def test_what_was_typed_is_what_is_asked(typed: str, text: str) -> None:
    assert request(typed, "UBOT") == text


PARAGRAPHS = st.lists(
    st.sampled_from(
        [
            "word " * 30,
            "x" * 900,
            "a < b & c\n" * 20,
            "```py\ncode\n" + "y = 1 < 2\n" * 60 + "```",
            "é😀" * 200,
            "short",
        ]
    ),
    max_size=12,
).map("\n\n".join)


def words(text: str) -> str:
    """What is to be read, fences of cut blocks left out."""
    return "".join(re.sub(r"^```.*$", "", text, flags=re.MULTILINE).split())


@settings(max_examples=40, deadline=None)
@given(PARAGRAPHS)
def test_pieces_hold_the_whole_text_once_and_fit(text: str) -> None:
    """G1."""
    found = pieces(text)
    assert words("\n".join(found)) == words(text)
    for piece in found:
        assert len(render(piece)) <= 3000
        assert piece.count("```") % 2 == 0


@settings(max_examples=40, deadline=None)
@given(PARAGRAPHS, st.data())
def test_pieces_before_the_last_stay_as_a_text_grows(text: str, data: st.DataObject) -> None:
    """Else what was posted would have to be said again elsewhere."""
    shorter = text[: data.draw(st.integers(0, len(text)))]
    before, after = pieces(shorter), pieces(text)
    kept = before[:-1]
    assert after[: len(kept)] == kept


def test_a_text_is_cut_between_paragraphs() -> None:
    text = "\n\n".join(["a" * 700] * 6)
    assert [len(piece.strip()) for piece in pieces(text)] == [2104, 2104]
    assert html.unescape(render(pieces("<" * LIMIT)[0])) == "<" * (LIMIT // 4)


@pytest.mark.parametrize("head", ["```" + "x" * 2590, "```" + "x" * 9000, "`" * 2600, "`" * 9000])
def test_a_fence_as_long_as_a_message_comes_to_an_end(head: str) -> None:
    """A model that leaves out the line break behind a fence does not hold up the bridge."""
    found = pieces(f"{head}\n" + "y" * 9000)
    assert len(found) < 12
    assert "".join(found).count("y") == 9000
    assert all(len(render(piece)) <= 3000 for piece in found if "y" in piece)
