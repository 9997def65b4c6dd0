"""The web side as an ASGI app."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from jackline.clock import StoreClock
from jackline.errors import ConfigError
from jackline.pressure import Pressure
from jackline.web.auth import Authority
from jackline.web.counts import Counts
from jackline.web.crowd import Crowd, leave_seat
from jackline.web.guards import Guard, Identify, Limit
from jackline.web.paths import HEALTH, ROUTES
from jackline.web.probe.grants import Grants
from jackline.web.probe.probes import Probes
from jackline.web.problems import HANDLED, Problem, on_error
from jackline.web.ring import RING_BYTES
from jackline.web.site import Site
from jackline.web.tails import LINGER_SECONDS, Tails

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from jackline.commands import Commands
    from jackline.log.base import Store
    from jackline.settings import Settings
    from jackline.web.site import Handler


class Endpoint:
    """One path: its functions by method. HEAD is GET; others get 405 with all that are allowed."""

    def __init__(self, site: Site, handlers: Mapping[str, Handler]) -> None:
        self._site = site
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method: str = scope["method"]
        handler = self._handlers.get(method)
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            raise Problem(405, f"this path has no {method}", headers={"Allow": allowed})
        try:
            answer = await handler(self._site, Request(scope, receive))
            await answer(scope, receive, send)
        finally:
            leave_seat(scope)


def create_app(
    settings: Settings,
    store: Store,
    commands: Commands,
    *,
    default_agent: Callable[[], Awaitable[str]] | None = None,
    needs_worker: bool = False,
    own_worker: Callable[[], bool] = lambda: True,
    ring_bytes: int = RING_BYTES,
    linger: float = LINGER_SECONDS,
    only_health: bool = False,
    pressure: Pressure | None = None,
) -> Starlette:
    """The app. Its lifespan must run: it carries what is watched.

    `default_agent` names the agent of a chat that names none; without it that is the first one, by
    name, that live workers serve. `needs_worker`: not ready before a live worker has said what it
    serves, nor before `own_worker()`. `ring_bytes` is what each watched run holds of its newest
    frames, `linger` for how many seconds it does so after its last viewer has left. `only_health`:
    `/healthz` and `/readyz` and nothing else, for a worker's own port. `pressure`: what `/readyz` tells
    of how full the store is. Raises `ConfigError` for an
    address that others can reach without keys (G12).
    """
    if not settings.keys and not settings.loopback:
        raise ConfigError(
            f"host {settings.host} can be reached from other machines and there are no keys; "
            "set keys, or listen on 127.0.0.1"
        )
    clock = StoreClock(store)
    counts = Counts()
    grants = Grants(settings.probe_secret)
    tails = Tails(store, heartbeat=settings.heartbeat, now=clock.now, ring_bytes=ring_bytes, linger=linger)
    site = Site(
        settings=settings,
        store=store,
        commands=commands,
        authority=Authority(store, settings.keys, grants, probes=settings.probes),
        tails=tails,
        default_agent=default_agent,
        needs_worker=needs_worker,
        own_worker=own_worker,
        pressure=pressure or Pressure(store, settings.store_full),
        counts=counts,
        crowd=Crowd(settings, counts),
        probes=Probes(going=lambda: tails.draining),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        del app
        async with asyncio.TaskGroup() as group, site.tails.running():
            keeping = group.create_task(clock.keep())
            try:
                yield
            finally:
                keeping.cancel()

    app = Starlette(
        routes=[
            Route(path, Endpoint(site, handlers))
            for path, handlers in ROUTES.items()
            if not only_health or path in HEALTH
        ],
        middleware=[
            Middleware(
                Guard,
                keyless=site.authority.keyless,
                allowed_hosts=settings.allowed_hosts,
                cors_origins=settings.cors_origins,
            ),
            Middleware(Limit),
            Middleware(Identify, authority=site.authority, prefix="/api/"),
        ],
        exception_handlers=dict.fromkeys((Exception, Problem, *HANDLED), on_error),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app


def site_of(app: Starlette) -> Site:
    """The parts of an app that `create_app` made."""
    return cast("Site", app.state.site)
