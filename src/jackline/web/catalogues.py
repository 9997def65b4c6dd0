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


class TaskInfo(Struct, frozen=True, kw_only=True):
    """A task that the agent offers: `prompt` starts it. `asks`: it will wait for an approval."""

    title: str
    prompt: str
    description: str = ""
    asks: bool = False


class AgentInfo(Struct, frozen=True, kw_only=True):
    """An agent at one revision. `workers`: how many live workers serve it."""

    name: str
    revision: str
    description: str = ""
    model: str = ""
    tools: tuple[ToolInfo, ...] = ()
    tasks: tuple[TaskInfo, ...] = ()
    workers: int = 0


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A live worker: what it serves, how many runs it drives, and how many it may (0: not told)."""

    agents: tuple[AgentInfo, ...]
    runs: int = 0
    max_runs: int = 0

    @property
    def busy(self) -> bool:
        """Whether it can take no more runs."""
        return 0 < self.max_runs <= self.runs

    def serves(self, agent: str, revision: str) -> bool:
        """Whether it can drive a run of this agent; any revision of it when `revision` is empty."""
        return any(one.name == agent and revision in {"", one.revision} for one in self.agents)


async def live_workers(store: Store) -> list[WorkerInfo]:
    """What the live workers say of themselves."""
    found: list[WorkerInfo] = []
    for data in await store.catalogues():
        try:
            found.append(msgspec.json.decode(data, type=WorkerInfo))
        except msgspec.DecodeError:
            continue  # a record of a version that is too far away
    return found


async def live_agents(store: Store) -> list[AgentInfo]:
    """The agents of all live workers, one per name and revision, by name."""
    found: dict[tuple[str, str], AgentInfo] = {}
    for worker in await live_workers(store):
        for agent in worker.agents:
            key = agent.name, agent.revision
            known = found.get(key, agent)
            workers = known.workers if key in found else 0
            found[key] = msgspec.structs.replace(known, workers=workers + 1)
    return [found[key] for key in sorted(found)]
