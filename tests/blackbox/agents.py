"""Agents that the black-box tests serve. The model does what the prompt says: a JSON list of steps.

Each step is one model response, an object of these keys, which may be combined:

- `{"say": text, "times": n, "pace": seconds}` streams tokens;
- `{"tell": "returns"}` says what the last calls gave, `{"tell": "prompts"}` what was asked before;
- `{"silent": seconds}` says nothing for a while, `{"gate": name}` until the test opens that gate;
- `{"paced": name, "times": n}` streams n tokens, each when the test opens its gate: `name-0`, `name-1` …;
- `{"fail": status}` breaks off with an HTTP status, with `{"until": name}` until the test opens that gate;
- `{"calls": [[tool, args], …]}` asks for tools.

After the last step, and after one without calls, the run is over. A prompt that is no JSON is said
back. Tools write what they do into the file that the variable `EFFECTS` names, outside all processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

if TYPE_CHECKING:
    from jackline.agents.function_context import FunctionContext
    from jackline.events import Json


def effect(line: str) -> None:
    with Path(os.environ["EFFECTS"]).open("a") as effects:
        effects.write(line + "\n")


def times(line: str) -> int:
    """How often this effect has taken place."""
    return Path(os.environ["EFFECTS"]).read_text().splitlines().count(line)


def gate(name: str) -> Path:
    """The file that a test makes to let a tool or the model go on."""
    return Path(os.environ["EFFECTS"]).with_name(f"gate-{name}")


async def opened(name: str) -> None:
    while not gate(name).exists():  # noqa: ASYNC110  who opens it is another process
        await asyncio.sleep(0.02)


def prompts(messages: list[ModelMessage]) -> list[tuple[str, int]]:
    """What people asked for so far, each with the number of responses it has had."""
    found: list[tuple[str, int]] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            found[-1] = (found[-1][0], found[-1][1] + 1)
            continue
        # What comes with a call's return is a remark about it.
        remarks = any(isinstance(part, ToolReturnPart) for part in message.parts)
        for part in message.parts:
            if not isinstance(part, UserPromptPart) or not isinstance(part.content, str):
                continue
            if not remarks or part.content.startswith("["):
                found.append((part.content, 0))
    return found


def plan(messages: list[ModelMessage]) -> tuple[list[dict[str, Any]], int]:
    """The steps of the last prompt, and how many responses have been given to it."""
    prompt, answered = prompts(messages)[-1]
    try:
        return json.loads(prompt), answered
    except ValueError:
        return [{"say": word + " "} for word in [" ".join(prompt.split())]], answered


def told(what: str, messages: list[ModelMessage]) -> str:
    """What the model was told, as JSON."""
    if what == "prompts":
        return json.dumps([prompt for prompt, _ in prompts(messages)[:-1]])
    kinds = (ToolReturnPart, UserPromptPart)
    return json.dumps([part.content for part in messages[-1].parts if isinstance(part, kinds)], default=str)


async def respond(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    del info
    steps, at = plan(messages)
    effect("model")
    step: dict[str, Any] = steps[at] if at < len(steps) else {"say": "done"}
    for number in range(step.get("times", 1)):
        if "paced" in step:
            await opened(f"{step['paced']}-{number}")
            yield f"{number} "
        if "say" in step:
            yield step["say"]
            await asyncio.sleep(step.get("pace", 0))
    if "tell" in step:
        yield told(step["tell"], messages)
    if "silent" in step:
        await asyncio.sleep(step["silent"])
    if "gate" in step:
        await opened(step["gate"])
    if "fail" in step and not ("until" in step and gate(step["until"]).exists()):
        raise ModelHTTPError(status_code=step["fail"], model_name="scripted")
    for number, (name, args) in enumerate(step.get("calls", ())):
        yield {number: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"c{at}-{number}")}
    if not step.keys() & {"say", "calls", "tell", "paced"}:
        yield "…"


agent = Agent(FunctionModel(stream_function=respond))


@agent.tool_plain
def note(text: str) -> str:
    """Write a line down."""
    effect(f"note {text}")
    return f"noted {text}"


@agent.tool_plain(requires_approval=True)
async def delete(path: str) -> str:
    """Delete something."""
    effect(f"delete {path}")
    return f"deleted {path}"


@agent.tool_plain(metadata={"verifies": "delete"})
async def check(path: str) -> str:
    """See whether it is gone."""
    effect(f"check {path}")
    return f"{path} is gone"


@agent.tool_plain(requires_approval=True)
async def explode(path: str) -> str:
    """Fail."""
    effect(f"explode {path}")
    raise RuntimeError(f"no such thing: {path}")


@agent.tool_plain
async def slow(seconds: float) -> str:
    """Wait, and let go when cancelled."""
    effect("slow begins")
    await asyncio.sleep(seconds)
    effect("slow ends")
    return "waited"


@agent.tool_plain
def thread(seconds: float) -> str:
    """Wait in a thread, which cannot be cancelled."""
    effect("thread begins")
    time.sleep(seconds)
    effect("thread ends")
    return "waited"


@agent.tool_plain
async def block(seconds: float) -> str:
    """Hold the worker's loop."""
    effect("block begins")
    time.sleep(seconds)  # noqa: ASYNC251  that is the fault under test
    effect("block ends")
    return "waited"


@agent.tool_plain
async def stubborn(seconds: float) -> str:
    """Swallow every cancellation."""
    effect("stubborn begins")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            effect("stubborn stays")
    effect("stubborn ends")
    return "waited"


SHELL = "sleep 600 & echo child $$ $! >> $EFFECTS; wait"


@agent.tool_plain
async def child(own_session: bool = False) -> str:
    """Wait for a process that waits for another."""
    process = await asyncio.create_subprocess_exec("sh", "-c", SHELL, start_new_session=own_session)
    effect(f"child ended {await process.wait()}")
    return "waited"


@agent.tool_plain
def child_in_thread(own_session: bool = False) -> str:
    """The same in a thread; it would go on to a second program."""
    subprocess.run(["sh", "-c", SHELL], check=False, start_new_session=own_session)
    subprocess.run(["sh", "-c", "echo second >> $EFFECTS"], check=False)
    return "waited"


@agent.tool_plain
async def stray() -> str:
    """Leave a process with a session of its own behind, which the tool has lost sight of."""
    await asyncio.create_subprocess_exec("sh", "-c", SHELL, start_new_session=True)
    return "left"


@agent.tool_plain
async def wait_for(name: str) -> str:
    """Wait until the test opens a gate."""
    await opened(name)
    return "open"


@agent.tool_plain
async def block_for(name: str) -> str:
    """Hold the worker's loop until the test opens a gate."""
    while not gate(name).exists():
        time.sleep(0.02)  # noqa: ASYNC251  that is the fault under test
    return "open"


@agent.tool_plain
async def where() -> int:
    """The process that this runs in."""
    return os.getpid()


async def hang_once(line: str) -> str:
    """Take effect; the first time, wait for ever after it."""
    effect(line)
    if times(line) == 1:
        await asyncio.sleep(1000)
    return line


@agent.tool_plain
async def write(name: str) -> str:
    """Change something, and be slow to say so."""
    return await hang_once(f"write {name}")


@agent.tool_plain(requires_approval=True)
async def wipe(name: str) -> str:
    """Change something that a person must allow, and be slow to say so."""
    return await hang_once(f"wipe {name}")


@agent.tool_plain(metadata={"effect": "read_only"})
async def look(name: str) -> str:
    """Change nothing, slowly."""
    return await hang_once(f"look {name}")


@agent.tool_plain
async def big(size: int) -> str:
    """Return a large text."""
    effect("big")
    return "0123456789" * (size // 10)


async def function(ctx: FunctionContext) -> Json:
    """An agent that is a plain function."""
    await ctx.say("looking ")
    await ctx.tool(jot, {"text": "by a function"})
    return {"input": ctx.text}


async def jot(text: str) -> str:
    """Write a line down."""
    effect(f"note {text}")
    return text
