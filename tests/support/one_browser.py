"""Fixtures: one browser for the tests of a module. A conftest imports both."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Browser

from tests.support.chromium import chromium

__all__ = ["anyio_backend", "browser"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for a module's tests, since they share a browser."""
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncGenerator[Browser]:
    """To start one takes longer than many a test: what a test opens in it is a profile of its own."""
    async with chromium() as made:
        yield made
