"""Back-pressure: no run starts while the store is nearly full, so that those that run can finish."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from jackline.errors import StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.log.base import Store

FRESH_SECONDS: Final = 1.0
"""How old the answer may be: a store does not fill its last fifth within a second."""


class Pressure:
    """Watches how full a store is. `limit`: the share of its room, 0 … 1, from which on no run may
    start; None for never. Of many who ask at once one looks; `clock` is in seconds."""

    def __init__(
        self, store: Store, limit: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._looked = float("-inf")
        self._fullness: float | None = None

    async def fullness(self) -> float | None:
        """How full the store is, at most about a second ago; None when it has no known limit. Raises
        `StoreUnavailable`."""
        async with self._lock:
            if self._clock() - self._looked >= FRESH_SECONDS:
                self._fullness = await self._store.fullness()
                self._looked = self._clock()
            return self._fullness

    async def full(self) -> bool:
        """Whether no run may start."""
        if self.limit is None:
            return False
        fullness = await self.fullness()
        return fullness is not None and fullness >= self.limit

    async def check(self) -> None:
        """Raises `StoreFull` when no run may start."""
        if await self.full():
            used, limit = self._fullness or 0, self.limit or 0
            raise StoreFull(
                f"the store is {used:.0%} full, and runs start only below {limit:.0%}; "
                "delete finished conversations, shorten the retention, or give the store more room"
            )
