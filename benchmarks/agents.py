"""The agent of the scenarios in which all layers work: it says tokens, at once or at a pace."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from benchmarks.marks import Marks

if TYPE_CHECKING:
    from jackline.agents.function_context import FunctionContext


async def speaker(ctx: FunctionContext) -> None:
    """`{"tokens": N, "rate": R}`: N tokens, R a second, or as fast as they are taken where R is 0."""
    wish = json.loads(ctx.text)
    tokens, rate = int(wish["tokens"]), float(wish["rate"])
    marks = Marks()
    start = time.monotonic()
    for number in range(tokens):
        if rate:
            pause = start + number / rate - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
        await ctx.say(marks.text())
