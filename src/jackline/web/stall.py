"""A deadline for writing: who takes nothing of what waits for it is cut (G10)."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS: Final = 4
"""So often within the deadline it is looked whether anything was taken."""


class Stall:
    """Between `begin` and `over` a connection takes no more. When `left()`, the bytes that wait for it, has
    not become less for `seconds`, `cut` is called, at most a quarter later. A slow reader is left alone.

    One timer for many beginnings: a connection that is often full for a moment costs next to nothing.
    """

    __slots__ = ("_cut", "_full", "_left", "_seconds", "_silent", "_timer", "_waiting")

    def __init__(self, seconds: float, left: Callable[[], int], cut: Callable[[], None]) -> None:
        self._seconds = seconds / _LOOKS
        self._left = left
        self._cut = cut
        self._full = False
        self._silent = 0
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """It takes no more."""
        self._full = True
        if self._timer is None:
            self._silent = 0
            self._waiting = self._left()
            self._await()

    def over(self) -> None:
        """It takes more again."""
        self._full = False
        self._silent = 0

    def close(self) -> None:
        """It is gone, or somebody else's."""
        self._full = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._full:
            return
        left = self._left()
        self._silent = 0 if left < self._waiting else self._silent + 1
        self._waiting = left
        if self._silent >= _LOOKS:
            self._full = False
            self._cut()
        else:
            self._await()


def waiting(transport: asyncio.Transport) -> int:
    """How many bytes the peer has yet to take: in this process, and in the system, which may hold
    megabytes and frees them in large pieces."""
    sock = transport.get_extra_info("socket")
    size = transport.get_write_buffer_size()
    if sock is None or sock.fileno() < 0:
        return size
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return size  # no such question on this system, or the connection is gone
    return size + int.from_bytes(held, sys.byteorder)
