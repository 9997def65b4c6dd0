"""Turns for those who ask: of a thousand viewers that come at once a few are begun, then the live ones have
theirs (G10: who comes back after a deploy does not keep the others waiting)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

IN_A_TURN: Final = 4
"""Viewers begun in one turn of the loop: what is live waits for a few milliseconds. More would gain nothing,
since a turn of the loop costs far less than a request."""


class Turns:
    """The order in which those who have come are begun."""

    def __init__(self) -> None:
        self._left = IN_A_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._armed = False

    async def turn(self) -> None:
        """Return now, or in its turn, after all who came before."""
        loop = asyncio.get_running_loop()
        if not self._armed:
            self._armed = True
            loop.call_soon(self._next)
        if self._left and not self._waiting:
            self._left -= 1
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _next(self) -> None:
        self._left = IN_A_TURN
        while self._left and self._waiting:
            mine = self._waiting.popleft()
            if not mine.done():  # else it was cancelled
                mine.set_result(None)
                self._left -= 1
        self._armed = bool(self._waiting) or self._left < IN_A_TURN
        if self._armed:
            asyncio.get_running_loop().call_soon(self._next)
