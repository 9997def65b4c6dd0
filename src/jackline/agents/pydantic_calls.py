"""The tool calls of one run of a Pydantic AI agent: recorded, asked about, run once.

Pydantic AI takes this as a capability beside the agent's own, so the agent itself is never changed.
A run that goes on after a pause or a takeover is given the model's last response again and works
through its calls anew; here each finds the call that stands in the log, with its result or its answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import (
    ApprovalRequired,
    CallDeferred,
    ModelRetry,
    SkipToolExecution,
    ToolFailedError,
    ToolRetryError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.exceptions import ToolFailed as TellModel
from pydantic_ai.messages import ToolReturn, ToolReturnPart
from pydantic_ai.tools import ToolApproved, ToolDenied

from jackline.agents.faults import failed
from jackline.agents.pydantic_tools import asks_first, with_kind
from jackline.agents.pydantic_values import APPROVED, CHANGED, args_of, from_log, to_log
from jackline.context import CallRequest
from jackline.errors import ToolFailed
from jackline.events import ErrorInfo
from jackline.policy import rule_for
from jackline.tools import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic_ai import RunContext as ModelContext
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import ValidatedToolArgs, WrapToolExecuteHandler
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
    from pydantic_ai.tools import (
        DeferredToolApprovalResult,
        DeferredToolRequests,
        DeferredToolResults,
        ToolDefinition,
    )

    from jackline.context import Answer, RunContext
    from jackline.events import Json
    from jackline.settings import ToolRule

_RETRY: Final = "retry"
"""`error.type` of a call whose tool wants the model to call it again differently."""

_APPROVAL: Final = "approval_required"
"""`error.type` of a call that began and then said that a person must be asked first."""

_FATAL: Final = (UnexpectedModelBehavior, UsageLimitExceeded, UserError)
"""What Pydantic AI raises out of a tool to end the run: too many retries, a budget, a misuse."""


class Calls(AbstractCapability[Any]):
    """See the module. One object per attempt at a run. `describe(tool_def)`: the tool with the policy's
    verdict; `executor`: sets the threads that plain functions run in."""

    def __init__(
        self,
        ctx: RunContext,
        agent: AbstractAgent[Any, Any],
        *,
        describe: Callable[[ToolDefinition], ToolSpec],
        rules: Mapping[str, ToolRule],
        ids: Mapping[str, Sequence[str]],
        checkpoint: Callable[[], bytes],
    ) -> None:
        super().__init__()
        self.ids = {model_id: list(call_ids) for model_id, call_ids in ids.items()}
        """The calls of the newest response: the log's ids by the model's own."""
        self._ctx = ctx
        self._agent = agent
        self._describe = describe
        self._rules = rules
        self._checkpoint = checkpoint
        self._specs: dict[str, ToolSpec] = {}
        self._output_tools: set[str] = set()

    def get_ordering(self) -> CapabilityOrdering:
        """Innermost: what the agent's own hooks refuse or change comes before a call counts as started."""
        return CapabilityOrdering(position="innermost")

    async def prepare_tools(
        self, ctx: ModelContext[Any], tool_defs: list[ToolDefinition]
    ) -> list[ToolDefinition]:
        """Put the policy's verdict on each tool."""
        self._specs.update({tool_def.name: self._describe(tool_def) for tool_def in tool_defs})
        return [with_kind(tool_def, self._specs[tool_def.name]) for tool_def in tool_defs]

    async def prepare_output_tools(
        self, ctx: ModelContext[Any], tool_defs: list[ToolDefinition]
    ) -> list[ToolDefinition]:
        """Note which tools are only a form of the answer."""
        self._output_tools = {tool_def.name for tool_def in tool_defs}
        return tool_defs

    # Recording

    async def record(self, response: ModelResponse) -> None:
        """Write the calls of a response that has just come, and the checkpoint with it, before any
        of them starts."""
        calls = [part for part in response.tool_calls if part.tool_name not in self._output_tools]
        _make_unique(response.tool_calls)
        new = self._ctx.new_calls(len(calls))
        self.ids = {call.tool_call_id: [call_id] for call, call_id in zip(calls, new, strict=True)}
        if calls:
            requests = [self._request(call, call_id) for call, call_id in zip(calls, new, strict=True)]
            await self._ctx.request(requests, checkpoint=self._checkpoint())

    async def settle(self, messages: Sequence[ModelMessage]) -> None:
        """End the calls of the newest response that were answered without being run: `messages` tell
        why (unknown tools, arguments that do not fit, an answer that was given already)."""
        parts = {
            part.tool_call_id: part
            for message in messages
            for part in message.parts
            if isinstance(part, ToolReturnPart)
        }
        for model_id, call_ids in self.ids.items():
            if self._ctx.state.calls[call_ids[-1]].state == "requested":
                await self._ctx.refuse(call_ids[-1], _why_not(parts.get(model_id)))

    def _request(self, call: ToolCallPart, call_id: str) -> CallRequest:
        # What no tool is known for is refused by Pydantic AI; it never runs, so it need not be asked for.
        unknown = ToolSpec(name=call.tool_name, approval="allow")
        return CallRequest(call_id=call_id, args=args_of(call), spec=self._specs.get(call.tool_name, unknown))

    # Running

    async def wrap_tool_execute(
        self,
        ctx: ModelContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Run a call once, under the log's rules, or give what stands there of it."""
        call_ids = self.ids.get(call.tool_call_id)
        if call_ids is None:  # made by a tool, not by the model
            call_ids = self.ids[call.tool_call_id] = self._ctx.new_calls(1)
            await self._ctx.request([self._request(call, call_ids[0])])
        call_id = call_ids[-1 if ctx.tool_call_approved else 0]
        if asks_first(ctx, tool_def, args):
            raise ApprovalRequired
        await self._refuse_denied(call_id)
        invocation = _Invocation(self._agent, self._ctx, args, handler)
        try:
            logged = await self._ctx.run_tool(call_id, invocation)
        except ToolFailed as error:
            self._raise(error, invocation, approved=ctx.tool_call_approved, answer=self._ctx.answer(call_id))
        # From the log's form, now as after a takeover: a checkpoint must be able to carry it.
        return _told(from_log(logged), self._ctx.answer(call_id))

    async def _refuse_denied(self, call_id: str) -> None:
        """An operator who has come to deny a tool denies the calls that were recorded before, too."""
        logged = self._ctx.state.calls[call_id]
        spec = self._specs.get(logged.name)
        if spec is not None and spec.approval == "deny" and logged.state == "requested":
            error = ErrorInfo(type="denied_by_policy", message="the operator does not allow this tool")
            await self._ctx.refuse(call_id, error)

    def _raise(
        self, error: ToolFailed, invocation: _Invocation, *, approved: bool, answer: Answer | None
    ) -> NoReturn:
        """Say what became of a call that failed, now or before a pause, in Pydantic AI's words."""
        if error.kind == _APPROVAL and not approved:
            raise ApprovalRequired
        if isinstance(invocation.raised, CallDeferred):
            raise failed("deferred_call", f"{error}") from None
        if invocation.raised is not None and not isinstance(invocation.raised, ApprovalRequired):
            raise invocation.raised
        if error.kind == _RETRY:
            raise ModelRetry(str(error)) from None
        note = _note(answer)
        kind = "" if error.kind == "tool_failed" else f"{error.kind}: "
        raise TellModel(f"{kind}{error}" + (f"\n{note}" if note else "")) from None

    # Asking

    async def handle_deferred_tool_calls(
        self, ctx: ModelContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Give people's answers; where one is missing, ask for all that are missing, and park."""
        if requests.calls:
            names = ", ".join(call.tool_name for call in requests.calls)
            raise failed("deferred_call", f"{names}: nothing here can execute an external call")
        again: list[CallRequest] = []
        missing: list[CallRequest] = []
        results: dict[str, DeferredToolApprovalResult] = {}
        for call in requests.approvals:
            call_ids = self.ids.get(call.tool_call_id)
            if call_ids is None:
                # Made by a tool, which still runs: nothing can be parked under it.
                results[call.tool_call_id] = ToolDenied("a call made inside a tool cannot be asked about")
                continue
            error = self._ctx.state.calls[call_ids[-1]].error
            if error is not None and error.type == _APPROVAL:
                call_ids += self._ctx.new_calls(1)
                again.append(self._request(call, call_ids[-1]))
            answer = self._ctx.answer(call_ids[-1])
            rule = rule_for(self._specs[call.tool_name], self._rules)
            if answer is not None:
                results[call.tool_call_id] = _result(answer)
            elif rule is not None and rule.approval == "allow":
                results[call.tool_call_id] = ToolApproved()
            else:
                missing.append(self._request(call, call_ids[-1]))
        if again:
            await self._ctx.request(again, checkpoint=self._checkpoint())
        if missing:
            await self._ctx.ask(missing, checkpoint=self._checkpoint())
        return requests.build_results(approvals=dict(results))


class _Invocation:
    """One execution of a tool, as `RunContext.run_tool` wants it, with what came of it."""

    def __init__(
        self,
        agent: AbstractAgent[Any, Any],
        ctx: RunContext,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> None:
        self.raised: Exception | None = None
        self._agent = agent
        self._ctx = ctx
        self._args = args
        self._handler = handler

    async def __call__(self, _: Json) -> Json:
        # The arguments are the log's too, edited ones included, but checked by the tool's own types.
        try:
            with self._agent.using_thread_executor(self._ctx.threads):
                return to_log(await self._handler(self._args))
        except SkipToolExecution as error:
            return to_log(error.result)
        except ApprovalRequired as error:
            self.raised = error
            raise ToolFailed("it began and then asked for approval", _APPROVAL) from error
        except CallDeferred as error:
            self.raised = error
            raise ToolFailed(
                "it leaves its work to something else, which nothing here can wait for"
            ) from error
        except ToolRetryError as error:
            self.raised = error
            raise ToolFailed(str(error), _RETRY) from error
        except ToolFailedError as error:
            self.raised = error
            raise ToolFailed(str(error)) from error
        except ModelRetry as error:
            raise ToolFailed(str(error), _RETRY) from error
        except TellModel as error:
            raise ToolFailed(str(error)) from error
        except _FATAL as error:
            self.raised = error
            raise


def _result(answer: Answer) -> ToolApproved | ToolDenied:
    if answer.approved:
        edited = answer.args if isinstance(answer.args, dict) else None
        return ToolApproved(override_args=cast("dict[str, Any] | None", edited))
    because = f": {answer.reason}" if answer.reason else "."
    return ToolDenied(f"{answer.by or 'A person'} denied this call; it was not executed{because}")


def _note(answer: Answer | None) -> str:
    """What the model must know of an approval: that the arguments are no longer its own, and why it
    was given."""
    if answer is None or not answer.approved:
        return ""
    who = answer.by or "A person"
    if not isinstance(answer.args, dict):
        return f"{who} {APPROVED}: {answer.reason}" if answer.reason else ""
    shown = to_log(answer.args)
    because = f" ({answer.reason})" if answer.reason else ""
    return f"{who} {CHANGED}{because}. Executed with: {shown}"


def _told(result: object, answer: Answer | None) -> object:
    note = _note(answer)
    if not note:
        return result
    if not isinstance(result, ToolReturn):
        return ToolReturn(return_value=cast("Any", result), content=note)
    given = cast("ToolReturn[Any]", result)
    content = given.content
    more = [] if content is None else [content] if isinstance(content, str) else list(content)
    return replace(given, content=[*more, note])


def _why_not(part: ToolReturnPart | None) -> ErrorInfo:
    if part is None:
        return ErrorInfo(type="not_executed", message="the run went on without it")
    kind = "not_executed"
    if part.outcome == "retried":
        kind = "invalid_call"
    text = part.model_response_str() if part.outcome != "retried" else str(part.content)
    return ErrorInfo(type=kind, message=text[:4000])


def _make_unique(calls: Sequence[ToolCallPart]) -> None:
    """Some models give two calls of a response one id; their results could not be told apart."""
    seen: set[str] = set()
    for call in calls:
        while call.tool_call_id in seen:
            call.tool_call_id += "+"
        seen.add(call.tool_call_id)
