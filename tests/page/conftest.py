"""The operator's page in real Chromium, against real servers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect

from tests.blackbox.conftest import World, demo_world, world
from tests.support.one_browser import anyio_backend, browser
from tests.support.processes import PATIENCE
from tests.support.shots import picture

__all__ = ["anyio_backend", "browser"]
"""Fixtures from elsewhere; the others are here."""

DESKTOP: Final = ViewportSize(width=1280, height=800)
PHONE: Final = ViewportSize(width=375, height=740)

_LISTEN: Final = """
addEventListener('securitypolicyviolation', event => {
    jacklineViolation(`${event.violatedDirective}: ${event.blockedURI || event.sourceFile}`)
})
"""
_UNREACHED: Final = re.compile(r"Failed to load resource|net::ERR_")

expect.set_options(timeout=PATIENCE * 1000)


@dataclass(kw_only=True)
class Visitor:
    """A browser profile with its pages, and all that went wrong in them. `cuts`: whether requests may
    fail, which the browser itself writes to the console."""

    context: BrowserContext
    server: str
    cuts: bool = False
    troubles: list[str] = field(default_factory=list[str])
    asked: list[tuple[Page, str]] = field(default_factory=list[tuple[Page, str]])
    """Every request's page and address, in order."""

    def feeds(self, page: Page) -> int:
        """How often the page has opened a feed of its own."""
        return sum(asker is page and "/api/v1/agent/feed" in url for asker, url in self.asked)

    async def open(self, place: str = "", *, hidden: bool = False) -> Page:
        """A tab of the page, at a place of it: `#/runs/RUN`."""
        page = await self.context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        if hidden:
            await page.add_init_script(HIDE)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("request", lambda request: self._asked(page, request.url))
        await page.goto(f"{self.server}/{place}")
        return page

    async def look_back(self) -> None:
        """Nothing may have gone wrong: no error, no violation of the policy, no request to anybody else."""
        for page in self.context.pages:
            with contextlib.suppress(Exception):  # what is under way has its turn; a page may be gone
                await page.evaluate("new Promise(resolve => setTimeout(resolve))")
        assert self.troubles == []

    def violated(self, what: str) -> None:
        """A page did what its policy forbids."""
        self.troubles.append(f"violation: {what}")

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and not (self.cuts and _UNREACHED.search(text)):
            self.troubles.append(f"console: {text}")

    def _asked(self, page: Page, url: str) -> None:
        self.asked.append((page, url))
        if not url.startswith((self.server, "data:", "blob:")):
            self.troubles.append(f"foreign request: {url}")


HIDE: Final = """
Object.defineProperty(Document.prototype, 'hidden', {get: () => window.isHidden ?? true, configurable: true})
Object.defineProperty(Document.prototype, 'visibilityState',
    {get: () => document.hidden ? 'hidden' : 'visible', configurable: true})
"""


async def turn(page: Page, *, away: bool) -> None:
    """Have the page believe that it is hidden, or shown again: headless Chromium shows all of its tabs."""
    await page.evaluate(HIDE)
    await page.evaluate(
        "away => { window.isHidden = away; document.dispatchEvent(new Event('visibilitychange')) }", away
    )


@dataclass(kw_only=True)
class Visitors:
    """Makes visitors of one browser; asked at the end whether anything went wrong."""

    browser: Browser
    made: list[Visitor] = field(default_factory=list[Visitor])

    async def come(self, server: str, *, size: ViewportSize = DESKTOP, dark: bool = False) -> Visitor:
        """Another browser profile: nothing is shared with the others but the server."""
        context = await self.browser.new_context(
            viewport=size,
            color_scheme="dark" if dark else "light",
            has_touch=size["width"] < 500,
            reduced_motion="reduce",
        )
        visitor = Visitor(context=context, server=server)
        # Told at once, and not kept in the page: a reload or a closed tab would take it along.
        await context.expose_function("jacklineViolation", visitor.violated)  # pyright: ignore[reportUnknownMemberType]
        await context.add_init_script(_LISTEN)
        self.made.append(visitor)
        return visitor


@pytest.fixture
async def visitors(browser: Browser) -> AsyncGenerator[Visitors]:
    """Profiles in a browser. After the test nothing may have gone wrong in any of their pages."""
    made = Visitors(browser=browser)
    try:
        yield made
        for visitor in made.made:
            await visitor.look_back()
    finally:
        for visitor in made.made:
            # An answer that a test changes may still be on its way.
            await visitor.context.unroute_all(behavior="ignoreErrors")
            await visitor.context.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server with the scripted agent of the black-box tests."""
    with world(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture
def own_server(tmp_path: Path) -> Generator[World]:
    """A server of the test's own: its list is empty at first, and it may be killed."""
    with world(tmp_path / "own") as made:
        yield made


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A newcomer's server for all tests of a process."""
    with demo_world(tmp_path_factory.mktemp("page-demo")) as made:
        yield made


# -- what tests look at


def state(page: Page) -> Locator:
    """The state of the run in front, in words."""
    return page.get_by_role("status", name="State")


def connection(page: Page) -> Locator:
    """How the connection of the run in front stands."""
    return page.get_by_role("group", name="Connection", exact=True)


def composer(page: Page) -> Locator:
    """Where the message is written."""
    return page.locator("#composer")


def dock(page: Page) -> Locator:
    """The place where the stop always is."""
    return page.get_by_role("region", name="Stop", exact=True)


def row(page: Page, run_id: str) -> Locator:
    """A run's row in the list."""
    return page.locator(f'.run-row[data-run="{run_id}"]')


def rows(page: Page) -> Locator:
    """What of the run in front is in the document."""
    return page.get_by_role("feed").get_by_role("article")


def pending(page: Page) -> Locator:
    """The questions that are pinned."""
    return page.get_by_role("region", name="Questions of this run")


async def send(page: Page, text: str) -> str:
    """Write a message and send it; the new run's id."""
    before = page.url
    await composer(page).fill(text)
    await composer(page).press("Enter")
    await page.wait_for_url(lambda url: url != before and "#/runs/" in url)
    return page.url.rsplit("/", 1)[-1]


async def shot(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    await page.screenshot(path=picture(name))
