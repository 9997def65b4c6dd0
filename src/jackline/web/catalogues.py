"""What the live workers serve, as they publish it to the store. Read tolerantly: a worker of the
next version may say more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from jackline.events import Json

if TYPE_CHECKING:
    from jackline.log.base import Store


class ToolInfo(Struct, frozen=True, kw_only=True):
    """A tool: its arguments' JSON Schema, what it declares of itself, and the policy's verdict
    (`allow`, `ask`, `deny`). `verifies`: the tool whose effect it checks."""

    name: str
    description: str = ""
    schema: Json = None
    annotations: Json = None
    effect: str = "writes"
    approval: str = "ask"
    verifies: str | None = None
    origin: str = "python"


class AgentInfo(Struct, frozen=True, kw_only=True):
    """An agent at one revision. `workers`: how many live workers serve it."""

    name: str
    revision: str
    description: str = ""
    model: str = ""
    tools: tuple[ToolInfo, ...] = ()
    workers: int = 0


class _Catalogue(Struct, frozen=True, kw_only=True):
    agents: tuple[AgentInfo, ...]


async def live_agents(store: Store) -> list[AgentInfo]:
    """The agents of all live workers, one per name and revision, by name."""
    found: dict[tuple[str, str], AgentInfo] = {}
    for data in await store.catalogues():
        try:
            catalogue = msgspec.json.decode(data, type=_Catalogue)
        except msgspec.DecodeError:
            continue  # a record of a version that is too far away
        for agent in catalogue.agents:
            key = agent.name, agent.revision
            known = found.get(key, agent)
            workers = known.workers if key in found else 0
            found[key] = msgspec.structs.replace(known, workers=workers + 1)
    return [found[key] for key in sorted(found)]
