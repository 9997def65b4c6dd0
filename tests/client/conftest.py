from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jackline.client import Client, Pace
from tests.client.server import Server, serving

FAST = Pace(heartbeat_s=30, backoff_s=0.001, backoff_cap_s=0.01, tick_s=0.01, connect_s=5)
"""Short waits between tries; patience enough for a slow machine."""


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url, pace=FAST) as made:
        yield made
