"""A supervisor with mortal workers, in a process of its own; its argument: the settings."""

from __future__ import annotations

import asyncio
import sys

from jackline.commands import Commands
from jackline.settings import Settings
from jackline.supervisor import Supervisor
from tests.faults.yard import MORTAL, open_store


async def main(settings: Settings) -> None:
    """Until killed."""
    store = await open_store(settings)
    await Supervisor(store=store, commands=Commands(store), settings=settings, command=MORTAL).run()


if __name__ == "__main__":
    asyncio.run(main(Settings.model_validate_json(sys.argv[1])))
