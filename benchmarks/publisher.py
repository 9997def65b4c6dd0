"""The publisher: a process of its own that makes entries at a rate and hands them to a contestant.

`python -m benchmarks.publisher KIND TARGET CHANNELS RATE [FILL]`. It prints the channels' names as one
line of JSON, makes RATE entries a second for each channel from `go` on stdin until `stop`, and prints
what it did. FILL: entries that each channel has before (Jackline and streams of a Redis only).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

import uvloop

from benchmarks.marks import body
from benchmarks.sinks import Sink, sink_of
from jackline.bench.speaker import Marks

TICK_SECONDS: Final = 0.001
LARGEST_BATCH: Final = 2000
"""Entries between two looks at the clock; more would give many entries the time of the first."""

MOST_WAITING: Final = 50_000
"""Entries not taken yet from which on no more are made: the contestant is behind, and memory is finite."""


async def publish(sink: Sink, *, channels: int, rate: float, stop: asyncio.Event) -> int:
    """Hand entries to `sink` until told to stop; how many."""
    marks = Marks()
    start, sent, skipped = time.monotonic(), 0, 0
    while not stop.is_set():
        due = int((time.monotonic() - start) * rate * channels) - sent - skipped
        if sink.waiting() > MOST_WAITING:
            skipped += due
        elif due > 0:
            count = min(due, LARGEST_BATCH)
            at = sent + skipped
            sink.send([((at + n) % channels, body(marks.next())) for n in range(count)])
            sent += count
        await asyncio.sleep(0 if due > LARGEST_BATCH else TICK_SECONDS)
    return sent


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(kind: str, target: str, channels: int, rate: float, fill: int) -> None:
    """See the module."""
    orders = await _orders()
    async with sink_of(kind, target) as sink:
        _tell(await sink.open(channels, fill))
        if (await orders.readline()).strip() != b"go":
            return
        stop = asyncio.Event()
        start, cpu = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            work = group.create_task(publish(sink, channels=channels, rate=rate, stop=stop))
            await orders.readline()
            stop.set()
        _tell(
            {
                "published": work.result(),
                "waiting": sink.waiting(),
                "seconds": time.monotonic() - start,
                "cpu_seconds": time.process_time() - cpu,
            }
        )


if __name__ == "__main__":
    _kind, _target, _channels, _rate, *_fill = sys.argv[1:]
    uvloop.run(main(_kind, _target, int(_channels), float(_rate), int(_fill[0]) if _fill else 0))
