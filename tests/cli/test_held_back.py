"""Lists that go on, behind a proxy that holds streams back."""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest

from jackline.cli import board
from jackline.cli.news import changes
from jackline.cli.running import ENDLESS
from jackline.client.api import Client
from jackline.client.follow import FollowState
from tests.cli.test_board import row
from tests.client.server import Connection, Request, Server

pytestmark = pytest.mark.anyio

PACE = replace(ENDLESS, ready_s=0.05, backoff_s=0.001)
PATIENCE_S = 60


async def held_back(request: Request, connection: Connection) -> None:
    """A server where nothing happens, and streams do not come through."""
    if request.path.endswith("/runs"):
        await connection.json(200, {"runs": [row("a.1", "executing", 2)], "next": None})
    elif request.query.get("poll") or request.headers["accept"] == "text/event-stream":
        await connection.until_gone()
    else:
        await connection.json(200, {"entries": [], "next": "x-1"})


class Listed(board.Lines):
    """Leaves the list as soon as it is there."""

    def __init__(self, leave: anyio.CancelScope) -> None:
        super().__init__()
        self.runs: list[str] = []
        self._leave = leave

    def listed(self, runs: Sequence[dict[str, Any]], outcomes: Set[str]) -> None:
        del outcomes
        self.runs += [run["run_id"] for run in runs]
        self._leave.cancel()


async def test_the_list_comes_before_anything_happens(server: Server) -> None:
    """G9: a proxy that needs polls takes nothing away."""
    server.answer(held_back)
    with anyio.fail_after(PATIENCE_S):
        async with Client(server.url, pace=PACE) as client:
            scope = anyio.CancelScope()
            shown = Listed(scope)
            with scope:
                await board.watch(client, partial(_listed, client), shown, state=None, conversation_id=None)
    assert shown.runs == ["a.1"]


async def _listed(client: Client) -> tuple[dict[str, Any], Set[str]]:
    return await client.runs(), frozenset()


def _unheard(phase: FollowState, reason: str, again_s: float | None) -> None:
    """How the connection stands is told elsewhere."""


async def test_the_next_run_is_looked_for_before_anything_happens(server: Server) -> None:
    """G9: `tail -f` goes on with a run that began while the one before was read."""
    server.answer(held_back)
    with anyio.fail_after(PATIENCE_S):
        async with (
            Client(server.url, pace=PACE) as client,
            aclosing(changes(client, _unheard)) as news,
        ):
            async for _ in news:
                break
