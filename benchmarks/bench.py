"""What every scenario is given: where things are, which cores, how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
PEERS: Final = Path(__file__).with_name("peers")
ENVIRONMENTS: Final = ROOT / ".bench"
"""The peers' environments, made by scripts/bench."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """One run of the benchmark. `server`, `others`: the cores of what is measured, and of the rest.
    `quick`: smaller numbers. `contestants`: the names to measure, empty for all. `say`: progress."""

    folder: Path
    client: Path
    server: int | None
    others: int | None
    quick: bool
    contestants: frozenset[str]
    say: Callable[[str], None]

    def wants(self, name: str) -> bool:
        """Whether a contestant is to be measured."""
        return not self.contestants or name in self.contestants

    def choose(self, full: float, quick: float) -> float:
        """A number of the whole run, or of the quick one."""
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        """A whole number of the whole run, or of the quick one."""
        return quick if self.quick else full


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one contestant did in one scenario. `values`: figures by name, their unit in the name.
    `notes`: what a reader must know, such as that the client was the bottleneck."""

    scenario: str
    contestant: str
    values: dict[str, float]
    at: float | None = None
    notes: list[str] = []
