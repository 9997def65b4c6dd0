"""A supervisor with the small worker, in a process of its own: `small_supervisor.py DATA_DIR`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from jackline.commands import Commands
from jackline.log.sqlite import SqliteStore
from jackline.settings import load
from jackline.supervisor import Supervisor


async def main(data_dir: Path) -> None:
    """Until killed."""
    store = await SqliteStore.open(data_dir, synchronous="NORMAL")
    settings = load(data_dir=data_dir, lease=60.0)
    command = [sys.executable, str(Path(__file__).with_name("small_worker.py"))]
    await Supervisor(store=store, commands=Commands(store), settings=settings, command=command).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
