"""The name under which an agent is asked for, and what is said of the built-in one. Imports nothing, so that
the web's side can use it."""

from __future__ import annotations

from typing import Final

BUILT_IN: Final = "jackline"
"""Name of the agent that is served when the settings name none."""

FORMAT: Final = 1
"""Version of the form of a Pydantic AI agent's checkpoint."""

BUILT_IN_REVISION: Final = f"{BUILT_IN}-{FORMAT}"
DESCRIPTION: Final = "Looks after systems with the tools of MCP servers; asks before it changes anything"
DEMO_LABEL: Final = "demo (scripted, no language model)"
"""What people are shown as the demo's model."""


def agent_name(spec: str | None) -> str:
    """The name of the agent that the setting `agent` gives: NAME of `FILE.py:NAME`, without importing it."""
    return BUILT_IN if spec is None else spec.rpartition(":")[2]
