"""A throw-away origin: the probes alone, to be put behind the proxy in question."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jackline.settings import Settings
from jackline.web.care import Config, care_of
from jackline.web.counts import Counts
from jackline.web.crowd import Crowd
from jackline.web.guards import Guard
from jackline.web.handover import Http
from jackline.web.probe.grants import HEADER, MAX_SECONDS, Grants
from jackline.web.probe.probes import Probes
from jackline.web.problems import HANDLED, Problem, on_error
from jackline.web.server import Server, listen, url_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

_HOLDER: Final = "jackline.probe.holder"
_HEALTH: Final = ("/healthz", "/readyz")
"""What balancers ask before they send anything on; open to all, and it tells nothing."""
_END_SECONDS: Final = 2
"""How long streams may take to end once the origin was told to."""


class _Held:
    """Lets nobody through without a token of this origin's (G12)."""

    def __init__(self, app: ASGIApp, *, grants: Grants) -> None:
        self._app = app
        self._grants = grants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _HEALTH:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        holder = self._grants.holder(headers.get(HEADER)) or self._grants.holder(
            headers.get("authorization", "").partition(" ")[2].strip()
        )
        if holder is None:
            refusal = Problem(
                401, "send the token that this origin printed", headers={"WWW-Authenticate": "Bearer"}
            )
            await refusal.response()(scope, receive, send)
            return
        await self._app({**scope, _HOLDER: holder}, receive, send)


class _Endpoint:
    """One path."""

    def __init__(self, handlers: Mapping[str, Callable[[Request, str], Awaitable[ASGIApp]]]) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            raise Problem(405, "not that method", headers={"Allow": ", ".join(self._handlers)})
        answer = await handler(Request(scope, receive), scope[_HOLDER])
        await answer(scope, receive, send)


async def _healthy(request: Request) -> Response:
    del request
    return Response(b'{"status":"ok"}', media_type="application/json")


def origin_app(grants: Grants, probes: Probes) -> Starlette:
    """The probes as an app of their own, for who holds one of `grants`."""
    path = "/api/v1/probe"
    app = Starlette(
        routes=[
            Route(f"{path}/echo", _Endpoint({"GET": probes.echo, "POST": probes.echo})),
            Route(
                f"{path}/stream",
                _Endpoint({"GET": probes.stream, "POST": probes.stream, "HEAD": probes.stream}),
            ),
            Route(f"{path}/count/{{nonce}}", _Endpoint({"GET": probes.count, "POST": probes.count})),
            Route(f"{path}/report/{{id}}", _Endpoint({"GET": probes.report})),
            *(Route(health, _healthy) for health in _HEALTH),
        ],
        middleware=[
            Middleware(Guard, keyless=False, allowed_hosts=(), cors_origins=()),
            Middleware(_Held, grants=grants),
        ],
        exception_handlers=dict.fromkeys((Exception, Problem, *HANDLED), on_error),
    )
    app.router.redirect_slashes = False
    return app


async def serve_origin(host: str, port: int, *, on_ready: Callable[[str, str], None]) -> None:
    """Serve the probes until SIGINT or SIGTERM, at most as long as the token is good (an hour). `on_ready`
    gets the URL and the token. Raises `ConfigError` when it cannot listen."""
    going = asyncio.Event()
    grants = Grants(secrets.token_hex(32))
    token = grants.make(MAX_SECONDS)
    listeners = listen(host, port)
    settings, counts = Settings.model_validate({}), Counts()
    config = Config(
        care_of(settings, Crowd(settings, counts), counts),
        origin_app(grants, Probes(going=going.is_set)),
        http=Http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    server = Server(config, on_start=lambda: on_ready(url_of(host, listeners[0]), token), on_exit=going.set)
    timer = asyncio.get_running_loop().call_later(MAX_SECONDS, server.stop)
    try:
        await server.serve(sockets=listeners)
    finally:
        timer.cancel()
        for listener in listeners:
            listener.close()
