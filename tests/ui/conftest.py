from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Browser

from tests.support.chromium import chromium


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for a module's tests, since they share a browser."""
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncGenerator[Browser]:
    async with chromium() as made:
        yield made
