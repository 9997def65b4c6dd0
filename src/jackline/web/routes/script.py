"""`/jackline.js`: the JavaScript client, so that pages need nothing from anywhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site

_SCRIPT: Final = (Path(__file__).parents[1] / "static" / "jackline.js").read_bytes()
_TAG: Final = f'"{hashlib.sha256(_SCRIPT).hexdigest()[:32]}"'
_HEADERS: Final = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "no-cache",
    "ETag": _TAG,
}
"""Kept, and asked about each time: a page must not talk to a new server with an old client."""


async def script(site: Site, request: Request) -> ASGIApp:
    """The module; open to everybody."""
    del site
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if _TAG in known or "*" in known:
        return Response(status_code=304, headers=_HEADERS)
    return Response(_SCRIPT, headers=_HEADERS)
