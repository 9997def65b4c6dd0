"""Scenarios of Jackline alone, and growth curves: commits, stops, start-up, cost against size."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec

from benchmarks import house
from benchmarks.bench import ROOT, Bench, Figure
from benchmarks.fanout import Fan, fan, usage
from benchmarks.hubs import jackline_hub
from benchmarks.load import get, load
from benchmarks.machine import pinned
from benchmarks.processes import HOST, BenchError, clean_environment, free_port, program

if TYPE_CHECKING:
    from collections.abc import Generator

STORES: Final = ("jackline", "jackline embedded")
COMMITS: Final = STORES
_RUNS: Final = 50
_GROUPS: Final = (1, 10, 100)
_LIMIT_SECONDS: Final = 300.0
_STARTS: Final = 5
_READ: Final = 100_000
_REPEATS: Final = 30
"""A short run is read so often, up to so many entries in all: CPU is counted in steps of 10 ms."""


class _Committed(msgspec.Struct, frozen=True, kw_only=True):
    entries: int
    seconds: float
    cpu_seconds: float
    names: list[str]


@contextmanager
def _store(bench: Bench, name: str) -> Generator[tuple[str, Path]]:
    """The store of a contestant, and a folder."""
    with TemporaryDirectory(dir=bench.folder) as made:
        folder = Path(made)
        if name == "jackline":
            with house.redis(folder, bench.others, durable=True) as store:
                yield store.url, folder
        else:
            yield str(folder / "data"), folder


def _python(bench: Bench, core: int | None, *arguments: str) -> bytes:
    """Run a module of Python's, and return what it printed. Raises `BenchError`."""
    del bench
    try:
        done = subprocess.run(
            pinned(core, [sys.executable, "-m", *arguments]),
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise BenchError(f"{arguments[0]}: {error}: {error.stderr}") from None
    return done.stdout


def _commit(bench: Bench, store: str, *, runs: int, group: int, seconds: float, fill: int = 0) -> _Committed:
    words = [store, str(runs), str(group), f"{seconds:g}", str(fill)]
    said = _python(bench, bench.server, "benchmarks.committer", *words)
    return msgspec.json.decode(said, type=_Committed)


def commit(bench: Bench, name: str) -> list[Figure]:
    """Entries a second and CPU of each, in groups of 1, 10 and 100."""
    figures: list[Figure] = []
    for group in _GROUPS:
        with _store(bench, name) as (store, _):
            done = _commit(bench, store, runs=_RUNS, group=group, seconds=bench.choose(3.0, 1.0))
        values = {
            "group": group,
            "entries_per_s": done.entries / done.seconds,
            "cpu_us_per_entry": done.cpu_seconds / done.entries * 1e6,
        }
        figures.append(Figure(scenario="commit", contestant=name, values=values, at=group))
    return figures


def stop(bench: Bench, name: str) -> list[Figure]:
    """What `jackline bench stop` says, a figure for each kind of run."""
    options = ["--runs", str(bench.count(30, 5)), "--json"]
    options += ["--sqlite"] if name == "jackline embedded" else []
    told = json.loads(_python(bench, None, "jackline", "bench", "stop", *options))
    figures: list[Figure] = []
    for case in told["cases"]:
        values = {
            f"{part}_{share}_ms": float(case[f"{part}_ms"][share])
            for part in ("accepted", "stopping", "told", "ending")
            for share in ("p50", "p99")
        }
        figures.append(
            Figure(
                scenario="stop", contestant=f"{name}: {case['name']}", values=values, notes=[told["store"]]
            )
        )
    return figures


def start(bench: Bench, name: str) -> Figure:
    """Seconds of `jackline --help`, and from the start of `serve` to its answer that it is ready."""
    helps: list[float] = []
    readies: list[float] = []
    for _ in range(bench.count(_STARTS, 2)):
        begun = time.monotonic()
        _python(bench, bench.server, "jackline", "--help")
        helps.append(time.monotonic() - begun)
        with TemporaryDirectory(dir=bench.folder) as folder:
            readies.append(_until_ready(bench, Path(folder)))
    values = {"help_s": min(helps), "serve_ready_s": min(readies)}
    return Figure(scenario="start", contestant=name, values=values, notes=["the fastest of a few"])


def _until_ready(bench: Bench, folder: Path) -> float:
    port = free_port()
    command = [sys.executable, "-m", "jackline", "serve", "--port", str(port), "--data-dir", str(folder)]

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    begun = time.monotonic()
    with program("serve", command, folder=folder) as started:
        started.until(ready, "an answer that it is ready")
        return time.monotonic() - begun


def grow_viewers(bench: Bench, name: str) -> list[Figure]:
    """From one viewer to 10,000: the rate is such that about as much is delivered each time."""
    figures: list[Figure] = []
    for viewers in (1, 100, 1000) if bench.quick else (1, 10, 100, 1000, 3000, 10_000):
        rate = min(500.0, max(2.0, 10_000 / viewers))
        wish = Fan(
            scenario="grow viewers",
            channels=1,
            viewers=viewers,
            rate=rate,
            seconds=bench.choose(3.0, 1.0),
            at=viewers,
        )
        figures.append(fan(bench, name, wish))
    return figures


def grow_runs(bench: Bench, name: str) -> list[Figure]:
    """From one run to 5,000, each with a viewer of its own."""
    figures: list[Figure] = []
    for runs in (1, 100) if bench.quick else (1, 10, 100, 1000, 2500, 5000):
        rate = min(100.0, 5000 / runs)
        wish = Fan(
            scenario="grow runs",
            channels=runs,
            viewers=runs,
            rate=rate,
            seconds=bench.choose(3.0, 1.0),
            at=runs,
        )
        figures.append(fan(bench, name, wish))
    return figures


def grow_entries(bench: Bench, name: str) -> list[Figure]:
    """What a run's length does to its writer and its readers."""
    figures: list[Figure] = []
    for entries in (100, 10_000) if bench.quick else (100, 1000, 10_000, 100_000, 1_000_000):
        with _store(bench, name) as (store, folder):
            done = _commit(bench, store, runs=1, group=10, seconds=1.0, fill=entries)
            values = {
                "append_us_per_entry": done.cpu_seconds / done.entries * 1e6,
                "append_wall_us_per_entry": done.seconds / done.entries * 1e6,
            }
            notes: list[str] = []
            with house.jackline(folder, bench.server, store=store, role="web", agent=False) as server:
                try:
                    values |= _reads(bench, folder, server, done, entries)
                except BenchError as error:
                    notes.append(str(error))
        made = Figure(scenario="grow entries", contestant=name, values=values, at=entries, notes=notes)
        figures.append(made)
    return figures


def _reads(
    bench: Bench, folder: Path, server: house.Server, done: _Committed, entries: int
) -> dict[str, float]:
    """Of the last 100 entries by the first viewer that this process has, and again, and of all entries."""
    total = entries + done.entries
    hub = jackline_hub(server, "", "")

    def read(after: int, count: int) -> tuple[float, float]:
        path = f"/api/v1/agent/runs/{done.names[0]}/events?compact=0&after={after}"
        before = usage(hub).cpu
        with load(
            bench.client,
            folder=folder,
            port=server.port,
            requests=[get(path, [house.AUTHORIZATION])],
            connections=1,
            core=bench.others,
            expect=count,
            seconds=60.0,
        ) as client:
            measured = client.result()
        if measured.delivered < count:
            come = f"{measured.delivered} of {count} entries after {after:,} came"
            raise BenchError(f"{come} within {measured.seconds:.0f} s")
        return measured.until_last, usage(hub).cpu - before

    first, _ = read(total - 100, 100)
    tail, _ = read(total - 100, 100)
    times = max(1, min(_REPEATS, _READ // entries))
    whole, cpu = (sum(parts) / times for parts in zip(*(read(1, entries) for _ in range(times)), strict=True))
    return {
        "first_look_ms": first * 1000,
        "read_last_100_ms": tail * 1000,
        "replay_us_per_entry": whole / entries * 1e6,
        "replay_cpu_us_per_entry": cpu / entries * 1e6,
    }
