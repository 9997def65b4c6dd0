"""`jackline drill`: the table, for people and for programs."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.drill.faults import FAULTS
from jackline.drill.rounds import drill as rounds
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.drill.faults import Fault
    from jackline.drill.rounds import Row
    from jackline.drill.stage import Plan

_HEAD: Final = ("fault", "lost", "twice", "tools twice", "endings", "quiet", "")
_WIDTHS: Final = (20, 5, 6, 12, 26, 8)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was typed."""

    plan: Plan
    only: Sequence[str]
    runs: int
    seed: int
    json: bool


def list_faults() -> int:
    """Say what there is. Returns the exit code."""
    for fault in FAULTS:
        print(f"{fault.name:20} {fault.what}")
    return 0


def drill(order: Order) -> int:
    """Run it. Returns the exit code: 0, 1 when a guarantee did not hold, 2 when it cannot be run."""
    faults = [fault for fault in FAULTS if not order.only or fault.name in order.only]
    try:
        return asyncio.run(_drill(order, faults))
    except ConfigError as error:
        print(f"jackline: {error}", file=sys.stderr)
        return 2


async def _drill(order: Order, faults: Sequence[Fault]) -> int:
    held = True
    if not order.json:
        print(f"{len(faults)} faults, {order.runs} runs each, seed {order.seed}")
        print(_line(_HEAD))
    async for row in rounds(order.plan, faults, runs=order.runs, seed=order.seed):
        held = held and row.held
        if order.json:
            print(json.dumps(row.members()), flush=True)
        else:
            print(_shown(row), flush=True)
    if not order.json:
        print("Every guarantee held." if held else "A guarantee did not hold.")
    return 0 if held else 1


def _shown(row: Row) -> str:
    if row.not_run is not None:
        return f"{row.fault:{_WIDTHS[0]}} not run: {row.not_run}"
    verdict = row.verdict
    endings = ", ".join(f"{count} {state}" for state, count in sorted(verdict.endings.items()))
    gaps = f" ({verdict.gaps} gaps told)" if verdict.gaps else ""
    cells = (
        row.fault,
        str(verdict.lost),
        str(verdict.twice),
        str(verdict.tools_twice),
        endings,
        f"{row.quiet:.1f} s",
        ("held" if row.held else "BROKEN") + gaps,
    )
    return "\n".join([_line(cells), *(f"    {what}" for what in verdict.broken)])


def _line(cells: Sequence[str]) -> str:
    wide = [f"{cell:{width}}" for cell, width in zip(cells[:-1], _WIDTHS, strict=True)]
    return " ".join([*wide, cells[-1]]).rstrip()
