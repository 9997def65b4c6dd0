"""A model that says what a test tells it, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import (
    AgentInfo,
    DeltaThinkingCalls,
    DeltaThinkingPart,
    DeltaToolCall,
    DeltaToolCalls,
    FunctionModel,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Chunk = str | DeltaToolCalls | DeltaThinkingCalls | BaseException | Callable[[], Awaitable[object]]
"""A piece of text, `calls(…)`, `thinks(…)`; an error, which breaks the answer off; or something to wait
for before the next chunk (`event.wait`): a model that is silent."""

Response = Sequence[Chunk]


def calls(*wanted: tuple[str, Mapping[str, object] | str]) -> DeltaToolCalls:
    """Calls of tools, by name and arguments (or these as the JSON that the model writes, which may be
    wrong). The ids are those of a model that counts anew with each response."""
    return {
        number: DeltaToolCall(
            name=name,
            json_args=args if isinstance(args, str) else json.dumps(args),
            tool_call_id=f"call_{number}",
        )
        for number, (name, args) in enumerate(wanted, 1)
    }


def thinks(text: str) -> DeltaThinkingCalls:
    """A piece of reasoning."""
    return {0: DeltaThinkingPart(content=text)}


class ScriptedModel(FunctionModel):
    """A model for Pydantic AI that plays one list of chunks per request.

    Which one is told by how many responses the conversation has already, not by how often the model
    was asked: a request that is made again, after a failure or by another worker, gets the same answer.
    The last response repeats. With `by_prompt` the responses are those to the newest prompt, counted
    from there.
    """

    def __init__(
        self, *responses: Response, by_prompt: Callable[[str], Sequence[Response]] | None = None
    ) -> None:
        super().__init__(stream_function=self._stream, model_name="script")
        self.responses = responses
        self.asked: list[list[ModelMessage]] = []
        """The messages of each request so far."""
        self._by_prompt = by_prompt

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncGenerator[Any]:
        del info
        self.asked.append(list(messages))
        responses, given = self._place(messages)
        for chunk in responses[min(given, len(responses) - 1)]:
            if isinstance(chunk, BaseException):
                raise chunk
            if callable(chunk):
                await chunk()
            else:
                yield chunk

    def _place(self, messages: Sequence[ModelMessage]) -> tuple[Sequence[Response], int]:
        """The responses that are played, and how many have been given."""
        if self._by_prompt is None:
            return self.responses, sum(isinstance(message, ModelResponse) for message in messages)
        prompt, given = "", 0
        for message in messages:
            if isinstance(message, ModelResponse):
                given += 1
            elif (found := _prompt(message)) is not None:
                prompt, given = found, 0
        return self._by_prompt(prompt), given

    def returns(self, request: int = -1) -> dict[str, ToolReturnPart]:
        """The results that a request carried, by the tool's name."""
        parts = [part for message in self.asked[request] for part in message.parts]
        return {part.tool_name: part for part in parts if isinstance(part, ToolReturnPart)}

    def prompts(self, request: int = -1) -> list[object]:
        """What people said, as a request carried it."""
        parts = [part for message in self.asked[request] for part in message.parts]
        return [part.content for part in parts if isinstance(part, UserPromptPart)]


def _prompt(message: ModelMessage) -> str | None:
    """What a person said last in this message: what was said in a run that ended without an answer comes
    before it. A prompt beside a call's return is a remark about the call."""
    if any(isinstance(part, ToolReturnPart) for part in message.parts):
        return None
    said = [part.content for part in message.parts if isinstance(part, UserPromptPart)]
    if not said:
        return None
    newest = said[-1]
    return newest if isinstance(newest, str) else "\n".join(part for part in newest if isinstance(part, str))
