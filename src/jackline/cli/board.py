"""`jackline runs --watch`: a list of runs, and what changes in it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from jackline.cli.news import feed_of
from jackline.cli.plain import one_line
from jackline.cli.view import Outages
from jackline.client.frames import Entry, Gap, Ready, wire
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.client.api import Client
    from jackline.client.follow import FollowState

Run = dict[str, Any]

_AGAIN_S: Final = 0.5
"""A list is asked for at most this often, however much changes."""


class Board(Protocol):
    """Where the list is shown."""

    @property
    def lists(self) -> bool:
        """Whether the list is wanted anew after each change."""
        ...

    def listed(self, runs: Sequence[Run]) -> None:
        """The runs as they stand."""
        ...

    def changed(self, entry: Entry) -> None:
        """A run has changed."""
        ...

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        """How the connection stands."""
        ...

    def tick(self) -> None:
        """Time has passed."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Lines:
    """One line for each run, then one for each change."""

    lists = False

    def __init__(self) -> None:
        self._outages = Outages()

    def listed(self, runs: Sequence[Run]) -> None:
        """See `Board`. Oldest first: what comes stands under it."""
        for run in reversed(runs):
            self._line(run.get("updated_at"), run, f"{run.get('state')}  {run.get('title') or ''}")
            for call in items(run.get("waiting_for")):
                self._line(run.get("updated_at"), run, f"asks: jackline approve {call}")

    def changed(self, entry: Entry) -> None:
        """See `Board`."""
        data = entry.data
        if entry.type == "approval":
            name, call, state = data.get("name"), data.get("call_id"), data.get("state")
            outcome = " --outcome retry|done|abort" if data.get("kind") == "outcome" else ""
            by = f" by {data['by']}" if data.get("by") else ""
            asks = f"asks for {name}: jackline approve {call}{outcome}"
            self._line(data.get("ts"), data, asks if state == "pending" else f"{name} ({call}) {state}{by}")
            return
        error = members(data.get("error")) or {}
        more = error.get("message") or data.get("reason") or _asked_for(data)
        self._line(data.get("ts"), data, f"{data.get('state')}{f'  {more}' if more else ''}")

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        """See `Board`."""
        del again_s
        words = self._outages.words(phase, reason)
        if words is not None:
            print(f"[{words}]", file=sys.stderr, flush=True)

    def tick(self) -> None:
        """See `Board`."""

    def close(self) -> None:
        """See `Board`."""

    def _line(self, at: object, run: Run, text: str) -> None:
        print(one_line(f"{at}  {run.get('run_id')}  {text}"), flush=True)


class JsonLines(Lines):
    """The same as JSON: `{"event":"run","data":…}` for each run, then the feed's entries."""

    def listed(self, runs: Sequence[Run]) -> None:
        """See `Board`."""
        for run in reversed(runs):
            line = {"event": "run", "data": run}
            print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), flush=True)

    def changed(self, entry: Entry) -> None:
        """See `Board`."""
        print(wire(entry), flush=True)


async def watch(
    client: Client,
    lists: Callable[[], Awaitable[dict[str, Any]]],
    board: Board,
    *,
    filters: bool,
) -> int:
    """Show the list and its changes until it is left. Raises `ClientError`."""
    return await _Watch(client, lists, board, filters=filters).run()


class _Watch:
    def __init__(
        self,
        client: Client,
        lists: Callable[[], Awaitable[dict[str, Any]]],
        board: Board,
        *,
        filters: bool,
    ) -> None:
        self._lists = lists
        self._board = board
        self._filters = filters
        self._known: set[str] = set()
        self._stale = anyio.Event()
        self._feed = feed_of(client, self._phase)

    async def run(self) -> int:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep)
                group.start_soon(self._tick)
                async for frame in self._feed:
                    if isinstance(frame, Entry):
                        await self._entry(frame)
                    elif isinstance(frame, Gap) or (isinstance(frame, Ready) and not self._known):
                        await self._list()
                group.cancel_scope.cancel()
        finally:
            await self._feed.aclose()
            self._board.close()
        return 0
