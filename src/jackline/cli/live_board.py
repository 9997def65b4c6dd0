"""`jackline runs --watch` at a terminal: a list that is painted over and over, what waits for a person on
top."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from jackline.cli import hints
from jackline.cli.blocks import seconds
from jackline.cli.plain import one_line
from jackline.cli.screen import Line, Paint
from jackline.cli.status import Status
from jackline.cli.view import ENDED
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence, Set

    from rich.console import Console

    from jackline.cli.blocks import Signs
    from jackline.cli.screen import Screen
    from jackline.client.follow import FollowState
    from jackline.client.frames import Entry

_STYLES: Final = {
    "awaiting_approval": "bold yellow",
    "executing": "blue",
    "queued": "blue",
    "stopping": "yellow",
    "failed": "red",
}


class LiveBoard:
    """See the module."""

    lists = True

    def __init__(
        self,
        *,
        console: Console,
        screen: Screen,
        signs: Signs,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._signs = signs
        self._now = now
        self._paint = Paint(console)
        self._runs: Sequence[dict[str, Any]] = ()
        self._outcomes: Set[str] = frozenset()
        self._status = Status(signs=signs, clock=clock)
        self._listed = False

    def listed(self, runs: Sequence[dict[str, Any]], outcomes: Set[str]) -> None:
        """See `Board`."""
        self._runs, self._outcomes, self._listed = runs, outcomes, True
        self.tick()

    def changed(self, entry: Entry) -> None:
        """The list is read anew instead."""

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        """See `Board`."""
        self._status.phase(phase, reason, again_s)
        self.tick()

    def tick(self, *, anew: bool = False) -> None:
        """See `Board`."""
        if anew:
            self._screen.forget()
        width, height = self._screen.width, self._screen.height
        waiting = sum(map(_waits, self._runs))
        ended = sum(run.get("state") in ENDED for run in self._runs if not _waits(run))
        active = len(self._runs) - waiting - ended
        words = f"{waiting} waiting for you, {active} active, {ended} ended"
        self._status.hint = f"{words}  Ctrl-C leaves" if self._listed else ""
        bottom = self._paint.lines(self._status.line(width), width)[:1]
        lines = [
            line
            for part in self._parts(width)
            # What a person copies is broken where the line is full, and never cut.
            for line in self._paint.lines(part, width)
        ]
        room = height - len(bottom)
        if len(lines) > room:
            left = len(lines) - room + 1
            lines = [*lines[: max(room - 1, 0)], Line(ansi=f"{self._signs.more} {left} lines below", cells=0)]
        region = [*lines, *bottom][-height:]
        self._screen.paint((), region, (len(region) - 1, 0))

    def close(self) -> None:
        """See `Board`. The list as it was last seen stays."""
        lines = [
            line
            for part in self._parts(self._screen.width)
            for line in (
                self._paint.lines(part, self._screen.width) if part.no_wrap else [self._paint.long_line(part)]
            )
        ]
        self._screen.paint(lines, (), (0, 0))
        self._screen.close()

    def _parts(self, width: int) -> Iterable[Text]:
        """The list, what waits for a person first."""
        for run in sorted(self._runs, key=_waits, reverse=True):
            yield from self._row(run, width)
            for call in items(run.get("waiting_for")) if _waits(run) else ():
                answer = hints.approve(str(call), outcome=call in self._outcomes)
                yield Text(f"  {answer}", style="yellow", overflow="fold")

    def _row(self, run: dict[str, Any], width: int) -> Iterable[Text]:
        state = str(run.get("state", ""))
        style = _STYLES.get(state, "dim")
        sign = self._signs.ask if _waits(run) else self._signs.done if state == "completed" else "-"
        text = Text.assemble((f"{sign} {state.replace('_', ' ')}", style))
        name = Text(f"  {one_line(str(run.get('run_id')))}", overflow="fold")
        narrow = text.cell_len + name.cell_len > width
        if narrow:
            yield name  # the whole of it; what else there is to say stands under it
            text = Text.assemble("  ", text)
        else:
            text.append_text(name)
        text.append(f"  {self._age(run)}", "dim")
        if title := run.get("title"):
            text.append(f"  {one_line(str(title))}")
        waiting = members(run.get("waiting")) or {}
        if waiting.get("for") != "approval" and waiting.get("detail"):
            text.append(f"  waits: {one_line(str(waiting['detail']))}", "yellow")
        text.no_wrap, text.overflow = True, "ellipsis"
        yield text

    def _age(self, run: dict[str, Any]) -> str:
        try:
            then = datetime.fromisoformat(str(run.get("updated_at")))
        except ValueError:
            return ""
        span = (self._now() - then).total_seconds()
        return f"{seconds(span)}{' ago' if run.get('state') in ENDED else ''}"


def _waits(run: dict[str, Any]) -> bool:
    return bool(items(run.get("waiting_for"))) or run.get("state") == "awaiting_approval"
