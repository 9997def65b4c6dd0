"""`/healthz`, `/readyz`, `/openapi.json`: open to everybody, and they tell nothing about anybody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

from jackline.errors import StoreUnavailable
from jackline.web.openapi import openapi
from jackline.web.problems import unavailable
from jackline.web.site import json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site

_PING_SECONDS: Final = 2.0


class Health(Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class StoreHealth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the store answers. `full`: no run can start, everything else goes on. `fullness`: the
    share of its room in use, where a limit is known."""

    state: Literal["ok", "full", "away"]
    fullness: float | None = None


class WorkersHealth(Struct, frozen=True, kw_only=True):
    """How many workers live; None when the store does not answer. `required`: whether readiness
    waits for one."""

    alive: int | None
    required: bool


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether requests are welcome, and each thing that it depends on."""

    state: Literal["ready", "starting", "draining", "away"]
    store: StoreHealth
    workers: WorkersHealth


async def alive(site: Site, request: Request) -> ASGIApp:
    """Liveness: no dependency is asked, so that a store's outage restarts no web process."""
    del site, request
    return json_response(Health())


async def ready(site: Site, request: Request) -> ASGIApp:
    """Readiness: 200, or 503 with what is missing."""
    del request
    workers = await _workers(site)
    readiness = Readiness(
        state=_state(site, workers),
        store=await _store(site, away=workers is None),
        workers=WorkersHealth(alive=workers, required=site.needs_worker),
    )
    if readiness.state == "ready":
        return json_response(readiness)
    return unavailable("not ready: " + readiness.state, **msgspec.to_builtins(readiness)).response()


async def document(site: Site, request: Request) -> ASGIApp:
    """The OpenAPI document."""
    del site, request
    return json_response(openapi())


async def _store(site: Site, *, away: bool) -> StoreHealth:
    """A full store leaves the process ready: a stop must still reach it."""
    try:
        fullness = None if away else await site.pressure.fullness()
        full = not away and await site.pressure.full()
    except StoreUnavailable:
        return StoreHealth(state="away")
    rounded = None if fullness is None else round(fullness, 3)
    return StoreHealth(state="away" if away else "full" if full else "ok", fullness=rounded)


async def _workers(site: Site) -> int | None:
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await site.store.ping()
            return len(await site.store.catalogues())
    except (StoreUnavailable, TimeoutError):
        return None


def _state(site: Site, workers: int | None) -> Literal["ready", "starting", "draining", "away"]:
    if site.tails.draining:
        return "draining"
    if workers is None:
        return "away"
    return "ready" if not site.needs_worker or (workers and site.own_worker()) else "starting"
