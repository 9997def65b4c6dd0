from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, cast

import pytest
from anyio.from_thread import BlockingPortal
from playwright.async_api import Browser

from jackline.client import Client, Pace
from tests.client import javascript
from tests.client.server import Server, serving

FAST = Pace(heartbeat_s=30, backoff_s=0.001, backoff_cap_s=0.01, tick_s=0.01, connect_s=5)
"""Short waits between tries; patience enough for a slow machine."""

Kind = Literal["python", "node", "chromium"]
Connect = Callable[..., AbstractAsyncContextManager[Client]]
"""Called like `Client`, `pace` being FAST if it is missing."""


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Generator[tuple[BlockingPortal, Browser]]:
    with javascript.browsing() as made:
        yield made


@pytest.fixture(params=["python", "node", "chromium"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The clients that meet the cases."""
    return request.param


@pytest.fixture
def connect(kind: Kind, server: Server, request: pytest.FixtureRequest) -> Connect:
    @asynccontextmanager
    async def made(url: str, *args: Any, pace: Pace = FAST, **options: Any) -> AsyncGenerator[Client]:
        match kind:
            case "python":
                async with Client(url, *args, pace=pace, **options) as client:
                    yield client
                return
            case "node":
                driver = javascript.node()
            case "chromium":
                driver = javascript.page(request.getfixturevalue("browser"), url)
        async with driver as running, javascript.connected(running, url, *args, pace=pace, **options) as js:
            if kind == "chromium":
                server.received = lambda number: running.run("received", number=number)
            yield cast("Client", js)

    return made


@pytest.fixture
async def client(server: Server, connect: Connect) -> AsyncIterator[Client]:
    async with connect(server.url) as made:
        yield made
