"""Models that do what a test tells them, and remember what they were told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

Chunk = str | DeltaToolCalls | BaseException


def calls(*wanted: tuple[str, str]) -> DeltaToolCalls:
    """Calls of tools, by name and arguments in JSON. The ids are those of a model that counts anew with
    each response."""
    return {
        n: DeltaToolCall(name=name, json_args=args, tool_call_id=f"call_{n}")
        for n, (name, args) in enumerate(wanted, 1)
    }


class Script:
    """A model that plays one list of chunks per request, found by how often it has answered before."""

    def __init__(self, *responses: Sequence[Chunk]) -> None:
        self.responses = responses
        self.asked: list[list[ModelMessage]] = []
        self.model = FunctionModel(stream_function=self._stream, model_name="script")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncGenerator[Any]:
        self.asked.append(list(messages))
        answered = sum(isinstance(message, ModelResponse) for message in messages)
        for chunk in self.responses[min(answered, len(self.responses) - 1)]:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def returns(self, request: int = -1) -> dict[str, ToolReturnPart]:
        """The results that a request carried, by the tool's name."""
        parts = [part for message in self.asked[request] for part in message.parts]
        return {part.tool_name: part for part in parts if isinstance(part, ToolReturnPart)}

    def prompts(self, request: int = -1) -> list[object]:
        """What people said, as a request carried it."""
        parts = [part for message in self.asked[request] for part in message.parts]
        return [part.content for part in parts if isinstance(part, UserPromptPart)]
