"""What a web process has refused and cut since it started, for who operates it."""

from __future__ import annotations

from typing import Final, Literal, get_args

Refusal = Literal[
    "silent",
    "head_timeout",
    "body_timeout",
    "head_size",
    "malformed",
    "pipelined",
    "connections",
    "connections_address",
    "streams",
    "streams_address",
    "streams_principal",
]
Cut = Literal["stalled", "flooding"]

REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)
CUTS: Final[tuple[Cut, ...]] = get_args(Cut)


class Counts:
    """Refused connections and requests, and connections that were cut, each by reason."""

    def __init__(self) -> None:
        self.refused: dict[Refusal, int] = dict.fromkeys(REFUSALS, 0)
        self.cut: dict[Cut, int] = dict.fromkeys(CUTS, 0)
