from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cli.toy import Toy
from tests.client.server import Server, serving


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


@pytest.fixture
async def toy(server: Server) -> Toy:
    made = Toy()
    server.answer(made.answer)
    return made
