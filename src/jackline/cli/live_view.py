"""A run at a terminal: what is finished stands in the scrollback, what changes at the bottom."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

from jackline.cli import blocks
from jackline.cli.blocks import Call
from jackline.cli.hints import command
from jackline.cli.markdown import Blocks, rendered
from jackline.cli.plain import one_line, plain
from jackline.cli.screen import Line, Paint
from jackline.cli.status import Status
from jackline.cli.text_view import TextView
from jackline.cli.view import how_to_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from jackline.cli.blocks import Signs
    from jackline.cli.line import LineEditor
    from jackline.cli.screen import Screen
    from jackline.client.follow import FollowState
    from jackline.client.frames import Frame, Gap

_TAIL_CHARS: Final = 8000
"""Of a block that is not finished, what is laid out for each paint; a screen holds less."""
_THOUGHT_LINES: Final = 3
_DRAFT_LINES: Final = 5
_ENDED: Final = frozenset({"finished", "failed", "denied", "cancelled", "unknown"})


class LiveView(TextView):
    """See the module. The words are `TextView`'s; how they stand on the screen is this class's."""

    tick_s: float | None = 0.5

    def __init__(
        self,
        *,
        console: Console,
        screen: Screen,
        editor: LineEditor | None,
        signs: Signs,
        asks: bool = False,
        said: bool = False,
        full: bool = False,
        speaks: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(asks=asks, said=said, full=full, console=console)
        self._screen = screen
        self._editor = editor
        self._signs = signs
        self._speaks = speaks
        self._clock = clock
        self._paint = Paint(console)
        self._commits: list[Line] = []
        self._blocks = Blocks()
        self._kind = ""
        self._thought = ""
        self._thinking_since = 0.0
        self._calls: dict[str, Call] = {}
        self._question: str | None = None
        self._group = ""
        self._run_id = ""
        self._seq = 0
        self._status = Status(signs=signs, clock=clock)

    # -- the view ------------------------------------------------------------------------------

    def frame(self, frame: Frame) -> bool:
        """See `View`."""
        self._status.frame(frame)
        run_id = frame.data.get("run_id")
        if isinstance(run_id, str) and run_id != self._run_id:
            self._run_id, self._calls = run_id, {}
        seq = frame.data.get("seq")
        self._seq = seq if isinstance(seq, int) else self._seq
        return super().frame(frame)

    def notice(self, text: str) -> None:
        """See `View`."""
        self._line(f"[{plain(text)}]", "dim")

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> bool:
        """See `View`."""
        self._status.phase(phase, reason, again_s)
        return False

    def prompt(self, text: str | None) -> None:
        """See `View`."""
        self._question = text
        self._status.hint = self._hint() if self._asks else ""

    def _hint(self) -> str:
        if self._status.runs:
            return "Esc Esc: stop …"
        return "Ctrl-D leaves" if self._speaks else ""

    def entered(self) -> None:
        """See `View`."""

    def show(self, *, anew: bool = False) -> None:
        """See `View`."""
        if anew:
            self._screen.forget()
        commits, self._commits = self._commits, []
        region, cursor = self._region()
        self._screen.paint(commits, region, cursor)

    def away(self) -> None:
        """See `View`."""
        self.show()
        self._screen.close()

    def close(self) -> None:
        """See `View`."""
        self._settle()
        for call in self._calls.values():
            self._put("call", blocks.running(call, self._signs, self._clock()))
        self._calls = {}
        commits, self._commits = self._commits, []
        self._screen.paint(commits, (), (0, 0))
        self._screen.close()

    # -- what is finished ----------------------------------------------------------------------

    def _line(self, text: str, style: str = "") -> None:
        self._settle()
        self._put("line", Text(plain(text), style=style))

    def _put(self, group: str, renderable: RenderableType) -> None:
        lines = _trimmed(self._paint.lines(renderable, self._screen.width))
        if not lines:
            return
        if self._group and (group != self._group or group == "text"):
            self._commits.append(Line(ansi="", cells=0))
        self._group = group
        self._commits += lines
        self._wrote = True

    def _settle(self) -> None:
        """What was being said is finished."""
        if self._thought:
            self._put("text", self._thoughts())
            self._thought = ""
        rest = self._blocks.rest()
        if rest.strip():
            self._put("text", rendered(rest))
        self._message = ""

    def _thoughts(self) -> Text:
        if self._full:
            return Text(self._thought.strip(), style="dim")
        took = blocks.seconds(self._clock() - self._thinking_since)
        words = f"thought for {took}, {len(self._thought.split())} words (--full shows them)"
        return Text(words, style="dim italic")

    # -- entries -------------------------------------------------------------------------------

    def _gap(self, frame: Gap) -> None:
        # How calls ended may be in what is gone: they must not tick for ever.
        self._calls = {}
        super()._gap(frame)

    def _token(self, data: dict[str, Any]) -> None:
        message_id, kind = str(data.get("message_id")), str(data.get("kind"))
        if f"{message_id} {kind}" != self._message:
            self._settle()
            self._message, self._thinking_since = f"{message_id} {kind}", self._clock()
        raw = str(data.get("text", ""))
        text = plain(raw)
        if kind == "reasoning":
            self._thought += text
            return
        self._texts.setdefault(message_id, []).append(raw)
        done = self._blocks.feed(text)
        if done.strip():
            self._put("text", rendered(done))

    def _workflow(self, data: dict[str, Any]) -> None:
        if data.get("state") == "executing" and not (data.get("reason") or data.get("retry")):
            self._state = "executing"  # the status line says so
            return
        super()._workflow(data)

    def _input(self, data: dict[str, Any]) -> None:
        if self._said:
            return
        for by, text in blocks.wanted(data):
            self._put("line", Text(f"{by}: {text}", style="cyan"))

    def _completed(self, data: dict[str, Any]) -> None:
        output = data.get("output")
        self._settle()
        said = {"".join(parts).strip() for parts in self._texts.values()}
        if isinstance(output, str) and output.strip() not in said:
            self._put("text", rendered(plain(output)))
            data = {**data, "output": None}
        super()._completed(data)

    def _tool(self, data: dict[str, Any]) -> None:
        self._settle()
        call_id, name = str(data.get("call_id", "")), one_line(str(data.get("name", "")))
        self._names[call_id] = name
        call = self._calls.setdefault(call_id, Call(call_id=call_id, name=name))
        if data.get("verifies"):
            call.checks = self._names.get(str(data["verifies"]), one_line(str(data["verifies"])))
        before = call.args
        call.learn(data, self._clock())
        state = data.get("state")
        if state == "started" and before is not None and call.args != before:
            self._put("call", Text(f"{name} runs with other arguments", style="yellow"))
        if state in _ENDED:
            del self._calls[call_id]
            words = ("tail", self._run_id, "--full", "--after", str(self._seq - 1))
            see = None if self._full else command(*words)
            self._put("call", blocks.ended(call, data, self._signs, see=see))

    def _approval(self, data: dict[str, Any]) -> None:
        if data.get("state") != "pending":
            super()._approval(data)
            return
        self._settle()
        call = self._calls.get(str(data.get("call_id", "")))
        self._put("question", blocks.question(data, self._signs, call.effect if call else ""))
        if not self._asks:
            for line in how_to_answer(data):
                self._commits.append(self._paint.long_line(Text(plain(line), style="yellow")))

    # -- what changes --------------------------------------------------------------------------

    def _region(self) -> tuple[list[Line], tuple[int, int]]:
        width, height = self._screen.width, self._screen.height
        asked, cursor = self._asking(width)
        bottom = [*asked, *self._paint.lines(self._status.line(width), width)[:1]]
        room = max(height - len(bottom), 0)
        calls = [
            line
            for call in self._calls.values()
            for line in self._paint.lines(blocks.running(call, self._signs, self._clock()), width)
        ]
        told = self._telling(width)
        calls = _last(calls, room if not told else max(room // 2, 1), self._signs)
        top = [*_last(told, room - len(calls), self._signs), *calls]
        region = [*top, *bottom][-height:]
        row = len(region) - len(bottom) + cursor[0] if asked else len(region) - 1
        return region, (max(row, 0), cursor[1])

    def _telling(self, width: int) -> list[Line]:
        if self._thought:
            lines = self._paint.lines(Text(self._thought[-_TAIL_CHARS:].strip(), style="dim italic"), width)
            return lines[-_THOUGHT_LINES:]
        tail = self._blocks.open
        if not tail.strip():
            return []
        whole = len(tail) <= _TAIL_CHARS
        shown = rendered(tail) if whole else Text(tail[-_TAIL_CHARS:])
        gap = [Line(ansi="", cells=0)] if self._group else []
        return [*gap, *_trimmed(self._paint.lines(shown, width))]

    def _asking(self, width: int) -> tuple[list[Line], tuple[int, int]]:
        """The question and the line that is typed, and where the cursor stands in them."""
        if self._question is None:
            return [], (0, 0)
        words = plain(self._question).rstrip(" :>")
        asked = self._paint.lines(Text(words, style="bold"), width) if words else []
        if self._editor is None:
            return asked, (len(asked) - 1, 0)
        typed = self._editor.text.replace("\n", "⏎").replace("\t", " ")
        before, after = f"> {typed[: self._editor.at]}", typed[self._editor.at :]
        rows = chop_cells(before + after, width) or [""]
        ahead = chop_cells(before, width) or [""]
        row, column = len(ahead) - 1, cell_len(ahead[-1])
        if column >= width:
            row, column = row + 1, 0
            rows = [*rows, ""] if row >= len(rows) else rows
        first = min(max(row - _DRAFT_LINES + 1, 0), max(len(rows) - _DRAFT_LINES, 0))
        draft = [
            line
            for each in rows[first : first + _DRAFT_LINES]
            for line in (self._paint.lines(Text(each), width) or [Line(ansi="", cells=0)])[:1]
        ]
        return [*asked, *draft], (len(asked) + row - first, column)


def _trimmed(lines: Sequence[Line]) -> list[Line]:
    """Without empty lines at both ends."""
    kept = list(lines)
    while kept and not kept[0].cells:
        kept.pop(0)
    while kept and not kept[-1].cells:
        kept.pop()
    return kept


def _last(lines: Sequence[Line], room: int, signs: Signs) -> list[Line]:
    """What fits, its end; the rest comes when it is finished."""
    if len(lines) <= room:
        return list(lines)
    if room <= 0:
        return []
    above = len(lines) - room + 1
    return [Line(ansi=f"{signs.more} {above} lines above", cells=0), *lines[len(lines) - room + 1 :]]
