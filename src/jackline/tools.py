"""Tools and what they are declared to do."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from jackline.events import Effect, Json
from jackline.ids import run_of
from jackline.processes import running_call

IDEMPOTENCY_META: Final = "jackline/idempotency_key"
"""The member of `_meta` in which a tool of an MCP server is handed the key of its call."""


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


class OfferedTask(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A task that an agent offers to who does not know yet what to ask for. `prompt` starts it. `asks`: it
    will wait for a person's approval."""

    title: Annotated[str, Meta(min_length=1, max_length=80)]
    prompt: Annotated[str, Meta(min_length=1, max_length=4000)]
    description: Annotated[str, Meta(max_length=400)] = ""
    asks: bool = False


MAX_TASKS: Final = 12
"""An agent offers no more: they are read by people, and published with each of the worker's beats."""


class AgentSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent as a worker serves it."""

    name: str
    revision: str
    description: str = ""
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tasks: tuple[OfferedTask, ...] = ()


class Catalogue(Struct, frozen=True, kw_only=True):
    """What one worker serves; published to the store so that web processes can show it."""

    worker: str
    agents: tuple[AgentSpec, ...]


class CurrentCall(Struct, frozen=True, kw_only=True):
    """The call that a tool's code works for."""

    run_id: str
    call_id: str

    @property
    def idempotency_key(self) -> str:
        """`run_id:call_id`: the same each time this call is run, and no other call's. A service that is
        handed it can tell a call that runs again, after a crash, from a new one (G6)."""
        return f"{self.run_id}:{self.call_id}"


def current_call() -> CurrentCall:
    """The call that is running, in a tool's own code: async, or in a thread that Jackline or
    `asyncio.to_thread` made for it. Raises `LookupError` anywhere else."""
    call_id = running_call.get("")
    if not call_id:
        raise LookupError("current_call() tells of a tool call; call it from inside a tool")
    return CurrentCall(run_id=run_of(call_id), call_id=call_id)
