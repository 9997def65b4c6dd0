"""The contract's fixtures: each test runs once per backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackline.log.memory import MemoryStore
from tests.contract.backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from jackline.log.base import Store
    from tests.contract.backends import Backend


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """How a store is opened."""
    return BACKENDS[request.param]


@pytest.fixture
async def store(backend: Backend, tmp_path: Path) -> AsyncGenerator[Store]:
    """An empty store."""
    async with backend(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(backend: Backend, store: Store, tmp_path: Path) -> AsyncGenerator[Store]:
    """Another handle on the data of `store`, as a second process would have it."""
    if isinstance(store, MemoryStore):
        yield store
        return
    async with backend(tmp_path) as opened:
        yield opened
