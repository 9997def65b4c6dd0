"""What every route works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from jackline.errors import FieldError
from jackline.log.base import Reservation
from jackline.web.problems import field_problem

if TYPE_CHECKING:
    from jackline.commands import Commands
    from jackline.log.base import Store
    from jackline.pressure import Pressure
    from jackline.settings import Settings
    from jackline.web.auth import Authority
    from jackline.web.counts import Counts
    from jackline.web.crowd import Crowd
    from jackline.web.probe.probes import Probes
    from jackline.web.tails import Tails


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The app's parts, passed in. `default_agent` names the agent of a chat that names none; None
    when it is whatever the live workers serve. `needs_worker`: not ready before
    a worker lives. `own_worker`: whether this process' own worker is up, where it has one: a dead
    server's worker may be remembered by the store for some seconds."""

    settings: Settings
    store: Store
    commands: Commands
    authority: Authority
    tails: Tails
    default_agent: Callable[[], Awaitable[str]] | None
    needs_worker: bool
    own_worker: Callable[[], bool]
    pressure: Pressure
    counts: Counts
    crowd: Crowd
    probes: Probes


Handler = Callable[[Site, Request], Awaitable[ASGIApp]]
"""A route's function: what it returns is called with the same scope and sends the answer."""


def json_response(value: object, status: int = 200, *, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. Never cached: it is somebody's, and it changes."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


async def reserve(site: Site, key: str | None, digest: str, target: str) -> None:
    """Hold an idempotency key to its first request. The command itself is idempotent and runs again.
    Raises a 422 problem when the key came with another request before."""
    if key is None:
        return
    standing = await site.store.reserve(key, Reservation(digest=digest, target=target))
    if standing.digest != digest:
        detail = "this key was used for another request"
        raise field_problem(FieldError(field="Idempotency-Key", detail=detail))
