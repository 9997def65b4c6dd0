"""Short words for what the contract's tests do again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from jackline.events import Entry
from jackline.ids import new_conversation_id
from jackline.log.base import Lease, Serves, Start, Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.log.base import Begun

T = TypeVar("T")

LONG = 60.0
"""Seconds; a lease that does not lapse within a test."""
SHORT = 0.02
"""Seconds; a lease that lapses soon."""
DEADLINE = 20.0
"""Seconds; what takes longer does not come any more."""


def entry(text: str) -> Entry:
    """An entry that can be told from others by its text."""
    return Entry("token", b'{"text":"%b"}' % text.encode())


def entries(*texts: str) -> list[Entry]:
    """One entry per text."""
    return [entry(text) for text in texts]


async def begin(
    store: Store,
    conversation_id: str = "",
    *,
    token: str = "first",
    agent: str = "helper",
    queue: bool = False,
    texts: tuple[str, ...] = ("hello",),
    summary: bytes = b"",
) -> Begun:
    """Begin a run, in a conversation of its own unless one is named."""
    return await store.begin(
        Start(
            conversation_id=conversation_id or new_conversation_id(),
            new_conversation=True,
            token=token,
            agent=agent,
            owner="user:ana",
            entries=entries(*texts),
            summary=summary,
            queue=queue,
        )
    )


async def begin_run(store: Store, conversation_id: str = "", *, agent: str = "helper") -> str:
    """The id of a new run with one entry."""
    return (await begin(store, conversation_id, agent=agent)).run_id


async def claim(
    store: Store, worker: str = "w1", ttl: float = LONG, *, agent: str = "helper", revision: str = "r1"
) -> Lease | None:
    """Claim a run of one agent."""
    return await store.claim(worker, ttl, [Serves(name=agent, revision=revision)])


async def must_claim(
    store: Store, worker: str = "w1", ttl: float = LONG, *, agent: str = "helper", revision: str = "r1"
) -> Lease:
    """Claim a run of one agent as soon as one can be claimed."""
    return await until(lambda: claim(store, worker, ttl, agent=agent, revision=revision))


async def must_lapse(store: Store, run_id: str) -> None:
    """Return when the run's lease has lapsed by the store's clock."""

    async def lost() -> bool:
        return (await store.head(run_id)).worker == "lost"

    await until(lost)


async def until(condition: Callable[[], Awaitable[T | None]]) -> T:
    """What the condition gives once it gives something true. Raises `TimeoutError`."""
    async with asyncio.timeout(DEADLINE):
        while True:
            result = await condition()
            if result:
                return result
            await asyncio.sleep(0.005)


async def texts_of(store: Store, run_id: str) -> list[bytes]:
    """The bodies of all of a run's entries."""
    return [found.body for found in (await store.read(run_id)).entries]
