"""The life of the data: finished runs are compacted, conversations at rest archived and deleted.

Runs in every process that sweeps. Each step is atomic in the store, so any number of keepers may be
at it; only an archive is made by one at a time, as far as the store can tell.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import structlog

from jackline.archive import COMMAND_SECONDS, export_lines
from jackline.errors import ArchiveFailed, JacklineError, StoreUnavailable, UnknownRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.archive import Archive
    from jackline.log.base import Store

FEW: Final = 50
"""Conversations, and runs, looked at per turn: some 140,000 of each a day and process."""
LONGEST_TURN: Final = 30.0
"""Seconds between two looks. Shorter where a setting is short: a tenth of it."""
SHORTEST_TURN: Final = 0.2
HOLD_SECONDS: Final = COMMAND_SECONDS + 60
"""How long another keeper leaves a conversation alone whose archive is being made."""
FIRST_PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds before an archive that failed is tried again, by whichever keeper; twice as long each time."""


class Keeper:
    """`retention` and `compact_after` in seconds, None for never."""

    def __init__(
        self,
        store: Store,
        *,
        retention: float | None,
        compact_after: float | None,
        archive: Archive | None = None,
    ) -> None:
        self._store = store
        self._retention = retention
        self._compact_after = compact_after
        self._archive = archive
        self._failures: dict[str, int] = {}
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Keep, until cancelled."""
        # Two tasks: an archive that is slow must not keep runs from being compacted.
        async with asyncio.TaskGroup() as group:
            if self._retention is not None:
                group.create_task(self._always(self._retention, self.forget))
            if self._compact_after is not None:
                group.create_task(self._always(self._compact_after, self.compact))

    async def _always(self, seconds: float, turn: Callable[[], Awaitable[int]]) -> None:
        pause = min(LONGEST_TURN, max(SHORTEST_TURN, seconds / 10))
        while True:
            await asyncio.sleep(pause)
            try:
                await turn()
            except StoreUnavailable:
                continue
            except JacklineError as error:
                self._log.warning("keeping_failed", error=str(error))

    async def forget(self) -> int:
        """One look at the conversations whose time is over; how many were deleted."""
        if self._retention is None:
            return 0
        before_ms = await self._store.now_ms() - int(self._retention * 1000)
        gone = 0
        # Those that cannot be archived now must not hide the others.
        for conversation_id in await self._store.ended(before_ms, FEW + len(self._failures)):
            if self._archive is not None and not await self._archived(conversation_id, self._archive):
                continue
            gone += await self._store.forget(conversation_id, before_ms)
            self._failures.pop(conversation_id, None)
        return gone

    async def compact(self) -> int:
        """One look at the finished runs; how many were compacted."""
        if self._compact_after is None:
            return 0
        before_ms = await self._store.now_ms() - int(self._compact_after * 1000)
        runs = await self._store.loose(before_ms, FEW)
        for run_id in runs:
            await self._store.compact(run_id)
        return len(runs)

    async def _archived(self, conversation_id: str, archive: Archive) -> bool:
        name = f"archive:{conversation_id}"
        holder = secrets.token_hex(8)  # this try's own: another try of ours has to wait as well
        if not await self._store.hold(name, holder, HOLD_SECONDS):
            return False
        try:
            await archive.keep(conversation_id, export_lines(self._store, conversation_id))
        except UnknownRun:
            return False  # somebody deleted it
        except ArchiveFailed as error:
            failures = self._failures[conversation_id] = self._failures.get(conversation_id, 0) + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
            self._log.warning(
                "archive_failed", conversation_id=conversation_id, error=str(error), next_try_seconds=pause
            )
            # Held until the next try, which may be anybody's.
            await self._store.hold(name, holder, pause)
            return False
        return True
