"""Where a run's frames are shown, and the simplest such place: JSON lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from jackline.cli.plain import one_line, plain
from jackline.client.frames import Entry, wire
from jackline.client.shape import items

if TYPE_CHECKING:
    from jackline.client.frames import Frame


class View(Protocol):
    """Where frames are shown."""

    def frame(self, frame: Frame) -> bool:
        """Show a frame; whether anything was written."""
        ...

    def notice(self, text: str) -> None:
        """Say something of the command's own, not of the run's."""
        ...

    def prompt(self, text: str) -> None:
        """Ask on a line of its own, which stays open for the answer."""
        ...

    def entered(self) -> None:
        """The person has ended the line."""
        ...


class JsonView:
    """Frames as they are on the wire, one a line; everything else goes to stderr."""

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

    def prompt(self, text: str) -> None:
        """Nothing is ever asked."""

    def entered(self) -> None:
        """See `prompt`."""


def how_to_answer(data: dict[str, Any]) -> list[str]:
    """The commands that answer a pending approval."""
    call = one_line(str(data.get("call_id", "")))
    if data.get("kind") == "outcome":
        choices = "|".join(one_line(str(choice)) for choice in items(data.get("choices")))
        return [f"answer with: jackline approve {call} --outcome {choices or 'retry|done|abort'}"]
    return [f"answer with: jackline approve {call}", f"         or: jackline deny {call} --reason '…'"]
