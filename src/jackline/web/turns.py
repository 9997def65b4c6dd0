"""Turns for those who ask: of a thousand requests that arrive at once a few are begun, then the live viewers
have theirs (G10: who comes back after a deploy does not keep the others waiting)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

IN_A_TURN: Final = 4
"""Requests begun in one turn of the loop: what is live waits for about as many milliseconds. More would gain
nothing, since a turn of the loop costs far less than a request."""


class Turns:
    """The order in which what has arrived is taken."""

    def __init__(self) -> None:
        self._left = IN_A_TURN
        self._waiting: deque[Callable[[], None]] = deque()
        self._armed = False

    def take(self, work: Callable[[], None]) -> None:
        """Do `work` now, or in its turn, after all that was given before."""
        self._waiting.append(work)
        self._do()
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._next)

    def _do(self) -> None:
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft()()

    def _next(self) -> None:
        self._armed = False
        self._left = IN_A_TURN
        if self._waiting:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._next)
            self._do()
