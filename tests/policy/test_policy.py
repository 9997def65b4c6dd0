from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackline.policy import effect_of_annotations, judge
from jackline.settings import ToolRule, Verdict
from jackline.tools import ToolSpec

if TYPE_CHECKING:
    from jackline.events import Effect, Json


def rule(
    approval: Verdict | None = None,
    *,
    read_only: bool | None = None,
    idempotent: bool | None = None,
    verifies: str | None = None,
) -> ToolRule:
    return ToolRule(approval=approval, read_only=read_only, idempotent=idempotent, verifies=verifies)


def mcp(
    name: str = "fs_read", effect: Effect = "writes", approval: str = "ask", origin: str = "mcp:fs"
) -> ToolSpec:
    return ToolSpec(name=name, effect=effect, approval=approval, origin=origin)


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        ({"readOnlyHint": True}, "read_only"),
        ({"readOnlyHint": True, "destructiveHint": True}, "read_only"),
        ({"readOnlyHint": False, "idempotentHint": True}, "idempotent"),
        ({"idempotentHint": True}, "idempotent"),
        ({"readOnlyHint": True, "idempotentHint": True}, "read_only"),
        ({"destructiveHint": False}, "writes"),
        ({"readOnlyHint": "true"}, "writes"),
        ({"readOnlyHint": 1}, "writes"),
        ({}, "writes"),
        (None, "writes"),
        ([], "writes"),
    ],
)
def test_the_effect_is_what_the_annotations_claim(annotations: Json, effect: Effect) -> None:
    assert effect_of_annotations(annotations) == effect


@pytest.mark.parametrize(
    ("effect", "approval"), [("read_only", "allow"), ("idempotent", "ask"), ("writes", "ask")]
)
def test_only_a_read_only_tool_runs_unasked(effect: Effect, approval: str) -> None:
    assert judge(mcp(effect=effect), {}).approval == approval


@pytest.mark.parametrize("declared", ["allow", "ask"])
def test_a_server_cannot_allow_its_own_writing_tool(declared: str) -> None:
    assert judge(mcp(approval=declared), {}).approval == "ask"


@pytest.mark.parametrize("declared", ["allow", "ask", "deny"])
def test_a_python_tool_keeps_what_it_was_declared_with(declared: str) -> None:
    spec = ToolSpec(name="deploy", approval=declared, origin="python")
    assert judge(spec, {}).approval == declared
    assert judge(spec, {"deploy": rule(verifies="x")}).approval == declared


@pytest.mark.parametrize("verdict", ["allow", "ask", "deny"])
@pytest.mark.parametrize("origin", ["python", "mcp:fs"])
def test_the_operator_overrides_every_verdict(verdict: Verdict, origin: str) -> None:
    for effect in ("read_only", "idempotent", "writes"):
        for declared in ("allow", "ask"):
            spec = ToolSpec(name="t", effect=effect, approval=declared, origin=origin)
            assert judge(spec, {"t": rule(verdict)}).approval == verdict


@pytest.mark.parametrize(
    ("declared", "given_rule", "effect", "approval"),
    [
        ("writes", rule(read_only=True), "read_only", "allow"),
        ("read_only", rule(read_only=False), "writes", "ask"),
        ("read_only", rule(read_only=False, idempotent=True), "idempotent", "ask"),
        ("idempotent", rule(read_only=False), "idempotent", "ask"),
        ("writes", rule(idempotent=True), "idempotent", "ask"),
        ("idempotent", rule(idempotent=False), "writes", "ask"),
        ("read_only", rule(idempotent=False), "read_only", "allow"),
        ("writes", rule("allow"), "writes", "allow"),
        ("read_only", rule("deny"), "read_only", "deny"),
    ],
)
def test_the_operator_overrides_the_effect(
    declared: Effect, given_rule: ToolRule, effect: Effect, approval: str
) -> None:
    judged = judge(mcp(effect=declared), {"fs_read": given_rule})
    assert (judged.effect, judged.approval) == (effect, approval)


def test_a_python_tool_called_writing_by_the_operator_asks() -> None:
    spec = ToolSpec(name="t", approval="allow", origin="python")
    assert judge(spec, {"t": rule(read_only=False)}).approval == "ask"
    assert judge(spec, {"t": rule(read_only=True)}).approval == "allow"


def test_the_exact_name_wins_over_every_glob() -> None:
    rules = {"*": rule("deny"), "fs_*": rule("deny"), "fs_read": rule("allow"), "fs_rea?": rule("deny")}
    assert judge(mcp(), rules).approval == "allow"


def test_the_longest_glob_wins_whatever_the_order() -> None:
    rules = {"*": rule("deny"), "fs_re*": rule("allow"), "fs_*": rule("ask")}
    assert judge(mcp(), rules).approval == "allow"
    assert judge(mcp(), dict(reversed(rules.items()))).approval == "allow"
    assert judge(mcp("fs_write"), rules).approval == "ask"
    assert judge(mcp("git_log", origin="mcp:git"), rules).approval == "deny"


def test_a_rule_may_name_the_server_of_a_tool_without_prefix() -> None:
    spec = ToolSpec(name="disk_usage", effect="read_only", approval="allow", origin="mcp:demo")
    assert judge(spec, {"demo_disk_usage": rule("deny")}).approval == "deny"
    assert judge(spec, {"demo_*": rule("ask")}).approval == "ask"
    assert judge(spec, {"disk_usage": rule("allow"), "demo_*": rule("ask")}).approval == "allow"


def test_matching_heeds_case() -> None:
    assert judge(mcp("FS_read", origin="mcp:FS"), {"fs_*": rule("allow")}).approval == "ask"


def test_what_a_tool_verifies_is_the_operators_word_else_its_own() -> None:
    spec = ToolSpec(name="status", verifies="restart", origin="mcp:x")
    assert judge(spec, {}).verifies == "restart"
    assert judge(spec, {"status": rule(verifies="deploy")}).verifies == "deploy"
    assert judge(spec, {"status": rule("allow")}).verifies == "restart"


RULES = st.builds(
    rule,
    st.sampled_from([None, "allow", "ask", "deny"]),
    read_only=st.sampled_from([None, True, False]),
    idempotent=st.sampled_from([None, True, False]),
)
SPECS = st.builds(
    ToolSpec,
    name=st.sampled_from(["fs_read", "fs_write"]),
    effect=st.sampled_from(["read_only", "idempotent", "writes"]),
    approval=st.sampled_from(["allow", "ask"]),
    origin=st.sampled_from(["python", "mcp:fs", "mcp:other"]),
)


@given(SPECS, st.dictionaries(st.sampled_from(["fs_read", "fs_*", "*", "other_fs_read"]), RULES))
def test_judging_twice_changes_nothing(spec: ToolSpec, rules: dict[str, ToolRule]) -> None:
    once = judge(spec, rules)
    again = judge(once, rules)
    assert (again.effect, again.approval) == (once.effect, once.approval)


@given(SPECS)
def test_without_rules_no_writing_tool_of_a_server_runs_unasked(spec: ToolSpec) -> None:
    judged = judge(spec, {})
    if spec.origin != "python" and judged.effect != "read_only":
        assert judged.approval == "ask"
