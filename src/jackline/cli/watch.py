"""Watching a run: frames to the view, the person's answers to the server."""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING, Final, assert_never

import anyio

from jackline.cli import exits
from jackline.cli.dialog import Action, Dialog, Edit, Say, Send, SendAll
from jackline.cli.happenings import (
    Escape,
    Happening,
    Interrupt,
    Line,
    Next,
    NoReader,
    Over,
    Phase,
    Terminated,
    Touch,
)
from jackline.cli.hints import command
from jackline.cli.keyboard import Keyboard, Keys, Typing, edit, editor
from jackline.cli.outbox import Outbox
from jackline.cli.output import left_alone
from jackline.cli.plain import one_line, pretty
from jackline.cli.signals import signals
from jackline.client.errors import ClientError
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown
from jackline.client.shape import members

if TYPE_CHECKING:
    from jackline.cli.courses import Course, Opens
    from jackline.cli.line import LineEditor
    from jackline.cli.signals import Caught
    from jackline.cli.view import View
    from jackline.client.api import Client
    from jackline.client.follow import Follow, FollowState

_SHOW_S: Final = 0.04
"""What is seen is brought up to date this often at most; what is typed is shown at once."""
_AHEAD: Final = 256
"""Frames read ahead while the person is in an editor; what follows waits in the server."""
_GRACE_S: Final = 3.0
"""Who leaves waits for so long for what is being sent."""


async def watch(
    client: Client, course: Course, view: View, *, ask: bool, editor: LineEditor | None = None
) -> int:
    """Follow a course to its end; the exit code. With `ask` questions are asked at the terminal, with
    `editor` its keys are read one by one.

    Raises the `ClientError` that ended it early.
    """
    return await _Watch(client, course, view, Dialog(keys=editor is not None) if ask else None, editor).run()


class _Watch:
    """Reads frames and the person, and shows what comes of both; an `Outbox` sends. Its `Watched`, too."""

    def __init__(
        self, client: Client, course: Course, view: View, dialog: Dialog | None, editor: LineEditor | None
    ) -> None:
        self._client = client
        self._course = course
        self._view = view
        self._dialog = dialog
        self._asked: str | None = None
        self._pushed = False
        """Whether something was written since the question, which must then be asked again."""
        self._topic = ""
        self._why = ""
        self._shown_at = 0.0
        self._dirty = False
        # Unbounded, because signals and keys cannot wait; frames are bounded by `_room`.
        self._put, self._take = anyio.create_memory_object_stream[Happening | NoReader](math.inf)
        self._room = anyio.Semaphore(_AHEAD)
        self._group = anyio.create_task_group()
        self._outbox = Outbox(client, course, self._group, self)
        self._editing = False
        self._asks_why = False
        self._follow: Follow | None = None
        self._cursor: str | None = None
        """After what was shown. The follow's own is ahead of that: frames wait while others are shown."""
        self._caught: Caught | None = None
        self._keys: Keys | None = None
        self._keyboard: Typing = self._listener(editor)

    def _listener(self, editor: LineEditor | None) -> Typing:
        if editor is None:
            return Keyboard(self._entered)
        self._keys = Keys(
            editor,
            on_line=self._entered,
            on_escape=lambda twice: self._put.send_nowait(Escape(twice=twice)),
            on_touch=lambda anew: self._put.send_nowait(Touch(anew=anew)),
        )
        return self._keys

    def _entered(self, text: str | None) -> None:
        self._put.send_nowait(Line(text=text, topic=self._topic))

    async def run(self) -> int:
        code: int | ClientError = exits.FAILED
        calls = {
            signal.SIGINT: self._pressed_ctrl_c,
            # Not the end at once: the shell would be left without echo, and nothing said of the run. An
            # editor is waited for: killed, it would leave the terminal as it needs it.
            signal.SIGTERM: lambda: self._put.send_nowait(Terminated()),
            signal.SIGWINCH: lambda: self._put.send_nowait(Touch(anew=False)),
            signal.SIGCONT: self._continued,
        }
        # At a terminal Ctrl-C asks what is wanted; elsewhere it ends the command.
        ends = {signal.SIGTERM} if self._dialog is not None else {signal.SIGTERM, signal.SIGINT}
        with (
            self._put,
            self._take,
            signals(calls, ends=ends) as caught,
            left_alone(lambda: self._put.send_nowait(NoReader())),
        ):
            self._caught = caught
            try:
                async with self._group as group:
                    if self._dialog is not None or self._keys is not None:
                        self._keyboard.listen()
                    self._begin(self._course.first())
                    try:
                        code = await self._handle_all()
                    except ClientError as error:
                        code = error
                    await self._send_off()
                    self._name_the_next()
                    group.cancel_scope.cancel()
            finally:
                if self._follow is not None:
                    await self._follow.aclose()
                self._view.close()
                self._keyboard.pause()
        if caught.lost is not None:
            return exits.of_signal(caught.lost)
        if isinstance(code, ClientError):
            raise code
        return code

    def _pressed_ctrl_c(self) -> None:
        # A terminal sends Ctrl-C to the editor and to us. It is the editor's: taken here too, it would leave
        # the run when the editor is left, and throw the edit away.
        if not self._editing:
            self._put.send_nowait(Interrupt())

    def _continued(self) -> None:
        if self._keys is not None:
            self._keys.again()
        self._put.send_nowait(Touch(anew=True))

    def _begin(self, opens: Opens | None) -> None:
        self._ask()
        if opens is None:
            self._group.start_soon(self._wait)
            return
        follow = self._follow = opens(on_state=self._phase)
        self._cursor = follow.cursor
        self._group.start_soon(self._read, follow)

    def _phase(self, phase: FollowState, reason: str) -> None:
        self._tell(phase, reason, self._follow.again_s if self._follow is not None else None)

    def _tell(self, phase: FollowState, reason: str, again_s: float | None) -> None:
        self._put.send_nowait(Phase(phase=phase, reason=reason, again_s=again_s))

    async def _read(self, follow: Follow) -> None:
        error = None
        try:
            async for frame in follow:
                await self._room.acquire()
                self._put.send_nowait(frame)
        except ClientError as caught:
            error = caught
        self._put.send_nowait(Over(error=error))

    async def _wait(self) -> None:
        try:
            self._put.send_nowait(Next(opens=await self._course.next(self._tell)))
        except ClientError as caught:
            self._put.send_nowait(Over(error=caught))

    async def _handle_all(self) -> int | ClientError:
        code = exits.COMPLETED
        while True:
            happening = await self._happening()
            match happening:
                case None | Touch():
                    pass
                case Over(error=None):
                    code = await self._code()
                    await self._let_go()
                    self._group.start_soon(self._wait)
                case Over(error=error):
                    assert error is not None
                    if self._follow is not None and self._follow.state is not None:
                        self._come_back()
                    return error
                case Next(opens=None):
                    return code
                case Next(opens=opens):
                    self._begin(opens)
                case Phase(phase=phase, reason=reason, again_s=again_s):
                    self._pushed |= self._view.phase(phase, reason, again_s)
                case Escape() | Interrupt() | Terminated() | Line():
                    if await self._person(happening) == "leave":
                        code = self._leave()
                        return exits.TERMINATED if isinstance(happening, Terminated) else code
                case Ready() | Entry() | Heartbeat() | Gap() | End() | Shutdown():
                    self._room.release()
                    await self._frame(happening)
                case _:
                    assert_never(happening)
            self._settle(happening)

    async def _happening(self) -> Happening | None:
        """What comes next; None when nothing did for a tick."""
        happening: Happening | NoReader | None = None
        tick_s = self._view.tick_s
        with anyio.move_on_after(math.inf if tick_s is None else _SHOW_S if self._dirty else tick_s):
            happening = await self._take.receive()
        if isinstance(happening, NoReader):
            raise BrokenPipeError
        return happening

    def _settle(self, happening: Happening | None) -> None:
        # What is already here may answer the question, or push it up the screen. Where the screen is painted
        # anew, it must never show a question that is not asked any more.
        if self._view.tick_s is not None or self._take.statistics().current_buffer_used == 0:
            self._ask()
        now = anyio.current_time()
        typed = isinstance(happening, Touch | Line | Escape | Interrupt)
        self._dirty = not typed and now - self._shown_at < _SHOW_S
        if not self._dirty:
            self._shown_at = now
            self._view.show(anew=isinstance(happening, Touch) and happening.anew)

    async def _let_go(self) -> None:
        self.idle()
        follow, self._follow = self._follow, None
        if follow is not None:
            await follow.aclose()

    def idle(self) -> None:
        """See `Watched`. What was asked about a run that is gone must not reach the next one."""
        self._outbox.forget()
        if self._dialog is not None:
            self._dialog.over()

    @property
    def follows(self) -> bool:
        """See `Watched`."""
        return self._follow is not None

    @property
    def run_id(self) -> str | None:
        """See `Watched`."""
        return None if self._follow is None else self._follow.run_id

    async def _frame(self, frame: Frame) -> None:
        self._pushed |= self._view.frame(frame)
        if isinstance(frame, Entry | Gap):
            self._cursor = frame.id or self._cursor
        if self._dialog is not None:
            self._dialog.frame(frame)
        if isinstance(frame, Heartbeat):
            if frame.worker == "alive" or frame.state not in {"queued", "executing"}:
                self._why = ""
            elif self._keys is None:
                await self._say_why(frame.run_id)  # the order of the lines counts
            elif not self._asks_why:
                self._asks_why = True
                self._group.start_soon(self._say_why, frame.run_id)
        self._outbox.stop_if_wanted()

    async def _say_why(self, run_id: str) -> None:
        """Say why the run does not go on, where nobody drives it and no person is asked."""
        try:
            waiting = members((await self._client.snapshot(run_id)).get("waiting")) or {}
        except ClientError:
            return  # the stream tells when the server is gone
        finally:
            self._asks_why = False
        if self._follow is None or self._follow.run_id != run_id:
            return  # it was long in coming: another run is shown
        detail = one_line(str(waiting.get("detail", "")))
        if detail and detail != self._why:
            self.notice(f"it waits: {detail}")
            self._put.send_nowait(Touch(anew=False))
        self._why = detail

    def notice(self, text: str) -> None:
        """See `Watched`."""
        self._view.notice(text)
        self._pushed = True

    def unsent(self, text: str) -> None:
        """See `Watched`."""
        self._keyboard.put(text)

    def answered(self) -> None:
        """See `Watched`."""
        self._put.send_nowait(Touch(anew=False))

    def _ask(self) -> None:
        prompt = self._dialog.prompt if self._dialog is not None else None
        topic = self._dialog.topic if self._dialog is not None else ""
        if prompt is None and self._dialog is not None and self._speaks_now():
            prompt, topic = "> ", "message"
        # First: what is found in the keyboard by now was typed for what stood there before.
        self._keyboard.turn(topic, self._dialog.single if self._dialog is not None else "")
        self._topic = topic
        if prompt != self._asked or self._pushed:
            self._view.prompt(prompt)
        self._asked, self._pushed = prompt, False

    def _speaks_now(self) -> bool:
        """Where only lines can be shown, a prompt would stand in the middle of what the agent says."""
        return self._course.speaks and (self._keys is not None or self._follow is None)

    # -- the person ----------------------------------------------------------------------------

    async def _person(self, happening: Line | Escape | Interrupt | Terminated) -> Action:
        if isinstance(happening, Terminated):
            return "leave"
        dialog = self._dialog
        if dialog is None:
            return "leave" if isinstance(happening, Interrupt) else None
        self._pushed = True
        match happening:
            case Escape():
                return await self._act(dialog, dialog.escape(twice=happening.twice and self._outbox.runs))
            case Interrupt():
                return await self._act(dialog, dialog.interrupt()) if self._outbox.runs else "leave"
            case Line(text=None):
                return self._closed()
            case Line(text=str() as text, topic=topic):
                return await self._line(dialog, text, topic)
            case _:
                return None

    def _closed(self) -> Action:
        if self._course.speaks:
            return "leave"
        # The terminal is closed: nobody is there to ask; the run may be answered from elsewhere.
        self._dialog = None
        self._view.prompt(None)
        self.notice("the terminal is closed; answer with jackline approve or jackline deny")
        return None

    async def _line(self, dialog: Dialog, text: str, topic: str) -> Action:
        self._view.entered()
        if topic == "message":
            if text.strip():
                self._outbox.say(text)
            return None
        if topic != dialog.topic:
            # It was entered for a question that somebody else has answered in the same moment.
            if text.strip():
                self.notice("something else is asked by now; nothing was answered")
            return None
        return await self._act(dialog, dialog.line(text))

    async def _act(self, dialog: Dialog, action: Action) -> Action:
        match action:
            case Send():
                self._outbox.decide(dialog, (action.decision,))
            case SendAll():
                self._outbox.decide(dialog, action.decisions)
            case Edit():
                await self._edit(dialog, action)
            case Say():
                self.notice(action.text)
            case "stop":
                self._outbox.stop()
            case "leave":
                return "leave"
            case None:
                pass
            case _:
                assert_never(action)
        return None

    async def _edit(self, dialog: Dialog, action: Edit) -> None:
        command = editor()
        if command is None:
            dialog.edit_by_line(action)
            return
        self._view.away()
        self._keyboard.pause()
        self._editing = True
        try:
            text = await edit(command, pretty(dict(action.args)))
        except OSError as error:
            self.notice(f"the editor does not start ({error})")
            dialog.edit_by_line(action)
            return
        finally:
            self._editing = False
            self._keyboard.listen()
            self._view.show(anew=True)
        said = dialog.edited(action, text)
        if isinstance(said, Say):
            self.notice(said.text)

    # -- the end -------------------------------------------------------------------------------

    async def _send_off(self) -> None:
        """What the person has entered is still sent; not for ever, and not when they leave once more."""
        self._view.show()
        with anyio.move_on_after(_GRACE_S):
            while self._outbox.waits:
                if isinstance(await self._take.receive(), Interrupt | Terminated):
                    break
            await self._outbox.stop_at_last()
        self._outbox.say_unstopped()
        if self._outbox.waits:
            self.notice("left before the server had answered what was sent last; see: jackline runs")

    def _leave(self) -> int:
        if self._follow is None:
            return exits.COMPLETED
        if self._follow.run_id is None:
            self.notice("left before the server had answered; see: jackline runs")
        else:
            self._come_back()
        return exits.INTERRUPTED

    def _name_the_next(self) -> None:
        """Whoever leaves is told of every run that goes on, also of those that were only just started."""
        for run_id in self._course.started:
            self.notice(f"run {run_id} goes on; watch it with: {command('tail', run_id)}")

    def _come_back(self) -> None:
        follow = self._follow
        assert follow is not None
        # Where something was not written, the cursor is ahead of what was read.
        seen = self._caught is None or self._caught.lost is None
        after = ["--after", self._cursor] if seen and self._cursor else []
        again = command("tail", str(follow.run_id), *after)
        self.notice(f"run {follow.run_id} goes on; come back with: {again}")

    async def _code(self) -> int:
        assert self._follow is not None
        state, run_id = self._follow.state, self._follow.run_id
        if state is None and run_id is not None:
            # A bare 204: the run had ended, and everything of it was read before.
            state = str((await self._client.snapshot(run_id)).get("state"))
            self.notice(f"run {run_id} is {one_line(state)}; there is nothing after that entry")
        return exits.of_state(state)
