"""`jackline runs --watch`: a list of runs, and what changes in it."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from jackline.cli import exits, hints
from jackline.cli.keyboard import Keys
from jackline.cli.news import ANOTHER_STORE, is_another_store, kept
from jackline.cli.output import left_alone
from jackline.cli.plain import one_line
from jackline.cli.signals import signals
from jackline.cli.view import ENDED, Outages
from jackline.client.errors import ClientError, Refused
from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry, wire
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence, Set

    from jackline.cli.line import LineEditor
    from jackline.client.api import Client
    from jackline.client.feed import Feed
    from jackline.client.follow import FollowState

    Lists = Callable[[], Awaitable[tuple[dict[str, Any], Set[str]]]]
    """Gives the page of runs, and what `outcomes_in` says of it."""

Run = dict[str, Any]

_AGAIN_S: Final = 0.5
"""A list is asked for at most this often, however much changes."""
_TITLE_CHARS: Final = 100
_MOST: Final = 1000


class Board(Protocol):
    """Where the list is shown."""

    @property
    def lists(self) -> bool:
        """Whether the list is wanted anew after each change."""
        ...

    def listed(self, runs: Sequence[Run], outcomes: Set[str]) -> None:
        """The runs as they stand; `outcomes`: calls whose question is what has become of them."""
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

    def listed(self, runs: Sequence[Run], outcomes: Set[str]) -> None:
        """See `Board`. Oldest first: what comes stands under it."""
        self._states.clear()
        for run in reversed(runs):
            self._states[str(run.get("run_id"))] = str(run.get("state"))
            self._line(run.get("updated_at"), run, f"{run.get('state')}  {run.get('title') or ''}")
            for call in items(run.get("waiting_for")):
                answer = hints.approve(str(call), outcome=call in outcomes)
                self._line(run.get("updated_at"), run, f"asks: {answer}")

    def changed(self, entry: Entry) -> None:
        """See `Board`."""
        data = entry.data
        if entry.type == "approval":
            name, call, state = data.get("name"), data.get("call_id"), data.get("state")
            by = f" by {data['by']}" if data.get("by") else ""
            answer = hints.approve(str(call), outcome=data.get("kind") == "outcome")
            asks = f"asks for {name}: {answer}"
            self._line(data.get("ts"), data, asks if state == "pending" else f"{name} ({call}) {state}{by}")
            return
        state, run_id = str(data.get("state")), str(data.get("run_id"))
        before, self._states[run_id] = self._states.get(run_id), state
        if state in ENDED:
            del self._states[run_id]  # nothing more comes of it, and this may go on for months
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

    def listed(self, runs: Sequence[Run], outcomes: Set[str]) -> None:
        """See `Board`."""
        del outcomes
        for run in reversed(runs):
            line = {"event": "run", "data": run}
            print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), flush=True)

    def changed(self, entry: Entry) -> None:
        """See `Board`."""
        print(wire(entry), flush=True)


async def watch(
    client: Client,
    lists: Lists,
    board: Board,
    *,
    state: str | None,
    conversation_id: str | None,
    editor: LineEditor | None = None,
) -> int:
    """Show the list and its changes until it is left. With `editor` the terminal's keys are taken, so that
    what is typed does not stand between the lines: q leaves, others do nothing. Raises `ClientError`."""
    filters = Filter(state=state, conversation_id=conversation_id)
    return await _Watch(client, lists, board, filters, editor).run()


async def outcomes_in(client: Client, page: dict[str, Any]) -> Set[str]:
    """Of the calls that the runs of a list wait for, those whose question is what has become of them. Raises
    `ClientError`."""
    waiting = {
        call for each in items(page.get("runs")) for call in items((members(each) or {}).get("waiting_for"))
    }
    if not waiting:
        return frozenset()
    asked = [members(each) or {} for each in items((await client.approvals(limit=_MOST)).get("approvals"))]
    return {str(each.get("call_id")) for each in asked if each.get("kind") == "outcome"} & waiting


class Filter:
    """Which changes belong to a list of runs in one state, or of one conversation."""

    def __init__(self, *, state: str | None, conversation_id: str | None) -> None:
        self._state = state
        self._conversation_id = conversation_id
        self._states: dict[str, str] = {}

    def listed(self, runs: Sequence[Run]) -> None:
        """The runs of the list."""
        self._states = {str(run.get("run_id")): str(run.get("state")) for run in runs}

    def takes(self, entry: Entry) -> bool:
        """Whether it is told. That a run leaves the list is told, too."""
        run_id = str(entry.data.get("run_id"))
        if self._conversation_id is not None and run_id.rpartition(".")[0] != self._conversation_id:
            return False
        before = self._states.get(run_id)
        now = str(entry.data.get("state")) if entry.type == "workflow" else before
        if now is not None and self._state is not None:
            self._states[run_id] = now
            if now in ENDED:
                del self._states[run_id]
        if self._state == "awaiting_approval" and entry.data.get("state") == "pending":
            return True  # what a run is going to wait for is told before it waits
        return self._state is None or self._state in (before, now)


class _Watch:
    def __init__(
        self,
        client: Client,
        lists: Lists,
        board: Board,
        filters: Filter,
        editor: LineEditor | None,
    ) -> None:
        self._client = client
        self._lists = lists
        self._board = board
        self._filter = filters
        self._known: dict[str, int] = {}
        """Of runs, the newest entry that the list or a change has told."""
        self._first = True
        self._anew = False
        self._stale = anyio.Event()
        self._deserted = False
        self._code = exits.INTERRUPTED
        self._error: ClientError | None = None
        self._feed = self._open()
        self._scope = anyio.CancelScope()
        self._editor = editor
        self._keys = editor and Keys(
            editor, on_line=self._typed, on_escape=lambda _: None, on_touch=self._touched
        )

    def _open(self) -> Feed:
        return self._client.feed(after="now", on_state=self._phase)

    async def run(self) -> int:
        calls = {
            signal.SIGINT: self._scope.cancel,
            signal.SIGTERM: self._terminate,
            signal.SIGWINCH: self._board.tick,
            signal.SIGCONT: self._continued,
        }
        with signals(calls, ends={signal.SIGINT, signal.SIGTERM}) as caught, left_alone(self._desert):
            if self._keys is not None:
                self._keys.listen()
                self._keys.turn("list", "q")
            try:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._list_again)
                        group.start_soon(self._tick)
                        await self._follow()
            finally:
                await self._feed.aclose()
                if self._keys is not None:
                    self._keys.pause()
            if self._deserted:
                raise BrokenPipeError
            self._board.close()
        if caught.lost is not None:
            return exits.of_signal(caught.lost)
        if self._error is not None:
            raise self._error
        return self._code

    def _desert(self) -> None:
        self._deserted = True
        self._scope.cancel()

    def _terminate(self) -> None:
        self._code = exits.TERMINATED
        self._scope.cancel()

    def _continued(self) -> None:
        if self._keys is not None:
            self._keys.again()
        self._board.tick(anew=True)

    def _typed(self, text: str | None) -> None:
        if text in {None, "q"}:
            self._scope.cancel()

    def _touched(self, anew: bool) -> None:
        if self._editor is not None:
            self._editor.clear()  # else q would not be the first key
        if anew:
            self._board.tick(anew=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self._read()
            except Refused as error:
                if not is_another_store(error, self._feed):
                    self._fail(error)
                    return
                await self._feed.aclose()
                self._phase("reconnecting", ANOTHER_STORE)
                self._feed, self._first, self._anew = self._open(), True, True
            except ClientError as error:
                self._fail(error)
                return

    def _fail(self, error: ClientError) -> None:
        self._error = error
        self._scope.cancel()

    async def _read(self) -> None:
        async for frame in self._feed:
            match frame:
                case FeedReady() if self._first:
                    # The feed is open: what changes while the list is read comes after it.
                    self._first = False
                    lists = kept(self._lists, self._board.phase) if self._anew else self._lists()
                    self._show(*await lists)
                case FeedGap():
                    self._show(*await kept(self._lists, self._board.phase))
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
        if entry.type == "workflow" and entry.data.get("state") in ENDED:
            del self._known[run_id]
        if self._filter.takes(entry):
            self._board.changed(entry)

    def _show(self, page: dict[str, Any], outcomes: Set[str]) -> None:
        rows = [members(each) or {} for each in items(page.get("runs"))]
        seqs = ((str(run.get("run_id")), run.get("seq")) for run in rows)
        self._known = {run_id: seq if isinstance(seq, int) else 0 for run_id, seq in seqs}
        self._filter.listed(rows)
        self._board.listed(rows, outcomes)

    async def _list_again(self) -> None:
        """Where the list is shown as a whole: after each change, but not for each of many."""
        try:
            while True:
                await self._stale.wait()
                self._stale = anyio.Event()
                self._show(*await kept(self._lists, self._board.phase))
                await anyio.sleep(_AGAIN_S)
        except ClientError as error:
            self._fail(error)

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
