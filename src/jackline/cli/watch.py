"""Watching a run: frames to the view, the person's answers to the server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, assert_never

import anyio

from jackline.cli import exits
from jackline.cli.dialog import Action, Dialog, Edit, Say, Send
from jackline.cli.keyboard import Keyboard, edit, editor, interrupts
from jackline.cli.plain import one_line, pretty
from jackline.client.errors import ClientError, Refused
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown
from jackline.client.shape import members

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.cli.view import View
    from jackline.client.api import Client, Decision
    from jackline.client.follow import Follow, FollowState

_AHEAD: Final = 256
"""Frames read ahead while the person is in an editor; what follows waits in the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Over:
    error: ClientError | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Interrupt:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class _Phase:
    phase: FollowState
    reason: str


_Happening = Frame | _Line | _Over | _Interrupt | _Phase


class _Opens(Protocol):
    def __call__(self, *, on_state: Callable[[FollowState, str], None]) -> Follow: ...


async def watch(client: Client, opens: _Opens, view: View, *, ask: bool) -> int:
    """Follow a run to its end; the exit code. With `ask` its questions are asked at the terminal.

    Raises the `ClientError` that ended it early.
    """
    return await _Watch(client, opens, view, Dialog() if ask else None).run()


class _Watch:
    def __init__(self, client: Client, opens: _Opens, view: View, dialog: Dialog | None) -> None:
        self._client = client
        self._view = view
        self._dialog = dialog
        self._asked: str | None = None
        self._stop_when_known = False
        self._said = ""
        self._why = ""
        # Unbounded, because signals and keys cannot wait; frames are bounded by `_room`.
        self._put, self._take = anyio.create_memory_object_stream[_Happening](math.inf)
        self._room = anyio.Semaphore(_AHEAD)
        self._follow = opens(on_state=self._phase)
        self._keyboard = Keyboard(lambda text: self._put.send_nowait(_Line(text=text)))

    async def run(self) -> int:
        code: int | ClientError = exits.FAILED
        try:
            with self._put, self._take, interrupts(lambda: self._put.send_nowait(_Interrupt())):
                async with self._follow, anyio.create_task_group() as group:
                    group.start_soon(self._read)
                    if self._dialog is not None:
                        self._keyboard.listen()
                    code = await self._handle_all()
                    group.cancel_scope.cancel()
        finally:
            self._keyboard.pause()
        if isinstance(code, ClientError):
            if self._follow.state is not None:
                self._come_back()
            raise code
        return code

    def _phase(self, phase: FollowState, reason: str) -> None:
        self._put.send_nowait(_Phase(phase=phase, reason=reason))

    async def _read(self) -> None:
        error = None
        try:
            async for frame in self._follow:
                await self._room.acquire()
                self._put.send_nowait(frame)
        except ClientError as caught:
            error = caught
        self._put.send_nowait(_Over(error=error))

    async def _handle_all(self) -> int | ClientError:
        async for happening in self._take:
            match happening:
                case _Over(error=None):
                    return await self._code()
                case _Over(error=error):
                    assert error is not None
                    return error
                case _Phase():
                    self._tell(happening)
                case _Line():
                    if await self._line(happening.text) == "leave":
                        return self._leave()
                case _Interrupt():
                    if await self._interrupted() == "leave":
                        return self._leave()
                case Ready() | Entry() | Heartbeat() | Gap() | End() | Shutdown():
                    self._room.release()
                    await self._frame(happening)
                case _:
                    assert_never(happening)
            # What is already here may answer the question, or push it up the screen.
            if self._take.statistics().current_buffer_used == 0:
                self._ask()
        raise AssertionError("the queue of happenings outlives its readers")

    async def _frame(self, frame: Frame) -> None:
        if self._view.frame(frame):
            self._asked = None
        if self._dialog is not None:
            self._dialog.frame(frame)
        if isinstance(frame, Heartbeat):
            await self._say_why(frame)
        if self._stop_when_known and self._follow.run_id is not None:
            self._stop_when_known = False
            await self._stop()

    async def _say_why(self, beat: Heartbeat) -> None:
        """Say why the run does not go on, where nobody drives it and no person is asked."""
        if beat.worker == "alive" or beat.state not in {"queued", "executing"}:
            self._why = ""
            return
        try:
            waiting = members((await self._client.snapshot(beat.run_id)).get("waiting")) or {}
        except ClientError:
            return  # the stream tells when the server is gone
        detail = one_line(str(waiting.get("detail", "")))
        if detail and detail != self._why:
            self._notice(f"it waits: {detail}")
        self._why = detail

    def _tell(self, happening: _Phase) -> None:
        said, self._said = self._said, happening.reason
        match happening.phase:
            case "live" if happening.reason:
                self._notice(f"connected {one_line(happening.reason)}")
            case "live" if said:
                self._notice("connected again")
            case _ if happening.reason == said:
                pass  # an outage is many tries, and one thing to say
            case "connecting":
                self._notice(f"no answer yet ({one_line(happening.reason)}); trying again")
            case "reconnecting":
                self._notice(f"connection lost ({one_line(happening.reason)}); trying again, the run goes on")
            case _:
                pass

    def _notice(self, text: str) -> None:
        self._view.notice(text)
        self._asked = None

    def _ask(self) -> None:
        prompt = self._dialog.prompt if self._dialog is not None else None
        if prompt is not None and prompt != self._asked:
            self._view.prompt(prompt)
        self._asked = prompt

    # -- the person ----------------------------------------------------------------------------

    async def _line(self, text: str | None) -> Action:
        if self._dialog is None:
            return None
        if text is None:
            # The terminal is closed: nobody is there to ask; the run may be answered from elsewhere.
            self._dialog = None
            self._notice("the terminal is closed; answer with jackline approve or jackline deny")
            return None
        self._view.entered()
        self._asked = None
        return await self._act(self._dialog.line(text))

    async def _interrupted(self) -> Action:
        if self._dialog is None:
            return "leave"
        self._asked = None
        return await self._act(self._dialog.interrupt())

    async def _act(self, action: Action) -> Action:
        match action:
            case Send():
                await self._decide(action.decision)
            case Edit():
                await self._edit(action)
            case Say():
                self._notice(action.text)
            case "stop":
                await self._stop()
            case "leave":
                return "leave"
            case None:
                pass
            case _:
                assert_never(action)
        return None

    async def _decide(self, decision: Decision) -> None:
        assert self._dialog is not None
        try:
            await self._client.decide(decision)
        except ClientError as error:
            final = isinstance(error, Refused) and error.status in (404, 409, 410)
            self._dialog.refused(decision.call_id, final=final)
            self._notice(exits.explain(error)[0])

    async def _edit(self, action: Edit) -> None:
        assert self._dialog is not None
        command = editor()
        if command is None:
            self._dialog.edit_by_line()
            return
        self._keyboard.pause()
        try:
            text = await edit(command, pretty(dict(action.args)))
        except OSError as error:
            self._notice(f"the editor does not start ({error})")
            self._dialog.edit_by_line()
            return
        finally:
            self._keyboard.listen()
        said = self._dialog.edited(text)
        if isinstance(said, Say):
            self._notice(said.text)

    async def _stop(self) -> None:
        run_id = self._follow.run_id
        if run_id is None:
            self._stop_when_known = True
            self._notice("the stop is sent as soon as the run is known")
            return
        try:
            await self._client.stop(run_id)
        except ClientError as error:
            self._notice(f"the stop was not accepted: {exits.explain(error)[0]}")

    # -- the end -------------------------------------------------------------------------------

    def _leave(self) -> int:
        if self._follow.run_id is None:
            self._notice("left before the server had answered; see: jackline runs")
        else:
            self._come_back()
        return exits.INTERRUPTED

    def _come_back(self) -> None:
        after = f" --after {self._follow.cursor}" if self._follow.cursor else ""
        run_id = self._follow.run_id
        self._notice(f"run {run_id} goes on; come back with: jackline tail {run_id}{after}")

    async def _code(self) -> int:
        state, run_id = self._follow.state, self._follow.run_id
        if state is None and run_id is not None:
            # A bare 204: the run had ended, and everything of it was read before.
            state = str((await self._client.snapshot(run_id)).get("state"))
            self._notice(f"run {run_id} is {one_line(state)}; there is nothing after that entry")
        return exits.of_state(state)
