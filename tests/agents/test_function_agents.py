"""Runs of agents that are async functions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackline.agents.function import FunctionAgent, FunctionContext
from jackline.commands import Decision
from jackline.errors import ToolFailed
from jackline.tools import current_call
from tests.agents.house import House, rule
from tests.worker.house import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio


def house(function: Callable[[FunctionContext], Awaitable[object]], **more: Any) -> House:
    return House(FunctionAgent(function, name="fix", revision="1", **more))


class Disk:
    """What the tools work on; it remembers."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = asyncio.Event()

    def count(self, path: str) -> int:
        """Count the files."""
        self.done.append(f"count {path}")
        return 3

    async def wipe(self, path: str) -> str:
        self.done.append(f"wipe {path}")
        return "wiped"

    async def hold(self) -> str:
        self.done.append("hold")
        await self.gate.wait()
        return "held"


async def test_a_function_says_calls_tools_and_returns_its_output() -> None:
    disk = Disk()

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say("You said ")
        await ctx.say(ctx.text)
        files = await ctx.tool(disk.count, {"path": "/tmp"})
        await ctx.say("Done")
        return {"files": files}

    home = house(fix)
    state = await home.chat("hello")
    assert state.output == {"files": 3}
    assert await home.story() == [
        "queued", "executing", "say You said ", "say hello", "1 requested", "1 started", "1 finished",
        "say Done", "completed",
    ]  # fmt: skip
    assert [said.text for said in state.said.values()] == ["hello", "You said hello", "Done"]
    assert state.calls[home.call("1")].name == "count"


async def test_each_call_has_a_key_of_its_own() -> None:
    """G6: in an async function, and in a thread."""

    async def flat() -> str:
        return current_call().idempotency_key

    def plain() -> str:
        return current_call().idempotency_key

    async def fix(ctx: FunctionContext) -> object:
        return [await ctx.tool(flat), await ctx.tool(plain)]

    home = house(fix)
    state = await home.chat("go")
    assert state.output == [f"{home.run_id}:{home.call(number)}" for number in "12"]


async def test_an_approval_parks_and_nothing_is_said_or_done_twice() -> None:
    """G5, G6: the function runs again from the top; the log's answers stand in for the work."""
    disk = Disk()

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say("Looking. ")
        files = await ctx.tool(disk.count, {"path": "/a"})
        await ctx.say(f"{files} files. ")
        result = await ctx.tool(disk.wipe, {"path": "/a"}, approval=True)
        await ctx.say("Gone.")
        return result

    home = house(fix)
    state = await home.chat("go")
    assert state.state == "awaiting_approval"
    assert state.pending[0].args == {"path": "/a"}
    schema = state.pending[0].args_schema
    assert isinstance(schema, dict)
    assert schema["required"] == ["path"]
    await home.approve("2")
    state = await home.drive()
    assert disk.done == ["count /a", "wipe /a"]
    assert await home.texts() == ["Looking. ", "3 files. ", "Gone."]
    assert state.output == "wiped"


async def test_edited_arguments_are_what_the_tool_gets() -> None:
    disk = Disk()

    async def fix(ctx: FunctionContext) -> object:
        return await ctx.tool(disk.wipe, {"path": "/a"}, approval=True)

    home = house(fix)
    await home.chat("go")
    await home.approve("1", path="/b")
    state = await home.drive()
    assert disk.done == ["wipe /b"]
    assert state.calls[home.call("1")].args == {"path": "/b"}


async def test_a_denial_and_a_failure_are_raised_in_the_function() -> None:
    async def boom() -> None:
        raise ValueError("broken")

    kinds: list[tuple[str, str]] = []

    async def fix(ctx: FunctionContext) -> object:
        for tool, approval in ((boom, False), (boom, True)):
            try:
                await ctx.tool(tool, {}, name=f"boom{approval}", approval=approval)
            except ToolFailed as error:
                kinds.append((error.kind, str(error)))
        return "survived"

    home = house(fix)
    await home.chat("go")
    kinds.clear()
    await home.deny("2", "no")
    state = await home.drive()
    assert kinds == [("ValueError", "broken"), ("denied", "denied by user:ana: no")]
    assert state.output == "survived"


async def test_a_failure_that_nobody_catches_ends_the_run_with_its_reason() -> None:
    def boom() -> None:
        raise ValueError("broken")

    async def fix(ctx: FunctionContext) -> object:
        return await ctx.tool(boom)

    state = await house(fix).chat("go")
    assert state.error is not None
    assert (state.error.type, state.error.message) == ("ValueError", "broken")


async def test_calls_made_at_once_run_at_once_and_are_asked_about_at_once() -> None:
    """G5: both questions in one append, after the running sibling has ended."""
    disk = Disk()
    together = asyncio.Barrier(2)

    async def meet() -> None:
        async with asyncio.timeout(10):
            await together.wait()

    async def fix(ctx: FunctionContext) -> object:
        return await asyncio.gather(
            ctx.tool(disk.wipe, {"path": "/a"}, approval=True),
            ctx.tool(meet, effect="read_only"),
            ctx.tool(disk.wipe, {"path": "/b"}, approval=True),
            ctx.tool(meet, effect="read_only"),
        )

    home = house(fix)
    state = await home.chat("go")
    assert state.state == "awaiting_approval"
    assert [question.args for question in state.pending] == [{"path": "/a"}, {"path": "/b"}]
    assert (await home.story())[-3:] == ["1 asked", "3 asked", "awaiting_approval"]
    await home.decide(
        Decision(call_id=home.call("1"), approve=True), Decision(call_id=home.call("3"), approve=True)
    )
    state = await home.drive()
    assert state.output == ["wiped", None, "wiped", None]
    assert sorted(disk.done) == ["wipe /a", "wipe /b"]


async def test_branches_that_come_in_another_order_find_their_own_calls() -> None:
    """G6: killed when the branches had gone on at different speeds."""
    disk = Disk()

    async def branch(ctx: FunctionContext, name: str) -> None:
        await ctx.tool(disk.count, {"path": f"{name}1"})
        if name == "a":
            await ctx.tool(disk.hold, effect="idempotent")
        await ctx.tool(disk.count, {"path": f"{name}2"})

    async def fix(ctx: FunctionContext) -> object:
        await asyncio.gather(branch(ctx, "a"), branch(ctx, "b"))
        return "ok"

    home = house(fix)
    await home.start("go")
    async with home.driving():
        await home.until(lambda _: "count b2" in disk.done and "hold" in disk.done)
        await home.until(lambda state: sum(call.ended for call in state.calls.values()) == 3)
    disk.gate.set()
    state = await home.drive()
    assert state.output == "ok"
    assert sorted(disk.done) == ["count a1", "count a2", "count b1", "count b2", "hold", "hold"]


async def test_text_that_was_cut_off_is_said_to_its_end_under_the_same_id() -> None:
    """G7: what stands in the log is not said twice."""
    gate = asyncio.Event()

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say("one ")
        await ctx.say("two ")
        await gate.wait()
        await ctx.say("three")
        return None

    home = house(fix)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: state.copy_text() == "one two ")
    gate.set()
    state = await home.drive()
    assert await home.texts() == ["one ", "two ", "three"]
    assert state.copy_text() == "one two three"
    assert [said.superseded for said in state.said.values()] == [False, False]


async def test_a_message_that_goes_on_after_a_takeover_is_not_taken_for_another_one() -> None:
    """G7: what was said since, and stands in the log by now, is no part of what was said before."""
    gate = asyncio.Event()

    def said(ctx: FunctionContext, word: str) -> bool:
        return ctx.run.state.copy_text().endswith(word)

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say("one ")
        await gate.wait()
        for word in ("two ", "three "):
            await ctx.say(word)
            await until(partial(said, ctx, word))
        return None

    home = house(fix)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: state.copy_text() == "one ")
    gate.set()
    state = await home.drive()
    assert await home.texts() == ["one ", "two ", "three "]
    assert [said.superseded for said in state.said.values()] == [False, False]


async def test_text_that_comes_out_differently_replaces_what_was_said() -> None:
    gate = asyncio.Event()
    words = ["same old ", "same new "]

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say("kept. ")
        await ctx.tool(list)
        await ctx.say("same ")
        await ctx.say(words.pop(0).removeprefix("same "))
        await gate.wait()
        return None

    home = house(fix)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: state.copy_text() == "kept. same old ")
    gate.set()
    state = await home.drive()
    assert state.copy_text() == "kept. same new "


async def test_text_that_is_shorter_the_second_time_replaces_what_was_said() -> None:
    gate = asyncio.Event()
    words = ["long text", "long"]

    async def fix(ctx: FunctionContext) -> object:
        await ctx.say(words.pop(0))
        await ctx.tool(list)
        await gate.wait()
        return None

    home = house(fix)
    await home.start("go")
    async with home.driving():
        await home.until(lambda state: state.calls and state.calls[home.call("1")].ended)
    gate.set()
    assert (await home.drive()).copy_text() == "long"


async def test_a_function_that_does_something_else_the_second_time_fails_with_the_reason() -> None:
    """An approved call that is never asked for again must not be passed over in silence."""
    disk = Disk()
    paths = ["/a", "/b"]

    async def fix(ctx: FunctionContext) -> object:
        return await ctx.tool(disk.wipe, {"path": paths.pop(0)}, approval=True)

    home = house(fix)
    await home.chat("go")
    await home.approve("1")
    state = await home.drive()
    assert state.state == "failed"
    assert state.error is not None
    assert state.error.type == "not_repeatable"
    assert "wipe({'path': '/a'})" in state.error.message
    assert "wipe({'path': '/b'})" in state.error.message
    assert disk.done == []


async def test_a_function_that_forgets_an_approved_call_fails_with_the_reason() -> None:
    disk = Disk()
    asked = [True, False]

    async def fix(ctx: FunctionContext) -> object:
        if asked.pop(0):
            await ctx.tool(disk.wipe, {"path": "/a"}, approval=True)
        return None

    home = house(fix)
    await home.chat("go")
    await home.approve("1")
    state = await home.drive()
    assert state.error is not None
    assert state.error.type == "not_repeatable"


async def test_the_operators_rules_hold_for_functions_too() -> None:
    disk = Disk()

    async def fix(ctx: FunctionContext) -> object:
        with suppress(ToolFailed):
            await ctx.tool(disk.wipe, {"path": "/a"})
        await ctx.tool(disk.count, {"path": "/a"}, approval=True)
        return "ok"

    rules = {"wipe": rule(approval="deny"), "count": rule(approval="allow")}
    home = house(fix, rules=rules)
    state = await home.chat("go")
    assert state.output == "ok"
    assert disk.done == ["count /a"]


async def test_arguments_become_what_the_annotations_say(tmp_path: Path) -> None:
    async def fix(ctx: FunctionContext) -> object:
        return await ctx.tool(_lines, {"file": tmp_path / "log", "start": 1})

    (tmp_path / "log").write_text("a\nb\nc")
    state = await house(fix).chat("go")
    assert state.output == ["b", "c"]


async def test_a_check_names_the_call_it_verifies_and_progress_belongs_to_its_call() -> None:
    async def restart(ctx: FunctionContext) -> None:
        await ctx.progress({"percent": 50})

    def status() -> str:
        return "up"

    async def fix(ctx: FunctionContext) -> object:
        async def restart_it() -> None:
            await restart(ctx)

        await ctx.tool(restart_it)
        return await ctx.tool(status, verifies=restart_it, effect="read_only")

    home = house(fix)
    state = await home.chat("go")
    assert "1 progress" in await home.story()
    assert state.calls[home.call("2")].verifies == home.call("1")


async def test_a_large_argument_is_found_again_after_a_pause() -> None:
    def load(data: str) -> int:
        return len(data)

    async def fix(ctx: FunctionContext) -> object:
        size = await ctx.tool(load, {"data": "x" * 100_000})
        await ctx.tool(list, approval=True, name="more")
        return size

    home = house(fix)
    await home.chat("go")
    await home.approve("2")
    state = await home.drive()
    assert state.output == 100_000


def _lines(file: Path, start: int = 0) -> list[str]:
    return file.read_text().splitlines()[start:]
