"""That something has changed, as the feed tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackline.client.frames import Entry, Gap, Ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jackline.client.api import Client


async def changes(client: Client) -> AsyncIterator[None]:
    """Yields once the feed is open, and then for every change of a run. Whoever looks after each of them
    misses nothing: what came before the feed was open is seen by the first look."""
    feed = client.feed(after="now")
    try:
        async for frame in feed:
            if isinstance(frame, Ready | Gap) or (isinstance(frame, Entry) and frame.type == "workflow"):
                yield
    finally:
        await feed.aclose()
