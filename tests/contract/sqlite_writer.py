"""A process of its own that writes to a store: `python -m tests.contract.sqlite_writer HOW FOLDER RUN`.

`many`: appends without end from several tasks, and tells each acknowledged one (`SEQ TEXT`).
`one`: appends one entry per line of its input. `full`: writes until the disk refuses, then tells
what the error said, makes room, and appends again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from pathlib import Path

from jackline.errors import StoreUnavailable
from jackline.log.sqlite import SqliteStore
from tests.contract.helpers import entries


def tell(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def many(store: SqliteStore, run: str) -> None:
    """Until killed."""

    async def write(task: int) -> None:
        i = 0
        while True:
            text = f"{os.getpid()}-{task}-{i}"
            done = await store.append(run, entries(text), checkpoint=text.encode())
            tell(f"{done.last} {text}")
            i += 1

    async with asyncio.TaskGroup() as tasks:
        for task in range(8):
            tasks.create_task(write(task))


async def one(store: SqliteStore, run: str) -> None:
    """Until the input ends."""
    tell("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        done = await store.append(run, entries(line.strip()))
        tell(f"{done.last} {line.strip()}")


async def full(store: SqliteStore, run: str) -> None:
    """A limit on files' size stands for a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    done = 0
    try:
        while True:
            await store.append(run, entries("x" * 50_000))
            done += 1
    except StoreUnavailable as error:
        tell(f"{done} {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.append(run, entries("after"))
    tell(str((await store.read(run)).last))


async def main(how: str, folder: str, run: str) -> None:
    """What the command line says."""
    store = await SqliteStore.open(Path(folder))
    with contextlib.suppress(KeyboardInterrupt):
        await {"many": many, "one": one, "full": full}[how](store, run)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
