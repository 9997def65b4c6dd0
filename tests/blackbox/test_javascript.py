"""jackline.js against real servers, in Node and in Chromium."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from anyio.from_thread import BlockingPortal
from playwright.async_api import Browser

from jackline.client import Entry, Pace
from tests.blackbox.api import Check, call, steps
from tests.blackbox.conftest import World, world
from tests.blackbox.test_nginx import EAGER, HOLDS_BACK
from tests.client import javascript
from tests.client.javascript import MODULE, JsClient, JsFollow
from tests.support.nginx import nginx, proxy
from tests.support.node import NODE
from tests.support.processes import HOST, PATIENCE, free_port

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "javascript.md"
EXAMPLES = re.findall(r"^```js\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
PROMPTS = {
    "delete what is old": steps(call("delete", path="/old"), {"say": "done"}),
    "work for long": steps({"silent": 600}),
}
Where = Literal["node", "chromium"]


@pytest.fixture(scope="module")
def browser() -> Generator[tuple[BlockingPortal, Browser]]:
    with javascript.browsing() as made:
        yield made


@asynccontextmanager
async def client_at(
    url: str, where: Where, browser: tuple[BlockingPortal, Browser], pace: Pace | None = None
) -> AsyncGenerator[JsClient]:
    driver = javascript.node() if where == "node" else javascript.page(browser, url, served=True)
    async with driver as running, javascript.connected(running, url, pace=pace) as client:
        yield client


async def approved(client: JsClient, follow: JsFollow, entry: Entry) -> None:
    """Answer if it asks."""
    if entry.type == "approval" and entry.data["state"] == "pending":
        await client.call("approve", entry.data["call_id"], {"reason": "go"})


@pytest.mark.parametrize("where", ["node", "chromium"])
async def test_a_run_is_followed_over_the_servers_death(
    where: Where, browser: tuple[BlockingPortal, Browser], tmp_path: Path
) -> None:
    """G1, G5, G8: killed while it asks, started again; the same viewer approves and sees the end."""
    prompt = steps(
        {"say": "tick ", "times": 5, **call("note", text="x")}, call("delete", path="/x"), {"say": "tock"}
    )
    seen: list[Entry] = []
    with world(tmp_path / "world") as made:
        async with client_at(made.server.url, where, browser) as client, asyncio.timeout(2 * PATIENCE):
            follow = client.chat(prompt, compact=False)
            async for frame in follow:
                if not isinstance(frame, Entry):
                    continue
                seen.append(frame)
                if frame.type == "approval" and frame.data["state"] == "pending":
                    made.server.kill()
                    made.server.restart()
                await approved(client, follow, frame)
        assert follow.run_id is not None
        log = made.client().log(follow.run_id)
        assert made.effects.count("delete /x") == 1
    Check(log=log)
    assert [entry.data for entry in seen] == log
    phases = [phase for phase, _, _ in follow.states]
    assert "reconnecting" in phases
    assert phases[-1] == "ended"
    assert follow.state == "completed"


@pytest.mark.parametrize("where", ["node", "chromium"])
async def test_where_streams_are_held_back_it_polls_and_misses_nothing(
    where: Where, browser: tuple[BlockingPortal, Browser], embedded: World, tmp_path: Path
) -> None:
    """G1, G9: the run goes on only when the viewer has seen what came before."""
    gate = f"js-dam-{tmp_path.name}"
    prompt = steps({"say": "first ", "times": 3, "gate": gate, **call("delete", path="x")}, {"say": "last"})
    port = free_port()
    seen: list[Entry] = []
    with nginx(tmp_path / "nginx", proxy(port, embedded.server.url, HOLDS_BACK), port):
        url = f"http://{HOST}:{port}"
        async with client_at(url, where, browser, EAGER) as client, asyncio.timeout(2 * PATIENCE):
            follow = client.chat(prompt, compact=False)
            async for frame in follow:
                if isinstance(frame, Entry):
                    seen.append(frame)
                    if frame.type == "token":
                        embedded.open_gate(gate)
                    await approved(client, follow, frame)
    assert follow.run_id is not None
    assert [entry.data for entry in seen] == embedded.api.log(follow.run_id)
    assert any(phase == "live" and "polling" in reason for phase, reason, _ in follow.states)


@pytest.mark.parametrize("where", ["node", "chromium"])
async def test_a_run_is_caught_up_with_and_stopped(
    where: Where, browser: tuple[BlockingPortal, Browser], embedded: World
) -> None:
    """G4: who comes late is told what was before, and stops it."""
    api = embedded.api
    run_id = api.start(steps(call("note", text="x"), {"silent": 600}))
    api.until_tool(run_id, "note", "finished")
    async with client_at(embedded.server.url, where, browser) as client, asyncio.timeout(PATIENCE):
        follow = client.follow(run_id)
        stopped = False
        async for _ in follow:
            if follow.phase == "live" and not stopped:
                stopped = True
                answer = await client.stop(run_id, reason="enough", wait_s=30)
                assert answer.state == "stopped"
                assert answer.receipt is not None
    assert [phase for phase, _, _ in follow.states] == ["catching-up", "live", "ended"]
    assert follow.state == "stopped"


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_documents_examples_hold(example: str, embedded: World, tmp_path: Path) -> None:
    """As they stand there, but for the server's address and what the agent is asked."""
    script = tmp_path / "example.mjs"
    text = example.replace("'jackline'", repr(MODULE.as_uri())).replace(
        "http://127.0.0.1:8787", embedded.server.url
    )
    for asked, prompt in PROMPTS.items():
        text = text.replace(f"'{asked}'", repr(prompt))
    script.write_text(text)
    done = subprocess.run([NODE, script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert re.search(r"^(\S+ )?(completed|stopped|404)\b", done.stdout, re.MULTILINE)
