"""Which view a command has: lines, or a live one where the terminal can do that. Imports rich."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.theme import Theme

from jackline.cli.blocks import ASCII_SIGNS, Signs
from jackline.cli.line import LineEditor
from jackline.cli.live_view import LiveView
from jackline.cli.output import write_whole
from jackline.cli.screen import Screen, reflows, terminal_size
from jackline.cli.text_view import SafeConsole, TextView

if TYPE_CHECKING:
    from jackline.cli.view import View

_THEME: Final = Theme(
    {
        # Rich's own have a black ground, which is a bar on a light terminal.
        "markdown.code": "cyan",
        "markdown.code_block": "cyan",
        "markdown.block_quote": "italic",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A view, and what edits the line that is typed into it; None where the terminal does."""

    view: View
    editor: LineEditor | None


def seen(*, asks: bool, said: bool, full: bool, speaks: bool) -> Seen:
    """The best view that stdout can show."""
    if not is_live():
        return Seen(view=TextView(asks=asks, said=said, full=full), editor=None)
    editor = LineEditor() if sys.stdin.isatty() else None
    view = LiveView(
        console=console(),
        screen=screen(),
        editor=editor,
        signs=signs(),
        asks=asks,
        said=said,
        full=full,
        speaks=speaks,
    )
    return Seen(view=view, editor=editor)


def is_live() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and not console().is_dumb_terminal


def console() -> SafeConsole:
    """A console whose text is nobody's markup."""
    return SafeConsole(markup=False, emoji=False, highlight=False, theme=_THEME, force_terminal=True)


def screen() -> Screen:
    """The bottom of stdout."""
    file = sys.stdout.fileno()
    return Screen(write_whole, lambda: terminal_size(file), reflows=_reflows)


def signs() -> Signs:
    """What stdout's encoding has."""
    return Signs() if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else ASCII_SIGNS


def _reflows() -> bool:
    # Imported when a window gets narrower, and not for each command.
    from jackline.settings import environment

    return reflows(environment())
