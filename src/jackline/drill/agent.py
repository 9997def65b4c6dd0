"""The agent that a drill runs when it is given none: it says numbered words, and its tools do things that
are recorded outside of all processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic_ai import Agent

from jackline.drill.script import STEPS, WORDS, words
from jackline.testing.model import ScriptedModel, calls
from jackline.testing.recorder import Recorder
from jackline.threads import running_call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackline.testing.model import Response

_PACE: Final = 0.02
"""Seconds between two words."""

_TOOL: Final = 0.15
"""Seconds that a tool takes after its effect."""


def drill_agent(effects: Path) -> Agent:
    """The agent. `effects`: the recorder's file."""
    recorder = Recorder(effects)
    agent = Agent(ScriptedModel(*_script()), description="Says numbered words, and changes nothing")

    async def act(what: str) -> str:
        recorder.record(running_call.get(), what)
        await asyncio.sleep(_TOOL)
        return what

    @agent.tool_plain
    async def change(n: int) -> str:
        """Have an effect."""
        return await act(f"change {n}")

    @agent.tool_plain(metadata={"effect": "read_only"})
    async def look(n: int) -> str:
        """Have none."""
        await asyncio.sleep(_TOOL)
        return f"look {n}"

    @agent.tool_plain(requires_approval=True)
    async def change_if_allowed(n: int) -> str:
        """Have an effect that a person must allow."""
        return await act(f"change_if_allowed {n}")

    return agent


def _script() -> Sequence[Response]:
    asked = [
        calls(("change", {"n": 1})),
        calls(("look", {"n": 2}), ("change", {"n": 3})),
        calls(("change_if_allowed", {"n": 4})),
    ]
    said = words()
    return [
        [
            *(chunk for word in said[step * WORDS : (step + 1) * WORDS] for chunk in (_pause, word)),
            *asked[step : step + 1],
        ]
        for step in range(STEPS)
    ]


async def _pause() -> None:
    await asyncio.sleep(_PACE)
