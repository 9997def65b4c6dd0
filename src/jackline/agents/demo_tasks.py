"""The three tasks that the demo's tools offer to somebody who has just started the server."""

from __future__ import annotations

from typing import Final

from jackline.tools import OfferedTask

DEMO_TASKS: Final = (
    OfferedTask(
        title="Check this host",
        prompt="Check this host: load, memory, disks, and the processes that use most.",
        description="Three tools that only read, two of them at once, and what they found in a few tables.",
    ),
    OfferedTask(
        title="Restart a service",
        prompt="Restart the scratch service, then verify that it runs.",
        description="Looks at a small service of the demo's own, proposes to restart it, waits for you "
        "(you may change the arguments), and verifies the effect.",
        asks=True,
    ),
    OfferedTask(
        title="Watch the load",
        prompt="Watch the load of this host for 30 seconds.",
        description="Half a minute with a report each second: long enough to stop it in the middle and "
        "read the receipt.",
    ),
)
"""Any model that has the demo's tools can do them; the scripted one knows these words."""
