"""What a worker's process can append: `python -m benchmarks.committer TARGET RUNS GROUP SECONDS [FILL]`.

RUNS tasks, each with a run of its own, append GROUP entries at a time for SECONDS; FILL entries stand in
each run before. One line of JSON: entries, seconds, cpu_seconds, and the runs' names.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from benchmarks.marks import body
from benchmarks.sinks import StoreSink, sink_of
from jackline.bench.speaker import Marks
from jackline.events import Entry

if TYPE_CHECKING:
    from benchmarks.sinks import HeldRun


async def _append(sink: StoreSink, run: HeldRun, group: int, until: float) -> int:
    marks, done = Marks(), 0
    while time.monotonic() < until:
        await sink.append(run, [Entry("token", body(marks.next())) for _ in range(group)])
        done += group
    return done


async def main(target: str, runs: int, group: int, seconds: float, fill: int) -> None:
    """See the module."""
    async with sink_of("store", target) as sink:
        assert isinstance(sink, StoreSink)
        names = await sink.open(runs, fill)
        start, cpu = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            done = [tasks.create_task(_append(sink, run, group, start + seconds)) for run in sink.runs]
        told = {
            "entries": sum(task.result() for task in done),
            "seconds": time.monotonic() - start,
            "cpu_seconds": time.process_time() - cpu,
            "names": names,
        }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    _target, _runs, _group, _seconds, *_fill = sys.argv[1:]
    uvloop.run(main(_target, int(_runs), int(_group), float(_seconds), int(_fill[0]) if _fill else 0))
