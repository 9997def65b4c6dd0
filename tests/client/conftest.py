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

Kind = Literal["python", "node", "chromium", "chromium, eventsource"]
"""A client and where it runs; jackline.js reads streams by `fetch` if it is not said otherwise."""
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


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    """The clients that meet the cases."""
    return request.param


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every client meets every case; a module that names those `BEYOND_EVENTSOURCE`, and why, the others over
    EventSource too."""
    own = any("kind" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    module: object = cast("Any", metafunc).module
    if "kind" not in metafunc.fixturenames or own or hasattr(module, "kind"):
        return
    kinds = ["python", "node", "chromium"]
    beyond: dict[str, str] | None = getattr(module, "BEYOND_EVENTSOURCE", None)
    if beyond is not None and metafunc.definition.originalname not in beyond:
        kinds.append("chromium, eventsource")
    metafunc.parametrize("kind", kinds, indirect=True)


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
            case "chromium" | "chromium, eventsource":
                driver = javascript.page(request.getfixturevalue("browser"), url)
        async with driver as running, javascript.connected(running, url, *args, pace=pace, **options) as js:
            if kind == "chromium":
                server.received = lambda number: running.run("received", number=number)
            if kind == "chromium, eventsource":
                js.via = "eventsource"
                server.cuts_cleanly = True
            yield cast("Client", js)

    return made


@pytest.fixture
async def client(server: Server, connect: Connect) -> AsyncIterator[Client]:
    async with connect(server.url) as made:
        yield made
