"""The line that is typed, the Markdown that is said, and the screen: without a terminal."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from jackline.cli.line import Enter, LineEditor
from jackline.cli.markdown import Blocks, rendered
from jackline.cli.screen import Line, Paint, Screen, reflows
from jackline.cli.since import moment
from tests.cli.terminal import lines_shown


@pytest.mark.parametrize(
    ("typed", "text", "at"),
    [
        ("abc", "abc", 3),
        ("abc\x1b[D\x1b[DX", "aXbc", 2),
        ("abc\x01X\x05Y", "XabcY", 5),
        ("one two\x17", "one ", 4),
        ("one two\x15", "", 0),
        ("one two\x1b[H\x0b", "", 0),
        ("abc\x1bOD\x1b[3~", "ab", 2),
        ("größe\x7f\x7f", "grö", 3),
        ("a\x1b[200~b\r\nc\x1b[201~d", "ab\ncd", 5),
        ("a\x1b\rb", "a\nb", 3),
        ("a\x00\x1b[99;5~\u202eb", "ab", 2),
        ("one two\x1bb\x1bf", "one two", 7),
    ],
)
def test_keys_do_what_they_do_in_a_shell(typed: str, text: str, at: int) -> None:
    whole = LineEditor()
    assert whole.feed(typed, 0) == []
    assert (whole.text, whole.at) == (text, at)
    if re.search(r"\x1b[^\[O]", typed):
        return  # Alt and a key is not told from Esc and a key but by its coming at once
    # A slow line may bring a key's bytes one by one.
    slow = LineEditor()
    assert [key for char in typed for key in slow.feed(char, 0) if key != "escape"] == []
    assert (slow.text, slow.at) == (text, at)


def test_enter_escape_and_the_end() -> None:
    line = LineEditor()
    assert line.feed("yes\r", 0) == [Enter(text="yes")]
    assert line.feed("\x1b", 1) == ["escape"]
    assert line.feed("\x1b\x1b", 2) == ["escape", "escape"]
    assert line.feed("\x04", 3) == ["end"]
    assert line.feed("a\x01\x04", 4) == []
    assert line.text == ""
    line.single = frozenset("s")
    assert line.feed("s", 5) == [Enter(text="s")]
    assert line.feed("xs", 6) == []


def test_lines_that_were_said_come_back() -> None:
    line = LineEditor()
    for said in ("one", "two"):
        line.remember(said)
    line.feed("draft\x1b[A", 0)
    assert line.text == "two"
    line.feed("\x1b[A\x1b[A", 0)
    assert line.text == "one"
    line.feed("\x1b[B\x1b[B", 0)
    assert line.text == "draft"


PIECES = (
    *("word", " ", "\n", "\n\n", "# ", "- ", "1. ", "> ", "```\n", "    ", "|", "---", "**", "`", "*", "~~"),
    *("[a](http://b)", "![a](b)", "<b>", "&amp;", "&#27;", "[r]: http://x\n", "\t"),
    "| a | b |\n|---|---|\n",
)
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@settings(deadline=None, max_examples=40)
@example("- word", 1, 1)
@example("~~~~word |\ncode\n~~~~", 3, 30)
@example("| a | b |\n|---|---|\n| c | d | word |\n", 7, 60)
@example("> > > > > word", 7, 20)
@example("- a\n  - b\n    - c\n      - word", 7, 12)
@example("1. 1. 123456789. word", 7, 17)
@example("> ```\n> word\n> ```", 7, 6)
@given(MARKDOWN, st.integers(1, 7), st.integers(1, 80))
def test_markdown_loses_no_word_however_it_is_cut(text: str, step: int, width: int) -> None:
    """Every character of it is handed out once, and every word is shown, at any width."""
    blocks = Blocks()
    parts = [blocks.feed(text[at : at + step]) for at in range(0, len(text), step)]
    parts = [part for part in [*parts, blocks.rest()] if part]
    assert "".join("\n".join(parts).split()) == "".join(text.split())
    paint = Paint(Console(file=io.StringIO(), force_terminal=True, color_system=None))
    lines = [line for part in parts for line in paint.lines(rendered(part), width)]
    shown = "".join("".join(line.ansi for line in lines).split())
    assert shown.count("w") == text.count("w")
    assert all(line.cells <= max(width, 8) for line in lines)
    assert not any(line.ansi.count("\n") for line in lines)


WORDS = st.lists(st.text("ab界 ", max_size=18), max_size=6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(WORDS, WORDS, st.integers(0, 5)), min_size=1, max_size=8))
def test_what_is_painted_is_what_is_meant(paints: list[tuple[list[str], list[str], int]]) -> None:
    """Whatever was there before: what was committed, each line once, and under it the region."""
    written: list[str] = []
    screen = Screen(written.append, lambda: os.terminal_size((40, 12)), reflows=lambda: True)
    committed: list[str] = []
    paint = Paint(Console(file=io.StringIO(), force_terminal=True, color_system=None))

    def made(texts: list[str]) -> list[Line]:
        from rich.text import Text

        return [paint.long_line(Text(text)) for text in texts]

    region: list[str] = []
    for commit, region, row in paints:
        committed += commit
        screen.paint(made(commit), made(region), (min(row, max(len(region) - 1, 0)), 0))
    shown = lines_shown("".join(written).replace("\n", "\r\n").encode(), 40, 12)
    wanted = [text.rstrip() for text in [*committed, *region]]
    while wanted and not wanted[-1]:
        wanted.pop()
    assert [line.rstrip() for line in shown] == wanted
    screen.close()
    left = lines_shown("".join(written).replace("\n", "\r\n").encode(), 40, 12)
    while committed and not committed[-1].rstrip():
        committed.pop()
    assert [line.rstrip() for line in left] == [text.rstrip() for text in committed]


def test_a_narrower_window_has_made_more_rows_of_the_region() -> None:
    """The cursor goes up past all of them where the terminal breaks lines anew, and else past its own."""
    size = os.terminal_size((80, 24))

    def moved(*, breaks: bool) -> str:
        nonlocal size
        size = os.terminal_size((80, 24))
        written: list[str] = []
        screen = Screen(written.append, lambda: size, reflows=lambda: breaks)
        region = [Line(ansi="x" * 70, cells=70), Line(ansi="y" * 30, cells=30), Line(ansi="z", cells=1)]
        screen.paint((), region, (2, 0))
        size = os.terminal_size((40, 24))
        screen.paint((), region, (2, 0))
        return written[-1]

    assert "\r\x1b[3A\x1b[J" in moved(breaks=True)
    assert "\r\x1b[2A\x1b[J" in moved(breaks=False)


@pytest.mark.parametrize(
    ("variables", "breaks"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "screen", "STY": "1"}, False),
        ({"TERM": "screen-256color", "TMUX": "x", "XTERM_VERSION": "x"}, True),
        ({"TERM": "linux"}, False),
    ],
)
def test_which_terminals_break_lines_anew(variables: dict[str, str], breaks: Literal[True, False]) -> None:
    assert reflows(variables) is breaks


NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("0.5s", NOW - timedelta(milliseconds=500)),
        ("99999999w", datetime.min.replace(tzinfo=UTC)),
        ("17", 17),
        ("2026-11-28T12:00Z", NOW),
        ("2026-11-28T13:00:00+01:00", NOW),
    ],
)
def test_since_is_a_span_a_time_or_an_entry(text: str, wanted: object) -> None:
    assert moment(text, NOW) == wanted


@pytest.mark.parametrize("text", ["", "soon", "10x", "-5m", "m"])
def test_since_says_what_it_takes(text: str) -> None:
    with pytest.raises(ValueError, match="neither a span"):
        moment(text, NOW)
