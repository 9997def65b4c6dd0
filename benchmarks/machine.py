"""The machine: which cores are whose, how many files may be open, what it is."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Final

FILES: Final = 65_536
"""Open files that 10,000 viewers need on both sides, and room for the rest."""


def cores() -> tuple[int, int] | None:
    """One core for the server, one for everything else; None where there is only one or no taskset."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 and shutil.which("taskset") else None


def pinned(place: int | None, command: list[str]) -> list[str]:
    """`command` on one core, and all that it starts."""
    return command if place is None else ["taskset", "-c", str(place), *command]


def raise_limits() -> int:
    """As many open files as are allowed, `FILES` at most; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES), most))
        except (ValueError, OSError):
            continue
        break
    return max(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def describe(root: Path) -> dict[str, str]:
    """What a reader needs to know to compare."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "revision": _revision(root),
        "load": f"{os.getloadavg()[0]:.2f} before the start",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _revision(root: Path) -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
