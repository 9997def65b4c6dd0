"""`/api/v1/probe/…`: what `jackline doctor` measures a path with. Closed unless switched on, or for who
holds a grant (G12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackline.web.auth import principal_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site


async def echo(site: Site, request: Request) -> ASGIApp:
    """What arrived of this request."""
    return await site.probes.echo(request, _holder(site, request))


async def stream(site: Site, request: Request) -> ASGIApp:
    """A stream as its plan says."""
    return await site.probes.stream(request, _holder(site, request))


async def count(site: Site, request: Request) -> ASGIApp:
    """Count an execution."""
    return await site.probes.count(request, _holder(site, request))


async def report(site: Site, request: Request) -> ASGIApp:
    """What became of a probe."""
    return await site.probes.report(request, _holder(site, request))


def _holder(site: Site, request: Request) -> str:
    principal = principal_of(request)
    site.authority.may_probe(principal)
    return principal.name
