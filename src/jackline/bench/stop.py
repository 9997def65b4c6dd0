"""How long a stop takes, from one replica to a viewer on another."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from jackline.bench.servers import servers
from jackline.client.api import Client
from jackline.client.frames import Entry
from jackline.errors import ConfigError
from jackline.events import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.client.follow import Follow

RUN_SECONDS: Final = 60.0
"""A run that is not where it should be after this is a fault, not a figure."""

_JITTER_SECONDS: Final = 0.05
"""Stops come at any moment of what the run does, and not always right after its last entry."""

Part = Literal["accepted", "stopping", "told", "ending"]
PARTS: Final[tuple[Part, ...]] = ("accepted", "stopping", "told", "ending")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is stopped. `begun`: whether an entry shows that it is under way."""

    name: str
    prompt: str
    begun: Callable[[Entry], bool]


def _asked(entry: Entry) -> bool:
    return entry.type == "workflow" and entry.data.get("step") is not None


def _says(entry: Entry) -> bool:
    return entry.type == "token"


def _runs(entry: Entry) -> bool:
    return entry.type == "tool" and entry.data.get("state") == "started"


CASES: Final = (
    Case(name="silent model", prompt="silent", begun=_asked),
    Case(name="token stream", prompt="tokens", begun=_says),
    Case(name="2,500 tokens/s", prompt="flood", begun=_says),
    Case(name="async tool", prompt="wait", begun=_runs),
    Case(name="child process", prompt="child", begun=_runs),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One stop, in ms since its request was sent: until the 202 was there, until the first `stopping`
    entry and until the ending were at the viewer. `told`: from that entry's own time (whole ms of the
    store's clock, just before it is written) until it was there: what is neither the request's way nor
    the wait for the disk."""

    accepted: float
    stopping: float
    told: float
    ending: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """All stops of a case, each part in rising order."""

    name: str
    samples: tuple[Sample, ...]

    def percentile(self, part: Part, share: float) -> float:
        """The value that this share of the samples does not exceed (nearest rank), in ms."""
        values = sorted(getattr(sample, part) for sample in self.samples)
        return values[max(0, -(-int(share * 100) * len(values) // 100) - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was measured, on which store."""

    store: str
    runs: int
    results: tuple[Result, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        cases = [
            {
                "name": result.name,
                **{
                    f"{part}_ms": {name: round(result.percentile(part, share), 2) for name, share in _SHARES}
                    for part in PARTS
                },
            }
            for result in self.results
        ]
        return {"benchmark": "stop", "store": self.store, "runs": self.runs, "cases": cases}

    def in_words(self) -> list[str]:
        """For people: a table."""
        lines = [
            f"stop, {self.runs} times each; two web processes and a worker on {self.store}",
            "ms from sending the stop to one replica until … (p50 / p99)",
            "",
            f"{'':<14}{'the 202':>18}{'first stopping':>18}{'from its time':>18}{'the ending':>18}",
        ]
        for result in self.results:
            cells = [
                " / ".join(f"{result.percentile(part, share):.1f}" for _, share in _SHARES) for part in PARTS
            ]
            lines.append(f"{result.name:<14}" + "".join(f"{cell:>18}" for cell in cells))
        told = "stopping and ending: at a viewer on the other replica; from its time: since the entry's `ts`"
        return [*lines, "", told]


_SHARES: Final = (("p50", 0.50), ("p99", 0.99))


async def bench_stop(*, runs: int, redis: str | None = None, sqlite: bool = False) -> Report:
    """Start servers, stop `runs` runs of each case, and report. Raises `ConfigError`, `ClientError`."""
    async with servers(redis=redis, sqlite=sqlite) as started:
        here, there = (Client(url) for url in started.urls)
        async with here, there:
            results = [
                Result(name=case.name, samples=tuple([await _one(here, there, case) for _ in range(runs)]))
                for case in CASES
            ]
        return Report(store=started.store, runs=runs, results=tuple(results))


async def _one(here: Client, there: Client, case: Case) -> Sample:
    """One run: started and stopped at one replica, watched at the other."""
    try:
        async with asyncio.timeout(RUN_SECONDS):
            run = await here.start(case.prompt)
            async with there.follow(run.run_id) as viewer:
                await _arrival(viewer, case.begun)
                await asyncio.sleep(random.uniform(0, _JITTER_SECONDS))
                return await _stopped(here, viewer, run.run_id)
    except TimeoutError:
        raise ConfigError(f"{case.name}: not stopped within {RUN_SECONDS:g} s") from None


async def _stopped(here: Client, viewer: Follow, run_id: str) -> Sample:
    sent = time.perf_counter()

    async def stop() -> float:
        await here.stop(run_id)
        return time.perf_counter()

    async with asyncio.TaskGroup() as group:
        accepted = group.create_task(stop())
        stopping, entry = await _arrival(viewer, lambda entry: entry.data.get("state") == "stopping")
        told = time.time() - parse_timestamp(entry.data["ts"])
        ending, _ = await _arrival(viewer, lambda entry: entry.data.get("state") == "stopped")
    return Sample(
        accepted=(accepted.result() - sent) * 1000,
        stopping=(stopping - sent) * 1000,
        told=max(0.0, told) * 1000,
        ending=(ending - sent) * 1000,
    )


async def _arrival(viewer: Follow, wanted: Callable[[Entry], bool]) -> tuple[float, Entry]:
    async for frame in viewer:
        if isinstance(frame, Entry) and wanted(frame):
            return time.perf_counter(), frame
    raise ConfigError(f"run {viewer.run_id} ended as {viewer.state}, which it should not have")
