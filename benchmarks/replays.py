"""Scenarios of viewers that come late: one that reads a long run, and a thousand that come back at once."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks import house
from benchmarks.bench import Bench, Figure
from benchmarks.fanout import hub, usage
from benchmarks.load import Load, Measured, get, load
from benchmarks.publishing import publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from benchmarks.hubs import Hub

LIVE_VIEWERS: Final = 100
LIVE_RATE: Final = 50.0
KEPT: Final = 500
"""Entries that a viewer of the storm has missed."""

_TIMES: Final = 3
"""Replays of which the fastest counts: what else the machine did is in the others."""


def _events(query: str) -> Callable[[str], bytes]:
    return lambda name: get(f"/api/v1/agent/runs/{name}/events{query}", [house.AUTHORIZATION])


def _path(path: str) -> Callable[[str], bytes]:
    return lambda name: get(f"/{path}/{name}")


REPLAYS: Final[dict[str, tuple[str, Callable[[str], bytes]]]] = {
    "jackline": ("jackline", _events("?compact=0")),
    "jackline merged": ("jackline", _events("")),
    "jackline embedded": ("jackline embedded", _events("?compact=0")),
    "jackline embedded merged": ("jackline embedded", _events("")),
    "starlette pages": ("sse-starlette", _path("pages")),
    "sse-starlette": ("sse-starlette", _path("replay")),
}
STORMS: Final = {
    "jackline": _events("?compact=0"),
    "jackline embedded": _events("?compact=0"),
    "sse-starlette": _path("resume"),
}


def replay(bench: Bench, name: str) -> Figure:
    """The time from the request to the last entry, and the server's CPU per entry."""
    entries = bench.count(100_000, 10_000)
    server_name, request = REPLAYS[name]
    with hub(bench, server_name) as (server, folder):
        with publisher(server.sink, channels=1, rate=1, core=bench.others, fill=entries) as source:
            before = usage(server)
            measured = [
                _read(bench, server, folder, [request(source.names[0])], count=1, expect=entries)
                for _ in range(_TIMES)
            ]
            after = usage(server)
    best = min(measured, key=lambda one: one.until_last)
    values = {
        "seconds": best.until_last,
        "first_seconds": measured[0].until_last,
        "entries_per_s": best.delivered / best.until_last if best.until_last else 0.0,
        "megabytes_per_s": best.bytes / best.until_last / 1e6 if best.until_last else 0.0,
        "cpu_us_per_entry": (after.cpu - before.cpu) / _TIMES / entries * 1e6,
        "missing": entries - best.delivered,
        "client_cpu_share": best.cpu_share,
    }
    return Figure(scenario="replay", contestant=name, values=values)


def _read(
    bench: Bench, server: Hub, folder: Path, requests: list[bytes], *, count: int, expect: int
) -> Measured:
    with load(
        bench.client,
        folder=folder,
        port=server.port,
        requests=requests,
        connections=count,
        core=bench.others,
        expect=expect,
        seconds=bench.choose(60.0, 10.0),
        ramp=0,
    ) as client:
        return client.result()


@contextmanager
def _watching(bench: Bench, folder: Path, port: int, live: bytes) -> Generator[Load]:
    """Viewers of the live run, whose window has begun."""
    with load(
        bench.client,
        folder=folder,
        port=port,
        requests=[live],
        connections=LIVE_VIEWERS,
        core=bench.others,
    ) as watchers:
        watchers.ready()
        watchers.begin()
        yield watchers


def storm(bench: Bench, name: str) -> Figure:
    """How long until all have what they missed; the live viewers' p99 before, and meanwhile."""
    viewers = bench.count(1000, 200)
    with _stormed(bench, name) as (server, folder, live, missed):
        with _watching(bench, folder, server.port, live) as watchers:
            time.sleep(bench.choose(3.0, 1.5))
            quiet = watchers.end()
        with _watching(bench, folder, server.port, live) as watchers:
            stormed = _read(bench, server, folder, [missed], count=viewers, expect=KEPT)
            meanwhile = watchers.end()
    missing = viewers * KEPT - stormed.delivered
    values = {
        "seconds": stormed.seconds if missing else stormed.until_last,
        "refused": stormed.failed + stormed.refused,
        "missing": missing,
        "live_p99_before_ms": quiet.latency.p99_ms,
        "live_p99_meanwhile_ms": meanwhile.latency.p99_ms,
        "live_entries_meanwhile": meanwhile.delivered,
        "client_cpu_share": stormed.cpu_share,
    }
    notes = [f"given up after {stormed.seconds:.0f} s; it would have taken longer"] if missing else []
    return Figure(scenario="storm", contestant=name, values=values, notes=notes)


@contextmanager
def _stormed(bench: Bench, name: str) -> Generator[tuple[Hub, Path, bytes, bytes]]:
    """A server with a run that is live and one that others come back to; the requests for both."""
    with hub(bench, name) as (server, folder):
        with publisher(server.sink, channels=1, rate=LIVE_RATE, core=bench.others) as live:
            with publisher(server.sink, channels=1, rate=1, core=bench.others, fill=KEPT) as kept:
                live.go()
                yield server, folder, server.request(live.names[0]), STORMS[name](kept.names[0])
