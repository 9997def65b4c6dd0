"""The store's clock, told here without asking the store each time.

Hosts' clocks differ, by minutes where nobody looks after them. Times that are compared, or taken
from one another, must come from one clock, and the store's is the only one that all processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

from jackline.errors import StoreUnavailable
from jackline.events import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURE_SECONDS: Final = 10.0
"""Between two measurements: in that time two clocks drift apart by a millisecond or so."""


class Timekeeper(Protocol):
    """The part of a store that has a clock."""

    async def now_ms(self) -> int:
        """ms since 1970. Raises `StoreUnavailable`."""
        ...


class StoreClock:
    """Seconds since 1970 by the store's clock, to within a round trip to the store.

    `local` is a clock of this process that nobody sets: by default the monotonic one, so that a step
    of the host's own time changes nothing. Before the first measurement it tells the host's time.
    """

    def __init__(self, store: Timekeeper, *, local: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._local = local
        self._offset = time.time() - local()
        self._measured = False
        self._second = 0
        self._begins = ""
        """How a time within `_second` begins as entries carry it: each token has one."""

    def now(self) -> float:
        """Seconds since 1970."""
        return self._local() + self._offset

    def ts(self) -> str:
        """Now, as entries carry it."""
        second, milliseconds = divmod(int(self.now() * 1000), 1000)
        if second != self._second:
            self._second, self._begins = second, timestamp(second)[: -len("000Z")]
        return f"{self._begins}{milliseconds:03d}Z"

    async def measure(self) -> None:
        """Compare the clocks. Raises `StoreUnavailable`.

        The store read its clock between our asking and our getting the answer, which bounds the
        offset on both sides. What is known already is kept where it lies within: a slow answer
        then makes nothing worse.
        """
        before = self._local()
        store = await self._store.now_ms() / 1000
        after = self._local()
        lowest, highest = store - after, store - before
        if self._measured:
            self._offset = min(max(self._offset, lowest), highest)
        else:
            self._offset = (lowest + highest) / 2
            self._measured = True

    async def keep(self) -> None:
        """Compare the clocks again and again, until cancelled."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # what was measured last is still good
                await self.measure()
            await asyncio.sleep(MEASURE_SECONDS)
