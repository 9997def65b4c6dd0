"""Tells one run in its thread: follows its log to the end, whatever becomes of the connection."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from jackline.client.errors import ClientError, Refused
from jackline.client.frames import End, Entry, Gap, Heartbeat, Ready
from jackline.client.shape import members
from jackline.slack.answers import says_gone
from jackline.slack.drawing import Drawing
from jackline.slack.speaker import Place, Speaker
from jackline.slack.story import Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.client.api import Client
    from jackline.client.follow import Follow, FollowState
    from jackline.slack.drawing import Drawn
    from jackline.slack.ledger import Thread
    from jackline.slack.speaker import Mouth

_log = structlog.get_logger()

_QUIET_S: Final = 2.0
"""An outage that is over by then, as in a deploy, is not worth an edit."""
_AGAIN_S: Final = 5.0
_HELD: Final = 2
"""Heartbeats that say that nobody works on the run before the thread does: mostly the next one takes it."""
_WHY_S: Final = 5.0


class Teller:
    """One run. The log is read from its first entry each time a bridge begins with it: what stands in Slack
    is compared with what it comes to, and only the difference is sent."""

    def __init__(
        self, mouth: Mouth, client: Client, thread: Thread, run_id: str, page: Callable[[str], str]
    ) -> None:
        self.run_id = run_id
        self.thread = thread
        self.story = Story(run_id=run_id)
        self._mouth = mouth
        self._client = client
        self._page = page
        self._drawing = Drawing(self.story, page, thread.ts)
        place = Place(channel=thread.channel, thread=thread.ts)
        self._speaker = Speaker(mouth, place, run_id, self._messages)
        self._away = anyio.Event()
        self._reason: str | None = None
        self._cursor: int | str = 0
        self._newest = 0
        self._held = 0

    async def run(self) -> None:
        """Tell it to its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._speaker.run)
            group.start_soon(self._watch_connection)
            await self._follow_all()
            await self._speaker.settled()
            if self._drawing.gone:
                # Perhaps only the data of the server were: the next bridge looks again.
                self._mouth.ledger.gone(self.run_id)
            elif not self._speaker.lost:
                self._mouth.ledger.told(self.run_id)
            group.cancel_scope.cancel()

    def _messages(self) -> list[Drawn]:
        """Nothing before all is read that there was: else what was answered would be asked again. Only that
        it cannot be read is said at once."""
        story = self.story
        whole = story.seq and story.seq >= self._newest
        if whole or self._drawing.gone:
            return self._drawing.messages()
        return [] if self._drawing.away is None else [self._drawing.status()]

    async def _follow_all(self) -> None:
        """Read to the end, or until there is nothing to read any more."""
        while True:
            try:
                follow = self._client.follow(self.run_id, after=self._cursor, on_state=self._heard)
                async with follow:
                    if await self._read(follow):
                        return
            except Refused as error:
                if says_gone(error) and await self._server_is_there():
                    # Deleted, or not this user's any more: what was told stays.
                    _log.warning("a run cannot be read any more", run_id=self.run_id, reason=str(error))
                    self._heard("ended", "")
                    # Its ending stands, where it is told.
                    self._drawing.gone = not self.story.ended
                    return
                self._heard("reconnecting", f"it answers {error}")
            except ClientError as error:
                self._heard("reconnecting", str(error))
            await anyio.sleep(_AGAIN_S)

    async def _server_is_there(self) -> bool:
        """Whether what refuses a run is a server of ours at the right address: it answers for all runs."""
        try:
            return "runs" in await self._client.runs(limit=1)
        except ClientError:
            return False

    async def _read(self, follow: Follow) -> bool:
        async for frame in follow:
            match frame:
                case Ready():
                    newest = frame.data.get("newest")
                    self._newest = newest if isinstance(newest, int) else 0
                case Heartbeat():
                    await self._beat(frame)
                case Entry():
                    if frame.type == "workflow":
                        self._held, self._drawing.waits = 0, None
                    self.story.add(frame)
                    self._cursor = frame.id
                    self._speaker.changed()
                case Gap():
                    again = self.story.seq > 0 and not self.story.missing
                    self._begin_anew()
                    if again:
                        return False  # the log is another one than was read: read it from its beginning
                    self.story.take(frame.snapshot)
                    self._cursor = frame.id or frame.last
                    self._speaker.changed()
                case End():
                    return True
                case _:
                    pass
        return self.story.ended

    async def _beat(self, beat: Heartbeat) -> None:
        """Note what holds the run up, once it has done so from one heartbeat to the next."""
        if beat.data.get("store") is not None:
            return  # what it says of the worker is old
        lost = beat.worker == "lost" and beat.state in ("executing", "stopping")
        self._held = self._held + 1 if lost or (beat.state, beat.worker) == ("queued", "none") else 0
        waits = None
        if self._held >= _HELD:
            waits = "its worker is lost; another one takes it over" if lost else await self._why()
        if waits != self._drawing.waits:
            self._drawing.waits = waits
            self._speaker.changed()

    async def _why(self) -> str | None:
        """Why it is queued: it has its turn later, or no worker serves its agent. Only the server knows."""
        with anyio.move_on_after(_WHY_S), contextlib.suppress(ClientError):
            waiting = members((await self._client.snapshot(self.run_id)).get("waiting")) or {}
            return str(waiting["detail"]) if waiting.get("detail") else None
        return self._drawing.waits

    def _begin_anew(self) -> None:
        self.story = Story(run_id=self.run_id)
        self._drawing = Drawing(self.story, self._page, self.thread.ts)
        self._cursor = self._held = 0

    # -- the connection ------------------------------------------------------------------------

    def _heard(self, phase: FollowState, reason: str) -> None:
        if phase in ("connecting", "reconnecting"):
            self._reason = reason or "no answer"
            self._away.set()
            return
        self._reason = None
        if self._drawing.away is not None:
            self._drawing.away = None
            self._speaker.changed()

    async def _watch_connection(self) -> None:
        while True:
            await self._away.wait()
            self._away = anyio.Event()
            await anyio.sleep(_QUIET_S)
            if self._reason is not None and self._drawing.away != self._reason:
                # The first reason is told: each try has one, and they differ in nothing that matters.
                self._drawing.away = self._drawing.away or self._reason
                self._speaker.changed()
