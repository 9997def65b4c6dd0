"""The public doubles do what they say."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_ai import Agent

from jackline.agents.function import FunctionContext
from jackline.errors import StoreUnavailable
from jackline.events import Json, Token
from jackline.testing import (
    FlakyLog,
    MemoryLog,
    Recorder,
    ScriptedModel,
    by_chance,
    calls,
    running,
    scripted,
    thinks,
)

pytestmark = pytest.mark.anyio


async def test_not_written_and_answer_lost_are_two_things() -> None:
    flaky = FlakyLog(MemoryLog(), scripted("not_written", "answer_lost", methods=("begin",)))
    async with running(hello, store=flaky.store, patience=5) as house:
        with pytest.raises(StoreUnavailable, match="not reached"):
            await house.start("one")
        assert await house.store.runs() == ([], "")
        with pytest.raises(StoreUnavailable, match="answer was lost"):
            await house.start("two")
        (head,), _ = await house.store.runs()
        assert head.agent == "hello"
    assert flaky.faults == [("begin", "not_written"), ("begin", "answer_lost")]


async def hello(ctx: FunctionContext) -> Json:
    """Say hello."""
    for word in ("hel", "lo"):
        await ctx.say(word)
    return ctx.text


@pytest.mark.parametrize("seed", range(8))
async def test_a_run_over_a_bad_line_loses_nothing_and_says_nothing_twice(seed: int) -> None:
    """G1, G8: half of all writes fail, before or after they are made."""
    chances = by_chance(seed, not_written=0.25, answer_lost=0.25, methods=("append", "renew"))
    flaky = FlakyLog(MemoryLog(), chances)
    async with running(hello, store=flaky.store) as house:
        flaky.on = False
        run = await house.start("hi")
        flaky.on = True
        state = await run.until("completed")
        flaky.on = False
        said = [event.text for event in await run.events() if isinstance(event, Token)]
    assert said == ["hel", "lo"]
    assert state.output == "hi"


def test_the_same_seed_makes_the_same_faults() -> None:
    one, two, other = (by_chance(seed) for seed in (1, 1, 2))
    asked = ["append", "read", "renew"] * 50
    told = [one(name) for name in asked]
    assert told == [two(name) for name in asked]
    assert told != [other(name) for name in asked]
    assert set(told[1::3]) == {"none"}  # reading changes nothing, and is left alone


async def test_a_frozen_line_holds_requests_and_answers_back() -> None:
    flaky = FlakyLog(MemoryLog())
    flaky.freeze()
    asking = asyncio.ensure_future(flaky.store.now_ms())
    await asyncio.sleep(0)
    assert not asking.done()
    flaky.thaw()
    assert await asking > 0


async def test_a_line_that_was_cut_never_comes_back() -> None:
    flaky = FlakyLog(MemoryLog())
    flaky.cut()
    flaky.thaw()
    asking = asyncio.ensure_future(flaky.store.ping())
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done
    asking.cancel()


async def test_the_model_plays_a_response_per_request() -> None:
    model = ScriptedModel([thinks("hm. "), "Looking. ", calls(("add", {"a": 1, "b": 2}))], ["It is 3."])
    agent = Agent(name="adder")

    @agent.tool_plain
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async with running(agent, model=model) as house:
        run = await house.start("what is 1 + 2?")
        state = await run.ended()
    assert state.output == "It is 3."
    assert model.returns()["add"].content == 3
    assert model.prompts(0) == ["what is 1 + 2?"]
    assert [said.kind for said in state.said.values()] == ["text", "reasoning", "text", "text"]


async def test_the_model_answers_the_newest_prompt() -> None:
    model = ScriptedModel(by_prompt=lambda prompt: [[f"You said {prompt}."]])
    async with running(Agent(name="echo"), model=model) as house:
        first = await house.start("one")
        await first.ended()
        second = await house.start("two", conversation_id=(await first.state()).conversation_id)
        assert (await second.ended()).output == "You said two."


async def test_a_silent_model_can_be_stopped() -> None:
    """G4."""
    silent = asyncio.Event()
    model = ScriptedModel(["Well … ", silent.wait, "never said"])
    async with running(Agent(name="mute"), model=model) as house:
        run = await house.start("go")
        await run.until(when=lambda state: len(state.said) > 1)
        await run.stop()
        state = await run.ended()
    assert state.receipt is not None
    assert state.receipt.model == "closed"


async def test_what_cannot_come_any_more_is_told_with_the_reason() -> None:
    async def broken(ctx: FunctionContext) -> None:
        raise ValueError(f"no {ctx.text}")

    async with running(broken) as house:
        run = await house.start("way")
        with pytest.raises(AssertionError, match="failed: ValueError: no way; waited for completed"):
            await run.until("completed")


async def test_the_block_raises_what_the_test_raises() -> None:
    with pytest.raises(KeyError):
        async with running(hello):
            raise KeyError("mine")


def test_a_record_survives_the_process_that_made_it(tmp_path: Path) -> None:
    program = (
        "import os, signal; from jackline.testing import Recorder\n"
        f"for n in range(3): Recorder({str(tmp_path / 'r')!r}).record('c.1.1', f'turn {{n}}')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    recorder = Recorder(tmp_path / "r")
    assert [record.what for record in recorder.all()] == ["turn 0", "turn 1", "turn 2"]
    assert recorder.times("c.1.1") == 3
    assert recorder.times("c.1.2") == 0


def test_nobody_pays_for_what_is_not_used() -> None:
    """Neither pytest nor, before it is asked for, Pydantic AI is imported."""
    program = (
        "import sys; from jackline.testing import FlakyLog, MemoryLog, Recorder\n"
        "print(sorted({'pytest', 'pydantic_ai'} & set(sys.modules)))\n"
        "from jackline.testing import ScriptedModel, running\n"
        "print(sorted({'pytest'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
