"""What tests of agents need: a scripted model, logs in memory and with faults, a recorder of what
tools really did, and a server's inside in one process.

    async with running(agent) as house:
        run = await house.start("purge the mail queue")
        await run.until("awaiting_approval")
        await run.approve("purge")
        assert (await run.ended()).state == "completed"

Each name is imported when it is first used, so that none pays for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jackline.log.memory import MemoryStore as MemoryLog
    from jackline.testing.flaky import Fault, FlakyLog, by_chance, scripted
    from jackline.testing.house import House, Run, running
    from jackline.testing.model import ScriptedModel, calls, thinks
    from jackline.testing.recorder import Recorded, Recorder

__all__ = [
    "Fault",
    "FlakyLog",
    "House",
    "MemoryLog",
    "Recorded",
    "Recorder",
    "Run",
    "ScriptedModel",
    "by_chance",
    "calls",
    "running",
    "scripted",
    "thinks",
]

_WHERE: Final = {
    "Fault": "flaky",
    "FlakyLog": "flaky",
    "House": "house",
    "Recorded": "recorder",
    "Recorder": "recorder",
    "Run": "house",
    "ScriptedModel": "model",
    "by_chance": "flaky",
    "calls": "model",
    "running": "house",
    "scripted": "flaky",
    "thinks": "model",
}


def __getattr__(name: str) -> object:
    if name == "MemoryLog":
        return import_module("jackline.log.memory").MemoryStore
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
