"""Tools of Pydantic AI as `ToolSpec`s, and the policy's verdict put on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.toolsets import WrapperToolset
from pydantic_ai.toolsets.approval_required import ApprovalRequiredToolset

from jackline.policy import effect_of_annotations, judge, spec_of
from jackline.tools import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_ai import RunContext as ModelContext
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset

    from jackline.events import Effect, Json
    from jackline.settings import ToolRule


def describe(tool_def: ToolDefinition, *, rules: Mapping[str, ToolRule], origin: str | None) -> ToolSpec:
    """The tool with the policy's verdict. `origin`: the server (`mcp:NAME`) of a tool that is judged by
    its annotations; None for an agent's own, which keeps what its developer declared."""
    return judge(_own(tool_def) if origin is None else spec_of(tool_def, origin), rules)


def _own(tool_def: ToolDefinition) -> ToolSpec:
    metadata = tool_def.metadata or {}
    declared = spec_of(tool_def, "python")
    verifies = metadata.get("verifies")
    return ToolSpec(
        name=declared.name,
        description=declared.description,
        schema=declared.schema,
        annotations=declared.annotations,
        effect=_effect(metadata),
        approval="ask" if tool_def.kind == "unapproved" else "allow",
        verifies=verifies if isinstance(verifies, str) else declared.verifies,
    )


def _effect(metadata: Mapping[str, object]) -> Effect:
    """`metadata={"effect": "read_only"}` of the tool, or the annotations that an MCP server gives."""
    match metadata.get("effect"):
        case "read_only":
            return "read_only"
        case "idempotent":
            return "idempotent"
        case _:
            return effect_of_annotations(cast("Json", metadata.get("annotations")))


def with_kind(tool_def: ToolDefinition, spec: ToolSpec) -> ToolDefinition:
    """The tool so that Pydantic AI asks, or does not, as the verdict says. A denied tool is not asked
    about: it is refused when it is called."""
    if tool_def.kind == "external":
        return tool_def
    return replace(tool_def, kind="unapproved" if spec.approval == "ask" else "function")


def asks_first(ctx: ModelContext[Any], tool_def: ToolDefinition, args: dict[str, Any]) -> bool:
    """Whether an `approval_required` toolset will ask about this call: known before it is begun, so
    that nothing is recorded as started that is not."""
    if ctx.tool_call_approved or ctx.tool_manager is None or ctx.tool_manager.tools is None:
        return False
    tool: object = ctx.tool_manager.tools.get(tool_def.name)
    while tool is not None:
        # A combined toolset's tool names the toolset that it came from; wrappers lie around that.
        toolset = cast("AbstractToolset[Any] | None", getattr(tool, "source_toolset", None))
        while isinstance(toolset, WrapperToolset):
            if isinstance(toolset, ApprovalRequiredToolset) and toolset.approval_required_func(
                ctx, tool_def, args
            ):
                return True
            toolset = toolset.wrapped
        tool = getattr(tool, "source_tool", None)
    return False
