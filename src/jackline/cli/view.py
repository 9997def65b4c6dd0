"""Where a run's frames are shown, and the simplest such place: JSON lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from jackline.cli import hints
from jackline.cli.plain import one_line, plain
from jackline.client.frames import Entry, wire
from jackline.client.shape import items

if TYPE_CHECKING:
    from jackline.client.follow import FollowState
    from jackline.client.frames import Frame

ENDED: Final = frozenset({"completed", "failed", "stopped"})
"""States that a run stays in."""


class View(Protocol):
    """Where frames are shown."""

    @property
    def tick_s(self) -> float | None:
        """How often `show` is to be called at least; None where nothing changes by itself."""
        ...

    def frame(self, frame: Frame) -> bool:
        """Show a frame; whether anything was written that pushes a question up."""
        ...

    def notice(self, text: str) -> None:
        """Say something of the command's own, not of the run's."""
        ...

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> bool:
        """Say how the connection stands; `again_s`: in how long the next try is. As `frame`."""
        ...

    def prompt(self, text: str | None) -> None:
        """Ask on a line of its own, which stays open for the answer; None: there is nothing to ask."""
        ...

    def entered(self) -> None:
        """The person has ended the line."""
        ...

    def show(self, *, anew: bool = False) -> None:
        """Bring what is seen up to date; `anew` where somebody else has written to the terminal."""
        ...

    def away(self) -> None:
        """Leave the terminal to somebody else, until `show(anew=True)`."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Outages:
    """What to say of the connection where it is said in lines: an outage is many tries, and one thing
    to say."""

    def __init__(self) -> None:
        self._said = ""

    def words(self, phase: FollowState, reason: str, *, runs: bool = True) -> str | None:
        """The words for a change, None for none; `runs`: whether it is a run's stream that is cut."""
        said, self._said = self._said, reason
        match phase:
            case "live" if reason:
                return f"connected {one_line(reason)}"
            case "live" if said:
                return "connected again"
            case _ if reason == said:
                return None
            case "connecting":
                return f"no answer yet ({one_line(reason)}); trying again"
            case "reconnecting":
                goes_on = ", the run goes on" if runs else ""
                return f"connection lost ({one_line(reason)}); trying again{goes_on}"
            case _:
                return None


class JsonView:
    """Frames as they are on the wire, one a line; everything else goes to stderr."""

    tick_s: float | None = None

    def __init__(self) -> None:
        self._outages = Outages()

    def frame(self, frame: Frame) -> bool:
        """See `View`."""
        print(wire(frame), flush=True)
        if isinstance(frame, Entry) and frame.type == "approval" and frame.data.get("state") == "pending":
            for line in how_to_answer(frame.data):
                self.notice(line)
        return True

    def notice(self, text: str) -> None:
        """See `View`."""
        print(plain(text), file=sys.stderr, flush=True)

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> bool:
        """See `View`."""
        del again_s
        words = self._outages.words(phase, reason)
        if words is not None:
            self.notice(words)
        return words is not None

    def prompt(self, text: str | None) -> None:
        """Nothing is ever asked."""

    def entered(self) -> None:
        """See `prompt`."""

    def show(self, *, anew: bool = False) -> None:
        """Every frame is shown as it comes."""

    def away(self) -> None:
        """See `View`."""

    def close(self) -> None:
        """See `View`."""


def how_to_answer(data: dict[str, Any]) -> list[str]:
    """The commands that answer a pending approval."""
    call, outcome = str(data.get("call_id", "")), data.get("kind") == "outcome"
    choices = [str(choice) for choice in items(data.get("choices"))]
    first = f"answer with: {hints.approve(call, outcome=outcome, choices=choices)}"
    if outcome:
        return [first]
    no = hints.command("deny", one_line(call), "--reason", "'…'")
    return [first, f"         or: {no}"]
