"""What stands before the routes, as plain ASGI: who may connect at all, and the headers of every
answer (G12)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from jackline.web.auth import PRINCIPAL, PROBES
from jackline.web.care import OVER
from jackline.web.crowd import Full
from jackline.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from jackline.web.auth import Authority

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN: Final = frozenset({"/healthz", "/readyz"})
_NEVER_FULL: Final = _OPEN | {"/metrics"}
_METHODS: Final = "GET, POST, DELETE"
_ALLOWED_HEADERS: Final = "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
_EXPOSED_HEADERS: Final = "X-Run-Id, Location, Retry-After, Last-Event-ID"
_PREFLIGHT_SECONDS: Final = "600"


class Guard:
    """The outermost layer: security headers, CORS, and without keys the two rules that keep a web
    page which the operator happens to visit from steering a server on the operator's own machine:

    - DNS rebinding: a public name that points here is refused. A name with a dot that is not
      listed in `allowed_hosts` is taken for one; IP addresses, `localhost` and names without a dot
      cannot be one.
    - Cross-site requests: one that changes something and comes from a page of another origin is
      refused, unless that origin may use the API (`cors_origins`) or is on this machine.
    """

    def __init__(
        self, app: ASGIApp, *, keyless: bool, allowed_hosts: Collection[str], cors_origins: Collection[str]
    ) -> None:
        self._app = app
        self._keyless = keyless
        self._hosts = frozenset(host.lower().rstrip(".") for host in allowed_hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is not None and self._may_share(origin)

        async def decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._decorate(MutableHeaders(scope=message), origin if allowed else None)
            await send(message)

        if scope["method"] == "OPTIONS" and origin is not None and "access-control-request-method" in headers:
            answer = (
                _preflight() if allowed else Problem(403, "this origin is not in cors_origins").response()
            )
            await answer(scope, receive, decorated)
            return
        refused = self._refusal(scope, headers, origin) if self._keyless else None
        if refused is not None:
            await refused.response()(scope, receive, decorated)
            return
        await self._app(scope, receive, decorated)

    def _may_share(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def _decorate(self, headers: MutableHeaders, origin: str | None) -> None:
        headers.setdefault("x-content-type-options", "nosniff")
        if not self._origins:
            return
        headers.add_vary_header("Origin")
        if origin is not None:
            headers["access-control-allow-origin"] = "*" if "*" in self._origins else origin
            headers["access-control-expose-headers"] = _EXPOSED_HEADERS

    def _refusal(self, scope: Scope, headers: Headers, origin: str | None) -> Problem | None:
        if scope["path"] in _OPEN:
            return None
        host = _host_of("//" + headers.get("host", "localhost"))
        if host is None or not self._is_known(host):
            return Problem(403, f"the host name {host or '(bad)'} is not in allowed_hosts")
        if scope["method"] in _SAFE or origin is None or self._may_share(origin):
            return None
        theirs = _host_of(origin)
        if theirs is not None and (theirs == host or is_loopback(theirs)):
            return None
        return Problem(403, "a page of another origin may not do this; see cors_origins")

    def _is_known(self, host: str) -> bool:
        return (
            "." not in host
            or is_address(host)
            or host.endswith(".localhost")
            or host in self._hosts
            or "*" in self._hosts
        )


class Limit:
    """Sends away who comes over a connection above a limit. How the server is, is told all the same, and a
    stop is taken: those who overload a server must not be able to keep its agents running (G4)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        reason = scope.get("extensions", {}).get(OVER)
        if reason is None or scope["path"] in _NEVER_FULL or scope["path"].endswith("/stop"):
            await self._app(scope, receive, send)
        else:
            await Full(reason, scope).response()(scope, receive, send)


class Identify:
    """Gives every request under `prefix` its principal, or a 401: no route there can forget to ask."""

    def __init__(self, app: ASGIApp, *, authority: Authority, prefix: str) -> None:
        self._app = app
        self._authority = authority
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefix):
            headers = Headers(scope=scope)
            try:
                principal = self._authority.prober(headers) if scope["path"].startswith(PROBES) else None
                principal = principal or self._authority.identify(headers.get("authorization"))
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            scope = {**scope, PRINCIPAL: principal}
        await self._app(scope, receive, send)


def is_address(host: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether this host is certainly the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _host_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname.rstrip(".") if parts.hostname and not parts.username else None


def _preflight() -> Response:
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
    }
    return Response(status_code=204, headers=headers)
