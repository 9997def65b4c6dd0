"""What an agent is to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from jackline.context import RunContext
    from jackline.events import Json
    from jackline.tools import AgentSpec


class Agent(Protocol):
    """Something that drives a run.

    One object serves all runs of a worker at once, so it keeps nothing of a run but what it saves
    in the run's checkpoint. `revision` names its code and the form of its checkpoints: a run is
    only ever driven by the revision that began it.
    """

    @property
    def name(self) -> str:
        """The name that chats ask for."""
        ...

    @property
    def revision(self) -> str:
        """See above."""
        ...

    @property
    def repeats_itself(self) -> bool:
        """Whether after a pause or a takeover it begins from the top and walks through what it
        said and did before (its context gives the same answers), instead of from a checkpoint."""
        ...

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Everything it needs while runs are driven: tool servers, a model's process."""
        ...

    async def describe(self) -> AgentSpec:
        """What it is and which tools it has, with the policy's verdicts. Called while opened."""
        ...

    async def run(self, ctx: RunContext) -> Json:
        """Drive one run from where its checkpoint stands and return its output.

        Cancelled on a stop, a pause, a hand-back. Raises `AgentError` for an ending `failed` with
        a reason; any other exception ends the run `failed` too, with its type and message.
        """
        ...
