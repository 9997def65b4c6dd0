"""The list of runs, once or watched."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jackline.cli import board, exits
from jackline.cli.hints import approve
from jackline.cli.plain import one_line
from jackline.cli.running import ENDLESS, Target, run, say, say_json
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Set

    from jackline.cli.line import LineEditor
    from jackline.client.api import Client


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Which runs to list."""

    state: str | None
    conversation_id: str | None
    limit: int
    cursor: str | None = None


def runs(target: Target, wish: Listing) -> int:
    """List runs, newest first."""

    async def order(client: Client) -> int:
        page = await client.runs(
            state=wish.state, conversation_id=wish.conversation_id, limit=wish.limit, cursor=wish.cursor
        )
        if target.json:
            say_json(page)
            return exits.COMPLETED
        found = items(page.get("runs"))
        outcomes = await board.outcomes_in(client, page)
        for each in found:
            for line in _run_lines(members(each) or {}, outcomes):
                say(line)
        if not found:
            say("no runs", file=sys.stderr)
        if page.get("next"):
            say(f"there are more: --cursor {page['next']}", file=sys.stderr)
        return exits.COMPLETED

    return run(target, order)


def watch_runs(target: Target, wish: Listing) -> int:
    """List runs, and go on showing what changes."""

    async def order(client: Client) -> int:
        state, conversation_id = wish.state, wish.conversation_id

        async def lists() -> tuple[dict[str, Any], Set[str]]:
            page = await client.runs(state=state, conversation_id=conversation_id, limit=wish.limit)
            return page, frozenset() if target.json else await board.outcomes_in(client, page)

        shown, editor = (board.JsonLines(), None) if target.json else _board()
        return await board.watch(
            client, lists, shown, state=state, conversation_id=conversation_id, editor=editor
        )

    return run(target, order, ENDLESS)


def _board() -> tuple[board.Board, LineEditor | None]:
    from jackline.cli.terminal import is_live

    if not is_live():
        return board.Lines(), None
    from jackline.cli.line import LineEditor
    from jackline.cli.live_board import LiveBoard
    from jackline.cli.terminal import console, screen, signs

    live = LiveBoard(console=console(), screen=screen(), signs=signs())
    return live, LineEditor() if sys.stdin.isatty() else None


def _run_lines(run: dict[str, Any], outcomes: Set[str]) -> list[str]:
    """A run on one line; its title and the questions it has on lines under it, so that nothing
    depends on how wide the terminal is."""
    columns = [str(run.get("run_id", "")), str(run.get("state", "")).ljust(len("awaiting_approval"))]
    columns += [one_line(str(run[name])) for name in ("updated_at", "agent") if run.get(name)]
    lines = ["  ".join(columns)]
    if title := run.get("title"):
        lines.append(f"    {one_line(str(title))[:100]}")
    lines += [
        f"    waits for: {approve(str(call), outcome=call in outcomes)}"
        for call in items(run.get("waiting_for"))
    ]
    waiting = members(run.get("waiting")) or {}
    if waiting.get("for") != "approval" and waiting.get("detail"):
        lines.append(f"    waits: {one_line(str(waiting['detail']))}")
    return lines
