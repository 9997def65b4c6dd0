"""Appends groups without end, and tells each acknowledged one: `python -m tests.faults.group_writer FOLDER
RUN SIZE`. A line is `SEQ NAME`, the place of the group's last entry; its entries are `NAME 0`, `NAME 1` …"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from jackline.events import Entry
from jackline.log.sqlite import SqliteStore


async def main(folder: str, run_id: str, size: int) -> None:
    """Several tasks, so that a commit carries several groups."""
    store = await SqliteStore.open(Path(folder))

    async def write(task: int) -> None:
        number = 0
        while True:
            name = f"{os.getpid()}-{task}-{number}"
            group = [Entry("token", f"{name} {part}".encode()) for part in range(size)]
            done = await store.append(run_id, group, checkpoint=name.encode(), summary=name.encode())
            sys.stdout.write(f"{done.last} {name}\n")
            sys.stdout.flush()
            number += 1

    async with asyncio.TaskGroup() as tasks:
        for task in range(4):
            tasks.create_task(write(task))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
