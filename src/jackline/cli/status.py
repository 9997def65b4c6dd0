"""The line that tells how the run and the connection stand, honestly: what is known, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from jackline.cli.blocks import seconds
from jackline.cli.plain import one_line
from jackline.cli.view import ENDED
from jackline.client.frames import Entry, Heartbeat, Ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.cli.blocks import Signs
    from jackline.client.follow import FollowState
    from jackline.client.frames import Frame

_WORTH_SAYING_S: Final = 3
_WORTH_CUTTING: Final = 30
"""Columns that the hint leaves to the rest; where there are fewer, it comes last."""


class Status:
    """Learns from frames and from the connection; `line` says it in one line."""

    def __init__(self, *, signs: Signs, clock: Callable[[], float]) -> None:
        self.hint = ""
        """A key worth knowing, always: who wants to stop a run wants it most when the connection is bad."""
        self._signs = signs
        self._clock = clock
        self._phase: FollowState | None = None
        self._reason = ""
        self._again_at: float | None = None
        self._state = ""
        self._since = clock()
        self._worker = ""
        self._alive_at: float | None = None
        """When the worker last gave a sign of life."""
        self._newest = 0
        self._seq = 0

    @property
    def runs(self) -> bool:
        """Whether a run is on its way."""
        return self._phase is not None and self._phase != "ended" and self._state not in ENDED

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        """The connection's state has changed."""
        self._phase, self._reason = phase, reason
        if phase != "live":
            self._alive_at = None
        self._again_at = None if again_s is None else self._clock() + again_s

    def frame(self, frame: Frame) -> None:
        """Something came."""
        now = self._clock()
        match frame:
            case Ready():
                newest = frame.data.get("newest")
                self._newest = newest if isinstance(newest, int) else 0
                self._seq = frame.seq
                self._become(frame.state)
            case Heartbeat():
                self._worker = frame.worker
                self._alive_at = now - frame.idle_ms / 1000 if frame.worker == "alive" else None
                self._become(frame.state)
            case Entry():
                self._seq = frame.seq
                if frame.type in {"token", "tool"} and not self._behind:
                    self._alive_at = now
                if frame.type == "workflow":
                    self._become(str(frame.data.get("state", "")))
            case _:
                pass

    def line(self, width: int) -> Text:
        """At most `width` columns of it, the most important first."""
        text, style = self._connection()
        parts = [text] if text else []
        if self._state:
            parts.append(self._words())
        if self._state == "executing" and self._phase == "live" and not self._behind:
            parts += self._of_worker()
        shade = "dim" if style == "green" else style
        line = Text(no_wrap=True, overflow="ellipsis", end="")
        line.append(f"{self._signs.live if style == 'green' else self._signs.away} ", style)
        line.append("  ".join(parts), shade)
        if self.hint:
            hint = f"  {self.hint}" if parts else self.hint
            room = width - cell_len(hint)
            line.truncate(room if room >= _WORTH_CUTTING else width, overflow="ellipsis")
            line.append(hint, shade)
        line.truncate(width, overflow="ellipsis")
        return line

    # ------------------------------------------------------------------------------------------

    @property
    def _behind(self) -> bool:
        return self._seq < self._newest

    def _become(self, state: str) -> None:
        if state and state != self._state:
            self._state, self._since = state, self._clock()

    def _connection(self) -> tuple[str, str]:
        match self._phase:
            case None | "ended":
                return "", "green"
            case "live" if self._behind:
                return f"catching up, entry {self._seq} of {self._newest}", "yellow"
            case "live":
                return f"live{f' {one_line(self._reason)}' if self._reason else ''}", "green"
            case "connecting":
                return self._trying("no answer yet" if self._reason else "connecting"), "yellow"
            case "reconnecting":
                goes_on = "; the run goes on" if self._state and self._state not in ENDED else ""
                return f"{self._trying('connection lost')}{goes_on}", "yellow"

    def _trying(self, what: str) -> str:
        left = 0.0 if self._again_at is None else self._again_at - self._clock()
        # Rounded up: `in 0 s` would be said while there is still to be waited.
        when = f", reconnecting in {seconds(left + 0.999)}" if left > 0 else ", trying"
        reason = f" ({one_line(self._reason)})" if self._reason else ""
        return f"{what}{when if self._reason else ''}{reason}"

    def _words(self) -> str:
        state = self._state.replace("_", " ")
        return state if self._state in ENDED else f"{state} {seconds(self._clock() - self._since)}"

    def _of_worker(self) -> list[str]:
        if self._worker == "lost":
            return ["its worker is lost"]
        if self._worker == "none":
            return ["no worker yet"]
        if self._alive_at is None:
            return []
        ago = self._clock() - self._alive_at
        return [f"last heard of the worker {seconds(ago)} ago"] if ago >= _WORTH_SAYING_S else []
