"""What can be watched: a run, or runs one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackline.cli.news import Tell
    from jackline.client.follow import Follow, FollowState


class Opens(Protocol):
    """What opens a stream of a run."""

    def __call__(self, *, on_state: Callable[[FollowState, str], None]) -> Follow:
        """See `Client.follow`."""
        ...


class Course(Protocol):
    """Which runs are watched, one after the other, and whether more can be said."""

    @property
    def speaks(self) -> bool:
        """Whether a message can be typed at any time."""
        ...

    @property
    def started(self) -> Sequence[str]:
        """Runs that are watched next, each until its stream is opened: the person knows that they run."""
        ...

    def first(self) -> Opens | None:
        """What to watch first; None: whatever is next."""
        ...

    async def next(self, tell: Tell) -> Opens | None:
        """Wait for the next run; None: that was all. `tell` hears how the connection stands meanwhile.
        Raises `ClientError`."""
        ...

    async def say(self, text: str) -> None:
        """A message was typed. Raises `ClientError`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class One:
    """One run."""

    opens: Opens
    speaks: bool = False
    started: tuple[str, ...] = ()

    def first(self) -> Opens | None:
        """See `Course`."""
        return self.opens

    async def next(self, tell: Tell) -> Opens | None:
        """See `Course`."""
        del tell
        return None

    async def say(self, text: str) -> None:
        """Nothing can be said."""
