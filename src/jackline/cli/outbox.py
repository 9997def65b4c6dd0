"""What a person sends while a run is watched: messages, decisions, stops."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from jackline.cli import exits
from jackline.cli.hints import command
from jackline.client.errors import ClientError, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from anyio.abc import TaskGroup

    from jackline.cli.courses import Course
    from jackline.cli.dialog import Dialog
    from jackline.client.api import Client, Decision


class Watched(Protocol):
    """The run that is watched, and the person who watches it."""

    @property
    def follows(self) -> bool:
        """Whether a run is watched, though its id may not be known yet."""
        ...

    @property
    def run_id(self) -> str | None:
        """The run that is watched, once it is known."""
        ...

    def notice(self, text: str) -> None:
        """Say this to the person."""
        ...

    def unsent(self, text: str) -> None:
        """A message was not sent; the person may want it back."""
        ...

    def idle(self) -> None:
        """No run is left to which something could be said."""
        ...

    def answered(self) -> None:
        """The server has answered, or is not going to."""
        ...


class Outbox:
    """Sends each request by itself, in `group`: the person can do something else when the server does not
    answer. A stop for which there is no run yet, or no server, is kept, and sent once there is."""

    def __init__(self, client: Client, course: Course, group: TaskGroup, watched: Watched) -> None:
        self._client = client
        self._course = course
        self._group = group
        self._watched = watched
        self._open = 0
        self._messages = 0
        """Those of them that will start a run."""
        self._stop_wanted = False

    @property
    def waits(self) -> bool:
        """Whether something is being sent."""
        return self._open > 0

    @property
    def runs(self) -> bool:
        """Whether there is a run that can be stopped, or will be as soon as the server has answered."""
        return self._watched.follows or self._messages > 0 or bool(self._course.started)

    def say(self, text: str) -> None:
        """Send a message, which starts a run."""
        self._messages += 1
        self._send(self._say(text))

    def decide(self, dialog: Dialog, decisions: Sequence[Decision]) -> None:
        """Send these decisions, all or none; `dialog` hears which of them were refused."""
        self._send(self._decide(dialog, decisions))

    def stop(self) -> None:
        """Stop the run, at once or as soon as it is known."""
        run_id = self._watched.run_id
        if not self.runs:
            self._watched.notice("nothing runs")
        elif run_id is None:
            self._stop_wanted = True
            self._watched.notice("the stop is sent as soon as the run is known")
        else:
            self._send(self._stop(run_id, told=False))

    def stop_if_wanted(self) -> None:
        """A frame of the run came: send a stop that was kept for it."""
        run_id = self._watched.run_id
        if self._stop_wanted and run_id is not None:
            self._stop_wanted = False
            self._send(self._stop(run_id, told=True))

    def forget(self) -> None:
        """The run is gone: a stop that was kept for it must not reach the next one."""
        self._stop_wanted = False

    async def stop_at_last(self) -> None:
        """The command is left: send a stop that was kept, now that it may be known for which run."""
        run_id = self._watched.run_id or next(iter(self._course.started), None)
        if not self._stop_wanted or run_id is None:
            return
        with contextlib.suppress(ClientError):
            await self._client.stop(run_id)
            self._stop_wanted = False
            self._watched.notice(f"the stop of run {run_id} is sent")

    def say_unstopped(self) -> None:
        """Tell the person if a stop was kept and is not sent."""
        if self._stop_wanted:
            self._watched.notice("the stop was not sent: the server has not answered")

    def _send(self, sending: Awaitable[None]) -> None:
        async def send() -> None:
            try:
                await sending
            finally:
                self._open -= 1
            self._watched.answered()

        self._open += 1
        self._group.start_soon(send)

    async def _say(self, text: str) -> None:
        try:
            await self._course.say(text)
        except Unreachable as error:
            self._watched.notice(
                f"it may have begun: {exits.explain(error)[0]} The same again starts no second run; "
                f"see: {command('runs')}"
            )
            self._watched.unsent(text)
        except ClientError as error:
            self._watched.notice(f"not sent: {exits.explain(error)[0]}")
            self._watched.unsent(text)
        finally:
            self._messages -= 1
        if not self.runs:
            self.say_unstopped()
            self._watched.idle()

    async def _decide(self, dialog: Dialog, decisions: Sequence[Decision]) -> None:
        try:
            if len(decisions) == 1:
                await self._client.decide(decisions[0])
            else:
                await self._client.decide_all(decisions)
        except ClientError as error:
            # All or none: when one of several is decided already, the others are still asked.
            gone = isinstance(error, Refused) and error.status in (404, 409, 410)
            for decision in reversed(decisions):
                dialog.refused(decision.call_id, final=gone and len(decisions) == 1)
            self._watched.notice(exits.explain(error)[0])

    async def _stop(self, run_id: str, *, told: bool) -> None:
        """`told`: the person knows already that it may take a while."""
        try:
            await self._client.stop(run_id)
        except Unreachable:
            if self._watched.run_id != run_id:
                return
            self._stop_wanted = True
            if not told:
                self._watched.notice("the server is away; the stop is sent as soon as it answers")
        except ClientError as error:
            self._watched.notice(f"the stop was not accepted: {exits.explain(error)[0]}")
