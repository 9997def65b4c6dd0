"""Who is told when something that is watched has changed: viewers, in flocks, and whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.web.writing import Writing

_LOG: Final = logging.getLogger(__name__)

_PORTION: Final = 256
"""Viewers served in one turn of the loop: requests and other runs are not kept waiting by a crowd."""


class Flock:
    """Viewers that are told of news together: at once, or every `tick` ms."""

    def __init__(self, tick: int) -> None:
        self.viewers: dict[Writing, None] = {}
        self._tick = tick
        self._handle: asyncio.Handle | None = None
        self._serving = False
        self._more = False
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Something is new."""
        if self._serving:
            self._more = True  # those who had their turn already get another one
        elif self._handle is None and self.viewers:
            if self._tick:
                self._handle = self._loop.call_later(self._tick / 1000, self._serve)
            else:
                self._handle = self._loop.call_soon(self._serve)

    def end(self) -> None:
        """Tell nobody any more."""
        if self._handle is not None:
            self._handle.cancel()

    def _serve(self) -> None:
        self._serving, self._more = True, False
        self._portion(tuple(self.viewers), 0)

    def _portion(self, viewers: Sequence[Writing], at: int) -> None:
        for viewer in viewers[at : at + _PORTION]:
            try:
                viewer.look()
            except Exception:  # noqa: BLE001 (a fault with one viewer must not end the others' turns)
                _LOG.exception("a viewer failed, and is cut off: it comes back with its cursor")
                viewer.abort()
        if at + _PORTION < len(viewers):
            self._handle = self._loop.call_soon(self._portion, viewers, at + _PORTION)
            return
        self._handle, self._serving = None, False
        if self._more:
            self.ring()


class Watched:
    """What viewers watch. `news` is set, and replaced by a new event, whenever something changed: take it
    before you look, and no change is missed. Viewers in `flocks` are told."""

    def __init__(self) -> None:
        self.flocks: dict[int, Flock] = {}
        self._news: asyncio.Event | None = None

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change."""
        if self._news is None:
            self._news = asyncio.Event()
        return self._news

    def wake(self) -> None:
        """Have everybody look again."""
        if self._news is not None:
            self._news.set()
            self._news = None
        for flock in self.flocks.values():
            flock.ring()

    def join(self, viewer: Writing, tick: int) -> None:
        """Tell a viewer of news, `tick` ms after the first of them at the latest."""
        if tick not in self.flocks:
            self.flocks[tick] = Flock(tick)
        self.flocks[tick].viewers[viewer] = None

    def part(self, viewer: Writing, tick: int) -> None:
        """Tell it no more."""
        flock = self.flocks[tick]
        del flock.viewers[viewer]
        if not flock.viewers:
            flock.end()
            del self.flocks[tick]

    @property
    def viewers(self) -> tuple[Writing, ...]:
        """All who are told."""
        return tuple(viewer for flock in self.flocks.values() for viewer in flock.viewers)

    def abort(self) -> None:
        """Cut all of them off: they come back with their cursors."""
        for viewer in self.viewers:
            viewer.abort()
