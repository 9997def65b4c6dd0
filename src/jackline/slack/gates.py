"""Slack's rate limits, kept: who wants to call a method waits at its gate.

What Slack documents: one message a second in a channel; of edits, some 50 a minute for all channels
together ("tier 3"), and 100 of what only one person sees ("tier 4"); a little more in a burst. Whoever waits
has not yet chosen what to send: of the edits that a message had meanwhile only the newest is sent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Method = Literal["post", "edit", "read", "whisper"]

_PER_SECOND: Final[dict[Method, float]] = {
    "post": 1.0,
    "edit": 50 / 60,
    "read": 50 / 60,
    "whisper": 100 / 60,
}
_BURST: Final = 3.0


class Gates:
    """A gate for each method, and of posts for each channel. `share` of the documented rates is used."""

    def __init__(
        self,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._gates: dict[tuple[Method, str], _Gate] = {}

    async def enter(self, method: Method, channel: str) -> None:
        """Wait until one call may be made, in the order of coming."""
        gate = self._gate(method, channel)
        async with gate.turn:
            while (wait := gate.wait_s(self._clock())) > 0:
                await self._sleep(wait)
            gate.take()

    def hold(self, method: Method, channel: str, seconds: float) -> None:
        """Slack has said how long to wait."""
        self._gate(method, channel).hold(self._clock() + seconds)

    def _gate(self, method: Method, channel: str) -> _Gate:
        name = (method, channel if method == "post" else "")
        if name not in self._gates:
            self._gates[name] = _Gate(_PER_SECOND[method] * self._share, self._clock())
        return self._gates[name]


class _Gate:
    def __init__(self, per_second: float, now: float) -> None:
        self.turn = anyio.Lock()
        self._per_second = per_second
        self._room = _BURST
        self._at = now
        self._held_until = now

    def wait_s(self, now: float) -> float:
        self._room = min(_BURST, self._room + (now - self._at) * self._per_second)
        self._at = now
        # A thousandth more, so that a clock's grain does not make it wait again for nothing.
        missing = (1 - self._room) / self._per_second + 0.001 if self._room < 1 else 0.0
        return max(self._held_until - now, missing)

    def take(self) -> None:
        self._room -= 1

    def hold(self, until: float) -> None:
        self._held_until = max(self._held_until, until)
        # What was saved up is what Slack did not want.
        self._room = 0.0
