"""The parts in a Chromium page, under the policy that the server sends with its page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Route

import jackline.web
from tests.support.node import FOLDER
from tests.support.processes import PATIENCE
from tests.web.harness import running

HERE = Path(__file__).parent
UI = Path(jackline.web.__file__).parent / "ui"
ORIGIN = "http://parts.localhost"
AXE = FOLDER / "node_modules/axe-core/axe.min.js"
OWN = {"/": "parts.html", "/parts.mjs": "parts.mjs", "/parts.css": "parts.css"}
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css"}


@dataclass(kw_only=True)
class Parts:
    """A page that shows parts. `faults`: what no page may do: errors, requests to others, breaches of the
    policy."""

    page: Page
    faults: list[str] = field(default_factory=list[str])

    async def show(self, scene: str, *given: object) -> None:
        await self.page.evaluate("([scene, given]) => show(scene, ...given)", [scene, given])

    async def said(self) -> Any:
        """What the parts told the page around them."""
        return await self.page.evaluate("said")

    async def violations(self) -> list[str]:
        """What axe has against what is shown."""
        found: Any = await self.page.evaluate("async () => (await axe.run()).violations")
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


async def policy() -> str:
    """That of the page."""
    async with running() as setup:
        return (await setup.client.get("/")).headers["content-security-policy"]


@asynccontextmanager
async def parts(
    browser: Browser,
    *,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    reduced: bool = False,
) -> AsyncGenerator[Parts]:
    """A page of its own."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce" if reduced else "no-preference",
        permissions=["clipboard-read", "clipboard-write"],
        locale="en-GB",
        timezone_id="UTC",
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    it = Parts(page=page)
    headers = {"Content-Security-Policy": await policy()}

    async def answer(route: Route) -> None:
        url = urlsplit(route.request.url)
        path = HERE / OWN[url.path] if url.path in OWN else UI / url.path.removeprefix("/ui/")
        if f"{url.scheme}://{url.netloc}" != ORIGIN or not path.is_file():
            it.faults.append(f"asks for {route.request.url}")
            await route.abort()
        else:
            await route.fulfill(
                body=path.read_bytes(), headers={**headers, "Content-Type": TYPES[path.suffix]}
            )

    page.on("pageerror", lambda error: it.faults.append(str(error)))
    page.on("console", lambda message: it.faults.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda _: it.faults.append("a dialog"))
    await page.route("**/*", answer)
    try:
        await page.goto(ORIGIN)
        await page.wait_for_function("window.ready")
        await page.evaluate(AXE.read_text())
        yield it
    finally:
        await context.close()
    assert it.faults == []
