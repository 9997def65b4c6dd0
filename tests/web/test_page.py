"""The operator's page: which files are served, how, and under which policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jackline.web
from tests.web.harness import KEYS, Setup, running

pytestmark = pytest.mark.anyio

UI = Path(jackline.web.__file__).parent / "ui"
SCRIPTS = sorted(path.relative_to(UI).as_posix() for path in UI.rglob("*.js"))


async def policy(setup: Setup, path: str) -> dict[str, str]:
    header = (await setup.client.get(path)).headers["content-security-policy"]
    return dict(part.split(" ", 1) for part in header.split("; "))


async def test_the_page_is_served_to_everybody_and_has_no_data_in_it() -> None:
    """G12: what it shows it asks the API for."""
    async with running(keys=KEYS) as setup:
        answer = await setup.client.get("/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.body == (UI / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/ui/index.html", "text/html; charset=utf-8"),
        ("/ui/html.js", "text/javascript; charset=utf-8"),
        ("/ui/vendor/preact/preact.js", "text/javascript; charset=utf-8"),
        ("/ui/styles/parts.css", "text/css; charset=utf-8"),
    ],
)
async def test_its_files_are_served_and_asked_about_each_time(path: str, type_: str) -> None:
    async with running(keys=KEYS) as setup:
        answer = await setup.client.get(path)
        assert answer.status == 200
        assert answer.body == (UI / path.removeprefix("/ui/")).read_bytes()
        assert answer.headers["content-type"] == type_
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        tag = answer.headers["etag"]
        for known in (tag, f'"x", W/{tag}', "*"):
            again = await setup.client.get(path, **{"if-none-match": known})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert (await setup.client.get(path, **{"if-none-match": '"x"'})).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ui/",
        "/ui/nothing.js",
        "/ui/vendor",
        "/ui/vendor/preact/LICENSE",
        "/ui/vendor/preact/preact.d.ts",
        "/ui/package.json",
        "/ui/../app.py",
        "/ui/../static/jackline.js",
        "/ui/%2e%2e/static/jackline.js",
        "/ui/..%2fstatic%2fjackline.js",
        "/ui//etc/passwd",
        "/ui/vendor/../html.js",
        "/ui/html.js/",
        "/ui/html.js%00",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    """G12: a path is looked up in a table, and never opened."""
    async with running() as setup:
        assert (await setup.client.get(path)).problem(404)


@pytest.mark.parametrize("path", ["/", "/ui/index.html", "/ui/html.js"])
async def test_its_policy_lets_nothing_run_that_the_server_did_not_send(path: str) -> None:
    async with running() as setup:
        rules = await policy(setup, path)
        for rule in ("default-src", "base-uri", "form-action", "frame-ancestors"):
            assert rules.pop(rule) == "'none'"
        assert rules.pop("img-src") == "'self' data:"
        assert set(rules) == {"script-src", "style-src", "connect-src", "font-src", "manifest-src"}
        assert set(rules.values()) == {"'self'"}


async def test_it_asks_no_other_server_and_has_nothing_inline() -> None:
    text = (UI / "index.html").read_text()
    assert not re.findall(r"""\s(?:style|on\w+)=|<style|<script(?![^>]*\ssrc=)""", text)
    assert not re.findall(r"""(?:src|href)=["']?(?:\w+:)?//""", text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_import_is_a_file_of_the_page(script: str) -> None:
    """Or jackline.js, which is served beside it. No import map, no bundler."""
    text = (UI / script).read_text()
    for name in re.findall(
        r"""(?:^|[;}])\s*(?:import|export)\b[^'"`;]*?\bfrom\s*["']([^"']+)["']""", text, re.M
    ):
        assert name.startswith("."), name
        target = ((UI / script).parent / name).resolve()
        assert target.is_file() or target == (UI.parent / "jackline.js").resolve(), name
