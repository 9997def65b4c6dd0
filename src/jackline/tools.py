"""Tools and what they are declared to do."""

from __future__ import annotations

from msgspec import Struct

from jackline.events import Effect, Json


class ToolSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool as its owner declares it, and the policy's verdict about it.

    `effect`: `read_only` changes nothing and may run again; `idempotent` may run again;
    `writes` is everything else, and everything that says nothing of itself. `approval` is the
    verdict. `verifies`: the name of the tool whose effect this one checks. `origin`: `python`, or
    `mcp:SERVER`.
    """

    name: str
    description: str = ""
    schema: Json = None
    annotations: Json = None
    effect: Effect = "writes"
    approval: str = "ask"
    verifies: str | None = None
    origin: str = "python"


class AgentSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent as a worker serves it."""

    name: str
    revision: str
    description: str = ""
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()


class Catalogue(Struct, frozen=True, kw_only=True):
    """What one worker serves; published to the store so that web processes can show it."""

    worker: str
    agents: tuple[AgentSpec, ...]
