"""The pipe between a supervisor and its worker: one JSON message a line, both ways.

A pipe of its own and not stdout, because an agent's own prints belong there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from jackline.log.base import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Ready(Struct, frozen=True, kw_only=True, tag="ready"):
    """The agent is open. `catalogue`: what the worker serves."""

    catalogue: bytes


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The worker cannot start, and starting it anew will not help; `reason` says what to change."""

    reason: str


class Beat(Struct, frozen=True, kw_only=True, tag="beat"):
    """The worker's loop turned."""


class Held(Struct, frozen=True, kw_only=True, tag="held"):
    """A run was claimed: renew its lease."""

    lease: Lease


class Gone(Struct, frozen=True, kw_only=True, tag="gone"):
    """The run is driven no longer."""

    run_id: str


class Stopping(Struct, frozen=True, kw_only=True, tag="stopping"):
    """The run is being cut off; the grace has begun."""

    run_id: str


class Lost(Struct, frozen=True, kw_only=True, tag="lost"):
    """To the worker: the run's lease is gone, let go of it and write nothing."""

    run_id: str


class Leave(Struct, frozen=True, kw_only=True, tag="leave"):
    """To the worker: hand everything back and exit."""


ToSupervisor = Ready | Failed | Beat | Held | Gone | Stopping
ToWorker = Lost | Leave


def encode(message: ToSupervisor | ToWorker) -> bytes:
    """One line."""
    return msgspec.json.encode(message) + b"\n"


class Lines(Generic[T]):
    """Splits what arrives into messages, however it is cut."""

    def __init__(self, decoder: msgspec.json.Decoder[Any], take: Callable[[T], None]) -> None:
        self._decoder = decoder
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what arrived; each whole line is a message."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line:
                self._take(self._decoder.decode(line))
