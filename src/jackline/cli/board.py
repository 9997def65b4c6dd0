"""`jackline runs --watch`: a list of runs, and what changes in it."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from jackline.cli import exits
from jackline.cli.keyboard import left_alone, signals
from jackline.cli.news import kept
from jackline.cli.plain import one_line
from jackline.cli.view import Outages
from jackline.client.errors import ClientError
from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry, wire
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.client.api import Client
    from jackline.client.follow import FollowState

Run = dict[str, Any]

_AGAIN_S: Final = 0.5
"""A list is asked for at most this often, however much changes."""
_TITLE_CHARS: Final = 100


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

    def tick(self, *, anew: bool = False) -> None:
        """Time has passed; `anew`: somebody else has written to the terminal."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Lines:
    """One line for each run, then one for each change."""

    lists = False

    def __init__(self) -> None:
        self._outages = Outages()
        self._states: dict[str, str] = {}

    def listed(self, runs: Sequence[Run]) -> None:
        """See `Board`. Oldest first: what comes stands under it."""
        for run in reversed(runs):
            self._states[str(run.get("run_id"))] = str(run.get("state"))
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
        state, run_id = str(data.get("state")), str(data.get("run_id"))
        before, self._states[run_id] = self._states.get(run_id), state
        if state == before and not data.get("reason") and not data.get("retry"):
            return  # a next step is no change of the run
        error = members(data.get("error")) or members(data.get("retry")) or {}
        more = error.get("message") or error.get("error") or data.get("reason") or _asked_for(data)
        self._line(data.get("ts"), data, f"{state}{f'  {more}' if more else ''}")

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        """See `Board`."""
        del again_s
        words = self._outages.words(phase, reason, runs=False)
        if words is not None:
            print(f"[{words}]", file=sys.stderr, flush=True)

    def tick(self, *, anew: bool = False) -> None:
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
    state: str | None,
    conversation_id: str | None,
) -> int:
    """Show the list and its changes until it is left. Raises `ClientError`."""
    return await _Watch(client, lists, board, Filter(state=state, conversation_id=conversation_id)).run()


class Filter:
    """Which changes belong to a list of runs in one state, or of one conversation."""

    def __init__(self, *, state: str | None, conversation_id: str | None) -> None:
        self._state = state
        self._conversation_id = conversation_id
        self._states: dict[str, str] = {}

    def listed(self, run: Run) -> None:
        """A run of the list."""
        self._states[str(run.get("run_id"))] = str(run.get("state"))

    def takes(self, entry: Entry) -> bool:
        """Whether it is told. That a run leaves the list is told, too."""
        run_id = str(entry.data.get("run_id"))
        if self._conversation_id is not None and run_id.rpartition(".")[0] != self._conversation_id:
            return False
        before = self._states.get(run_id)
        now = str(entry.data.get("state")) if entry.type == "workflow" else before
        if now is not None and self._state is not None:
            self._states[run_id] = now
        if self._state == "awaiting_approval" and entry.data.get("state") == "pending":
            return True  # what a run is going to wait for is told before it waits
        return self._state is None or self._state in (before, now)


class _Watch:
    def __init__(
        self,
        client: Client,
        lists: Callable[[], Awaitable[dict[str, Any]]],
        board: Board,
        filters: Filter,
    ) -> None:
        self._lists = lists
        self._board = board
        self._filter = filters
        self._known: dict[str, int] = {}
        """Of runs, the newest entry that the list or a change has told."""
        self._first = True
        self._stale = anyio.Event()
        self._deserted = False
        self._error: ClientError | None = None
        self._feed = client.feed(after="now", on_state=self._phase)

    async def run(self) -> int:
        async with anyio.create_task_group() as group:
            calls = {
                signal.SIGINT: group.cancel_scope.cancel,
                signal.SIGWINCH: self._board.tick,
                signal.SIGCONT: lambda: self._board.tick(anew=True),
            }

            def desert() -> None:
                self._deserted = True
                group.cancel_scope.cancel()

            with signals(calls), left_alone(desert):
                try:
                    group.start_soon(self._list_again, group.cancel_scope)
                    group.start_soon(self._tick)
                    async with self._feed:
                        await self._read()
                except ClientError as error:
                    self._error = error
            group.cancel_scope.cancel()
        if self._deserted:
            raise BrokenPipeError
        self._board.close()
        if self._error is not None:
            raise self._error
        return exits.INTERRUPTED

    async def _read(self) -> None:
        async for frame in self._feed:
            match frame:
                case FeedReady() if self._first:
                    # The feed is open: what changes while the list is read comes after it.
                    self._first = False
                    self._show(await self._lists())
                case FeedGap():
                    self._show(await kept(self._lists, self._board.phase))
                case Entry():
                    self._entry(frame)
                case _:
                    pass

    def _entry(self, entry: Entry) -> None:
        run_id = str(entry.data.get("run_id"))
        if entry.seq <= self._known.get(run_id, 0):
            return  # the list told it already
        if self._board.lists:
            self._stale.set()
            return
        self._known[run_id] = entry.seq
        if self._filter.takes(entry):
            self._board.changed(entry)

    def _show(self, page: dict[str, Any]) -> None:
        rows = [members(each) or {} for each in items(page.get("runs"))]
        for run in rows:
            run_id, seq = str(run.get("run_id")), run.get("seq")
            self._known[run_id] = seq if isinstance(seq, int) else 0
            self._filter.listed(run)
        self._board.listed(rows)

    async def _list_again(self, scope: anyio.CancelScope) -> None:
        """Where the list is shown as a whole: after each change, but not for each of many."""
        try:
            while True:
                await self._stale.wait()
                self._stale = anyio.Event()
                self._show(await kept(self._lists, self._board.phase))
                await anyio.sleep(_AGAIN_S)
        except ClientError as error:
            self._error = error
            scope.cancel()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(_AGAIN_S)
            self._board.tick()

    def _phase(self, phase: FollowState, reason: str) -> None:
        self._board.phase(phase, reason, self._feed.again_s)


def _asked_for(data: dict[str, Any]) -> str:
    """What a run that begins is asked for."""
    said = [str((members(each) or {}).get("content", "")) for each in items(data.get("input"))]
    return one_line(said[-1])[:_TITLE_CHARS] if said else ""
