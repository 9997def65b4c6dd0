"""The bottom of a terminal that is painted over and over, and the text above it that stays.

What is committed goes to the scrollback once and is never touched again. The region under it holds
what still changes. It never fills the screen, so that its top can always be reached; it is written in
one piece and only where it differs, so that nothing flickers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from jackline.cli.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.color import ColorSystem
    from rich.console import Console, RenderableType
    from rich.segment import Segment
    from rich.style import Style
    from rich.text import Text

_BEGIN: Final = "\x1b[?2026h"
_END: Final = "\x1b[?2026l"
"""Terminals that know it show what lies between at once; others ignore it."""
_NO_WRAP: Final = "\x1b[?7l"
_WRAP: Final = "\x1b[?7h"
"""A character that is wider than we think must not push the region down by a row."""
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"

_MIN_COLUMNS: Final = 10
_MIN_ROWS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line ready for the terminal: `ansi` with colours, `cells` wide."""

    ansi: str
    cells: int


class Paint:
    """Renderables to lines. The last gate: whatever it is made of, no control character gets through."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colors = _color_system(console)

    def lines(self, renderable: RenderableType, width: int) -> list[Line]:
        """`renderable` wrapped to `width` columns."""
        options = self._console.options.update(width=max(width, 1), height=None)
        rows = self._console.render_lines(renderable, options, pad=False)
        return [self._line(row) for row in rows]

    def long_line(self, text: Text) -> Line:
        """`text` on one line, however long: the terminal wraps it, and it can be copied whole."""
        segments = list(text.render(self._console))
        return self._line(segments)

    def _line(self, segments: Iterable[Segment]) -> Line:
        parts: list[str] = []
        cells = 0
        kept_segments = [segment for segment in segments if not segment.control]
        while kept_segments and not kept_segments[-1].text.strip(" "):
            kept_segments.pop()  # padding
        for at, (text, style, _) in enumerate(kept_segments):
            safe = plain(text).replace("\n", " ").replace("\t", " ")
            safe = safe.rstrip(" ") if at == len(kept_segments) - 1 else safe
            cells += cell_len(safe)
            parts.append(self._styled(safe, style) if style is not None and safe else safe)
        return Line(ansi="".join(parts), cells=cells)

    def _styled(self, text: str, style: Style) -> str:
        # Links are shown as text: what a link says and where it leads can differ.
        shown = style.update_link(None)
        shown = shown.without_color if self._console.no_color else shown
        return shown.render(text, color_system=self._colors)


class Screen:
    """The region and what is above it. `write` takes what goes to the terminal; `size` is asked anew for
    each paint, so that a change of the window is seen by the next one."""

    def __init__(
        self,
        write: Callable[[str], None],
        size: Callable[[], os.terminal_size],
        *,
        reflows: Callable[[], bool],
    ) -> None:
        self._write = write
        self._size = size
        self._reflows = reflows
        self._lines: Sequence[Line] = ()
        self._row = 0
        """Of the region's rows, where the cursor stands."""
        self._columns: int = 0
        self._broken = False

    @property
    def width(self) -> int:
        """How wide a line may be. The last column stays empty: a terminal is of two minds after it."""
        return max(self._size().columns, _MIN_COLUMNS) - 1

    @property
    def height(self) -> int:
        """How high the region may be."""
        return max(self._size().lines, _MIN_ROWS) - 1

    def paint(self, commit: Sequence[Line], region: Sequence[Line], cursor: tuple[int, int]) -> None:
        """Commit lines, and show the region with the cursor at (row, column) of it."""
        columns: int = self._size().columns
        region = tuple(region)
        row, column = cursor
        if commit or self._broken or columns != self._columns:
            out = [self._to_top(columns), _CLEAR_BELOW]
            out += [f"{line.ansi}\n" for line in commit]
            out += [_NO_WRAP, "\n".join(line.ansi for line in region), _WRAP]
            at = max(len(region) - 1, 0)
        elif region != self._lines:
            at, changes = self._changes(region)
            out = [self._to_top(columns), _NO_WRAP, *changes, _WRAP]
        else:
            out, at = [], self._row
        out.append(f"{_down(row - at)}\r{_right(column)}")
        self._lines, self._row, self._columns, self._broken = region, row, columns, False
        self._write(f"{_BEGIN}{''.join(out)}{_END}" if len(out) > 1 else out[0])

    def forget(self) -> None:
        """Somebody else has written to the terminal: begin a new region where the cursor is now."""
        self._lines, self._row, self._broken = (), 0, True

    def close(self) -> None:
        """Take the region away; the cursor stands under what was committed."""
        if self._lines:
            self._write(self._to_top(self._size().columns) + _CLEAR_BELOW)
        self.forget()

    def _changes(self, region: tuple[Line, ...]) -> tuple[int, list[str]]:
        """From the first row: what to write, and the row where that ends."""
        out: list[str] = []
        at = 0
        for row, line in enumerate(region):
            if row < len(self._lines) and self._lines[row] == line:
                continue
            # Rows that are there are walked to, others are made, which may scroll.
            last = min(row, max(len(self._lines) - 1, 0))
            out += [_down(last - at) if at < last else "", "\n" * (row - max(at, last)), "\r"]
            out += [line.ansi, _CLEAR_LINE]
            at = row
        if len(region) < len(self._lines):
            out += [f"{_down(len(region) - at)}\r{_CLEAR_BELOW}"]
            at = len(region)
        return at, out

    def _to_top(self, columns: int) -> str:
        """From where the cursor is to the region's first row. A narrower window has broken its lines
        into more rows, where the terminal does that."""
        rows = self._row
        if columns < self._columns and self._reflows():
            rows = sum(_rows(line.cells, columns) for line in self._lines[: self._row])
        return f"\r{_down(-min(rows, self.height))}"


def reflows(environment: Mapping[str, str]) -> bool:
    """Whether the terminal breaks lines anew when its window gets narrower. Most do."""
    if environment.get("TMUX"):
        return True
    if "XTERM_VERSION" in environment or "STY" in environment:
        return False
    return not environment.get("TERM", "").startswith(("linux", "vt", "screen"))


def terminal_size(file: int) -> os.terminal_size:
    """The window's size; 80 by 24 where it has none."""
    try:
        found = os.get_terminal_size(file)
    except OSError:
        found = os.terminal_size((0, 0))
    return os.terminal_size((found.columns or 80, found.lines or 24))


def _rows(cells: int, columns: int) -> int:
    return max(1, -(-cells // max(columns, 1)))


def _down(rows: int) -> str:
    if rows < 0:
        return f"\x1b[{-rows}A"
    return f"\x1b[{rows}B" if rows > 0 else ""


def _right(columns: int) -> str:
    return f"\x1b[{columns}C" if columns > 0 else ""


def _color_system(console: Console) -> ColorSystem | None:
    from rich.color import ColorSystem as Known

    match console.color_system:
        case "standard":
            return Known.STANDARD
        case "256":
            return Known.EIGHT_BIT
        case "truecolor":
            return Known.TRUECOLOR
        case _:
            return None
