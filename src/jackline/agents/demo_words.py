"""How the demo's script reads the results of tools, and how it writes numbers and tables. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast


def members(content: object, tool: str) -> Mapping[str, object]:
    """A tool's result, which must be an object. Raises `TypeError`."""
    if not isinstance(content, Mapping):
        raise TypeError(tool)
    return cast("Mapping[str, object]", content)


def items(of: Mapping[str, object], key: str) -> Sequence[object]:
    """A list. Raises `KeyError`, `TypeError`."""
    found = of[key]
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise TypeError(key)
    return cast("Sequence[object]", found)


def objects(of: Mapping[str, object], key: str) -> Sequence[Mapping[str, object]]:
    """A list of objects."""
    return [cast("Mapping[str, object]", item) for item in items(of, key)]


def number(of: Mapping[str, object], key: str) -> float:
    """A number. Raises `KeyError`, `TypeError`."""
    found = of[key]
    if not isinstance(found, int | float):
        raise TypeError(key)
    return found


def size(size: float) -> str:
    """Bytes."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def span(seconds: float) -> str:
    """A length of time."""
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    whole = round(seconds)
    return "1 second" if whole == 1 else f"{whole} seconds"


def code(text: object) -> str:
    """A name as Markdown shows code; whatever the host calls things, it stays text."""
    shown = " ".join(str(text).replace("`", "'").split())
    return f"`{shown}`" if shown else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown: the first column to the left, the others, numbers, to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def short(content: object) -> str:
    """A result in few words."""
    text = content if isinstance(content, str) else json.dumps(content, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004
