"""An agent made with Pydantic AI: one tool that runs unasked, one that a person must approve.

    jackline serve --agent examples/disk_agent.py:disk_agent

Its model is scripted, so it needs no key. For a real one: `Agent("openai:gpt-5", …)`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

SCRATCH = Path(tempfile.gettempdir()) / "jackline-example"


async def script(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Stands in for a model: looks at the disk, writes a note about it, checks the note."""
    results = {p.tool_name: p for m in messages[-1:] for p in m.parts if isinstance(p, ToolReturnPart)}
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    if "disk_usage" in results:
        free = results["disk_usage"].content
        yield f"{free} % is free. I would like to note that down. "
        yield {
            1: DeltaToolCall(name="write_note", json_args=f'{{"text": "{free} % free"}}', tool_call_id="b")
        }
    elif "write_note" in results and results["write_note"].outcome == "success":
        yield "Written. Let me check. "
        yield {1: DeltaToolCall(name="read_note", json_args="{}", tool_call_id="c")}
    elif "read_note" in results:
        yield f"The note says: {results['read_note'].content}"
    elif "write_note" in results:
        yield "Then I leave it unwritten."
    else:
        yield "Hello. " if turn == 0 else "Once more. "
        yield "Let me look at the disk. "
        yield {1: DeltaToolCall(name="disk_usage", json_args='{"path": "/"}', tool_call_id="a")}


disk_agent = Agent(FunctionModel(stream_function=script), description="Looks at the disk and notes it down")


@disk_agent.tool_plain(metadata={"effect": "read_only"})
def disk_usage(path: str) -> int:
    """How much of a file system is free, in percent."""
    usage = shutil.disk_usage(path)
    return round(100 * usage.free / usage.total)


@disk_agent.tool_plain(requires_approval=True)
def write_note(text: str) -> str:
    """Write a note into the scratch directory."""
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / "note.txt").write_text(text)
    return "written"


@disk_agent.tool_plain(metadata={"effect": "read_only", "verifies": "write_note"})
def read_note() -> str:
    """Read the note."""
    return (SCRATCH / "note.txt").read_text()
