"""The name under which an agent is asked for. Imports nothing, so that the web's side can use it."""

from __future__ import annotations

from typing import Final

BUILT_IN: Final = "jackline"
"""Name of the agent that is served when the settings name none."""


def agent_name(spec: str | None) -> str:
    """The name of the agent that the setting `agent` gives: NAME of `FILE.py:NAME`, without importing it."""
    return BUILT_IN if spec is None else spec.rpartition(":")[2]
