"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncGenerator

from playwright.async_api import Browser, async_playwright

_FLAGS = (
    "--no-sandbox",  # it cannot have one as root, and sees only pages of the tests
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",  # a test machine may have no network
    "--no-first-run",
)


@contextlib.asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """A headless browser with an empty profile."""
    program = shutil.which("chromium")
    assert program is not None, "needs Debian's package chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, headless=True, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()
