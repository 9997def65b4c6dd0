"""The demo's model: Pydantic AI sees a model, but what it says is a fixed script (`demo_script`).

It keeps nothing: where it stands follows from the messages, so it goes on in another process after an
approval or a takeover.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from jackline.agents.demo_script import Call, Result, next_turn
from jackline.agents.pydantic_values import APPROVED, CHANGED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pydantic_ai.messages import ModelMessage, ToolCallPart
    from pydantic_ai.models.function import AgentInfo, DeltaToolCalls

    from jackline.agents.demo_script import Outcome

PACE: Final = 0.02
"""Seconds between two words: about as fast as a hosted model."""

_CHUNK: Final = re.compile(r"\S+\s*|\s+")


def demo_model(pace: float = PACE) -> FunctionModel:
    """The scripted model; `pace`: seconds between two words."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        request, steps = read(messages)
        turn = next_turn(request, steps)
        offered = [tool.name for tool in info.function_tools]
        missing = [call.tool for call in turn.calls if _offered(call, offered) is None]
        text = turn.text
        if missing:
            text += f" But I was given no tool {', '.join(missing)}, so I stop here."
        for chunk in _CHUNK.findall(text):
            await anyio.sleep(pace)
            yield chunk
        if missing:
            return
        for number, call in enumerate(turn.calls):
            yield {
                number: DeltaToolCall(
                    name=_offered(call, offered),
                    json_args=json.dumps(call.args),
                    tool_call_id=f"demo-{len(messages)}-{number}",
                )
            }

    return FunctionModel(stream_function=stream, model_name="jackline-demo")


def read(messages: Sequence[ModelMessage]) -> tuple[str, list[list[Result]]]:
    """The last request, and for each of the script's steps since then the results of its calls."""
    start = max((n for n, message in enumerate(messages) if _prompt(message)), default=None)
    if start is None:
        return "", []
    answers = _answers(messages[start:])
    steps = [
        [_result(call, answers.get(call.tool_call_id)) for call in message.tool_calls]
        for message in messages[start:]
        if isinstance(message, ModelResponse) and message.tool_calls
    ]
    return _prompt(messages[start]), steps


def _prompt(message: ModelMessage) -> str:
    if not isinstance(message, ModelRequest):
        return ""
    texts = [part.content for part in message.parts if isinstance(part, UserPromptPart)]
    flat = [text if isinstance(text, str) else " ".join(map(str, text)) for text in texts]
    # Pydantic AI tells the model of edited arguments and of reasons in the same voice as a person's request.
    return "\n".join(text for text in flat if CHANGED not in text and APPROVED not in text)


def _answers(messages: Sequence[ModelMessage]) -> dict[str, tuple[Outcome, object]]:
    found: dict[str, tuple[Outcome, object]] = {}
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, ToolReturnPart):
                outcome: Outcome = (
                    "ok" if part.outcome == "success" else "denied" if part.outcome == "denied" else "failed"
                )
                found[part.tool_call_id] = (outcome, part.content)
    return found


def _result(call: ToolCallPart, answer: tuple[Outcome, object] | None) -> Result:
    outcome, content = answer or ("failed", "no result of it is known")
    if isinstance(content, str) and content.startswith("{"):
        with suppress(ValueError):
            content = json.loads(content)
    return Result(tool=call.tool_name, args=call.args_as_dict(), outcome=outcome, content=content)


def _offered(call: Call, offered: Sequence[str]) -> str | None:
    """The tool's name as it was offered: beside other servers' it has its server's before it."""
    for name in offered:
        if name == call.tool:
            return name
    return next((name for name in offered if name.endswith(f"_{call.tool}")), None)
