"""Scenarios in which a publisher's entries go to viewers: one run to many, many runs to one each."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.bench import Bench, Figure
from benchmarks.hubs import HUBS, Hub
from benchmarks.load import Load, Measured, load
from benchmarks.publishing import Published, publisher

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.processes import Usage

SETTLE_SECONDS: Final = 1.0
"""From the first entry to the measured window: caches are warm then, and queues that grow have begun to."""

CONNECT_SECONDS: Final = 45.0
"""Within which all viewers must have their heads; one that does not come so far is told of."""

SUBSCRIBED_PER_SECOND: Final = 1000
"""Viewers whose head has arrived and who are subscribed to a Redis after a second, on a slow contestant."""

BUSY: Final = 0.9
"""The share of a core from which on the client, or the publisher, may be what is measured."""

_FEW: Final = 100
"""Viewers that are there before the idle ones come, so that what is needed once is not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fan:
    """One run of the publisher: `rate` entries a second in each of `channels`, read by `viewers` in all."""

    scenario: str
    channels: int
    viewers: int
    rate: float
    seconds: float
    at: float | None = None


def fan(bench: Bench, name: str, wish: Fan) -> Figure:
    """Measure one contestant. Raises `BenchError`."""
    with hub(bench, name) as (server, folder):
        with publisher(server.sink, channels=wish.channels, rate=wish.rate, core=bench.others) as source:
            with load(
                bench.client,
                folder=folder,
                port=server.port,
                requests=[server.request(channel) for channel in source.names],
                connections=wish.viewers,
                core=bench.others,
                seconds=CONNECT_SECONDS + wish.viewers / SUBSCRIBED_PER_SECOND + wish.seconds,
            ) as client:
                client.ready()
                time.sleep(wish.viewers / SUBSCRIBED_PER_SECOND)
                source.go()
                time.sleep(SETTLE_SECONDS)
                client.begin()
                before, store = usage(server), _store_cpu(server)
                time.sleep(wish.seconds)
                after, stored = usage(server), _store_cpu(server)
                measured = client.end()
                published = source.stop()
    made = figure(name, wish, measured, published, after.cpu - before.cpu)
    if server.redis is not None:
        # Of an entry that is published, however many viewers it has.
        entries = published.published / published.seconds * measured.seconds
        made.values["redis_us_per_published"] = (stored - store) / max(1.0, entries) * 1e6
    return made


def _store_cpu(server: Hub) -> float:
    return 0.0 if server.redis is None else server.redis.usage().cpu


@contextmanager
def hub(bench: Bench, name: str) -> Generator[tuple[Hub, Path]]:
    """A contestant's server, and a folder of its own."""
    with TemporaryDirectory(dir=bench.folder) as made:
        with HUBS[name](bench, Path(made)) as server:
            yield server, Path(made)


def usage(server: Hub) -> Usage:
    """Of what is measured of it."""
    assert len(server.programs) == 1
    return server.programs[0].usage()


def figure(name: str, wish: Fan, measured: Measured, published: Published, cpu: float) -> Figure:
    """What was measured, in the terms of the table."""
    per_entry = wish.viewers / wish.channels
    offered = published.published / published.seconds * per_entry
    values = {
        "wanted_per_s": wish.rate * wish.viewers,
        "offered_per_s": offered,
        "delivered_per_s": measured.delivered / measured.seconds,
        "p50_ms": measured.latency.p50_ms,
        "p99_ms": measured.latency.p99_ms,
        "max_ms": measured.latency.max_ms,
        "cpu_us_per_entry": cpu / measured.delivered * 1e6 if measured.delivered else 0.0,
        "server_cpu_share": cpu / measured.seconds,
        "bytes_per_entry": measured.bytes / measured.delivered if measured.delivered else 0.0,
        "client_cpu_share": measured.cpu_share,
        "publisher_cpu_share": published.cpu_seconds / published.seconds,
        "least_per_viewer": measured.least,
        "most_per_viewer": measured.most,
        "failed": measured.failed + measured.refused,
        "unanswered": measured.connections - measured.answered,
    }
    return Figure(
        scenario=wish.scenario, contestant=name, values=values, at=wish.at, notes=list(notes(values))
    )


def notes(values: dict[str, float]) -> Iterator[str]:
    """What a reader of the figures must know."""
    if values["unanswered"]:
        yield f"{values['unanswered']:,.0f} viewers had no answer within {CONNECT_SECONDS:g} s"
    if values["client_cpu_share"] > BUSY:
        yield "the load client was busy: the server may be faster"
    if values["offered_per_s"] < 0.97 * values["wanted_per_s"]:
        yield f"only {values['offered_per_s']:,.0f}/s were published"
    if values["delivered_per_s"] < 0.97 * values["offered_per_s"]:
        busy = values["server_cpu_share"] > BUSY
        why = "" if busy else f" (it had {values['server_cpu_share']:.0%} of a core: was the machine busy?)"
        yield f"fell behind: latency grows as long as it goes on{why}"
    if values["failed"]:
        yield f"{values['failed']:.0f} viewers were refused or cut off"


def idle_memory(bench: Bench, name: str) -> Figure:
    """Bytes that a server's processes grow by with each viewer that only waits."""
    viewers = bench.count(5000, 1000)
    with (
        hub(bench, name) as (server, folder),
        publisher(server.sink, channels=1, rate=1, core=None) as source,
    ):
        requests = [server.request(channel) for channel in source.names]

        def client(count: int) -> AbstractContextManager[Load]:
            return load(
                bench.client,
                folder=folder,
                port=server.port,
                requests=requests,
                connections=count,
                core=bench.others,
            )

        with client(_FEW) as few:
            few.ready()
            time.sleep(SETTLE_SECONDS / 2)
            before = usage(server).memory
            with client(viewers) as many:
                many.ready()
                time.sleep(SETTLE_SECONDS)
                after = usage(server).memory
                failed = many.end().failed
    values = {"bytes_per_viewer": (after - before) / viewers, "viewers": viewers, "failed": failed}
    return Figure(scenario="idle", contestant=name, values=values)
