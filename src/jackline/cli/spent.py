"""What a run's model requests came to."""

from __future__ import annotations

import math
from typing import Any, Final

from jackline.client.shape import members

_CENT: Final = 0.01


class Spent:
    """Sums what the entries tell. Says nothing where some of them were not seen."""

    def __init__(self) -> None:
        self._whole = False
        self._input = 0
        self._output = 0
        self._cost: float | None = 0.0
        """None where a price is not known: then the sum is not either."""

    def begin(self, after: int) -> None:
        """A stream begins behind this entry; where that is none, nothing will be missing."""
        if after == 0:
            self._whole = True
            self._input = self._output = 0
            self._cost = 0.0

    def add(self, data: dict[str, Any]) -> None:
        """A `workflow` entry's data, or a snapshot."""
        usage = members(data.get("usage"))
        if usage is None:
            return
        self._input += _count(usage.get("input_tokens"))
        self._output += _count(usage.get("output_tokens"))
        cost = usage.get("cost_usd")
        if self._cost is not None:
            self._cost = self._cost + cost if isinstance(cost, int | float) else None

    def begin_anew(self, snapshot: dict[str, Any]) -> None:
        """The snapshot has the sum of all that was."""
        self.begin(0)
        self.add(snapshot)

    def words(self) -> str:
        """` (10 tokens in, 5 out, $0.012)`, or nothing."""
        if not self._whole or not (self._input or self._output):
            return ""
        cost = "" if self._cost is None else f", {dollars(self._cost)}"
        return f" ({self._input:,} tokens in, {self._output:,} out{cost})"


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def dollars(usd: float) -> str:
    """`$1.20`; of less than a cent the first two digits."""
    if usd == 0:
        return "$0"
    digits = 2 if usd >= _CENT else min(8, 1 - math.floor(math.log10(usd)))
    return f"${usd:,.{digits}f}"
