"""Markdown to Slack's mrkdwn, and Slack's text to plain text. Pure.

What an agent says is not trusted: nothing in it may become a mention. In mrkdwn those are `<!channel>`,
`<@U…>`, `<#C…>`; so every `<` that is not of a link made here is escaped, and links are made to web and mail
addresses only. Plain `@channel` is left to `verbatim` (see `drawing.py`), which keeps Slack from reading it.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

if TYPE_CHECKING:
    from re import Match

_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_LINKS: Final = ("http://", "https://", "mailto:")
_COST: Final = {"&": 5, "<": 4, ">": 4}
_FENCE: Final = re.compile("`{3,}")
_ADDRESS: Final = re.compile(r"[^\s.]\.[^\W\d_]{2}|\d(?:\.\d+){3}")
_ENTITY: Final = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and LF
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of text
    "\u200b\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible ones
    "\ud800-\udfff]"  # halves of characters
)


def escape(text: str) -> str:
    """`text` as Slack shows it, whatever stands in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def visible(text: str) -> str:
    """`text` with what could make it read as another one written out, as in JSON: for what a person decides
    on."""
    return _UNSAFE.sub(_written_out, text)


def _written_out(found: Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def size(text: str) -> int:
    """The length of `text` for Slack's limits. Whether a sign beyond the basic plane counts once or twice
    Slack does not say; it does where strings are UTF-16."""
    return sum(map(_units, text))


def _units(sign: str) -> int:
    return 2 if sign > "\uffff" else 1


def fitting(text: str, limit: int, *, escaped: bool = False) -> int:
    """How many characters of `text` take at most `limit` once they are escaped; `escaped`: they are."""
    cost = 0
    for at, sign in enumerate(text):
        cost += _units(sign) if escaped else _COST.get(sign, _units(sign))
        if cost > limit:
            return at
    return len(text)


def one_line(text: str, limit: int) -> str:
    """`text` on one line, not escaped yet, of at most `limit` characters when it is. A fence in it would pair
    with that of a block of code near it."""
    line = _unfenced(" ".join(visible(text).split()))
    return line if fitting(line, limit) == len(line) else line[: fitting(line, limit - 1)] + "…"


def code(text: str) -> str:
    """`text` in backquotes."""
    return f"`{escape(text.replace('`', 'ˋ'))}`"  # noqa: RUF001 - it looks like what it stands for


def block(text: str) -> str:
    """`text` as a block of code. A fence within it would end it early, and what follows would be read as if
    the bridge had said it."""
    kept = escape(_unfenced(text))
    return f"```\n{kept}\n```"


def _unfenced(text: str) -> str:
    return _FENCE.sub(lambda found: "\u200b".join(found[0]), text)


def link(url: str, text: str) -> str:
    """A link made here, of an address of our own."""
    return f"<{_address(url)}|{escape(text)}>"


def render(markdown: str) -> str:
    """Markdown as mrkdwn."""
    return _blocks(SyntaxTreeNode(_PARSER.parse(_UNSAFE.sub("", markdown))), "\n\n")


def unrendered(markdown: str) -> str:
    """Markdown as it was written, for what takes too much room as mrkdwn."""
    return escape(_UNSAFE.sub("", markdown))


def says_stop(request: str) -> bool:
    """Whether what a person wrote asks to stop, and nothing else."""
    return request.lower().strip(" .!") == "stop"


def request(text: str, bot: str) -> str:
    """What a person wrote to the bot: its mention left out, links and mentions as plain text."""

    def plain(found: Match[str]) -> str:
        target, label = found[1], found[2]
        match target[:1]:
            case "@" if target[1:] == bot:
                return " "
            case "@" | "#":
                return target[0] + (label or target[1:])
            case "!":
                return label or "@" + target[1:].partition("^")[0]
            case _:
                # Slack makes links of what looks like one: that is what was typed.
                typed = (
                    label and target.removesuffix("/").endswith(f"/{label}")
                ) or target == f"mailto:{label}"
                return label if label and typed else f"{label} ({target})" if label else target

    return html.unescape(_ENTITY.sub(plain, text)).strip()


# -- blocks ------------------------------------------------------------------------------------


def _blocks(node: SyntaxTreeNode, between: str) -> str:
    return between.join(filter(None, (_block(child) for child in node.children)))


def _block(node: SyntaxTreeNode) -> str:
    match node.type:
        case "heading":
            return f"*{_inlines(node).replace('*', '')}*"
        case "fence" | "code_block":
            return block(node.content.rstrip("\n"))
        case "bullet_list" | "ordered_list":
            return _list(node)
        case "blockquote":
            return "\n".join(f">{line}" for line in _blocks(node, "\n").splitlines())
        case "hr":
            return "———"
        case "table":
            return _table(node)
        case _:
            return _inlines(node)


def _list(node: SyntaxTreeNode) -> str:
    first = int(node.attrs.get("start", 1))
    lines: list[str] = []
    for number, item in enumerate(node.children, first):
        mark = "•" if node.type == "bullet_list" else f"{number}."
        head, *rest = _blocks(item, "\n").splitlines() or [""]
        lines += [f"{mark} {head}", *(f"    {line}" for line in rest)]
    return "\n".join(lines)


def _table(node: SyntaxTreeNode) -> str:
    """Slack has no tables: as columns of a block of code."""
    rows = [
        ["".join(_text(child) for child in cell.children) for cell in row.children]
        for part in node.children
        for row in part.children
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return block("\n".join(lines))


# -- what stands in a line ---------------------------------------------------------------------


def _inlines(node: SyntaxTreeNode) -> str:
    return "".join(map(_inline, node.children))


def _inline(node: SyntaxTreeNode) -> str:  # noqa: PLR0911 - one for each kind
    match node.type:
        case "text":
            return escape(node.content)
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            return code(node.content)
        case "strong":
            return _around("*", node)
        case "em":
            return _around("_", node)
        case "s":
            return _around("~", node)
        case "link":
            return _link(str(node.attrs.get("href", "")), _text(node))
        case "image":
            return _link(str(node.attrs.get("src", "")), node.content or "image")
        case "inline":
            return _inlines(node)
        case _:
            return escape(node.content) if not node.children else _inlines(node)


def _around(mark: str, node: SyntaxTreeNode) -> str:
    inner = _inlines(node)
    return f"{mark}{inner}{mark}" if inner.strip() else inner


def _text(node: SyntaxTreeNode) -> str:
    """The words alone, not escaped."""
    if node.type in ("softbreak", "hardbreak"):
        return " "
    return "".join(map(_text, node.children)) if node.children else node.content


def _link(url: str, text: str) -> str:
    if not url.lower().startswith(_LINKS):
        return escape(f"{text} ({url})" if url else text)
    if text == url or "://" in text or text.lower().startswith("www."):
        # A text that reads as an address, over a link to another one, would deceive.
        return f"<{_address(url)}>"
    shown = f"<{_address(url)}|{escape(text)}>"
    # What looks like a host, or is a file's name: where it leads is said too.
    if _ADDRESS.search(text) and text.lower().partition("/")[0] != (host := _host(url)):
        shown += f" ({escape(host)})"
    return shown


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return parts.hostname or parts.path or url


def _address(url: str) -> str:
    """No sign in it may end the link, nor begin another."""
    url = url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")
    return "".join(url.split()).replace("&", "&amp;")
