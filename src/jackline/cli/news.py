"""That something has changed, as the feed tells it, and lists that are asked for until they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from jackline.client.errors import Unreachable
from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from jackline.client.api import Client
    from jackline.client.follow import FollowState

    Tell = Callable[[FollowState, str, float | None], None]
    """Hears how the connection stands, why, and in how long the next try is."""

_AGAIN_S: Final = 1.0
_Answer = TypeVar("_Answer")


async def changes(client: Client, tell: Tell) -> AsyncGenerator[None]:
    """Yields once the feed is open, and then for every change of a run's state. Whoever looks after each of
    them misses nothing: what came before the feed was open is seen by the first look."""

    def told(phase: FollowState, reason: str) -> None:
        tell(phase, reason, feed.again_s)

    feed = client.feed(after="now", on_state=told)
    async with feed:
        async for frame in feed:
            if isinstance(frame, FeedReady | FeedGap) or (
                isinstance(frame, Entry) and frame.type == "workflow"
            ):
                yield


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
