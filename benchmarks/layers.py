"""Scenarios in which all layers work: a run is asked for, an agent speaks, the asker reads the stream."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks import house
from benchmarks.bench import ENVIRONMENTS, PEERS, Bench, Figure
from benchmarks.hubs import peer
from benchmarks.load import Measured, load, post
from benchmarks.processes import HOST, Program, free_port, program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

RATE: Final = 50.0
"""Tokens a second of a run that is paced."""

BOUND_MS: Final = 50.0
"""The p99 up to which a server is taken to keep pace."""

ALL_SHARE: Final = 0.97
"""Of the entries of a window, from which on all are taken to have come: its ends cut some."""

STARTED_PER_SECOND: Final = 50
"""Runs that a slow contestant has begun after a second."""

STEPS: Final = (10, 25, 50, 75, 100, 200, 300, 400, 500, 600, 800)
_JSON: Final = ("Content-Type", "application/json")


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """A server that runs agents. `ask`: the request for a run that says so many tokens, so many a second."""

    port: int
    programs: tuple[Program, ...]
    ask: Callable[[int, float], bytes]


@contextmanager
def jackline_redis(bench: Bench, folder: Path, tokens: int) -> Generator[House]:
    """Web and worker, auth on, the log in a Redis that writes its AOF at each append."""
    del tokens
    with ExitStack() as stack:
        store = stack.enter_context(house.redis(folder, bench.others, durable=True))
        yield stack.enter_context(_jackline(bench, folder, store.url))


@contextmanager
def jackline_sqlite(bench: Bench, folder: Path, tokens: int) -> Generator[House]:
    """Web and worker, auth on, the embedded store."""
    del tokens
    with _jackline(bench, folder, str(folder / "data")) as started:
        yield started


@contextmanager
def _jackline(bench: Bench, folder: Path, store: str) -> Generator[House]:
    def ask(tokens: int, rate: float) -> bytes:
        wish = json.dumps({"tokens": tokens, "rate": rate})
        body = json.dumps({"messages": [{"role": "user", "content": wish}]}).encode()
        return post("/api/v1/agent/chat", body, [_JSON, house.AUTHORIZATION])

    with house.jackline(folder, bench.server, store=store, role="all", agent=True) as server:
        yield House(port=server.port, programs=server.programs, ask=ask)


@contextmanager
def pattern(bench: Bench, folder: Path, tokens: int) -> Generator[House]:
    """peers/pattern.py: the agent is a task of the web process."""
    del tokens

    def ask(tokens: int, rate: float) -> bytes:
        return post("/chat", json.dumps({"tokens": tokens, "rate": rate}).encode(), [_JSON])

    with (
        house.redis(folder, bench.others, durable=False) as store,
        peer(bench, folder, "pattern", {"REDIS_URL": store.url}) as server,
    ):
        yield House(port=server.port, programs=server.programs, ask=ask)


@contextmanager
def agno(bench: Bench, folder: Path, tokens: int) -> Generator[House]:
    """agno's AgentOS."""
    port = free_port()
    command = [str(ENVIRONMENTS / "agno" / "bin" / "python"), str(PEERS / "agno_server.py")]
    env = {"PORT": str(port), "TOKENS": str(tokens), "AGNO_TELEMETRY": "false"}

    def ask(tokens: int, rate: float) -> bytes:
        del tokens, rate
        form = ("Content-Type", "application/x-www-form-urlencoded")
        return post("/agents/speaker/runs", b"message=speak&stream=true", [form])

    with program("agno", command, folder=folder, core=bench.server, env=env) as started:
        started.until_listening(port)
        yield House(port=port, programs=(started,), ask=ask)


@contextmanager
def langgraph(bench: Bench, folder: Path, tokens: int) -> Generator[House]:
    """LangGraph's dev server; as many jobs at once as runs are asked for."""
    port = free_port()
    graph = {"dependencies": [str(PEERS)], "graphs": {"bench": f"{PEERS / 'langgraph_graph.py'}:graph"}}
    (folder / "langgraph.json").write_text(json.dumps(graph))
    scripts = ENVIRONMENTS / "langgraph" / "bin"
    command = [str(scripts / "langgraph"), "dev", "--no-browser", "--no-reload", "--host", HOST]
    command += ["--port", str(port), "--n-jobs-per-worker", "50", "--server-log-level", "warning"]
    env = {"TOKENS": str(tokens), "LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}

    def ask(tokens: int, rate: float) -> bytes:
        del tokens, rate
        said = [{"role": "user", "content": "speak"}]
        wish = {"assistant_id": "bench", "input": {"messages": said}, "stream_mode": ["messages-tuple"]}
        return post("/runs/stream", json.dumps(wish).encode(), [_JSON])

    with program("langgraph", command, folder=folder, core=bench.server, env=env) as started:
        started.until_listening(port)
        yield House(port=port, programs=(started,), ask=ask)


HOUSES: Final = {
    "jackline": jackline_redis,
    "jackline embedded": jackline_sqlite,
    "pattern": pattern,
    "agno": agno,
    "langgraph": langgraph,
}
PACED: Final = ("jackline", "jackline embedded", "pattern")


@contextmanager
def started(bench: Bench, name: str, tokens: int) -> Generator[tuple[House, Path]]:
    """A contestant's server, warm: one run has been asked for and read."""
    with TemporaryDirectory(dir=bench.folder) as made:
        folder = Path(made)
        with HOUSES[name](bench, folder, tokens) as server:
            runs(bench, folder, server, count=1, tokens=tokens if name in {"agno", "langgraph"} else 10)
            yield server, folder


def runs(
    bench: Bench, folder: Path, server: House, *, count: int, tokens: int, rate: float = 0.0
) -> Measured:
    """Ask for `count` runs at once, and read each until it has said all."""
    with load(
        bench.client,
        folder=folder,
        port=server.port,
        requests=[server.ask(tokens, rate)],
        connections=count,
        core=bench.others,
        expect=tokens,
        seconds=60.0 if rate or bench.quick else 120.0,
        ramp=0,
    ) as client:
        return client.result()


def burst(bench: Bench, name: str) -> Figure:
    """50 runs at once whose agents say all that they have as fast as it is taken."""
    count, tokens = 50, bench.count(2000, 300)
    with started(bench, name, tokens) as (server, folder):
        before = server.programs[0].usage()
        measured = runs(bench, folder, server, count=count, tokens=tokens)
        after = server.programs[0].usage()
    values = {
        "entries_per_s": measured.delivered / measured.until_last if measured.until_last else 0.0,
        "event_p50_ms": measured.heard.p50_ms,
        "first_p50_ms": measured.first.p50_ms,
        "first_p99_ms": measured.first.p99_ms,
        "cpu_us_per_entry": (after.cpu - before.cpu) / max(1, measured.delivered) * 1e6,
        "delivered": measured.delivered,
        "missing": count * tokens - measured.delivered,
        "client_cpu_share": measured.cpu_share,
    }
    notes = [f"{values['missing']:.0f} entries never came"] if values["missing"] else []
    return Figure(scenario="burst", contestant=name, values=values, notes=notes)


def paced(bench: Bench, name: str) -> list[Figure]:
    """More and more runs of 50 tokens a second, until the p99 of an entry's way is over the bound."""
    figures: list[Figure] = []
    for count in STEPS[:3] if bench.quick else STEPS:
        figures.append(_paced(bench, name, count))
        values = figures[-1].values
        if values["p99_ms"] > BOUND_MS or values["missing"]:
            break
    return figures


def _paced(bench: Bench, name: str, count: int) -> Figure:
    """What is measured begins when all have begun to speak: starting them is another scenario's matter."""
    seconds, settle = bench.choose(6.0, 2.0), 1.0 + count / STARTED_PER_SECOND
    tokens = int(RATE * (2 * settle + seconds + 10.0))
    with (
        started(bench, name, 10) as (server, folder),
        load(
            bench.client,
            folder=folder,
            port=server.port,
            requests=[server.ask(tokens, RATE)],
            connections=count,
            core=bench.others,
            seconds=60.0,
            ramp=0,
        ) as client,
    ):
        client.ready()
        time.sleep(settle)
        client.begin()
        before = server.programs[0].usage()
        time.sleep(seconds)
        after = server.programs[0].usage()
        measured = client.end()
    values = {
        "runs": count,
        "p50_ms": measured.latency.p50_ms,
        "p99_ms": measured.latency.p99_ms,
        "missing": max(0, round(ALL_SHARE * count * RATE * measured.seconds) - measured.delivered),
        "cpu_us_per_entry": (after.cpu - before.cpu) / max(1, measured.delivered) * 1e6,
        "server_cpu_share": (after.cpu - before.cpu) / measured.seconds,
        "client_cpu_share": measured.cpu_share,
    }
    return Figure(scenario="paced", contestant=name, values=values, at=count)


def one_run(bench: Bench, name: str) -> Figure:
    """One run, one reader: what the server adds to a model's chunk on its way."""
    tokens = bench.count(300, 100)
    with started(bench, name, tokens) as (server, folder):
        measured = runs(bench, folder, server, count=1, tokens=tokens, rate=RATE)
    values = {"p50_ms": measured.latency.p50_ms, "p99_ms": measured.latency.p99_ms}
    return Figure(scenario="one run", contestant=name, values=values)
