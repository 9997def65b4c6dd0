"""What a run has come to, folded from its log by whoever needs the whole of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jackline.errors import IllegalTransition
from jackline.events import decode
from jackline.run import RunState

if TYPE_CHECKING:
    from jackline.events import Entry
    from jackline.log.base import EventLog


class Fold:
    """The fold of one run, which goes on from where it was the last time."""

    def __init__(self, log: EventLog, run_id: str) -> None:
        self.state = RunState(run_id)
        self.epoch = -1
        self._log = log
        self._reading = asyncio.Lock()

    async def refresh(self) -> RunState:
        """The state at the log's end. Raises `StoreUnavailable`, `UnknownRun`."""
        async with self._reading:
            while True:
                page = await self._log.read(self.state.run_id, self.state.seq)
                if page.epoch != self.epoch:
                    began, self.epoch = self.state.seq, page.epoch
                    if began:  # what was folded may no longer be what the log has
                        self.state = RunState(self.state.run_id)
                        continue
                if not page.entries and page.first > self.state.seq + 1:
                    self._skip_to(page.first)  # else it would be read for ever
                for seq, entry in enumerate(page.entries, page.first):
                    self._take(seq, entry)
                if self.state.seq >= page.last:
                    return self.state

    def _skip_to(self, seq: int) -> None:
        """The log no longer holds what lies before. What is left is folded as well as it can."""
        self.state = RunState(self.state.run_id)
        self.state.state = "executing"
        self.state.seq = seq - 1

    def _take(self, seq: int, entry: Entry) -> None:
        if seq != self.state.seq + 1:
            self._skip_to(seq)
        try:
            self.state.apply(seq, decode(entry))
        except (IllegalTransition, ValueError):
            # The log is what viewers are shown, whatever the fold thinks of it (a time that is none).
            self.state.seq = seq
