"""What the drill's own agent says in a whole run."""

from __future__ import annotations

from typing import Final

WORDS: Final = 10
"""Words of each step."""

STEPS: Final = 4


def words() -> list[str]:
    """All words, in order; none comes twice."""
    return [f"s{step}w{word} " for step in range(STEPS) for word in range(WORDS)]
