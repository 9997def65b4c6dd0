"""The scripted model, under the names that the tests of agents use."""

from __future__ import annotations

from jackline.testing.model import Chunk, ScriptedModel, calls

__all__ = ["Chunk", "Script", "calls"]


class Script(ScriptedModel):
    """A model that plays one list of chunks per request, and remembers what it was told."""

    @property
    def model(self) -> ScriptedModel:
        return self
