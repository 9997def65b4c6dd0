"""`GET /metrics`: what this process has to do, in Prometheus' text format."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from starlette.responses import Response

from jackline.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.site import Site

_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STORE_SECONDS: Final = 2.0


class Metric(NamedTuple):
    """One metric, with a value for each label (`""`: the only one). None as a value: not known now."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    values: Mapping[str, float | None]
    label: str = ""


async def metrics(site: Site, request: Request) -> ASGIApp:
    """The page. It names no run and no principal."""
    if site.settings.metrics == "keys":
        site.authority.identify(request.headers.get("authorization"))
    return Response(
        text([*_here(site), *await _behind(site)]),
        headers={"Content-Type": _MEDIA_TYPE, "Cache-Control": "no-store"},
    )


def text(metrics: Iterable[Metric]) -> str:
    """The text format, version 0.0.4. Labels' values are words of ours: nothing in them to be quoted."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for value_of, value in metric.values.items():
            label = f'{{{metric.label}="{value_of}"}}' if metric.label else ""
            if value is not None:
                lines.append(f"{metric.name}{label} {value:.10g}")
    return "\n".join(lines) + "\n"


def _here(site: Site) -> list[Metric]:
    crowd, tails, counts = site.crowd, site.tails, site.counts
    return [
        _gauge("jackline_connections", "Connections, those at rest included.", crowd.connections),
        _gauge("jackline_streams", "Streams that are open.", crowd.streams),
        _gauge("jackline_viewers", "Viewers, and requests that wait for a run's ending.", tails.viewers),
        _gauge("jackline_watched_runs", "Runs that are followed for viewers.", len(tails.watched)),
        _gauge("jackline_draining", "1 while the process ends.", int(tails.draining)),
        _gauge(
            "jackline_waiting_bytes", "Bytes that wait here for viewers to take them.", tails.waiting_bytes
        ),
        Metric(
            "jackline_entries_delivered_total",
            "counter",
            "Entries written to viewers, each viewer's counted.",
            {"": tails.entries_delivered},
        ),
        Metric(
            "jackline_refused_total",
            "counter",
            "Connections, requests and streams that were refused.",
            {**counts.refused},
            "reason",
        ),
        Metric("jackline_cut_total", "counter", "Connections that were cut.", {**counts.cut}, "reason"),
    ]


async def _behind(site: Site) -> list[Metric]:
    workers: int | None = None
    fullness: float | None = None
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            await site.store.ping()
            workers = len(await site.store.catalogues())
            fullness = await site.pressure.fullness()
        up = 1
    except (StoreUnavailable, TimeoutError):
        up = 0
    return [
        _gauge("jackline_store_up", "1 while the store answers.", up),
        _gauge("jackline_store_fullness", "Share of the store's room in use, where it is known.", fullness),
        _gauge("jackline_workers", "Workers that live.", workers),
    ]


def _gauge(name: str, help_text: str, value: float | None) -> Metric:
    return Metric(name, "gauge", help_text, {"": value})
