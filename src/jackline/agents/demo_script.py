"""What the demo's model says and calls. Pure: from the request and the results so far to the next turn.

Whatever it tells of the host it has from a tool's result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

Outcome = Literal["ok", "failed", "denied"]

SCRIPTED: Final = (
    "This is Jackline's demo: what you read is a fixed script, with no language model behind it, "
    "but the tools that it calls are real. "
)
ABILITIES: Final = (
    "I know these requests: check the host; restart the service; clean scratch files; "
    "largest files in DIRECTORY; tail LOG; watch the load. I take yours for a check of the host. "
)
LOOKS: Final = 20
MAX_LOOKS: Final = 500
"""How often `watch` looks at the load, unless the request has a number, and at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool to call next."""

    tool: str
    args: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of a call."""

    tool: str
    args: Mapping[str, object]
    outcome: Outcome
    content: object


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What to say, then what to call at once. Without calls the run is over."""

    text: str
    calls: tuple[Call, ...] = ()


Steps = Sequence[Sequence[Result]]
Script = Callable[[str, Steps], Turn]


def next_turn(request: str, steps: Steps) -> Turn:
    """The turn after `steps` of the script that `request` asks for."""
    script, known = choose(request)
    turn = _stopped_by(steps) if steps else None
    if turn is None:
        try:
            turn = script(request, steps)
        except (KeyError, TypeError, ValueError, IndexError):
            # Another server's tool of that name, or a result that a person wrote.
            said = ", ".join(f"{result.tool}: {_short(result.content)}" for result in steps[-1])
            turn = Turn(text=f"I cannot make sense of what I was told, so I stop here. {said}")
    if steps:
        return turn
    return Turn(text=SCRIPTED + ("" if known else ABILITIES) + turn.text, calls=turn.calls)


def choose(request: str) -> tuple[Script, bool]:
    """The script for a request, and whether the request named one."""
    words = set(re.findall(r"[a-z]+", request.lower()))
    if "tail" in words or ("log" in words and _path(request)):
        return _tail, True
    if words & {"largest", "biggest"}:
        return _largest, True
    if words & {"watch", "long"}:
        return _watch, True
    if words & {"restart", "service", "fix"}:
        return _restart, True
    if words & {"clean", "cleanup", "scratch"}:
        return _clean, True
    return _check, bool(words & {"check", "disk", "host", "memory", "cpu", "load", "processes", "health"})


def _stopped_by(steps: Steps) -> Turn | None:
    """The last words, when a call of the last step was denied or failed."""
    for result in steps[-1]:
        if result.outcome == "denied":
            said = f" What I was told: {_short(result.content)}" if result.content else ""
            return Turn(text=f"{result.tool} was denied, so it did not run and I stop here.{said}")
    failed = [result for result in steps[-1] if result.outcome == "failed"]
    if failed:
        told = " ".join(f"{result.tool} failed: {_short(result.content)}." for result in failed)
        return Turn(text=f"{told} I stop here.")
    return None


def _check(_: str, steps: Steps) -> Turn:
    if not steps:
        return Turn(
            text="I look at the host and at its disks, both at once.",
            calls=(Call(tool="host_overview"), Call(tool="disk_usage")),
        )
    host, disks = _of(steps[0][0]), _of(steps[0][1])
    if len(steps) == 1:
        by = "memory" if _number(host, "memory_percent") > _number(host, "cpu_percent") else "cpu"
        return Turn(
            text=(
                f"{host['hostname']} has been up for {_time(_number(host, 'uptime_seconds'))}. {_load(host)} "
                f"{_memory(host)} {_fullest(disks)} Now I look at which processes use most {by}."
            ),
            calls=(Call(tool="top_processes", args={"by": by, "limit": 3}),),
        )
    top = _of(steps[1][0])
    listed = ", ".join(
        f"{process['name']} (pid {process['pid']}, {_number(process, 'cpu_percent'):g} % of a processor, "
        f"{_size(_number(process, 'memory_bytes'))})"
        for process in _list(top, "processes")
    )
    return Turn(text=f"The greatest by {top['by']}: {listed}. {_verdict(host, disks)}")


def _restart(request: str, steps: Steps) -> Turn:
    name = _service(request)
    if not steps:
        return Turn(
            text=f"I look at the scratch service {name} first.",
            calls=(Call(tool="service_status", args={"name": name}),),
        )
    if len(steps) == 1:
        before = _of(steps[0][0])
        return Turn(
            text=(
                f"{_status(before)} Its cache holds {_size(_number(before, 'cache_bytes'))}. I propose to "
                "restart it, which empties that. It changes something, so a person decides."
            ),
            calls=(Call(tool="restart_scratch_service", args={"name": name}),),
        )
    done = _of(steps[1][0])
    if len(steps) == 2:  # noqa: PLR2004
        old = done["old_pid"]
        was = f"process {old} was ended and" if old is not None else "it was not running;"
        return Turn(
            text=f"Approved and done: {was} process {done['new_pid']} started. I verify that.",
            calls=(Call(tool="service_status", args={"name": done["name"]}),),
        )
    after = _of(steps[2][0])
    if after["state"] == "running" and after["pid"] == done["new_pid"]:
        return Turn(text=f"Verified: {_status(after)} It is the process that the restart started.")
    return Turn(text=f"Not verified: process {done['new_pid']} was started, but now: {_status(after)}")


def _clean(_: str, steps: Steps) -> Turn:
    if not steps:
        return Turn(
            text="So that there is something to clean, I propose to write three scratch files of 1 MiB.",
            calls=(Call(tool="make_scratch_files", args={"count": 3, "megabytes": 1}),),
        )
    if len(steps) == 1:
        made = _of(steps[0][0])
        return Turn(
            text=(
                f"{len(_items(made, 'files'))} files, {_size(_number(made, 'bytes'))}, are in "
                f"{made['directory']}. I propose to delete all scratch files that the demo made."
            ),
            calls=(Call(tool="clean_scratch_files", args={"older_than_minutes": 0}),),
        )
    cleaned = _of(steps[1][0])
    return Turn(
        text=(
            f"Deleted {len(_items(cleaned, 'deleted'))} files, which freed "
            f"{_size(_number(cleaned, 'freed_bytes'))}; {cleaned['kept']} are kept."
        )
    )


def _watch(request: str, steps: Steps) -> Turn:
    wanted = re.search(r"\d+", request)
    looks = min(MAX_LOOKS, max(1, int(wanted.group()))) if wanted else LOOKS
    told = (
        _load(_of(steps[-1][0])) if steps else f"I look at the load {looks} times; stop me whenever you like."
    )
    if len(steps) < looks:
        return Turn(text=f"{told} Look {len(steps) + 1} of {looks}. ", calls=(Call(tool="host_overview"),))
    loads = [_number(_of(step[0]), "load_1") for step in steps]
    return Turn(text=f"{told} Over {looks} looks the load was between {min(loads):g} and {max(loads):g}.")


def _largest(request: str, steps: Steps) -> Turn:
    directory = _path(request) or "/var/log"
    if not steps:
        return Turn(
            text=f"I look for the largest files in {directory}.",
            calls=(Call(tool="largest_files", args={"directory": directory, "limit": 5}),),
        )
    found = _of(steps[0][0])
    files = "".join(f"\n- {_size(_number(file, 'bytes'))} {file['path']}" for file in _list(found, "files"))
    notes = [f"I looked at {found['entries']} entries"]
    if not found["complete"]:
        notes.append(f"stopped after {found['stopped_by']}, so there may be larger ones")
    if found["unreadable"]:
        notes.append(f"{found['unreadable']} could not be read")
    heading = f"The largest files in {found['directory']}:{files}" if files else "There are no files."
    return Turn(text=f"{heading}\n{'; '.join(notes)}.")


def _tail(request: str, steps: Steps) -> Turn:
    path = _path(request)
    if path is None:
        return Turn(text="Tell me which log, by its path: tail /var/log/dpkg.log")
    if not steps:
        return Turn(
            text=f"I read the end of {path}.",
            calls=(Call(tool="tail_log", args={"path": path, "lines": 10}),),
        )
    found = _of(steps[0][0])
    lines = _items(found, "lines")
    if not lines:
        return Turn(text=f"{found['path']} is empty.")
    text = "\n".join(str(line) for line in lines)
    return Turn(text=f"The last {len(lines)} lines of {found['path']}:\n{text}")


def _service(request: str) -> str:
    named = re.search(r"service (?:named |called |['\"`])([a-z][a-z0-9-]{0,31})\b", request)
    return named.group(1) if named else "demo"


def _path(request: str) -> str | None:
    found = re.search(r"(?:^|[\s'\"`])((?:~|\.{1,2})?/[^\s'\"`]*)", request)
    return found.group(1).rstrip(",;:!?") if found else None


def _of(result: Result) -> Mapping[str, object]:
    content = cast("Mapping[str, object] | str | None", result.content)
    if not isinstance(content, Mapping):
        raise TypeError(result.tool)
    return content


def _items(of: Mapping[str, object], key: str) -> Sequence[object]:
    found = of[key]
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise TypeError(key)
    return cast("Sequence[object]", found)


def _list(of: Mapping[str, object], key: str) -> Sequence[Mapping[str, object]]:
    return [cast("Mapping[str, object]", item) for item in _items(of, key)]


def _number(of: Mapping[str, object], key: str) -> float:
    found = of[key]
    if not isinstance(found, int | float):
        raise TypeError(key)
    return found


def _load(host: Mapping[str, object]) -> str:
    cpus, load = _number(host, "cpus"), _number(host, "load_1")
    busy = "more than they can do at once" if load > cpus else "which they can do at once"
    return f"The load is {load:g} on {cpus:g} processors, {busy}."


def _memory(host: Mapping[str, object]) -> str:
    free, total = _number(host, "memory_available"), _number(host, "memory_total")
    return f"{_size(free)} of {_size(total)} memory are available."


def _fullest(disks: Mapping[str, object]) -> str:
    systems = _list(disks, "file_systems")
    if not systems:
        return "No file system could be read."
    first = systems[0]
    free = _size(_number(first, "free"))
    return f"The fullest file system is {first['mount']}: {_number(first, 'percent'):g} % used, {free} free."


_FULL: Final = 90.0
"""Percent used from which the script calls a disk or the memory full."""


def _verdict(host: Mapping[str, object], disks: Mapping[str, object]) -> str:
    full = [str(s["mount"]) for s in _list(disks, "file_systems") if _number(s, "percent") >= _FULL]
    faults = [f"{mount} is nearly full" for mount in full]
    if _number(host, "memory_percent") >= _FULL:
        faults.append("memory is nearly used up")
    if _number(host, "load_5") > 2 * _number(host, "cpus"):
        faults.append("the load has been high for minutes")
    if faults:
        return f"To look after: {'; '.join(faults)}."
    return "No disk or memory is nearly full, and the load is no lasting trouble."


def _status(status: Mapping[str, object]) -> str:
    name, state = status["name"], status["state"]
    if state == "absent":
        return f"The service {name} was never started."
    if state == "stopped":
        return f"The service {name} is stopped."
    reason = f", because {status['reason']}" if status["reason"] else ""
    up = _time(_number(status, "uptime_seconds"))
    return f"The service {name} is {state}{reason}: process {status['pid']}, up for {up}."


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _time(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _short(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004
