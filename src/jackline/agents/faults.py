"""Endings of a run that an agent causes."""

from __future__ import annotations

from jackline.errors import AgentError


def failed(kind: str, message: str) -> AgentError:
    """An `AgentError` of that kind."""
    error = AgentError(message)
    error.kind = kind
    return error
