"""The agent that the machine's runs are of, and those who watch them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_ai import Agent

from jackline.sse import ServerSentEvent
from jackline.testing import ScriptedModel, calls
from jackline.testing.model import Response
from jackline.threads import running_call
from tests.web.harness import API, Client, data_of

Step = Sequence[str]
"""What the model asks for in one response: names of tools."""


class Turns:
    """Where tools and the model wait until the machine lets one of them go on."""

    def __init__(self) -> None:
        self.waiting = 0
        self.wide = False
        self._turns = asyncio.Semaphore(0)

    async def wait(self) -> None:
        if self.wide:
            return
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1

    def one(self) -> None:
        """Let one go on."""
        if self.waiting:
            self._turns.release()

    def all(self) -> None:
        """Let everybody go on, from now on."""
        self.wide = True
        for _ in range(self.waiting):
            self._turns.release()


class Effects:
    """What tools did, by call. A killed worker's tool is cancelled: it waits for its turn, before or
    after the effect, and never in the middle."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()


def ops_agent(turns: Turns, effects: Effects) -> tuple[Agent, ScriptedModel]:
    """The agent, and its model, which does what the prompt says: a JSON list of steps."""

    def play(prompt: str) -> list[Response]:
        steps: list[Step] = json.loads(prompt)
        played: list[Response] = []
        for at, step in enumerate(steps):
            asked: Response = [calls(*((name, {"n": at}) for name in step))] if step else []
            played.append([f"s{at}a ", f"s{at}b ", turns.wait, f"s{at}c ", *asked])
        return [*played, ["done"]]

    agent = Agent(name="ops")

    async def act(name: str, n: int) -> str:
        await turns.wait()
        effects.counts[running_call.get()] += 1
        await turns.wait()
        return f"{name} {n}"

    @agent.tool_plain
    async def write(n: int) -> str:
        return await act("write", n)

    @agent.tool_plain(metadata={"effect": "read_only"})
    async def look(n: int) -> str:
        return await act("look", n)

    @agent.tool_plain(requires_approval=True)
    async def wipe(n: int) -> str:
        return await act("wipe", n)

    return agent, ScriptedModel(by_prompt=play)


class Viewer:
    """Whoever follows a run, over any number of connections to any replica."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.seen: list[ServerSentEvent] = []
        """The entries it was sent, in order."""
        self.gaps: list[Mapping[str, Any]] = []
        self.over = False
        """Whether it was told that there is nothing more."""
        self.watching: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> str:
        return str(self.seen[-1].id) if self.seen else ""

    async def come(self, web: Client) -> None:
        """Go on at this replica, where it left off."""
        await self.leave()
        if not self.over:
            self.watching = asyncio.ensure_future(self._watch(web))

    async def leave(self) -> None:
        """Cut the connection."""
        if self.watching is not None:
            self.watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.watching
            self.watching = None

    async def _watch(self, web: Client) -> None:
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        async with web.open("GET", f"{API}/runs/{self.run_id}/events?compact=0", headers=headers) as exchange:
            await exchange.started()
            if exchange.status != 200:
                self.over = exchange.status == 204
                return
            while True:
                try:
                    event = await exchange.next()
                except AssertionError:
                    return  # the stream has ended
                if event.id is not None and event.event != "gap":
                    self.seen.append(event)
                elif event.event == "gap":
                    self.gaps.append(data_of(event))
                elif event.event == "end":
                    self.over = True
                    return
