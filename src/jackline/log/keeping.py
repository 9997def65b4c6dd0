"""The part of a store that is about how long data is kept, how tightly, and how much room is left."""

from __future__ import annotations

from typing import Protocol


class Keeping(Protocol):
    """What the keeper needs. Several of them may be at it at once: each step is atomic, and one that
    somebody else has done already does nothing."""

    async def ended(self, before_ms: int, limit: int) -> list[str]:
        """Conversations without an open run whose last ending came at `before_ms` or earlier (ms of
        the store's clock), longest ago first; up to `limit`, and perhaps fewer than there are: a
        place to look that is checked against the runs, and mended, as it is read. One that never
        had a run counts from when it was made."""
        ...

    async def forget(self, conversation_id: str, before_ms: int) -> bool:
        """`delete` the conversation, in one step with the check that it still is as `ended` says:
        False, and nothing is changed, when a run was begun since, or ended after `before_ms`, or
        the conversation is gone."""
        ...

    async def loose(self, before_ms: int, limit: int) -> list[str]:
        """Closed runs that ended at `before_ms` or earlier and are not compacted, longest ago first;
        up to `limit`, with the same freedom as `ended`."""
        ...

    async def compact(self, run_id: str) -> None:
        """Store a closed run's entries more tightly. Nothing that can be read changes: neither
        entries nor seqs, and a reader in the middle of its pages goes on as if nothing had been
        (G1). Does nothing for a run that is open, compacted already, or gone. Cut off half-way it
        can be called again."""
        ...

    async def hold(self, name: str, holder: str, ttl: float) -> bool:
        """Take the name for `ttl` seconds of the store's clock, or hold it for so long from now on;
        False while another holder has it. As durable as an index: a store that loses its last
        second may give it twice."""
        ...

    async def fullness(self) -> float | None:
        """How much of the store's room is used, 0 … 1 (or a little above, when it is over its
        limit). None when the store has no limit that is known."""
        ...
