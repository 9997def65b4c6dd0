"""Runs a command so that it dies, children and all, when the process that started it dies.

`python -S -E leash.py PARENT_PID COMMAND [ARGUMENT …]`, in a session of its own. Closing a server's
stdin is enough for most, but not for one that is busy, that has grandchildren, or whose pipe somebody
else holds too: without this, `kill -9` of a worker leaves them running.

A program of its own, on the standard library alone: it is run by its path, so that it starts in a
few milliseconds and the command's environment stays as it was given.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_POLL: Final = 0.5
"""Seconds between looks at the parent where the kernel cannot tell of its death (not Linux)."""


_NOT_RUN: Final = 127  # as shells have it
_BY_SIGNAL: Final = 128
"""What shells add to a signal's number for the status of a command that it killed."""


def leashed(command: str, args: Sequence[str]) -> tuple[str, list[str]]:
    """The command and arguments that run `command` on a leash held by this process."""
    return sys.executable, ["-S", "-E", str(Path(__file__)), str(os.getpid()), command, *args]


def _ask_kernel(number: signal.Signals) -> bool:
    """Have the kernel send us a signal when our parent dies. False where there is no such thing."""
    return sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number) == 0


def _die_with_leash() -> None:
    # For the command itself: should the leash be killed alone, it must not stay behind.
    _ask_kernel(signal.SIGKILL)


def _kill_all(*_: object) -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    raise SystemExit(1)  # not reached: we are in the group


def main(argv: Sequence[str]) -> int:
    """Run `argv[1:]` until it ends or `argv[0]`, our parent, dies; its exit status is ours."""
    parent, command = int(argv[0]), list(argv[1:])
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # killing the group must not reach who started us
    signal.signal(signal.SIGHUP, _kill_all)
    told = _ask_kernel(signal.SIGHUP)
    if os.getppid() != parent:  # it died before we asked
        _kill_all()
    try:
        # There are no threads here that a function between fork and exec could be in the way of.
        # Kept in a name: a Popen that nobody holds reaps a command that has ended already.
        child = subprocess.Popen(command, preexec_fn=_die_with_leash)  # noqa: S603, PLW1509
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_RUN
    # The group's SIGTERM and SIGINT reach the command itself; what is left of it decides when we end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # The pipes are the command's: were they open here too, its closing them would not be seen.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)
    while True:
        code = child.wait() if told else child.poll()
        if code is not None:
            return code if code >= 0 else _BY_SIGNAL - code
        if os.getppid() != parent:
            _kill_all()
        time.sleep(_POLL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
