"""The agent of the black-box tests, with tools that a person must allow and a test lets go."""

from __future__ import annotations

import time

from tests.blackbox.agents import agent, effect, gate, opened

__all__ = ["agent"]


@agent.tool_plain(requires_approval=True)
async def held(name: str) -> str:
    """Take effect, then wait for a gate; let go when cancelled."""
    effect(f"held {name}")
    await opened(name)
    return "let go"


@agent.tool_plain(requires_approval=True)
def held_thread(name: str) -> str:
    """Take effect, then wait for a gate in a thread, which cannot be cancelled."""
    effect(f"held {name}")
    while not gate(name).exists():
        time.sleep(0.02)
    return "let go"
