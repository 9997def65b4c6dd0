"""Signals that a command takes itself, and what they do to a write that nobody takes."""

from __future__ import annotations

import asyncio
import math
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Final

from jackline.cli.output import patient

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Set
    from types import FrameType

    Calls = Mapping[signal.Signals, Callable[[], None]]

_CHUNK: Final = 4096
_LAST_S: Final = 1.0
"""How long a slow reader is waited for once the command is to end: a terminal is put right by what is written
last."""


@contextmanager
def signals(calls: Calls, *, ends: Set[signal.Signals], last_s: float = _LAST_S) -> Generator[Caught]:
    """While this is open these signals make these calls, in the loop, and do nothing else. One of `ends` ends
    the command: what stdout and stderr have not taken `last_s` seconds later is lost, and nobody is waited
    for who does not read. Only in the main thread, in a running loop."""
    caught = Caught(calls, ends, last_s)
    with ExitStack() as stack:
        stack.callback(caught.close)
        for number in calls:
            stack.callback(signal.signal, number, signal.getsignal(number) or signal.SIG_DFL)
            signal.signal(number, _noticed)
        stack.enter_context(redirect_stdout(stack.enter_context(patient(sys.stdout, caught.waits_for))))
        stack.enter_context(redirect_stderr(stack.enter_context(patient(sys.stderr, caught.waits_for))))
        yield caught


class Caught:
    """The signals that have come. They come through a socket, which can be waited for together with a file: a
    handler of Python's runs only between two of its steps, and a write that nobody takes is one step."""

    def __init__(self, calls: Calls, ends: Set[signal.Signals], last_s: float) -> None:
        self._calls = calls
        self._ends = ends
        self._last_s = last_s
        self._ended: signal.Signals | None = None
        self._until = math.inf
        self._closed = False
        self.lost: signal.Signals | None = None
        """The signal because of which something was not written."""
        self._loop = asyncio.get_running_loop()
        self._come, self._send = socket.socketpair()
        self._come.setblocking(False)
        self._send.setblocking(False)
        self._before = signal.set_wakeup_fd(self._send.fileno(), warn_on_full_buffer=False)
        self._loop.add_reader(self._come, self._collect)

    def close(self) -> None:
        """No more of them come here."""
        self._closed = True
        signal.set_wakeup_fd(self._before)
        self._loop.remove_reader(self._come)
        self._come.close()
        self._send.close()

    def waits_for(self, file: int) -> bool:
        """Wait until the file takes something; False when it did not before the command is to have ended."""
        ways = select.poll()
        ways.register(file, select.POLLOUT)
        ways.register(self._come, select.POLLIN)
        while True:
            self._collect()
            left_s = max(0.0, self._until - time.monotonic())
            ready = dict(ways.poll(None if self._ended is None else math.ceil(left_s * 1000)))
            if file in ready:
                return True  # also where the reader is gone: the write tells
            if left_s == 0:
                self.lost = self._ended
                return False

    def _collect(self) -> None:
        try:
            numbers = self._come.recv(_CHUNK)
        except BlockingIOError:
            return
        for number in map(signal.Signals, numbers):
            if number in self._calls:
                self._loop.call_soon(self._call, number)
            if number in self._ends and self._ended is None:
                self._ended, self._until = number, time.monotonic() + self._last_s

    def _call(self, number: signal.Signals) -> None:
        if not self._closed:
            self._calls[number]()


def _noticed(number: int, frame: FrameType | None) -> None:
    """Where there is a handler, Python tells the socket."""
    del number, frame
