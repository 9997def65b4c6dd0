"""Fixtures of the tests that are about Redis alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from jackline.log.redis import RedisStore
from tests.contract.redis_server import RedisServer, prefix_for, redis_server, redis_store, shared_url
from tests.log_redis.behind import Behind, behind


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[RedisStore]:
    """An empty store on the server of all tests."""
    async with redis_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncGenerator[RedisStore]:
    """Another process's handle on the data of `store`."""
    async with redis_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """What the keys of `store` begin with."""
    return prefix_for(tmp_path)


@pytest.fixture
async def client() -> AsyncGenerator[Behind]:
    """A plain client of the server of all tests."""
    async with behind(shared_url()) as opened:
        yield opened


@pytest.fixture
def always(tmp_path: Path) -> Generator[RedisServer]:
    """A server of the test's own that has each write on disk before it answers."""
    with redis_server(tmp_path, aof="always") as server:
        yield server
