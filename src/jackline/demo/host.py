"""Reading this host: load, memory, file systems, processes. Nothing here changes anything."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from typing import TYPE_CHECKING, Final, Literal

import psutil
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE: Final = 0.2
"""Seconds over which the use of processors is measured."""

_NO_DISK: Final = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "squashfs"}
)


class HostOverview(TypedDict):
    """Sizes are bytes; load is the average number of runnable processes over 1, 5, 15 minutes."""

    hostname: str
    system: str
    uptime_seconds: float
    cpus: int
    cpu_percent: float
    load_1: float
    load_5: float
    load_15: float
    memory_total: int
    memory_available: int
    memory_percent: float
    swap_total: int
    swap_used: int
    processes: int


class LoadLook(TypedDict):
    """One look at the load; `at_seconds` after the first."""

    at_seconds: int
    load_1: float
    cpu_percent: float
    memory_percent: float


class LoadWatch(TypedDict):
    """All looks, in their order."""

    cpus: int
    looks: list[LoadLook]


class FileSystem(TypedDict):
    """Sizes are bytes. `free`: what an ordinary user can still use."""

    mount: str
    device: str
    type: str
    total: int
    used: int
    free: int
    percent: float


class DiskUsage(TypedDict):
    """Fullest first. `unreadable`: mounts whose size could not be asked for."""

    file_systems: list[FileSystem]
    unreadable: list[str]


class ProcessInfo(TypedDict):
    """No command line: those hold passwords."""

    pid: int
    name: str
    user: str
    cpu_percent: float
    memory_bytes: int


class TopProcesses(TypedDict):
    """The greatest first. `seen`: how many processes were looked at."""

    by: Literal["cpu", "memory"]
    processes: list[ProcessInfo]
    seen: int


def overview() -> HostOverview:
    """The host at a glance; takes `SAMPLE` seconds."""
    memory, swap, load = psutil.virtual_memory(), psutil.swap_memory(), psutil.getloadavg()
    return HostOverview(
        hostname=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        uptime_seconds=round(time.time() - psutil.boot_time()),
        cpus=cpus(),
        cpu_percent=psutil.cpu_percent(interval=SAMPLE),
        load_1=round(load[0], 2),
        load_5=round(load[1], 2),
        load_15=round(load[2], 2),
        memory_total=memory.total,
        memory_available=memory.available,
        memory_percent=memory.percent,
        swap_total=swap.total,
        swap_used=swap.used,
        processes=len(psutil.pids()),
    )


def cpus() -> int:
    """How many processors there are."""
    return psutil.cpu_count() or 1


def look_at_load(at: int) -> LoadLook:
    """The load now; takes `SAMPLE` seconds."""
    return LoadLook(
        at_seconds=at,
        load_1=round(psutil.getloadavg()[0], 2),
        cpu_percent=psutil.cpu_percent(interval=SAMPLE),
        memory_percent=psutil.virtual_memory().percent,
    )


def disk_usage(also: Path) -> DiskUsage:
    """The mounted file systems that hold data, the ones of `/` and of `also` in any case."""
    mounts = {
        part.mountpoint: part for part in psutil.disk_partitions(all=True) if part.fstype not in _NO_DISK
    }
    wanted = {part.mountpoint for part in psutil.disk_partitions(all=False)} | {"/", _mount_of(also)}
    found: dict[int, FileSystem] = {}
    unreadable: list[str] = []
    for mount in sorted(wanted, key=len):
        try:
            if not os.path.isdir(mount):  # noqa: PTH112 - containers mount single files
                continue
            device, usage = os.stat(mount).st_dev, psutil.disk_usage(mount)  # noqa: PTH116
        except OSError:
            unreadable.append(mount)
            continue
        part = mounts.get(mount)
        if usage.total == 0 or device in found:  # the same one mounted twice
            continue
        found[device] = FileSystem(
            mount=mount,
            device=part.device if part else "",
            type=part.fstype if part else "",
            total=usage.total,
            used=usage.used,
            free=usage.free,
            percent=usage.percent,
        )
    return DiskUsage(
        file_systems=sorted(found.values(), key=lambda system: -system["percent"]), unreadable=unreadable
    )


def top_processes(by: Literal["cpu", "memory"], limit: int) -> TopProcesses:
    """The processes that use most; takes `SAMPLE` seconds."""
    processes = list(psutil.process_iter())
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.cpu_percent()  # the first call only marks the beginning of the measured time
    time.sleep(SAMPLE)
    found: list[ProcessInfo] = []
    for process in processes:
        with contextlib.suppress(psutil.Error), process.oneshot():
            found.append(
                ProcessInfo(
                    pid=process.pid,
                    name=process.name(),
                    user=_user(process),
                    cpu_percent=process.cpu_percent(),
                    memory_bytes=process.memory_info().rss,
                )
            )
    key = "cpu_percent" if by == "cpu" else "memory_bytes"
    found.sort(key=lambda info: (-info[key], info["pid"]))
    return TopProcesses(by=by, processes=found[:limit], seen=len(found))


def _mount_of(path: Path) -> str:
    path = path.resolve()
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return str(path)


def _user(process: psutil.Process) -> str:
    try:
        return process.username()
    except KeyError:  # a uid without a name, common in containers
        return str(process.uids().real)
