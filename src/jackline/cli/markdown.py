"""Narration that is Markdown, as it streams: what is finished, and how it looks.

A model's text is shown as it is, Markdown or not: what the parser would swallow (HTML, link
definitions, images) stays text, line breaks stay line breaks, and a link shows where it leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from markdown_it import MarkdownIt
from rich import box
from rich.markdown import (
    CodeBlock,
    Heading,
    Markdown,
    MarkdownElement,
    TableElement,
)
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_DEEPEST: Final = 12
"""Nesting that is shown as such. The parser drops what lies deeper than its own limit."""
_CELL: Final = 8
"""Columns that a table's cell needs to be read."""

_QUOTE: Final = 4
_BULLET: Final = 3
_CODE: Final = 2
"""Columns that each level of a quote or a list takes, and code; a number takes its digits and two more."""
_LEAST: Final = 4
"""Columns that must be left for the text in them. In none it would be lost."""


def parser() -> MarkdownIt:
    """What is taken for Markdown."""
    made = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    return made.disable(["html_block", "html_inline", "reference", "image"])


class Blocks:
    """Text as it comes, cut into blocks of Markdown. Every character is handed out once."""

    def __init__(self) -> None:
        self._parser = parser()
        self.open = ""
        """What may still change its look."""
        self._look_at = 0

    def feed(self, text: str) -> str:
        """Add text; what is finished by now, "" for nothing."""
        self.open += text
        if "\n" not in text or len(self.open) < self._look_at:
            return ""
        # Only whole lines: what begins as text may become a list's next item.
        whole, _, _ = self.open.rpartition("\n")
        begins = self._last_block(whole + "\n")
        if not begins:
            # A long block is not parsed for each of its lines, which would take the square of its time.
            self._look_at = len(self.open) + len(self.open) // 16
            return ""
        self._look_at = 0
        lines = self.open.split("\n")
        self.open = "\n".join(lines[begins:])
        return "\n".join(lines[:begins])

    def rest(self) -> str:
        """Everything that was held back; nothing more comes."""
        rest, self.open, self._look_at = self.open, "", 0
        return rest

    def _last_block(self, text: str) -> int:
        """The line that the last of several blocks begins with, 0 where there is but one."""
        begins = [token.map[0] for token in self._parser.parse(text) if token.level == 0 and token.map]
        return begins[-1] if len(set(begins)) > 1 else 0


def rendered(text: str) -> RenderableType:
    """How a piece of Markdown looks."""
    tokens = parser().parse(text)
    if any(token.level > _DEEPEST for token in tokens) or _drops_cells(text, tokens):
        return Text(text.strip("\n"))
    return _Narration(text, tokens)


class _Code(CodeBlock):
    """As it is, without a frame: it is to be copied. What stands behind the fence, its language mostly, is
    above it."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Code:
        del markdown
        return cls(token.info.strip(), "")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        code = self.text.copy()
        code.rstrip()
        code.stylize("cyan")
        if self.lexer_name:
            yield Padding(Text(self.lexer_name, style="dim"), (0, 0, 0, _CODE), expand=False)
        yield Padding(code, (0, 0, 0, _CODE), expand=False)


class _Heading(Heading):
    """On the left, where the text is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        text = self.text.copy()
        text.justify = "left"
        text.stylize("bold underline" if self.tag in {"h1", "h2"} else "bold")
        yield text


class _Table(TableElement):
    """Nothing cut off: a cell is broken into lines, and a table that is too narrow for that is a list."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        head = [cell.content for cell in self.header.row.cells] if self.header and self.header.row else []
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        if len(head) * _CELL > options.max_width:
            for row in rows or [head]:
                for title, cell in zip(head, row, strict=False):
                    yield Text.assemble((title.plain, "bold"), ": ", cell) if rows else cell
            return
        table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
        for title in head:
            table.add_column(title, overflow="fold", justify=title.justify or "default")
        for row in rows:
            table.add_row(*row)
        yield table


class _Narration(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "table_open": _Table,
    }

    def __init__(self, markup: str, tokens: Sequence[Token]) -> None:
        super().__init__("", hyperlinks=False)
        self.markup = markup
        self.parsed = [_kept(token) for token in tokens]
        self._indent = _indent(tokens)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._indent and options.max_width < self._indent + _LEAST:
            yield Text(self.markup.strip("\n"))
        else:
            yield from super().__rich_console__(console, options)


def _drops_cells(text: str, tokens: Sequence[Token]) -> bool:
    """Whether the parser has left something of a table out, as it does with cells beyond its head's."""
    lines = text.split("\n")
    missing, within = 0, False
    for token in tokens:
        if token.type == "table_open" and token.map is not None:
            missing += _letters("\n".join(lines[slice(*token.map)]))
            within = True
        elif token.type == "table_close":
            within = False
        elif token.type == "inline" and within:
            missing -= _letters(token.content)
    return missing > 0


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))  # not digits: a list's own stand before a table in it


def _indent(tokens: Sequence[Token]) -> int:
    """How many columns the deepest lists, quotes and code take from their text, at most."""
    taken: list[int] = []
    most = 0
    for token in tokens:
        match token.type:
            case "blockquote_open":
                taken.append(_QUOTE)
            case "bullet_list_open":
                taken.append(_BULLET)
            case "ordered_list_open":
                taken.append(len(str(int(token.attrs.get("start", 1)) + len(tokens))) + 2)
            case "blockquote_close" | "bullet_list_close" | "ordered_list_close":
                taken.pop()
            case _:
                pass
        own = _CODE if token.type in {"fence", "code_block"} else 0
        most = max(most, sum(taken) + own)
    return most


def _kept(token: Token) -> Token:
    """A line break of the model's is one here: terminals show lists of figures that are no lists."""
    for child in token.children or ():
        if child.type == "softbreak":
            child.type = "hardbreak"
    return token
