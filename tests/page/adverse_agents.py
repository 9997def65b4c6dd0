"""The agents of the black-box tests, and two tools more: one whose name is as long as one may be, one whose
schema takes for ever."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tests.blackbox.agents import agent, effect

LONG = "a_name_as_long_as_nobody_would_choose_" * 5 + "and_then_some"


@agent.tool_plain(name=LONG, requires_approval=True)
async def long_name(path: str) -> str:
    """Do little."""
    effect(f"long {path}")
    return path


@agent.tool_plain(requires_approval=True)
async def endless(host: Annotated[str, Field(pattern="^(a+)+$")]) -> str:
    """Do little, with a pattern that backtracks."""
    effect(f"endless {host}")
    return host


__all__ = ["LONG", "agent"]
