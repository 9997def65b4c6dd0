"""What a drill breaks."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from jackline.drill.stage import LEASE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from random import Random

    from jackline.drill.processes import Child
    from jackline.drill.stage import Stage
    from jackline.drill.stores import RedisProcess

Needs = Literal["nothing", "redis", "forwarder"]
"""What must be in the drill's hands: a Redis that it started, or the way to the store."""

OUTAGE: Final = 2.0
"""Seconds that a store is away, or full."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and how it is made. `strike` returns once what was broken is whole again, but for
    processes that died: those are started by the stage. `people`: what people do all the while,
    besides answering: stop runs, or decide at once and not alike."""

    name: str
    what: str
    strike: Callable[[Stage, Random], Awaitable[None]]
    needs: Needs = "nothing"
    people: Literal["answer", "stop", "quarrel"] = "answer"


async def _pause(dice: Random, least: float = 0.1, most: float = 0.8) -> None:
    await asyncio.sleep(dice.uniform(least, most))


async def _nothing(stage: Stage, dice: Random) -> None:
    del stage, dice


async def _kill(stage: Stage, dice: Random, *of: list[Child]) -> None:
    """Two of each kind, one after the other; the first is back before the second dies."""
    del stage
    for number in (0, 1):
        await asyncio.gather(*(asyncio.to_thread(kind[number].end) for kind in of))
        await _pause(dice)
        for kind in of:
            kind[number].start()
        await _pause(dice, 1.0, 2.0)


async def _kill_worker(stage: Stage, dice: Random) -> None:
    for _ in range(3):
        for process in dice.choice(stage.workers).children():
            process.kill()
        await _pause(dice)


async def _kill_host(stage: Stage, dice: Random) -> None:
    await _kill(stage, dice, stage.workers)


async def _kill_web(stage: Stage, dice: Random) -> None:
    await _kill(stage, dice, stage.webs)


async def _kill_both(stage: Stage, dice: Random) -> None:
    await _kill(stage, dice, stage.webs, stage.workers)


async def _zombie(stage: Stage, dice: Random) -> None:
    frozen = dice.choice(stage.workers)
    frozen.signal_all(signal.SIGSTOP)
    try:
        await asyncio.sleep(2 * LEASE)
    finally:
        frozen.signal_all(signal.SIGCONT)


async def _rolling(stage: Stage, dice: Random) -> None:
    for server in stage.servers:
        server.signal(signal.SIGTERM)
        await server.ended()
        server.start()
        await _pause(dice, 1.0, 2.0)


async def _restart_store(stage: Stage, dice: Random) -> None:
    assert stage.store.process is not None
    for _ in range(2):
        await asyncio.to_thread(stage.store.process.kill)
        await _pause(dice)
        await stage.store.process.start()
        await _pause(dice)


@asynccontextmanager
async def _everysec(stage: Stage) -> AsyncGenerator[RedisProcess]:
    """Within it the store writes to its disk each second, after restarts too."""
    process = stage.store.process
    assert process is not None
    await process.ask(("CONFIG", "SET", "appendfsync", "everysec"))
    process.fsync = "everysec"
    try:
        yield process
    finally:
        process.fsync = "always"
        await process.ask(("CONFIG", "SET", "appendfsync", "always"))


async def _restart_everysec(stage: Stage, dice: Random) -> None:
    async with _everysec(stage):
        await _restart_store(stage, dice)


async def _lose_tail(stage: Stage, dice: Random) -> None:
    async with _everysec(stage) as process:
        await _pause(dice)
        kept = await process.on_disk()
        # Within the second that a power cut can cost: what was acknowledged later is not there yet.
        await _pause(dice, 0.1, 0.7)
        await asyncio.to_thread(process.kill)
        process.lose(kept)
        await process.start()


async def _pause_store(stage: Stage, dice: Random) -> None:
    del dice
    process = stage.store.process
    assert process is not None
    process.freeze()
    try:
        await asyncio.sleep(2 * LEASE)
    finally:
        process.thaw()


async def _out_of_memory(stage: Stage, dice: Random) -> None:
    del dice
    process = stage.store.process
    assert process is not None
    await process.ask(("CONFIG", "SET", "maxmemory", "1"))
    try:
        await asyncio.sleep(OUTAGE)
    finally:
        await process.ask(("CONFIG", "SET", "maxmemory", "0"))


async def _cut(stage: Stage, dice: Random) -> None:
    way = stage.store.forwarder
    assert way is not None
    for _ in range(3):
        way.cut()
        await _pause(dice)
    way.refusing = True
    way.cut()
    try:
        await asyncio.sleep(OUTAGE)
    finally:
        way.refusing = False


FAULTS: Final = (
    Fault(name="none", what="nothing is broken: what the others are compared with", strike=_nothing),
    Fault(name="kill-worker", what="kill -9 of worker processes, three times", strike=_kill_worker),
    Fault(name="kill-host", what="kill -9 of a worker and its supervisor at once, twice", strike=_kill_host),
    Fault(name="kill-web", what="kill -9 of one web process after the other", strike=_kill_web),
    Fault(name="kill-both", what="kill -9 of a web process and a worker at once, twice", strike=_kill_both),
    Fault(name="zombie", what="a worker stopped for two leases (SIGSTOP), then woken", strike=_zombie),
    Fault(name="rolling", what="a rolling restart of everything (SIGTERM)", strike=_rolling),
    Fault(name="stop", what="every run is stopped, at a random moment", strike=_nothing, people="stop"),
    Fault(
        name="two-answers",
        what="each question is answered yes and no at once, at two replicas",
        strike=_nothing,
        people="quarrel",
    ),
    Fault(
        name="cut-store",
        what="connections to the store are reset three times, then refused for 2 s",
        strike=_cut,
        needs="forwarder",
    ),
    Fault(
        name="kill-store",
        what="kill -9 of the store, twice; AOF always",
        strike=_restart_store,
        needs="redis",
    ),
    Fault(
        name="kill-store-everysec",
        what="kill -9 of the store, twice; AOF everysec",
        strike=_restart_everysec,
        needs="redis",
    ),
    Fault(
        name="pause-store", what="the store stands still for two leases", strike=_pause_store, needs="redis"
    ),
    Fault(name="full-store", what="the store is out of memory for 2 s", strike=_out_of_memory, needs="redis"),
    Fault(
        name="lose-tail",
        what="a power cut: kill -9 of the store, and what came since its last fsync is lost",
        strike=_lose_tail,
        needs="redis",
    ),
)


def not_possible(fault: Fault, stage: Stage) -> str | None:
    """Why a fault cannot be made here; None when it can."""
    if fault.needs == "redis" and stage.store.process is None:
        return f"{stage.store.describe} is not the drill's to break"
    if fault.needs == "forwarder" and stage.store.forwarder is None:
        return f"the connections to {stage.store.describe} cannot be cut"
    return None
