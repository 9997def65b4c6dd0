"""What the demo's model says and calls. Pure: from the request and the results so far to the next turn.

Whatever it tells of the host it has from a tool's result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from jackline.agents.demo_words import code, items, members, number, objects, short, size, span, table

Outcome = Literal["ok", "failed", "denied"]

SCRIPTED: Final = (
    "This is Jackline's demo: what you read is a fixed script, with no language model behind it, "
    "but the tools that it calls are real. "
)
ABILITIES: Final = (
    "I know these requests: check the host; restart the service; clean scratch files; "
    "largest files in DIRECTORY; tail LOG; watch the load for 30 seconds. "
    "I take yours for a check of the host. "
)
LOOKS: Final = 20
MAX_LOOKS: Final = 500
"""How often `watch` looks at the load, unless the request has a number, and at most."""
MAX_SECONDS: Final = 600
"""For how long it watches at most, where the request says for how long."""
ROWS: Final = 6
"""Of a watch, about as many lines are shown."""
MINUTES: Final = 15
"""After so many a restarted service ends by itself, unless a person changes that."""


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
            said = ", ".join(f"{result.tool}: {short(result.content)}" for result in steps[-1])
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
        return (_observe if _seconds(request) else _watch), True
    if words & {"restart", "service", "fix"}:
        return _restart, True
    if words & {"clean", "cleanup", "scratch"}:
        return _clean, True
    return _check, bool(words & {"check", "disk", "host", "memory", "cpu", "load", "processes", "health"})


def _stopped_by(steps: Steps) -> Turn | None:
    """The last words, when a call of the last step was denied or failed."""
    for result in steps[-1]:
        if result.outcome == "denied":
            said = f" What I was told: {short(result.content)}" if result.content else ""
            return Turn(text=f"{result.tool} was denied, so it did not run and I stop here.{said}")
    failed = [result for result in steps[-1] if result.outcome == "failed"]
    if failed:
        told = " ".join(f"{result.tool} failed: {short(result.content)}." for result in failed)
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
        by = "memory" if number(host, "memory_percent") > number(host, "cpu_percent") else "cpu"
        return Turn(
            text=(
                f"{code(host['hostname'])} has been up for {span(number(host, 'uptime_seconds'))}. "
                f"{_load(host)} {_memory(host)}\n\n{_disks(disks)}\n\n"
                f"Now I look at which processes use most {by}."
            ),
            calls=(Call(tool="top_processes", args={"by": by, "limit": 5}),),
        )
    top = _of(steps[1][0])
    rows = [
        (
            code(process["name"]),
            process["pid"],
            f"{number(process, 'cpu_percent'):g} %",
            size(number(process, "memory_bytes")),
        )
        for process in objects(top, "processes")
    ]
    sort = "%mem" if top["by"] == "memory" else "%cpu"
    return Turn(
        text=(
            f"The greatest by {top['by']}, of one processor's time each:\n\n"
            f"{table(('Process', 'pid', 'Processor', 'Memory'), rows)}\n\n"
            f"**{_verdict(host, disks)}**\n\n"
            f"To see the same by hand:\n\n```sh\nuptime\ndf -h\nps aux --sort=-{sort} | head -6\n```\n"
        )
    )


def _restart(request: str, steps: Steps) -> Turn:
    name = _service(request)
    if not steps:
        return Turn(
            text=f"I look at the scratch service {code(name)} first.",
            calls=(Call(tool="service_status", args={"name": name}),),
        )
    if len(steps) == 1:
        before = _of(steps[0][0])
        gain = "A restart starts it."
        if before["state"] in {"running", "degraded"}:
            gain = f"Its cache holds {size(number(before, 'cache_bytes'))}, which a restart empties."
        return Turn(
            text=(
                f"{_status(before)} {gain} That changes something on this host, so **a person decides**. "
                "The arguments may be changed before they are approved: "
                f"{code('minutes')} says when the service ends by itself."
            ),
            calls=(Call(tool="restart_scratch_service", args={"name": name, "minutes": MINUTES}),),
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
        left = after.get("ends_in_seconds")
        ends = f" It ends by itself in {span(left)}." if isinstance(left, int | float) else ""
        return Turn(text=f"Verified: {_status(after)} It is the process that the restart started.{ends}")
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
                f"{len(items(made, 'files'))} files, {size(number(made, 'bytes'))}, are in "
                f"{made['directory']}. I propose to delete all scratch files that the demo made."
            ),
            calls=(Call(tool="clean_scratch_files", args={"older_than_minutes": 0}),),
        )
    cleaned = _of(steps[1][0])
    return Turn(
        text=(
            f"Deleted {len(items(cleaned, 'deleted'))} files, which freed "
            f"{size(number(cleaned, 'freed_bytes'))}; {cleaned['kept']} are kept."
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
    loads = [number(_of(step[0]), "load_1") for step in steps]
    return Turn(text=f"{told} Over {looks} looks the load was between {min(loads):g} and {max(loads):g}.")


def _observe(request: str, steps: Steps) -> Turn:
    seconds = _seconds(request)
    if not steps:
        return Turn(text="I look at the host first.", calls=(Call(tool="host_overview"),))
    if len(steps) == 1:
        return Turn(
            text=f"{_load(_of(steps[0][0]))} Now I watch it for {seconds} seconds. "
            "**Stop me whenever you like**: the receipt says what became of this call.",
            calls=(Call(tool="watch_load", args={"seconds": seconds}),),
        )
    watch = _of(steps[1][0])
    looks = objects(watch, "looks")
    every = max(1, len(looks) // ROWS)
    rows = [
        (
            f"{number(look, 'at_seconds'):g} s",
            f"{number(look, 'load_1'):g}",
            f"{number(look, 'cpu_percent'):g} %",
            f"{number(look, 'memory_percent'):g} %",
        )
        for look in looks[::every]
    ]
    loads = [number(look, "load_1") for look in looks]
    busy = [number(look, "cpu_percent") for look in looks]
    return Turn(
        text=(
            f"{len(looks)} looks, a second apart{'' if every == 1 else f' (one in {every} is shown)'}:\n\n"
            f"{table(('At', 'Load', 'Processors', 'Memory'), rows)}\n\n"
            f"**The load was between {min(loads):g} and {max(loads):g}; the {number(watch, 'cpus'):g} "
            f"processors were {sum(busy) / len(busy):.0f} % busy on average and {max(busy):g} % at most.**"
        )
    )


def _seconds(request: str) -> int:
    """For how long a request wants something watched; 0 when it does not say."""
    text = request.lower()
    if found := re.search(r"\b(\d{1,6}) ?(?:s|sec|seconds?)\b", text):
        return min(MAX_SECONDS, max(1, int(found[1])))
    if found := re.search(r"\b(\d{1,4}) ?(?:min|minutes?)\b", text):
        return min(MAX_SECONDS, max(1, 60 * int(found[1])))
    return 30 if "half a minute" in text else 60 if re.search(r"\ba minute\b", text) else 0


def _largest(request: str, steps: Steps) -> Turn:
    directory = _path(request) or "/var/log"
    if not steps:
        return Turn(
            text=f"I look for the largest files in {directory}.",
            calls=(Call(tool="largest_files", args={"directory": directory, "limit": 5}),),
        )
    found = _of(steps[0][0])
    rows = [(code(file["path"]), size(number(file, "bytes"))) for file in objects(found, "files")]
    notes = [f"I looked at {found['entries']} entries"]
    if not found["complete"]:
        notes.append(f"stopped after {found['stopped_by']}, so there may be larger ones")
    if found["unreadable"]:
        notes.append(f"{found['unreadable']} could not be read")
    files = f"The largest files in {code(found['directory'])}:\n\n{table(('File', 'Size'), rows)}"
    return Turn(text=f"{files if rows else 'There are no files.'}\n\n{'; '.join(notes)}.")


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
    lines = items(found, "lines")
    if not lines:
        return Turn(text=f"{found['path']} is empty.")
    # A log may hold anything, backticks too; the fence must be longer than any row of them in it.
    text = "\n".join(str(line) for line in lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return Turn(text=f"The last {len(lines)} lines of {code(found['path'])}:\n\n{fence}\n{text}\n{fence}\n")


def _service(request: str) -> str:
    named = re.search(r"service (?:named |called |['\"`])([a-z][a-z0-9-]{0,31})\b", request)
    return named.group(1) if named else "demo"


def _path(request: str) -> str | None:
    found = re.search(r"(?:^|[\s'\"`])((?:~|\.{1,2})?/[^\s'\"`]*)", request)
    return found.group(1).rstrip(",;:!?") if found else None


def _of(result: Result) -> Mapping[str, object]:
    return members(result.content, result.tool)


def _load(host: Mapping[str, object]) -> str:
    cpus, load = number(host, "cpus"), number(host, "load_1")
    busy = "more than they can do at once" if load > cpus else "which they can do at once"
    return f"The load is {load:g} on {cpus:g} processors, {busy}."


def _memory(host: Mapping[str, object]) -> str:
    free, total = number(host, "memory_available"), number(host, "memory_total")
    return f"{size(free)} of {size(total)} memory are available."


def _disks(disks: Mapping[str, object]) -> str:
    systems = objects(disks, "file_systems")
    if not systems:
        return "No file system could be read."
    rows = [
        (code(system["mount"]), f"{number(system, 'percent'):g} %", size(number(system, "free")))
        for system in systems[:5]
    ]
    more = f"\n\n{len(systems) - 5} more are less full." if len(systems) > 5 else ""  # noqa: PLR2004
    return f"The file systems, the fullest first:\n\n{table(('Mounted at', 'Used', 'Free'), rows)}{more}"


_FULL: Final = 90.0
"""Percent used from which the script calls a disk or the memory full."""


def _verdict(host: Mapping[str, object], disks: Mapping[str, object]) -> str:
    full = [str(s["mount"]) for s in objects(disks, "file_systems") if number(s, "percent") >= _FULL]
    faults = [f"{mount} is nearly full" for mount in full]
    if number(host, "memory_percent") >= _FULL:
        faults.append("memory is nearly used up")
    if number(host, "load_5") > 2 * number(host, "cpus"):
        faults.append("the load has been high for minutes")
    if faults:
        return f"To look after: {'; '.join(faults)}."
    return "No disk or memory is nearly full, and the load is no lasting trouble."


def _status(status: Mapping[str, object]) -> str:
    name, state = code(status["name"]), status["state"]
    if state == "absent":
        return f"The service {name} was never started."
    if state == "stopped":
        return f"The service {name} is stopped."
    reason = f", because {status['reason']}" if status["reason"] else ""
    up = span(number(status, "uptime_seconds"))
    return f"The service {name} is {state}{reason}: process {status['pid']}, up for {up}."
