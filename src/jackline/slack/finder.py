"""Finds the runs of our threads' conversations that were started elsewhere: on the page, in the command line.

One feed for each key that acts for somebody who has begun a thread. Its cursor is kept, so that a bridge that
starts again reads on where the last one ended; runs are listed only where the feed cannot say what there was.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from jackline.client.errors import ClientError, Refused
from jackline.client.feed import FeedGap, FeedHeartbeat, FeedReady
from jackline.client.frames import Entry
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from jackline.client.api import Client
    from jackline.slack.ledger import Ledger
    from jackline.slack.people import People

_log = structlog.get_logger()

_AGAIN_S: Final = 5.0
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
                if error.status == HTTPStatus.BAD_REQUEST:
                    # The cursor is that of another store: the server has other data now.
                    self._ledger.forget_heard(user)
                else:
                    _log.warning("the runs of a user cannot be heard of", user=user, reason=str(error))
            except ClientError as error:
                # Its threads say so where they have something to say.
                _log.debug("the runs of a user cannot be heard of", user=user, reason=str(error))
            await anyio.sleep(_AGAIN_S)

    async def _hear(self, user: str, client: Client) -> None:
        cursor, until = self._ledger.heard(user)
        whole = cursor is not None
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
                        conversation_id = frame.data.get("conversation_id")
                        if frame.type != "workflow" or conversation_id is None:
                            continue
                        self._found(str(frame.data["run_id"]), str(conversation_id))
                    case FeedHeartbeat():
                        pass
                    case _:
                        continue
                # Entries that are none of ours are not worth a write each: the next heartbeat has a later
                # cursor, and what is read again is known.
                if whole and feed.cursor is not None and feed.cursor != cursor:
                    cursor = feed.cursor
                    self._ledger.hear(user, cursor, until)

    async def _list(self, client: Client, until: float) -> float:
        """The runs since `until`, or the newest where that is not known; the time of the newest one."""
        cursor, newest = None, until
        while True:
            page = await client.runs(limit=_PAGE, cursor=cursor)
            runs = [members(each) or {} for each in items(page.get("runs"))]
            for run in reversed(runs):
                self._found(str(run.get("run_id")), str(run.get("conversation_id")))
            times = [_posix(run.get("created_at")) for run in runs]
            newest = max([newest, *times])
            cursor = page.get("next")
            if cursor is None or not until or not times or min(times) < until - _MARGIN_S:
                return newest


def _posix(ts: object) -> float:
    return datetime.fromisoformat(ts).timestamp() if isinstance(ts, str) else 0.0
