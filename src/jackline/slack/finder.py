"""Finds the runs of our threads' conversations that were started elsewhere: on the page, in the command line.

One feed for each key that acts for somebody who has begun a thread. Its cursor is kept, so that a bridge that
starts again reads on where the last one ended; runs are listed only where the feed cannot say what there was.
"""

from __future__ import annotations

import time
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from jackline.client.errors import ClientError, Refused
from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry
from jackline.client.shape import items, members
from jackline.slack.answers import is_away

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from jackline.client.api import Client
    from jackline.slack.ledger import Ledger
    from jackline.slack.people import People

_log = structlog.get_logger()

_AGAIN_S: Final = 5.0
_REFUSED_S: Final = 60.0
_KEEP_S: Final = 5.0
"""How often a cursor is written down: what is read again after a crash is known by its run."""
_PAGE: Final = 50
_MARGIN_S: Final = 60.0
"""Runs of several processes come in no exact order."""


class Finder:
    """`found` is told of runs and their conversations, of some of them more than once."""

    def __init__(self, ledger: Ledger, people: People, found: Callable[[str, str], None]) -> None:
        self._ledger = ledger
        self._people = people
        self._found = found
        self._listening: set[Client] = set()

    def listen(self, group: TaskGroup, user: str) -> None:
        """See to it that the runs of this user are heard of."""
        client = self._people.client(user)
        if client is not None and client not in self._listening:
            self._listening.add(client)
            group.start_soon(self._listen, user, client)

    async def _listen(self, user: str, client: Client) -> None:
        while True:
            try:
                await self._hear(user, client)
            except Refused as error:
                if error.status == HTTPStatus.BAD_REQUEST and not is_away(error):
                    # The cursor is that of another store: the server has other data now.
                    self._ledger.forget_heard(user)
                else:
                    _log.warning("the runs of a user cannot be heard of", user=user, reason=str(error))
                    await anyio.sleep(_REFUSED_S)
            except ClientError as error:
                # Its threads say so where they have something to say.
                _log.debug("the runs of a user cannot be heard of", user=user, reason=str(error))
            await anyio.sleep(_AGAIN_S)

    async def _hear(self, user: str, client: Client) -> None:
        cursor, until = self._ledger.heard(user)
        whole, kept = cursor is not None, -_KEEP_S
        async with client.feed(after=cursor or "now") as feed:
            async for frame in feed:
                match frame:
                    case FeedReady() if not whole:
                        # What comes from here on is in the feed, what was before in the list.
                        until = await self._list(client, until)
                        whole = True
                    case FeedGap():
                        until = await self._list(client, until)
                    case Entry():
                        until = max(until, _posix(frame.data.get("ts")))
                        if frame.data.get("conversation_id") is not None:
                            self._found(str(frame.data["run_id"]), str(frame.data["conversation_id"]))
                    case _:
                        pass
                now = time.monotonic()
                if whole and feed.cursor is not None and feed.cursor != cursor and now - kept >= _KEEP_S:
                    cursor, kept = feed.cursor, now
                    self._ledger.hear(user, cursor, until)

    async def look(self, user: str, conversation_id: str) -> None:
        """The runs of a conversation that has a thread from now on: the feed may have told of some before."""
        client = self._people.client(user)
        while client is not None:
            try:
                page = await client.runs(conversation_id=conversation_id, limit=_PAGE)
            except ClientError as error:
                if is_away(error):
                    await anyio.sleep(_AGAIN_S)
                    continue
                _log.warning("a conversation cannot be listed", user=user, reason=str(error))
                return
            else:
                self._all_found(page)
                return

    async def _list(self, client: Client, until: float) -> float:
        """The runs since `until`, or the newest where that is not known; the time of the newest one."""
        cursor, newest = None, until
        while True:
            page = await client.runs(limit=_PAGE, cursor=cursor)
            times = [_posix(run.get("created_at")) for run in self._all_found(page)]
            newest = max([newest, *times])
            cursor = page.get("next")
            if cursor is None or not until or not times or min(times) < until - _MARGIN_S:
                return newest

    def _all_found(self, page: dict[str, Any]) -> list[dict[str, Any]]:
        runs = [members(each) or {} for each in items(page.get("runs"))]
        for run in reversed(runs):
            self._found(str(run.get("run_id")), str(run.get("conversation_id")))
        return runs


def _posix(ts: object) -> float:
    return datetime.fromisoformat(ts).timestamp() if isinstance(ts, str) else 0.0
