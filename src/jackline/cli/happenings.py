"""What can happen while a run is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackline.client.frames import Frame

if TYPE_CHECKING:
    from jackline.cli.courses import Opens
    from jackline.client.errors import ClientError
    from jackline.client.follow import FollowState


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line was entered; None: the terminal is at its end."""

    text: str | None
    topic: str
    """What was asked when it was entered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Over:
    """A stream has ended, or what waits for the next run has failed."""

    error: ClientError | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Next:
    """The next run is known; None: there is none."""

    opens: Opens | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupt:
    """Ctrl-C."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminated:
    """SIGTERM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Escape:
    """Esc; `twice`: for the second time at once."""

    twice: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Touch:
    """What is shown may be out of date; `anew`: somebody else has written to the terminal."""

    anew: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """How the connection stands."""

    phase: FollowState
    reason: str
    again_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoReader:
    """Nobody reads what is written any more."""


Happening = Frame | Line | Over | Next | Interrupt | Terminated | Escape | Touch | Phase
