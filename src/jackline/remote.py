"""Calls that are made elsewhere: what the other side still says of one that was cancelled here.

Whoever makes such a call hands in a question when it is cancelled; the worker asks it once the agent
has let go, and the answer is the call's end in the receipt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from jackline.endings import CallEnd

Ask = Callable[[float], Awaitable[CallEnd]]
"""Finds out, within so many seconds, what became of a call."""

asks: ContextVar[list[Ask]] = ContextVar("asks")
"""Where the questions about the running call gather."""


def ask_later(ask: Ask) -> None:
    """The running call was cancelled, and the other side told so: `ask` finds out what came of it."""
    gathered = asks.get(None)
    if gathered is not None:
        gathered.append(ask)
