"""What happens when a model cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRateLimitError,
    UserError,
)
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from jackline.agents.pydantic import PydanticAgent
from jackline.agents.pydantic_errors import Backoff, describe, without_secrets
from jackline.events import Workflow
from tests.agents.house import House
from tests.agents.scripted import Chunk, calls

pytestmark = pytest.mark.anyio

QUICK = Backoff(tries=3, first=0.001)


def unreliable(*tries: list[Chunk]) -> FunctionModel:
    """A model whose n-th request, whatever was said before, plays the n-th list."""
    left = list(tries)

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncGenerator[Any]:
        for chunk in left.pop(0):
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    return FunctionModel(stream_function=stream, model_name="shaky")


def house(model: FunctionModel) -> House:
    agent = Agent(model, instructions="be brief")

    @agent.tool_plain
    def look() -> str:
        return "seen"

    return House(PydanticAgent(agent, name="ops", revision="1", backoff=QUICK))


def http(status: int, body: object = None) -> ModelHTTPError:
    return ModelHTTPError(status, "gpt-x", body)


@pytest.mark.parametrize(
    "error",
    [http(503), http(429), http(529), ModelConnectionError("gpt-x", "reset"), ConnectionResetError("reset")],
)
async def test_a_passing_fault_is_slept_over_and_what_was_begun_is_said_again(error: Exception) -> None:
    """The failed request's text is taken back; the retry says it under a new id."""
    home = house(unreliable([calls(("look", "{}"))], ["Half a ", error], ["Half a sentence."]))
    state = await home.chat("go")
    assert state.output == "Half a sentence."
    assert state.copy_text() == "Half a sentence."
    retries = [e for e in await home.events() if isinstance(e, Workflow) and e.retry is not None]
    assert len(retries) == 1
    assert retries[0].supersedes == ("m1",)
    assert state.step == 3
    assert (await home.story()).count("1 started") == 1


async def test_the_count_of_faults_begins_anew_after_each_answer() -> None:
    fault = http(500)
    home = house(unreliable([fault], [fault], [calls(("look", "{}"))], [fault], [fault], ["done"]))
    assert (await home.chat("go")).output == "done"


async def test_a_fault_that_does_not_pass_ends_the_run_with_advice() -> None:
    home = house(unreliable([http(503, "overloaded")], [http(503)], [http(503)]))
    state = await home.chat("go")
    assert state.state == "failed"
    assert state.error is not None
    assert state.error.type == "model_error"
    assert "gpt-x" in state.error.message
    assert "tried 3 times" in state.error.message


async def test_a_refused_key_is_not_tried_again_and_not_shown() -> None:
    error = ModelAuthenticationError("gpt-x", "Incorrect API key provided: sk-abcdef1234567890")
    home = house(unreliable([error], ["never"]))
    state = await home.chat("go")
    assert state.error is not None
    assert "API key" in state.error.message
    assert "sk-" not in state.error.message
    assert not [e for e in await home.events() if isinstance(e, Workflow) and e.retry is not None]


async def test_a_stop_ends_the_sleep_before_a_retry() -> None:
    """G4: in a retry's sleep too."""
    agent = Agent(unreliable([http(503)], ["never"]))
    slow = Backoff(tries=3, first=60)
    home = House(PydanticAgent(agent, name="ops", revision="1", backoff=slow))
    await home.start("go")
    async with home.driving() as task:
        await home.until(lambda state: state.seq >= 4)
        assert (await home.story())[-1] == "executing retry"
        await home.commands.stop(home.run_id, by="user:ana")
        state = await asyncio.wait_for(task, 20)
    assert state.state == "stopped"


async def test_a_misuse_of_pydantic_ai_ends_the_run_with_its_words() -> None:
    home = house(unreliable([UserError("that is not how")]))
    state = await home.chat("go")
    assert state.error is not None
    assert (state.error.type, state.error.message) == ("agent_misused", "that is not how")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("key sk-proj-abc_DEF-123456 is wrong", "key [secret] is wrong"),
        ("header Authorization: Bearer abc.def.ghi", "header Authorization: Bearer [secret]"),
        ("https://user:pass@host/v1", "https://[secret]@host/v1"),
        ("AIzaSyA1234567890abcdef", "[secret]"),
        ("?api_key=abc123&x=1", "?api_key=[secret]"),
        ("the disk-full task-list is fine", "the disk-full task-list is fine"),
    ],
)
def test_keys_in_errors_are_blotted_out(text: str, kept: str) -> None:
    assert without_secrets(text) == kept


def test_a_group_of_faults_names_each() -> None:
    group = FallbackExceptionGroup("all failed", [http(503), ModelAPIError("b", "no")])
    assert "gpt-x" in describe(group)
    assert "model b" in describe(group)


def test_the_provider_is_obeyed_when_it_says_how_long_to_wait() -> None:
    error = ModelRateLimitError("m", "slow down", retry_after=20.0)
    assert Backoff().delay(1, error) == 20.0
    assert Backoff(most=5).delay(1, error) == 5.0
    assert Backoff(tries=1).delay(1, error) is None


def test_waits_double_and_vary() -> None:
    waits = [Backoff().delay(n, http(500)) or 0.0 for n in (1, 2, 3, 4)]
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits))
