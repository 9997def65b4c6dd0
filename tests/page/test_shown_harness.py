"""The tests of the page see what they are to see: a page that breaks the rules is caught."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.blackbox.conftest import World
from tests.page.conftest import Visitors, composer
from tests.page.shown import violations
from tests.support.processes import eventually_async

pytestmark = pytest.mark.anyio

FOREIGN = "http://127.0.0.2:9"

BREACHES = {
    "an inline script": (
        "document.head.append(Object.assign(document.createElement('script'), {textContent: '0'}))",
        r"violation: script-src",
    ),
    "an inline style": (
        "document.body.setAttribute('style', 'color: red')",
        r"violation: style-src",
    ),
    "a picture of somebody else's": (f"new Image().src = '{FOREIGN}/pixel.png'", r"violation: img-src"),
    "a request to somebody else": (f"fetch('{FOREIGN}/').catch(() => 0)", r"violation: connect-src"),
    "an error": ("setTimeout(() => { throw new Error('on purpose') })", r"error: .*on purpose"),
    "an error on the console": ("console.error('on purpose')", r"console: on purpose"),
    "a way to somebody else": (f"location = '{FOREIGN}/'", r"foreign request: http://127\.0\.0\.2"),
}


async def test_each_breach_is_caught_and_outlives_its_tab(server: World, visitors: Visitors) -> None:
    """CSP violations, foreign requests and errors fail the test in whose pages they are."""
    visitor = await visitors.come(server.server.url)
    page = await visitor.open()
    await expect(composer(page)).to_be_visible()
    assert visitor.troubles == []
    for breach, (script, expected) in BREACHES.items():
        await page.evaluate(f"() => {{ {script} }}")

        async def told(expected: str = expected) -> bool:
            return any(re.match(expected, each) for each in visitor.troubles)

        await eventually_async(told, what=breach)
    await page.close()
    with pytest.raises(AssertionError):
        await visitor.look_back()
    visitor.troubles.clear()


async def test_axe_sees_what_is_wrong(server: World, visitors: Visitors) -> None:
    """A button without a name is found, where there was nothing to find before."""
    page = await (await visitors.come(server.server.url)).open()
    await expect(composer(page)).to_be_visible()
    assert await violations(page) == []
    await page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [each.split()[0] for each in await violations(page)] == ["button-name"]
