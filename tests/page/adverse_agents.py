"""The agents of the black-box tests, with a tool more whose name is as long as one may be."""

from __future__ import annotations

from tests.blackbox.agents import agent, effect

LONG = "a_name_as_long_as_nobody_would_choose_" * 5 + "and_then_some"


@agent.tool_plain(name=LONG, requires_approval=True)
async def long_name(path: str) -> str:
    """Do little."""
    effect(f"long {path}")
    return path


__all__ = ["LONG", "agent"]
