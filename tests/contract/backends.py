"""The stores that have to keep the contract: a name each, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from jackline.log.memory import MemoryStore
from jackline.log.sqlite import SqliteStore
from tests.contract.redis_server import redis_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from jackline.log.base import Store

    Backend = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def memory_store(folder: Path) -> AsyncGenerator[Store]:
    """Memory has one handle only, whatever the folder."""
    del folder
    yield MemoryStore()


@asynccontextmanager
async def sqlite_store(folder: Path) -> AsyncGenerator[Store]:
    """The test's file, closed at the end."""
    store = await SqliteStore.open(folder)
    try:
        yield store
    finally:
        await store.aclose()


# Opened twice with the same folder, a backend gives two handles on the same data, as two processes
# would have them; with another folder, other data.
BACKENDS: dict[str, Backend] = {
    "memory": memory_store,
    "redis": redis_store,
    "sqlite": sqlite_store,
}
