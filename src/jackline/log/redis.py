"""The distributed store: Redis 7 or later, or Valkey; a single server or a primary with replicas.

Everything of a conversation is changed by Lua scripts in one slot, so each append is one atomic
step. A node of a Redis Cluster is refused with a `ConfigError`: the keys are laid out for one (by
their hash tags), but one connection reaches only one shard.

Two connections per process: one carries the commands of all tasks, one listens for hints. Where
writes are awaited on disk, up to eight more, opened as they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from jackline.events import in_feed
from jackline.log.base import MAX_ENTRY_BYTES
from jackline.log.feed import FEED_ENTRIES
from jackline.log.redis_address import parse
from jackline.log.redis_core import Core, milliseconds
from jackline.log.redis_directory import DirectoryPart
from jackline.log.redis_feed import FeedPart
from jackline.log.redis_keeping import KeepingPart
from jackline.log.redis_leases import LeasePart
from jackline.log.redis_log import LogPart

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from jackline.events import Entry


DEADLINE: Final = 5.0
"""Seconds within which the server must answer: far above any honest answer, below a person's patience."""


class RedisStore(LogPart, LeasePart, DirectoryPart, KeepingPart, FeedPart):
    """A `Store` on Redis or Valkey. Made by `open`; it outlives restarts of the server.

    While the server is away every method raises `StoreUnavailable`, at the latest after its deadline, and
    works again once it is back; `wait` and `wait_due` may return early then.

    Durability (G8): appends with `once`, `expect`, `checkpoint` or `close`, `begin` and `claim`
    return once they are on the server's disk, where it has an AOF and can say so (Redis 7.2,
    Valkey); with `appendfsync everysec` that takes up to a second. Without AOF nothing is awaited,
    and `describe` says what a crash can lose. Replicas are waited for where that was asked for.

    A server that came back (restarted, or promoted from a replica) may have lost what was written
    last. Runs that were held then are in doubt, and so is every run where nothing was awaited on
    disk: their holders put back what is missing (`heal`), or they are cut.
    """

    def __init__(self, core: Core) -> None:
        LogPart.__init__(self, core)
        LeasePart.__init__(self, core)
        DirectoryPart.__init__(self, core)
        KeepingPart.__init__(self, core)
        FeedPart.__init__(self, core)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        prefix: str = "jackline",
        deadline: float = DEADLINE,
        max_entry_bytes: int = MAX_ENTRY_BYTES,
        replicas: int = 0,
        feed: Callable[[Entry], bool] = in_feed,
        feed_entries: int = FEED_ENTRIES,
    ) -> Self:
        """Connect to `redis://user:password@host:port/db`, `rediss://…` or `unix:///path`.

        `prefix` begins every key: stores with different ones share nothing. `deadline`: seconds
        that the server has for an answer before it counts as away. `max_entry_bytes`: the largest
        entry that `append` takes. `replicas`: that must have a write on disk too before it is
        acknowledged. `feed`: which entries are in the feed, which holds about the newest
        `feed_entries`. Raises `ConfigError` for a URL or a server that cannot work (older than 7, a
        Cluster, one that evicts keys, a wrong password), `StoreUnavailable` for one that does not
        answer or is loading.
        """
        core = Core(
            parse(url),
            prefix,
            deadline=deadline,
            max_entry_bytes=max_entry_bytes,
            replicas=replicas,
            in_feed=feed,
            feed_entries=feed_entries,
        )
        try:
            await core.start()
        except BaseException:
            await core.aclose()
            raise
        if core.warning is not None:
            structlog.get_logger().warning("redis_setting", server=str(core.address), advice=core.warning)
        return cls(core)

    async def now_ms(self) -> int:
        """See `Store.now_ms`."""
        return milliseconds(await self._core.one(("TIME",)))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._core.one(("PING",))

    def describe(self) -> str:
        """See `Store.describe`."""
        return f"Redis {self._core.address} ({self._core.durability})"

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._core.aclose()
