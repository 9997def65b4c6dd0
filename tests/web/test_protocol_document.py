"""The examples of docs/protocol.md are what the app really sends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jackline.events import Approval, Token, Tool, Usage, Workflow
from jackline.web.paths import ROUTES
from tests.web.harness import API, JSON, FlakyStore, Setup, message, running

pytestmark = pytest.mark.anyio

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
CONVERSATION = "k3v9q0zj2m5x7w1trb8e"
TS = "2026-11-22T12:00:00.123Z"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


async def documented_run(setup: Setup) -> str:
    """The run of the document: it says something, asks, is granted, checks, and completes."""
    messages = [message("restart web")]
    answer = await setup.client.post(f"{API}/chat", {"messages": messages, "metadata": {"ticket": "OPS-7"}})
    run_id = str(answer.json()["run_id"])
    worker = setup.worker(run_id)
    one, two = f"{run_id}.1", f"{run_id}.2"
    args = {"service": "web"}
    check: dict[str, Any] = {"ts": TS, "call_id": two, "name": "status"}
    await worker.append(Workflow(ts=TS, state="executing", attempt=1, step=1))
    await worker.append(
        Token(ts=TS, text="I will ", kind="text", message_id="m1"),
        Token(ts=TS, text="restart web.", kind="text", message_id="m1"),
    )
    usage = Usage(input_tokens=412, output_tokens=31, ttft_ms=180, model="demo")
    await worker.append(
        Workflow(ts=TS, state="executing", attempt=1, step=1, usage=usage),
        Tool(ts=TS, call_id=one, name="restart", state="requested", args=args, effect="writes"),
        Approval(
            ts=TS,
            call_id=one,
            round=1,
            kind="call",
            name="restart",
            state="pending",
            args=args,
            args_schema={"type": "object", "properties": {"service": {"type": "string"}}},
            choices=("approve", "deny"),
        ),
        Workflow(ts=TS, state="awaiting_approval", attempt=1),
    )
    await setup.client.post(f"{API}/approvals/{one}", {"approve": True, "reason": "go"})
    await worker.append(
        Workflow(ts=TS, state="executing", attempt=1),
        Tool(ts=TS, call_id=one, name="restart", state="started", args=args),
        Tool(ts=TS, call_id=one, name="restart", state="finished", result="restarted", duration_ms=812),
        Tool(
            ts=TS, call_id=two, name="status", state="requested", args=args, effect="read_only", verifies=one
        ),
        Tool(**check, state="started", args=args),
        Tool(**check, state="finished", result="up", duration_ms=9, verifies=one),
    )
    await worker.append(Workflow(ts=TS, state="completed", attempt=1, output="web runs again"), close=True)
    return run_id


def fixed(text: str, run_id: str) -> str:
    """The text with the document's conversation in place of the real one."""
    return text.replace(run_id.split(".", maxsplit=1)[0], CONVERSATION)


async def test_the_streams_are_true() -> None:
    async with running(store=FlakyStore(lambda: 1795348800.1234)) as setup:
        run_id = await documented_run(setup)
        plain = await setup.client.get(f"{API}/runs/{run_id}/events?compact=0")
        resumed = await setup.client.get(f"{API}/runs/{run_id}/events", last_event_id="2")
        whole, tail = blocks("sse")
        assert fixed(plain.body.decode(), run_id) == whole + "\n"
        assert fixed(resumed.body.decode(), run_id).startswith(tail + "\n")


async def test_the_json_examples_are_true() -> None:
    async with running(store=FlakyStore(lambda: 1795348800.1234)) as setup:
        run_id = await documented_run(setup)
        bad = await setup.client.post(f"{API}/chat", {"messages": [{"role": "user", "content": 5}]})
        answers: list[Any] = [bad.json()]
        for path in (f"approvals/{run_id}.1", f"runs/{run_id}/events?after=1&limit=1", f"runs/{run_id}"):
            answer = await setup.client.get(f"{API}/{path}", **JSON)
            answers.append(json.loads(fixed(answer.body.decode(), run_id)))
        assert [json.loads(block) for block in blocks("json")] == answers


def test_every_path_and_method_is_described() -> None:
    for path, handlers in ROUTES.items():
        for method in handlers:
            assert f"`{method} {path.replace(':path}', '}')}`" in DOCUMENT, (method, path)
