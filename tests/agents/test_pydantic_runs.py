"""Runs of Pydantic AI agents: narration, tools, approvals, output."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ApprovalRequired, CallDeferred, ModelRetry, RunContext, ToolReturn
from pydantic_ai.toolsets import FunctionToolset

from jackline.agents.pydantic import PydanticAgent
from jackline.context import RunContext as JacklineContext
from jackline.errors import ConfigError
from jackline.events import Approval, Tool, encode
from jackline.processes import running_call
from jackline.settings import ToolRule
from tests.agents.house import House, rule
from tests.agents.scripted import Script, calls

pytestmark = pytest.mark.anyio


def house(agent: Agent[Any, Any], **more: Any) -> House:
    return House(PydanticAgent(agent, name="ops", revision="1", **more))


async def test_each_chunk_is_a_token_and_each_part_a_message() -> None:
    script = Script(["Hel", "lo", " there"])
    home = house(Agent(script.model))
    state = await home.chat("hi")
    assert await home.texts() == ["Hel", "lo", " there"]
    assert state.state == "completed"
    assert state.output == "Hello there"
    assert state.usage.model == "script"
    assert state.usage.ttft_ms is not None
    assert script.prompts() == ["hi"]


async def test_several_new_messages_reach_the_model() -> None:
    script = Script(["ok"])
    home = house(Agent(script.model))
    await home.chat("one", "two")
    assert script.prompts() == [["one", "two"]]


async def test_calls_are_recorded_with_their_checkpoint_before_any_starts() -> None:
    """G6: requested, then started, then the end; the results reach the model."""
    script = Script(["Looking. ", calls(("add", '{"a":1,"b":2}'), ("fetch", "{}"))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    @agent.tool_plain
    async def fetch() -> dict[str, list[int]]:
        return {"rows": [1]}

    home = house(agent)
    state = await home.chat("go")
    story = await home.story()
    assert story[:5] == ["queued", "executing", "executing step 1", "say Looking. ", "1 requested"]
    assert story[5] == "2 requested"
    assert sorted(story[6:10]) == ["1 finished", "1 started", "2 finished", "2 started"]
    assert story[10:] == ["executing step 2", "say done", "completed"]
    assert script.returns()["add"].content == 3
    assert script.returns()["fetch"].content == {"rows": [1]}
    assert state.calls[home.call("2")].result == {"rows": [1]}


async def test_a_plain_tool_runs_unasked_and_one_that_requires_approval_waits() -> None:
    """G5: the plain sibling runs before the question and not again after it."""
    ran: list[str] = []
    script = Script([calls(("look", "{}"), ("wipe", '{"disk":"a"}'))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain
    def look() -> str:
        ran.append("look")
        return "seen"

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        ran.append(f"wipe {disk}")
        return "wiped"

    home = house(agent)
    state = await home.chat("go")
    assert state.state == "awaiting_approval"
    assert ran == ["look"]
    question = state.pending[0]
    assert question.args == {"disk": "a"}
    assert isinstance(question.args_schema, dict)
    assert question.args_schema["required"] == ["disk"]
    await home.approve("2")
    state = await home.drive()
    assert ran == ["look", "wipe a"]
    assert state.output == "done"
    assert script.returns()["look"].content == "seen"
    assert script.returns()["wipe"].content == "wiped"
    assert len(script.asked) == 2


async def test_several_questions_of_a_response_are_asked_at_once_and_wait_for_all_answers() -> None:
    """G5: all pending entries of a step are one append; nothing goes on before the last answer."""
    ran: list[str] = []
    script = Script([calls(("wipe", '{"disk":"a"}'), ("wipe", '{"disk":"b"}'))], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        ran.append(disk)
        return "wiped"

    home = house(agent)
    await home.chat("go")
    assert (await home.story())[-3:] == ["1 asked", "2 asked", "awaiting_approval"]
    await home.deny("1", "not that one")
    state = await home.drive()
    assert state.state == "awaiting_approval"
    assert ran == []
    await home.approve("2")
    state = await home.drive()
    assert state.state == "completed"
    assert ran == ["b"]
    assert state.calls[home.call("1")].state == "denied"


async def test_the_model_learns_of_a_denial_and_its_reason() -> None:
    script = Script([calls(("wipe", "{}"))], ["I see."])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        raise AssertionError

    home = house(agent)
    await home.chat("go")
    await home.deny("1", "too risky")
    state = await home.drive()
    assert state.output == "I see."
    assert script.returns()["wipe"].outcome == "denied"
    assert "user:ana" in str(script.returns()["wipe"].content)
    assert "too risky" in str(script.returns()["wipe"].content)


async def test_the_model_learns_why_a_call_was_approved() -> None:
    script = Script([calls(("wipe", "{}"))], ["I see."])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        return "wiped"

    home = house(agent)
    await home.chat("go")
    await home.approve("1", reason="the backup is done")
    assert (await home.drive()).output == "I see."
    assert script.returns()["wipe"].content == "wiped"
    assert "user:ana approved this call: the backup is done" in str(script.prompts()[-1])


async def test_answers_find_their_calls_though_the_provider_repeats_its_ids() -> None:
    """G5: one id for all calls of a response, and the same one again in the next step."""
    ran: list[str] = []
    first = calls(("wipe", '{"disk":"a"}'), ("wipe", '{"disk":"b"}'), ("wipe", '{"disk":"c"}'))
    second = calls(("wipe", '{"disk":"d"}'))
    for call in [*first.values(), *second.values()]:
        call.tool_call_id = "same"
    script = Script([first], [second], ["done"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        ran.append(disk)
        return f"wiped {disk}"

    home = house(agent)
    await home.chat("go")
    await home.approve("3", disk="C")
    await home.drive()
    await home.deny("1", "not that one")
    await home.drive()
    await home.approve("2")
    state = await home.drive()
    assert sorted(ran) == ["C", "b"]
    assert [question.call_id for question in state.pending] == [home.call("4")]
    await home.deny("4", "nor that")
    state = await home.drive()
    assert (state.state, sorted(ran)) == ("completed", ["C", "b"])
    told = {number: state.calls[home.call(number)] for number in "1234"}
    assert {number: call.state for number, call in told.items()} == {
        "1": "denied",
        "2": "finished",
        "3": "finished",
        "4": "denied",
    }
    assert [told[number].result for number in "23"] == ["wiped b", "wiped C"]


async def test_edited_arguments_are_executed_and_the_model_is_told() -> None:
    ran: list[str] = []
    script = Script([calls(("wipe", '{"disk":"a"}'))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        ran.append(disk)
        return f"wiped {disk}"

    home = house(agent)
    await home.chat("go")
    await home.approve("1", disk="b")
    state = await home.drive()
    assert ran == ["b"]
    assert state.calls[home.call("1")].args == {"disk": "b"}
    assert script.returns()["wipe"].content == "wiped b"
    assert "changed the arguments" in str(script.prompts()[-1])
    assert "{'disk': 'b'}" in str(script.prompts()[-1])


async def test_edited_arguments_that_do_not_fit_lose_nothing() -> None:
    """The web checks them; should one slip through, the call fails and the model is asked again."""
    script = Script([calls(("wipe", '{"disk":1}'))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: int) -> str:
        raise AssertionError

    home = house(agent)
    await home.chat("go")
    page = await home.store.read(home.run_id)
    bad = Approval(
        ts="2026-01-01T00:00:00.000Z",
        call_id=home.call("1"),
        round=1,
        kind="call",
        name="wipe",
        state="granted",
        by="user:ana",
        args={"disk": "x"},
    )
    await home.store.append(home.run_id, [encode(bad)], expect=page.last, due="now")
    state = await home.drive()
    assert state.state == "completed"
    assert state.calls[home.call("1")].state == "failed"
    assert script.returns()["wipe"].outcome == "retried"


async def test_a_failing_tool_is_told_to_the_model_and_the_run_goes_on() -> None:
    script = Script([calls(("boom", "{}"))], ["It failed."])
    agent = Agent(script.model)

    @agent.tool_plain
    def boom() -> str:
        raise ValueError("no such disk")

    home = house(agent)
    state = await home.chat("go")
    assert state.output == "It failed."
    error = state.calls[home.call("1")].error
    assert error is not None
    assert (error.type, error.message) == ("ValueError", "no such disk")
    assert script.returns()["boom"].outcome == "failed"
    assert script.returns()["boom"].content == "ValueError: no such disk"


async def test_a_tool_that_wants_another_try_gets_a_call_of_its_own() -> None:
    script = Script([calls(("pick", '{"n":1}'))], [calls(("pick", '{"n":2}'))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def pick(n: int) -> int:
        if n == 1:
            raise ModelRetry("take two")
        return n

    home = house(agent)
    state = await home.chat("go")
    assert state.state == "completed"
    assert [call.state for call in state.calls.values()] == ["failed", "finished"]
    error = state.calls[home.call("1")].error
    assert error is not None
    assert (error.type, error.message) == ("retry", "take two")


async def test_calls_that_cannot_run_are_closed_with_the_reason() -> None:
    """An unknown tool and arguments that do not fit never start."""
    script = Script([calls(("nope", "{}"), ("add", '{"a":"x"}'))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def add(a: int) -> int:
        return a

    home = house(agent)
    state = await home.chat("go")
    assert state.state == "completed"
    story = await home.story()
    assert "1 failed" in story
    assert "2 failed" in story
    assert not any(line.endswith("started") for line in story)
    error = state.calls[home.call("1")].error
    assert error is not None
    assert "nope" in error.message


async def test_structured_output_is_json_and_is_not_narrated() -> None:
    class Report(BaseModel):
        disk: str
        free: float

    script = Script([{1: calls(("final_result", '{"disk":"a","free":0.5}'))[1]}])
    home = house(Agent(script.model, output_type=Report))
    state = await home.chat("go")
    assert state.output == {"disk": "a", "free": 0.5}
    assert state.calls == {}
    assert await home.texts() == []


async def test_an_agent_with_an_output_validator_and_approvals_works() -> None:
    script = Script([calls(("wipe", "{}"))], ["bad"], ["good"])
    agent = Agent(script.model)

    @agent.output_validator
    def check(text: str) -> str:
        if text == "bad":
            raise ModelRetry("say good")
        return text

    @agent.tool_plain(requires_approval=True)
    def wipe() -> str:
        return "wiped"

    home = house(agent)
    await home.chat("go")
    await home.approve("1")
    state = await home.drive()
    assert state.output == "good"
    assert "good" in (await home.texts())
    assert agent.output_type is str


async def test_a_toolset_that_asks_about_some_calls_starts_none_before_the_answer() -> None:
    """G5: `approval_required` decides by arguments, and nothing is recorded as started before."""
    ran: list[int] = []

    def resize(gb: int) -> str:
        ran.append(gb)
        return "resized"

    toolset = FunctionToolset([resize]).approval_required(lambda ctx, tool, args: args["gb"] > 10)
    script = Script([calls(("resize", '{"gb":5}'), ("resize", '{"gb":50}'))], ["ok"])
    home = house(Agent(script.model, toolsets=[toolset]))
    state = await home.chat("go")
    assert ran == [5]
    assert [question.call_id for question in state.pending] == [home.call("2")]
    assert "2 started" not in await home.story()
    await home.approve("2")
    state = await home.drive()
    assert ran == [5, 50]
    assert state.state == "completed"


async def test_a_tool_that_asks_from_inside_is_asked_about_as_a_call_of_its_own() -> None:
    """Its code has begun, so that is what the log says; the approved call is another one."""
    ran: list[str] = []
    script = Script([calls(("move", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool
    def move(ctx: RunContext[Any]) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        ran.append("moved")
        return "moved"

    home = house(agent)
    await home.chat("go")
    assert (await home.story())[-6:] == [
        "1 requested",
        "1 started",
        "1 failed",
        "2 requested",
        "2 asked",
        "awaiting_approval",
    ]
    await home.approve("2")
    state = await home.drive()
    assert ran == ["moved"]
    assert state.output == "ok"
    assert script.returns()["move"].content == "moved"


async def test_external_tools_fail_the_run_with_the_reason() -> None:
    script = Script([calls(("later", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def later() -> str:
        raise CallDeferred

    home = house(agent)
    state = await home.chat("go")
    assert state.state == "failed"
    assert state.error is not None
    assert state.error.type == "deferred_call"


@pytest.mark.parametrize(
    ("rule", "asked", "ran"),
    [
        (rule(approval="ask"), True, 0),
        (rule(approval="deny"), False, 0),
        (rule(approval="allow"), False, 1),
    ],
)
async def test_the_operators_rules_override_what_a_tool_declares(
    rule: ToolRule, asked: bool, ran: int
) -> None:
    counts = {"plain": 0, "careful": 0}
    script = Script([calls(("plain", "{}"), ("careful", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def plain() -> None:
        counts["plain"] += 1

    @agent.tool_plain(requires_approval=True)
    def careful() -> None:
        counts["careful"] += 1

    home = house(agent, rules={"plain": rule, "careful": rule})
    state = await home.chat("go")
    assert counts == {"plain": ran, "careful": ran}
    assert (len(state.pending) == 2) is asked
    if rule.approval == "deny":
        assert [call.state for call in state.calls.values()] == ["denied", "denied"]
        assert "does not allow" in str(script.returns()["plain"].content)


async def test_a_check_says_which_call_it_verifies() -> None:
    script = Script([calls(("restart", "{}"))], [calls(("status", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def restart() -> None: ...

    @agent.tool_plain(metadata={"verifies": "restart", "effect": "read_only"})
    def status() -> str:
        return "up"

    home = house(agent)
    state = await home.chat("go")
    assert state.calls[home.call("2")].verifies == home.call("1")
    assert state.calls[home.call("2")].effect == "read_only"
    assert state.calls[home.call("1")].effect == "writes"


async def test_parallel_calls_overlap() -> None:
    together = asyncio.Barrier(2)
    script = Script([calls(("wait", "{}"), ("wait", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    async def wait() -> None:
        async with asyncio.timeout(10):
            await together.wait()

    state = await house(agent).chat("go")
    assert state.state == "completed"


async def test_what_a_tool_says_beside_its_result_reaches_the_model() -> None:
    script = Script([calls(("snap", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def snap() -> ToolReturn[int]:
        return ToolReturn(return_value=7, content="a picture of the disk", metadata=object())

    home = house(agent)
    state = await home.chat("go")
    assert state.state == "completed"
    assert script.returns()["snap"].content == 7
    assert script.prompts()[-1] == "a picture of the disk"


async def test_a_result_of_any_type_ends_its_call_well() -> None:
    """A tool that has done its work is not called failed because its result is no JSON."""

    class Odd:
        def __repr__(self) -> str:
            return "odd"

    script = Script([calls(("odd", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def odd() -> Any:
        return {"what": Odd(), "share": float("nan")}

    home = house(agent)
    await home.chat("go")
    finished = [e for e in await home.events() if isinstance(e, Tool) and e.state == "finished"]
    assert finished[0].result == {"what": "odd", "share": None}


async def test_the_limit_of_steps_ends_the_run_with_the_reason() -> None:
    script = Script([calls(("again", "{}"))], [calls(("again", "{}"))], [calls(("again", "{}"))])
    agent = Agent(script.model)

    @agent.tool_plain
    def again() -> None: ...

    home = House(PydanticAgent(agent, name="ops", revision="1"), limits={"steps": 2})
    state = await home.chat("go")
    assert state.error is not None
    assert state.error.type == "limit_reached"
    assert "steps = 2" in state.error.message


async def test_the_limit_of_bytes_ends_the_run_mid_stream_with_the_reason() -> None:
    script = Script(["x" * 600] * 10)
    home = House(PydanticAgent(Agent(script.model), name="ops", revision="1"), limits={"bytes": 2000})
    state = await home.chat("go")
    assert state.error is not None
    assert state.error.type == "limit_reached"


async def test_the_time_limit_of_a_tool_ends_the_run_with_the_reason() -> None:
    script = Script([calls(("hang", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    async def hang() -> None:
        await asyncio.Event().wait()

    home = House(PydanticAgent(agent, name="ops", revision="1"), limits={"tool_seconds": 0.05})
    state = await home.chat("go")
    assert state.error is not None
    assert state.error.type == "limit_reached"
    assert "tool_seconds" in state.error.message
    assert state.calls[home.call("1")].state == "cancelled"


async def test_more_requests_than_pydantic_ais_own_limit_are_possible() -> None:
    responses = [[calls(("again", "{}"))] for _ in range(55)]
    script = Script(*responses, ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def again() -> None: ...

    state = await house(agent).chat("go")
    assert state.state == "completed"
    assert state.step == 56


async def test_a_tool_can_tell_how_far_it_is() -> None:
    script = Script([calls(("copy", "{}"))], ["ok"])
    agent = Agent(script.model, deps_type=JacklineContext)

    @agent.tool
    async def copy(ctx: RunContext[JacklineContext]) -> None:
        await ctx.deps.progress(running_call.get(), {"done": 1})

    home = house(agent)
    await home.chat("go")
    assert "1 progress" in await home.story()


async def test_two_calls_with_one_id_are_told_apart() -> None:
    ran: list[int] = []
    twice = calls(("note", '{"n":1}'), ("note", '{"n":2}'))
    for call in twice.values():
        call.tool_call_id = "same"
    script = Script([twice], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain
    def note(n: int) -> int:
        ran.append(n)
        return n

    state = await house(agent).chat("go")
    assert state.state == "completed"
    assert sorted(ran) == [1, 2]


async def test_too_many_failed_tries_end_the_run_with_the_reason() -> None:
    script = Script([calls(("pick", "{}"))])
    agent = Agent(script.model)

    @agent.tool_plain
    def pick() -> int:
        raise ModelRetry("no")

    state = await house(agent).chat("go")
    assert state.state == "failed"
    assert state.error is not None
    assert state.error.type == "unexpected_model_behavior"
    assert state.open_calls == []


async def test_the_agent_tells_what_it_is_and_which_tools_it_has() -> None:
    agent = Agent(Script(["x"]).model, description="Looks after disks")

    @agent.tool_plain
    def look(disk: str) -> str:
        """Look at a disk."""
        return disk

    @agent.tool_plain(requires_approval=True)
    def wipe(disk: str) -> str:
        return disk

    served = PydanticAgent(agent, name="ops", revision="7", rules={"look": rule(read_only=True)})
    async with served.opened():
        spec = await served.describe()
    assert (spec.name, spec.revision, spec.description) == ("ops", "7", "Looks after disks")
    assert spec.model == "script"
    by_name = {tool.name: tool for tool in spec.tools}
    assert by_name["look"].approval == "allow"
    assert by_name["look"].effect == "read_only"
    assert by_name["look"].description == "Look at a disk."
    assert by_name["wipe"].approval == "ask"


@pytest.mark.parametrize(("strategy", "ran"), [("early", 0), ("graceful", 1)])
async def test_calls_beside_a_final_answer_are_run_or_closed(strategy: Any, ran: int) -> None:
    """No call is left open when the run completes."""
    count = 0
    script = Script([calls(("final_result", '{"response":1}'), ("look", "{}"))])
    agent = Agent(script.model, output_type=int, end_strategy=strategy)

    @agent.tool_plain
    def look() -> None:
        nonlocal count
        count += 1

    home = house(agent)
    state = await home.chat("go")
    assert state.output == 1
    assert count == ran
    assert [call.name for call in state.calls.values()] == ["look"]
    assert state.calls[home.call("1")].state == ("finished" if ran else "failed")


async def test_a_rule_that_denies_holds_for_calls_that_were_approved_before_it() -> None:
    ran: list[str] = []
    script = Script([calls(("wipe", "{}"))], ["ok"])
    agent = Agent(script.model)

    @agent.tool_plain(requires_approval=True)
    def wipe() -> None:
        ran.append("wipe")

    home = house(agent)
    await home.chat("go")
    await home.approve("1")
    home.agent = PydanticAgent(agent, name="ops", revision="1", rules={"wipe": rule(approval="deny")})
    state = await home.drive()
    assert ran == []
    assert state.output == "ok"
    assert state.calls[home.call("1")].state == "failed"


async def test_tools_that_need_a_run_to_be_described_do_not_keep_a_worker_from_starting() -> None:
    agent = Agent(Script(["x"]).model)

    @agent.toolset
    def some(ctx: RunContext[Any]) -> FunctionToolset[Any]:
        return ctx.deps.toolset

    served = PydanticAgent(agent, name="ops", revision="1")
    async with served.opened():
        assert (await served.describe()).tools == ()


async def test_toolsets_that_do_not_start_are_named() -> None:
    class Broken(FunctionToolset[Any]):
        async def __aenter__(self) -> Any:
            raise OSError("no such server")

    served = PydanticAgent(Agent(Script(["x"]).model, toolsets=[Broken()]), name="ops", revision="1")
    with pytest.raises(ConfigError, match="no such server"):
        async with served.opened():
            pass
