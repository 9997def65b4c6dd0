"""One fault after the other: let runs begin, break something, wait for quiet, judge."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from jackline.drill.faults import not_possible
from jackline.drill.judge import Verdict, judge_run, judge_viewer
from jackline.drill.people import answer, begin, ended, entries, stop_all
from jackline.drill.script import words
from jackline.drill.stage import stage
from jackline.drill.viewers import Viewer
from jackline.errors import JacklineError
from jackline.testing.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from jackline.drill.faults import Fault
    from jackline.drill.people import Promises
    from jackline.drill.stage import Plan, Stage

QUIET: Final = 120.0
"""Seconds after a fault in which every run must have its ending."""

_BEGIN: Final = 30.0
"""Seconds in which a run says its first word; an agent that says none is broken all the same then."""

_LAST_FRAMES: Final = 20.0
"""Seconds after that in which every viewer must have been told."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. `quiet`: seconds from the end of the fault to the last ending. `not_run`: why
    there was none."""

    fault: str
    what: str
    verdict: Verdict
    quiet: float
    not_run: str | None = None

    @property
    def held(self) -> bool:
        """Whether every guarantee held."""
        return not self.verdict.broken

    def members(self) -> dict[str, Any]:
        """For programs."""
        endings = dict(self.verdict.endings)  # what `asdict` makes of a Counter is none
        verdict = asdict(replace(self.verdict, endings=Counter())) | {"endings": endings}
        return {
            "fault": self.fault,
            "what": self.what,
            "not_run": self.not_run,
            "held": self.held,
            "quiet": self.quiet,
            **verdict,
        }


async def drill(plan: Plan, faults: Sequence[Fault], *, runs: int, seed: int) -> AsyncGenerator[Row]:
    """A row for each fault, as it comes. Raises `ConfigError` when the servers do not start."""
    left = list(faults)
    while left:
        with TemporaryDirectory(prefix="jackline-drill-") as folder:
            async with stage(plan, Path(folder)) as on:
                while left:
                    fault = left.pop(0)
                    dice = Random(f"{seed} {fault.name}")
                    row = await _row(on, fault, dice, runs)
                    yield row
                    if not row.held:
                        break  # the next one gets a stage that nothing is wrong with


async def _row(on: Stage, fault: Fault, dice: Random, runs: int) -> Row:
    why = not_possible(fault, on)
    if why is not None:
        return Row(fault=fault.name, what=fault.what, verdict=Verdict(), quiet=0.0, not_run=why)
    await on.mend()
    promises = await begin(on, runs)
    viewers = [
        Viewer(run_id=run.run_id, urls=on.urls[at:] + on.urls[:at]) for run in promises for at in (0, 1)
    ]
    deadline = time.monotonic() + QUIET + _LAST_FRAMES
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(viewer.follow(deadline)) for viewer in viewers]
        people = group.create_task(answer(on, promises, quarrel=fault.people == "quarrel"))
        await _under_way(viewers)
        await asyncio.sleep(dice.uniform(0.0, 1.5))
        if fault.people == "stop":
            await stop_all(on, promises, dice)
        await fault.strike(on, dice)
        on.start_missing()
        quiet = await _until_quiet(on, promises)
        people.cancel()
        await asyncio.wait(watching, timeout=_LAST_FRAMES)
        for task in watching:
            task.cancel()
    verdict = await _judge(on, promises, viewers)
    if verdict.broken:
        verdict.broken += [f"see the logs: {await asyncio.to_thread(on.keep_logs)}"]
    return Row(fault=fault.name, what=fault.what, verdict=verdict, quiet=quiet)


async def _under_way(viewers: list[Viewer]) -> None:
    """Return once every run says something: a fault before that would break nothing."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_BEGIN):
            for viewer in viewers:
                await viewer.speaks.wait()


async def _until_quiet(on: Stage, promises: list[Promises]) -> float:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(QUIET):
            await ended(on, promises)
    except TimeoutError:
        pass  # the verdict on the logs tells which run has no ending
    return time.monotonic() - begun


async def _judge(on: Stage, promises: list[Promises], viewers: list[Viewer]) -> Verdict:
    verdict = Verdict()
    effects = Recorder(on.effects).counts()  # none of an agent that records nothing
    says = words() if on.own_agent else None
    for run in promises:
        try:
            log = await entries(on, run.run_id)
        except JacklineError as error:
            verdict.breaks(f"G8: the log of {run.run_id} cannot be read: {error}")
            continue
        judge_run(verdict, run, log, effects=effects, says=says)
        for viewer in viewers:
            if viewer.run_id == run.run_id:
                judge_viewer(verdict, viewer, log)
    return verdict
