"""A viewer that believes nothing: it keeps every frame as it came, doubles and holes included."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2

from jackline.sse import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

_SILENT: Final = 10.0
"""Seconds without a byte after which a connection is taken for dead; heartbeats come every half second."""

_AGAIN: Final = 0.2
"""Seconds between two tries to connect."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """An entry as it was sent."""

    seq: int
    type: str
    data: str


@dataclass(kw_only=True)
class Viewer:
    """Follows one run, at one web process after the other whenever a connection ends.

    `seen` is what it was sent after `base`; what came before that a `gap` has replaced by a snapshot,
    and `gaps` counts how often.
    """

    run_id: str
    urls: Sequence[str]
    seen: list[Seen] = field(default_factory=list[Seen])
    base: int = 0
    gaps: int = 0
    over: bool = False
    connections: int = 0
    speaks: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was sent a token."""
    _cursor: str = ""

    async def follow(self, deadline: float) -> None:
        """Until the server says that the run has ended and all was sent, or `deadline` (monotonic)."""
        limits = httpx2.Timeout(5.0, read=_SILENT)
        async with httpx2.AsyncClient(timeout=limits, trust_env=False) as http:
            while not self.over and time.monotonic() < deadline:
                url = self.urls[self.connections % len(self.urls)]
                self.connections += 1
                try:
                    async with asyncio.timeout_at(_loop_time(deadline)):
                        await self._connect(http, url)
                except (httpx2.HTTPError, TimeoutError):
                    pass  # whatever cut it off: the next one goes on from the cursor
                if not self.over:
                    await asyncio.sleep(_AGAIN)

    async def _connect(self, http: httpx2.AsyncClient, url: str) -> None:
        path = f"{url}/api/v1/agent/runs/{self.run_id}/events?compact=0"
        headers = {"Accept": "text/event-stream"}
        if self._cursor:
            headers["Last-Event-ID"] = self._cursor
        async with http.stream("GET", path, headers=headers) as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                self.over = True
            if answer.status_code != HTTPStatus.OK:
                return
            decoder = Decoder()
            async for chunk in answer.aiter_raw():
                for event in decoder.feed(chunk):
                    self._take(event.event, event.id, event.data)
                if self.over:
                    return

    def _take(self, name: str, cursor: str | None, data: str) -> None:
        if name == "end":
            self.over = True
        if cursor is None:
            return
        self._cursor = cursor
        if name == "token":
            self.speaks.set()
        if name == "gap":
            # What it had is void: the snapshot stands for all that came before.
            snapshot: dict[str, Any] = json.loads(data)["snapshot"]
            self.base, self.seen = int(snapshot["seq"]), []
            self.gaps += 1
        else:
            self.seen.append(Seen(seq=int(cursor.partition(".")[0]), type=name, data=data))


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + max(0.0, deadline - time.monotonic())
