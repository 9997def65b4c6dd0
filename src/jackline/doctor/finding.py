"""What a finding is: its code, how bad it is, what to do."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Code = Literal[
    "buffered-http10",
    "buffered-blocks",
    "buffered-whole",
    "compressed-early",
    "compressed-late",
    "first-write",
    "held-200ms",
    "one-behind",
    "get-only",
    "idle-limit",
    "lifetime-cap",
    "zombie",
    "masked-end",
    "error-before-headers",
    "shared-stream",
    "repeated-request",
    "accel-stripped",
    "worker-cap",
    "rewritten",
    "cached",
]

Severity = Literal["degraded", "broken", "dangerous"]
Verdict = Literal["good", "degraded", "broken", "dangerous"]

EXIT_CODES: Final[dict[Verdict, int]] = {"good": 0, "degraded": 10, "broken": 20, "dangerous": 30}


class Finding(Struct, frozen=True, kw_only=True):
    """`text`: what was seen, with its figures; `fix`: what to set."""

    code: Code
    severity: Severity
    text: str
    fix: str


class Guess(Struct, frozen=True, kw_only=True):
    """Which proxy it may be, `score` from 0 to 1, and what speaks for it. Never a certainty."""

    name: str
    score: float
    because: list[str]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """`proxy`: the likeliest of `guesses`."""

    verdict: Verdict
    findings: list[Finding]
    guesses: list[Guess]

    @property
    def proxy(self) -> Guess | None:
        """The likeliest one."""
        return self.guesses[0] if self.guesses else None


def verdict_of(findings: list[Finding]) -> Verdict:
    """As bad as the worst of them."""
    found = {finding.severity for finding in findings}
    for severity in ("dangerous", "broken", "degraded"):
        if severity in found:
            return severity
    return "good"
