"""What a tool does, and whether a person is asked before it runs. Pure.

A tool says what it does; the operator's rules override it; a tool that says nothing is taken to
change things. Nothing runs unasked by default but what is declared to change nothing.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, cast

import msgspec

from jackline.tools import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_ai.tools import ToolDefinition

    from jackline.events import Effect, Json
    from jackline.settings import ToolRule, Verdict

VERIFIES: Final = "jackline/verifies"
"""Key of a tool's `_meta`: the tool, of the same server, whose effect this one checks."""


def effect_of_annotations(annotations: Json) -> Effect:
    """The effect that an MCP tool's annotations claim (MCP specification, `ToolAnnotations`).

    Only a literal `true` counts; a tool without annotations writes.
    """
    hints = annotations if isinstance(annotations, dict) else {}
    if hints.get("readOnlyHint") is True:
        return "read_only"
    if hints.get("idempotentHint") is True:
        return "idempotent"
    return "writes"


def spec_of(tool_def: ToolDefinition, origin: str) -> ToolSpec:
    """A tool as its server declares it; `policy.judge` has the last word."""
    metadata = tool_def.metadata or {}
    annotations = cast("Json", metadata.get("annotations"))
    effect = effect_of_annotations(annotations)
    meta = cast("Mapping[str, object]", metadata.get("meta") or {})
    verifies = meta.get(VERIFIES)
    return ToolSpec(
        name=tool_def.name,
        description=tool_def.description or "",
        schema=cast("Json", tool_def.parameters_json_schema),
        annotations=annotations,
        effect=effect,
        approval="allow" if effect == "read_only" else "ask",
        verifies=verifies if isinstance(verifies, str) else None,
        origin=origin,
    )


def judge(spec: ToolSpec, rules: Mapping[str, ToolRule]) -> ToolSpec:
    """`spec` with the `effect`, `approval` and `verifies` that hold, the operator's rules having the
    last word.

    Without a rule: a read-only tool is allowed and every other one asks; a Python tool of the
    operator's own agent (`origin == "python"`) keeps what it was declared with.
    """
    rule = rule_for(spec, rules)
    effect = _effect(spec.effect, rule)
    return msgspec.structs.replace(
        spec,
        effect=effect,
        approval=_verdict(spec, effect, rule),
        verifies=rule.verifies if rule is not None and rule.verifies is not None else spec.verifies,
    )


def rule_for(spec: ToolSpec, rules: Mapping[str, ToolRule]) -> ToolRule | None:
    """The rule that speaks of a tool: by its exact name, else `SERVER_TOOL`, else the longest glob.

    The longest, because it says most about the name; of equally long ones the first by the alphabet,
    so that the order in a file decides nothing.
    """
    names = [spec.name]
    server = spec.origin.removeprefix("mcp:")
    if server != spec.origin and not spec.name.startswith(f"{server}_"):
        names.append(f"{server}_{spec.name}")
    for name in names:
        if name in rules:
            return rules[name]
    globs = [glob for glob in rules if any(fnmatchcase(name, glob) for name in names)]
    return rules[min(globs, key=lambda glob: (-len(glob), glob))] if globs else None


def _effect(declared: Effect, rule: ToolRule | None) -> Effect:
    if rule is None:
        return declared
    if rule.read_only is True:
        return "read_only"
    effect: Effect = "writes" if rule.read_only is False and declared == "read_only" else declared
    if rule.idempotent is True and effect == "writes":
        return "idempotent"
    if rule.idempotent is False and effect == "idempotent":
        return "writes"
    return effect


def _verdict(spec: ToolSpec, effect: Effect, rule: ToolRule | None) -> Verdict:
    if rule is not None and rule.approval is not None:
        return rule.approval
    if spec.approval == "deny":
        return "deny"
    if spec.origin == "python" and (rule is None or rule.read_only is None):
        return "allow" if spec.approval == "allow" else "ask"
    return "allow" if effect == "read_only" else "ask"
