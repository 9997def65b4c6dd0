"""The agent that speaks: tokens at once or at a pace, each with the time of its making.

`jackline serve --agent PATH/speaker.py:speaker`. The message is `{"tokens": N, "rate": R}`: N tokens, R a
second, or as fast as they are taken where R is 0.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackline.agents.function_context import FunctionContext


class Marks:
    """Makes marks that rise: `@`, nineteen digits, `;`, the ns of the monotonic clock, which all
    processes of a machine share."""

    def __init__(self) -> None:
        self._newest = 0

    def next(self) -> int:
        """Now, or just after the last one."""
        self._newest = max(self._newest + 1, time.monotonic_ns())
        return self._newest

    def text(self) -> str:
        """A token's text: its mark and a word."""
        return f"@{self.next():019d};word "


async def speaker(ctx: FunctionContext) -> None:
    """See the module."""
    wish = json.loads(ctx.text)
    tokens, rate = int(wish["tokens"]), float(wish["rate"])
    marks = Marks()
    start = time.monotonic()
    for number in range(tokens):
        pause = start + number / rate - time.monotonic() if rate else 0.0
        if pause > 0:
            await asyncio.sleep(pause)
        await ctx.say(marks.text())
