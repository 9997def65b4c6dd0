"""That something has changed, as the feed tells it, and lists that are asked for until they come."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from jackline.client.errors import Refused, Unreachable
from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from jackline.client.api import Client
    from jackline.client.feed import Feed
    from jackline.client.follow import FollowState

    Tell = Callable[[FollowState, str, float | None], None]
    """Hears how the connection stands, why, and in how long the next try is."""

ANOTHER_STORE: Final = "the server has another store now, the list begins anew"
_AGAIN_S: Final = 1.0
_Answer = TypeVar("_Answer")


async def changes(client: Client, tell: Tell) -> AsyncGenerator[None]:
    """Yields once the feed is open, and then for every change of a run's state. Whoever looks after each of
    them misses nothing: what came before the feed was open is seen by the first look."""

    def told(phase: FollowState, reason: str) -> None:
        tell(phase, reason, feed.again_s)

    while True:
        feed = client.feed(after="now", on_state=told)
        try:
            async with feed:
                async for frame in feed:
                    if isinstance(frame, FeedReady | FeedGap) or (
                        isinstance(frame, Entry) and frame.type == "workflow"
                    ):
                        yield
        except Refused as error:
            if not is_another_store(error, feed):
                raise
            tell("reconnecting", ANOTHER_STORE, None)


def is_another_store(error: Refused, feed: Feed) -> bool:
    """Whether the feed was refused because its cursor is of a store that the server had before. One that was
    told to begin with now has no cursor, and cannot begin anew."""
    of_cursor = error.status == HTTPStatus.BAD_REQUEST and "after" in dict(error.fields)
    return of_cursor and feed.cursor != "now"


async def kept(ask: Callable[[], Awaitable[_Answer]], tell: Tell) -> _Answer:
    """What the server answers, however long it is away. Raises the other `ClientError`s."""
    lost = False
    while True:
        try:
            answer = await ask()
        except Unreachable as error:
            lost = True
            tell("reconnecting", error.reason, _AGAIN_S)
            await anyio.sleep(_AGAIN_S)
            continue
        if lost:
            tell("live", "", None)
        return answer
