"""`/` and `/ui/…`: the operator's page. Its files have no data in them, and are the same for everybody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from jackline.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site

FOLDER: Final = Path(__file__).parents[1] / "ui"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""All that is served; types for the editor, licences and the like stay where they are."""

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a model or a tool says is shown on this page: even what got past it as markup could run nothing and
ask nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    body: bytes
    headers: Mapping[str, str]
    tag: str


@cache
def _files() -> Mapping[str, _File]:
    """Every file by its path under the folder. Read once: a path that a request names opens nothing."""
    return {
        path.relative_to(FOLDER).as_posix(): _read(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }


def _read(path: Path) -> _File:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {
        "Content-Type": _TYPES[path.suffix],
        # Kept, and asked about each time: a new server's page must not run on an old one's files.
        "Cache-Control": "no-cache",
        "ETag": tag,
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
    }
    return _File(body=body, headers=headers, tag=tag)


async def page(site: Site, request: Request) -> ASGIApp:
    """The page; which of its views is shown stands in the URL's fragment."""
    del site
    return _answer(_files()["index.html"], request)


async def part(site: Site, request: Request) -> ASGIApp:
    """One of the page's files."""
    del site
    path: str = request.path_params["path"]
    file = _files().get(path)
    if file is None:
        raise Problem(404, f"the page has no file {path}")
    return _answer(file, request)


def _answer(file: _File, request: Request) -> ASGIApp:
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.tag in known or "*" in known:
        return Response(status_code=304, headers=file.headers)
    return Response(file.body, headers=file.headers)
