"""One attempt at a run of a Pydantic AI agent: its model requests and responses, one after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET
from pydantic_ai import Agent as ModelAgent
from pydantic_ai.messages import (
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_graph import End

from jackline.agents.prices import cost_usd
from jackline.agents.pydantic_calls import Calls
from jackline.agents.pydantic_errors import (
    MODEL_ERRORS,
    RUN_ERRORS,
    cause,
    describe,
    model_failed,
    run_failed,
)
from jackline.agents.pydantic_history import Checkpoint, decode, encode, history, prompt
from jackline.agents.pydantic_values import to_log
from jackline.errors import AgentError
from jackline.events import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from msgspec import UnsetType
    from pydantic_ai import CallToolsNode, ModelRequestNode
    from pydantic_ai.agent import AbstractAgent, AgentRun
    from pydantic_ai.messages import AgentStreamEvent, ModelMessage
    from pydantic_ai.tools import ToolDefinition

    from jackline.agents.pydantic_errors import Backoff
    from jackline.context import RunContext
    from jackline.events import Json
    from jackline.settings import ToolRule
    from jackline.tools import ToolSpec

    Run = AgentRun[Any, Any]
    RequestNode = ModelRequestNode[Any, Any]
    CallsNode = CallToolsNode[Any, Any]

_NO_LIMITS: Final = UsageLimits(request_limit=None)
"""Pydantic AI's own limit of 50 requests is off: the run's limits are Jackline's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What all runs of an agent share. `describe(tool_def)`: the tool with the policy's verdict."""

    agent: AbstractAgent[Any, Any]
    describe: Callable[[ToolDefinition], ToolSpec]
    rules: Mapping[str, ToolRule]
    backoff: Backoff
    model: Model | None = None


class _Again(Exception):  # noqa: N818  # no error: the way out of a run that is begun anew
    def __init__(self, messages: Sequence[ModelMessage]) -> None:
        super().__init__()
        self.messages = messages


class Steps:
    """See the module. `deps`: what the agent's tools get as `ctx.deps`."""

    def __init__(self, setup: Setup, ctx: RunContext, deps: object) -> None:
        self._setup = setup
        self._ctx = ctx
        self._deps = deps
        saved = decode(ctx.checkpoint)
        self._saved = saved
        self._usage = saved.usage if saved is not None else RunUsage()
        self._messages: list[ModelMessage] = []
        self._said = len({key[0] for key, said in ctx.state.said.items() if said.role == "assistant"})
        self._begun: list[str] = []
        self._failures = 0
        self._calls = Calls(
            ctx,
            setup.agent,
            describe=setup.describe,
            rules=setup.rules,
            ids=saved.calls if saved is not None else {},
            checkpoint=self._checkpoint,
        )

    async def run(self) -> Json:
        """Drive the run to its output. Raises `AgentError`."""
        ctx, saved = self._ctx, self._saved
        if saved is None:
            messages, words = history(ctx.previous), prompt(ctx.state)
        elif saved.output is not UNSET:
            return saved.output  # only its ending was missing
        else:
            messages, words = saved.messages, None
        recorded = saved is not None
        while True:
            try:
                with self._setup.agent.using_thread_executor(ctx.threads):
                    return await self._attempt(messages, words, recorded=recorded)
            except _Again as again:
                messages, words, recorded = list(again.messages), None, False
            except RUN_ERRORS as error:
                raise run_failed(error) from error

    async def _attempt(
        self, messages: list[ModelMessage], words: str | list[str] | None, *, recorded: bool
    ) -> Json:
        """`recorded`: the calls of the last of `messages` stand in the log already."""
        async with self._setup.agent.iter(
            words,
            message_history=messages,
            model=self._setup.model,
            deps=self._deps,
            usage=self._usage,
            usage_limits=_NO_LIMITS,
            capabilities=[self._calls],
            conversation_id=self._ctx.conversation_id,
            infer_name=False,
        ) as run:
            node = run.next_node
            while not isinstance(node, End):
                if ModelAgent.is_model_request_node(node):
                    node = await self._request(run, node)
                elif ModelAgent.is_call_tools_node(node):
                    node = await self._respond(run, node, recorded=recorded)
                    recorded = False
                else:
                    node = await run.next(node)
            assert run.result is not None
            output = to_log(run.result.output)
            self._messages = run.all_messages()
            await self._ctx.save(self._checkpoint(output))
            return output

    # A model request

    async def _request(self, run: Run, node: RequestNode) -> Any:
        before = [*run.all_messages(), node.request]
        self._begun = []
        try:
            return await self._ask_model(run, node)
        except MODEL_ERRORS as error:
            ours = cause(error)
            if isinstance(ours, AgentError):
                raise ours from None
            self._failures += 1
            delay = self._setup.backoff.delay(self._failures, error)
            if delay is None:
                raise model_failed(error, self._failures) from error
            await self._ctx.pause(delay, describe(error), supersedes=self._begun)
            raise _Again(before) from error

    async def _ask_model(self, run: Run, node: RequestNode) -> Any:
        await self._ctx.begin_step()
        begun = time.monotonic()
        first: float | None = None
        speech = _Speech()
        streams = can_stream(run.ctx.deps.model)
        if streams:
            async with node.stream(run.ctx) as stream:
                async for event in stream:
                    if first is None and isinstance(event, (PartStartEvent, PartDeltaEvent)):
                        first = time.monotonic()
                    await self._say(speech, event)
        following = await run.next(node)
        self._failures = 0
        usage = None
        if ModelAgent.is_call_tools_node(following):
            response = following.model_response
            if not streams:
                # All that it said came at once: each part is one chunk.
                for index, part in enumerate(response.parts):
                    await self._say(speech, PartStartEvent(index=index, part=part))
            usage = Usage(
                input_tokens=response.usage.input_tokens,
                output_tokens=response.usage.output_tokens,
                ttft_ms=None if first is None else round((first - begun) * 1000),
                model=response.model_name,
                cost_usd=cost_usd(response),
            )
        await self._ctx.end_step(usage)
        return following

    async def _say(self, speech: _Speech, event: AgentStreamEvent) -> None:
        """One chunk of the model's is one token entry, one part of its response one message."""
        piece = speech.piece(event)
        if piece is None:
            return
        index, kind, text = piece
        message_id = speech.message_ids.get(index)
        if message_id is None:
            message_id = speech.message_ids[index] = self._ctx.new_message()
            self._said += 1
            self._begun.append(message_id)
        await self._ctx.say(text, message_id=message_id, kind=kind)

    # A response

    async def _respond(self, run: Run, node: CallsNode, *, recorded: bool) -> Any:
        self._messages = run.all_messages()
        if not recorded:
            await self._calls.record(node.model_response)
        following = await run.next(node)
        is_request = ModelAgent.is_model_request_node(following)
        await self._calls.settle([following.request] if is_request else run.all_messages()[-1:])
        return following

    def _checkpoint(self, output: Json | UnsetType = UNSET) -> bytes:
        return encode(
            Checkpoint(
                messages=self._messages,
                calls=self._calls.ids,
                usage=self._usage,
                said=self._said,
                output=output,
            )
        )


def can_stream(model: Model) -> bool:
    """Whether a model gives its response in pieces. One that does not is asked for it whole."""
    if isinstance(model, WrapperModel):
        return can_stream(model.wrapped)
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    return type(model).request_stream is not Model.request_stream


class _Speech:
    """What a response says, part by part."""

    def __init__(self) -> None:
        self.message_ids: dict[int, str] = {}

    def piece(self, event: AgentStreamEvent) -> tuple[int, str, str] | None:
        """The part's index, the kind and the text of a chunk; None for one that says nothing."""
        match event:
            case PartStartEvent(part=TextPart(content=text)) if text:
                # A text that goes on after the model's own searching is a part, and a message, of its own.
                self.message_ids.pop(event.index, None)
                return event.index, "text", text
            case PartStartEvent(part=ThinkingPart(content=text)) if text:
                self.message_ids.pop(event.index, None)
                return event.index, "reasoning", text
            case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if text:
                return event.index, "text", text
            case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=text)) if text:
                return event.index, "reasoning", text
            case _:
                return None
