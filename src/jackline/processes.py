"""The processes that tools start: which call each belongs to, and their end when the call is cut off.

Cancelling a tool ends neither the process that it waits for nor what that has started. So every start
of a process is noted under the call that the starting task or thread works for. When the call is cut
off, its processes and all that descends from them get SIGTERM, and SIGKILL when the grace is over, and
the call may start no more. Nobody else's are touched: not those of other calls, nor tool servers.

Known is what is started with `subprocess` (`asyncio`'s included). What a tool forks by other means
(`os.fork`, `os.system`, `multiprocessing`) and a program that has left both its parent and its session
(a daemon) are not. Reads `/proc`, so it works on Linux; elsewhere such processes end with their worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import subprocess
import sys
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from jackline.errors import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

running_call: ContextVar[str] = ContextVar("running_call")
"""The call that the present task or thread works for."""

POLL_SECONDS: Final = 0.05
"""Between looks whether the processes of a call that was cut off are gone."""

_PROC: Final = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A process as `/proc/PID/stat` tells it. `started`: in clock ticks since boot; with the pid it
    names one process for ever."""

    pid: int
    dead: bool
    parent: int
    group: int
    session: int
    started: int


@dataclass(kw_only=True, slots=True)
class _OfCall:
    """What one call has started. `starting`: known to `subprocess`, whose pid was not asked for yet;
    `roots`: when each started, by pid."""

    starting: list[weakref.ref[subprocess.Popen[Any]]] = field(
        default_factory=list[weakref.ref["subprocess.Popen[Any]"]]
    )
    roots: dict[int, int] = field(default_factory=dict[int, int])
    gone: asyncio.Event | None = None
    killed: bool = False


class CallProcesses:
    """See the module. `grace`: seconds between SIGTERM and SIGKILL. All but `watch` and what threads
    start belongs to the worker's loop."""

    def __init__(self, *, grace: float = 2.0) -> None:
        self._grace = grace
        self._of_call: dict[str, _OfCall] = {}
        self._ended: set[str] = set()
        self._pid = os.getpid()

    def watch(self) -> None:
        """Note what `subprocess` starts, in every thread, from now on. For a process' beginning: an
        audit hook can never be taken away, though it forgets this object when nobody holds it."""
        ours = weakref.ref(self)

        def hear(event: str, _: tuple[object, ...]) -> None:
            if event != "subprocess.Popen":
                return
            processes = ours()
            if processes is None or os.getpid() != processes._pid:
                return  # a fork of ours has this hook too
            frame = inspect.currentframe()
            caller = frame.f_back if frame is not None else None
            # Told before the process is there, so its pid must come from who starts it.
            popen: object = caller.f_locals.get("self") if caller is not None else None
            known = isinstance(popen, subprocess.Popen)
            processes.starting(cast("subprocess.Popen[Any]", popen) if known else None)

        sys.addaudithook(hear)

    # Starts

    def starting(self, popen: subprocess.Popen[Any] | None = None) -> None:
        """A process is about to be started for the running call, if there is one. Raises `ToolFailed`
        when the call was cut off: a tool that was waiting for a process must not go on to the next."""
        call_id = running_call.get("")
        if not call_id:
            return
        if call_id in self._ended:
            raise ToolFailed("the call was cut off; it starts no more processes", "cut_off")
        if popen is not None:
            self._of(call_id).starting.append(weakref.ref(popen))

    def started(self, pid: int) -> None:
        """The running call, if there is one, has started this process."""
        call_id = running_call.get("")
        if not call_id:
            return
        of_call = self._of(call_id)
        _note(of_call, pid)
        if call_id in self._ended:  # while it was being started
            of_call.killed = True
            _send([pid], signal.SIGKILL)

    # Ends

    def end(self, call_id: str) -> None:
        """The call was cut off: end its processes, and let it start no more. Returns at once."""
        if call_id in self._ended:
            return
        self._ended.add(call_id)
        of_call = self._of_call.get(call_id)
        if of_call is None:
            return
        loop = asyncio.get_running_loop()
        of_call.gone = asyncio.Event()
        self._look(call_id, of_call, loop.time() + self._grace, signal.SIGTERM)

    async def gone(self, call_id: str) -> None:
        """Wait until nothing is left of what a call had started that was ended."""
        of_call = self._of_call.get(call_id)
        if of_call is not None and of_call.gone is not None:
            await of_call.gone.wait()

    def killed(self, call_id: str) -> bool:
        """Whether a process of the call was still alive when the call was ended, and got a signal."""
        of_call = self._of_call.get(call_id)
        return of_call is not None and of_call.killed

    def forget(self, call_id: str) -> None:
        """The call has its end in the log. What it has left running, it has left running on purpose."""
        of_call = self._of_call.get(call_id)
        if of_call is None or of_call.gone is None or of_call.gone.is_set():
            self._of_call.pop(call_id, None)

    def release(self, call_id: str) -> None:
        """Nothing works for the call any more, so nothing has to be kept from starting processes."""
        self.forget(call_id)
        self._ended.discard(call_id)

    def _look(self, call_id: str, of_call: _OfCall, deadline: float, number: signal.Signals | None) -> None:
        """Signal what is left, and look again, until nothing is."""
        loop = asyncio.get_running_loop()
        waits = _settle(of_call)
        left = _family(of_call.roots, _processes()) if of_call.roots else set[int]()
        if not left and not waits:
            assert of_call.gone is not None
            of_call.gone.set()
            return
        if loop.time() >= deadline:
            number = signal.SIGKILL
        if left and number is not None:
            of_call.killed = True
            _send(left, number)
        # One that was about to be started when the call was ended must get its SIGTERM, too.
        again = number if waits or number is signal.SIGKILL else None
        loop.call_later(POLL_SECONDS, self._look, call_id, of_call, deadline, again)

    def _of(self, call_id: str) -> _OfCall:
        return self._of_call.setdefault(call_id, _OfCall())


def kill_tree(pid: int) -> None:
    """Kill a process, its group, and all that descends from it, in sessions of their own too. `pid`
    leads its group and has not been waited for."""
    found: set[int] = {pid}
    ours = {os.getpid()}  # where we are in it ourselves
    _send(found - ours, signal.SIGSTOP)  # what stands still starts nothing that would be overlooked
    while True:
        seen = _processes()
        more = {at.pid for at in seen.values() if not at.dead and (at.parent in found or at.group == pid)}
        if more <= found:
            break
        _send(more - found - ours, signal.SIGSTOP)
        found |= more
    _send(found - {pid} - ours, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _settle(of_call: _OfCall) -> bool:
    """Take over the pids of what `subprocess` was starting; whether some is still not there."""
    waits: list[weakref.ref[subprocess.Popen[Any]]] = []
    starting, of_call.starting = of_call.starting, waits
    for reference in starting:
        popen = reference()
        if popen is None:
            continue
        pid = cast("int | None", popen.pid)  # None before it is there, which its type does not say
        if pid is None:
            waits.append(reference)
        elif popen.returncode is None:
            _note(of_call, pid)
    return bool(waits)


def _note(of_call: _OfCall, pid: int) -> None:
    seen = _stat(pid)
    if seen is not None:
        of_call.roots[pid] = seen.started


def _family(roots: Mapping[int, int], seen: Mapping[int, _Seen]) -> set[int]:
    """The living processes of a call: its own, what descends from them, and what is in a group or a
    session that one of them leads or has led."""
    ours = {pid for pid, started in roots.items() if pid not in seen or seen[pid].started == started}
    found = {
        at.pid
        for at in seen.values()
        if at.pid in ours or (at.started >= min(roots.values()) and {at.group, at.session} & ours)
    }
    while True:
        more = {at.pid for at in seen.values() if at.parent in found} - found
        if not more:
            return {pid for pid in found if not seen[pid].dead}
        found |= more


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        # Gone meanwhile, or somebody else's by now (sudo): whoever waits for its end will tell.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _processes() -> dict[int, _Seen]:
    try:
        names = [path.name for path in _PROC.iterdir()]
    except OSError:
        return {}
    found = (_stat(int(name)) for name in names if name.isdecimal())
    return {seen.pid: seen for seen in found if seen is not None}


def _stat(pid: int) -> _Seen | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The program's name stands in parentheses and may hold any of them; proc(5) for the fields.
    fields = text.rpartition(b")")[2].split()
    return _Seen(
        pid=pid,
        dead=fields[0] in {b"Z", b"X"},
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
    )
