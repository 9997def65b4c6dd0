"""The lease part of the Redis store."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from jackline.log.base import Due, Lease, Serves
from jackline.log.redis_core import Core, Place, due_argument, milliseconds, refusal
from jackline.log.redis_wire import array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.log.redis_wire import Command, Reply

_CANDIDATES: Final = 16
"""Places looked at per agent and revision in one go."""
_ROUNDS: Final = 8
"""Goes per claim. Each moves the misses out of the way, so more than one is needed only when many
leases of live workers come up at once; the next claim goes on from there."""


class LeasePart:
    """`Leases` on Redis."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # The store's time of the newest claim: what became due since, in that same millisecond
        # too, may not have been looked at, and `wait_due` returns for it at once.
        self._looked_ms = 0
        self._claiming: set[str] = set()

    async def claim(self, worker: str, ttl: float, serves: Sequence[Serves]) -> Lease | None:
        """See `Leases.claim`."""
        core = self._core
        both = ((served.name, revision) for served in serves for revision in ("", served.revision))
        places = list(dict.fromkeys(core.keys.due_of(name, revision) for name, revision in both))
        pairs = [part for served in serves for part in (served.name, served.revision)]
        for _ in range(_ROUNDS):
            now, *hits = array(
                await core.one(core.scripts.due.by_digest([core.keys.index("runs"), *places], _CANDIDATES))
            )
            self._looked_ms = max(self._looked_ms, integer(now))
            # What another call of ours is just claiming it would only lose to that.
            candidates = [run_id for run_id in map(text, hits) if run_id not in self._claiming]
            if not candidates:
                return None
            for run_id in candidates:
                if run_id in self._claiming:
                    continue
                self._claiming.add(run_id)
                try:
                    lease = await self._claim(run_id, worker, ttl, pairs)
                    if lease is not None:
                        return lease
                    await core.settle(run_id)
                finally:
                    self._claiming.discard(run_id)
        return None

    async def _claim(self, run_id: str, worker: str, ttl: float, pairs: list[str]) -> Lease | None:
        core, keys = self._core, self._core.keys.run(run_id)
        if keys is None:
            return None
        server = core.server
        command = core.scripts.claim.by_digest(
            [keys.run], worker, int(ttl * 1000), server.life, server.trust, *pairs
        )
        # A task of its own, which the reply ends: who is cancelled here may have been given a lease.
        asked = asyncio.create_task(core.one(command, life=server.life))
        try:
            found = _lease(run_id, worker, array(await asyncio.shield(asked)))
        except asyncio.CancelledError:
            asked.add_done_callback(partial(self._answered_too_late, run_id, worker))
            raise
        if found is None:
            return None
        lease, expires = found
        name = core.keys.due_of(lease.agent, lease.revision)
        try:
            async with core.durable(server.life):
                await core.settle(run_id, Place(state="open", name=name, due_ms=expires))
        except BaseException:
            self._give_back(lease)
            raise
        return lease

    def _answered_too_late(self, run_id: str, worker: str, asked: asyncio.Task[Reply]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            return
        found = _lease(run_id, worker, array(asked.result()))
        if found is not None:
            self._give_back(found[0])

    def _give_back(self, lease: Lease) -> None:
        """Nobody gets this lease: without this the run would lie still until it lapses."""
        core, keys = self._core, self._core.run_keys(lease.run_id)
        name = core.keys.due_of(lease.agent, lease.revision)
        core.post(
            core.scripts.release.by_digest(
                [keys.run], lease.generation, lease.last, "keep", core.server.life, core.server.trust
            ),
            core.place(lease.run_id, Place(state="open", name=name, due_ms=0)),
        )

    async def wait_due(self, timeout: float) -> None:
        """See `Leases.wait_due`."""
        await self._core.hints.due(timeout, self._coming)

    async def _coming(self) -> float | None:
        """Seconds until the first run becomes due that no claim has looked at."""
        key = self._core.keys.index("due")
        after: Command = (
            "ZRANGE",
            key,
            self._looked_ms,
            "+inf",
            "BYSCORE",
            "LIMIT",
            0,
            1,
            "WITHSCORES",
        )
        time, hits = await self._core.call(("TIME",), after)
        now = milliseconds(time)
        self._looked_ms = max(self._looked_ms, now)
        for hit in array(hits):
            return max(0, integer(array(hit)[1]) - now) / 1000
        return None

    async def renew(self, lease: Lease, ttl: float) -> None:
        """See `Leases.renew`."""
        keys = self._core.run_keys(lease.run_id)
        life = self._core.server.life
        command = self._core.scripts.renew.by_digest([keys.run], lease.generation, int(ttl * 1000), life)
        answer = array(await self._core.one(command, life=life))
        _raise(answer, lease.run_id)
        # A longer lease needs no word to the index: who looks too early finds it held, and says so there.
        if integer(answer[1]) == 1:
            await self._core.settle(lease.run_id)

    async def release(self, lease: Lease, due: Due, *, expect: int) -> None:
        """See `Leases.release`."""
        keys = self._core.run_keys(lease.run_id)
        script = self._core.scripts.release
        server = self._core.server
        command = script.by_digest(
            [keys.run], lease.generation, expect, due_argument(due), server.life, server.trust
        )
        _raise(array(await self._core.one(command, life=server.life)), lease.run_id)
        await self._core.settle(lease.run_id)

    async def beat(self, worker: str, ttl: float, *, idle_ms: int, catalogue: bytes | None = None) -> None:
        """See `Leases.beat`."""
        core = self._core
        has = catalogue is not None
        command = core.scripts.beat.by_digest(
            [core.beat_key(worker), self._workers],
            worker,
            int(ttl * 1000),
            idle_ms,
            int(has),
            catalogue or b"",
        )
        await core.one(command)

    async def catalogues(self) -> list[bytes]:
        """See `Leases.catalogues`."""
        workers = sorted(
            text(worker) for worker in array(await self._core.one(("ZRANGE", self._workers, 0, -1)))
        )
        if not workers:
            return []
        found = await self._core.call(*(("HGET", self._core.beat_key(name), "catalogue") for name in workers))
        return [raw(catalogue) for catalogue in found if catalogue is not None]

    @property
    def _workers(self) -> str:
        return f"{self._core.keys.prefix}:{{workers}}:live"


def _lease(run_id: str, worker: str, answer: list[Reply]) -> tuple[Lease, int] | None:
    """The lease that `claim` gave, and until when (ms)."""
    if raw(answer[0]) != b"ok":
        return None
    generation, agent, revision, last, lapsed, expires = answer[1:]
    lease = Lease(
        run_id=run_id,
        worker=worker,
        generation=integer(generation),
        agent=text(agent),
        revision=text(revision),
        last=integer(last),
        lapsed=integer(lapsed) == 1,
    )
    return lease, integer(expires)


def _raise(answer: list[Reply], run_id: str) -> None:
    refused = refusal(answer, run_id)
    if refused is not None:
        raise refused
