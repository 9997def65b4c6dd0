"""Pictures of the page for the documentation: `python -m tests.page.pictures FOLDER`.

A server as `scripts/up` starts one, with a scratch folder for all that it keeps, and the real page.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.support.chromium import chromium
from tests.support.processes import PATIENCE, serve

DESKTOP: Final = ViewportSize(width=1200, height=750)
PHONE: Final = ViewportSize(width=390, height=800)
LARGEST: Final = 150_000
"""Bytes of one picture: they come with every clone."""

PICTURES: Final = {
    "welcome": "what a new server offers",
    "live": "a run at work, with a call that reports how far it is",
    "stopped": "the receipt of a stop",
    "approval": "a call that waits for a person, with its arguments",
    "phone": "the same on a phone",
    "dark": "a run that has ended, in the dark",
}
"""All there are, by name; the documentation shows no other."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Keeps what a page shows."""

    browser: Browser
    server: str
    folder: Path

    @contextlib.asynccontextmanager
    async def page(
        self, place: str = "", *, size: ViewportSize = DESKTOP, dark: bool = False
    ) -> AsyncGenerator[Page]:
        """The page in a browser profile of its own."""
        context = await self.browser.new_context(
            viewport=size, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        try:
            page = await context.new_page()
            page.set_default_timeout(PATIENCE * 1000)
            await page.goto(f"{self.server}/{place}")
            yield page
        finally:
            await context.close()

    async def shoot(self, page: Page, name: str) -> None:
        """Raises `AssertionError` for a picture that is no small one."""
        assert name in PICTURES, name
        path = self.folder / f"{name}.png"
        await page.evaluate("document.fonts.ready")
        await page.mouse.move(0, 0)
        await page.screenshot(path=path, animations="disabled", caret="hide")
        size = path.stat().st_size
        assert size <= LARGEST, f"{path}: {size} bytes; {LARGEST} at most"
        sys.stdout.write(f"{path} ({size // 1000} kB): {PICTURES[name]}\n")


async def press(page: Page, task: str) -> str:
    """Start one of the offered tasks; the place of its run."""
    await page.get_by_role("button", name=re.compile(f"^{task}")).click()
    await page.wait_for_url(re.compile("#/runs/"))
    return page.url[page.url.index("#") :]


async def take(camera: Camera) -> None:
    """All of them."""
    async with camera.page(dark=True) as page:
        await press(page, "Check this host")
        await until(page, "^completed$")
        await camera.shoot(page, "dark")
    async with camera.page() as page:
        await until(page, "Watch the load")
        await camera.shoot(page, "welcome")
        await press(page, "Watch the load")
        await until(page, r"^([7-9]|1\d) of 30$")
        await camera.shoot(page, "live")
        await page.get_by_role("button", name="Stop", exact=True).click()
        await until(page, "cancelled")
        await camera.shoot(page, "stopped")
        await page.goto(f"{camera.server}/")
        place = await press(page, "Restart a service")
        await until(page, "Approve")
        await camera.shoot(page, "approval")
    async with camera.page(place, size=PHONE) as page:
        await until(page, "Approve")
        await camera.shoot(page, "phone")


async def until(page: Page, pattern: str) -> None:
    """Wait until the page shows a text."""
    await expect(page.get_by_text(re.compile(pattern)).first).to_be_visible(timeout=PATIENCE * 1000)


async def main(folder: Path) -> None:
    """Take all pictures into a folder."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        try:
            with serve(scratch, env={"JACKLINE_DEMO_DIR": str(scratch / "demo")}) as server:
                async with chromium() as browser:
                    await take(Camera(browser=browser, server=server.url, folder=folder))
        finally:
            for process in psutil.process_iter():  # the demo's scratch service outlives it
                with contextlib.suppress(psutil.Error):
                    if str(scratch / "demo") in process.cmdline():
                        process.kill()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
