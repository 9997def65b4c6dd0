"""That something has changed, as the feed tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackline.client.feed import FeedGap, FeedReady
from jackline.client.frames import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jackline.client.api import Client


async def changes(client: Client) -> AsyncIterator[None]:
    """Yields once the feed is open, and then for every change of a run's state. Whoever looks after each of
    them misses nothing: what came before the feed was open is seen by the first look."""
    async with client.feed(after="now") as feed:
        async for frame in feed:
            if isinstance(frame, FeedReady | FeedGap) or (
                isinstance(frame, Entry) and frame.type == "workflow"
            ):
                yield
