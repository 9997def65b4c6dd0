"""What a run's frames look like to a person: lines, in a pipe or at a terminal that can do no more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, assert_never

from rich.console import Console
from rich.text import Text

from jackline.cli import receipt
from jackline.cli.plain import compact, duration, one_line, plain, pretty, shorten
from jackline.cli.spent import Spent
from jackline.cli.view import ENDED, Outages, how_to_answer
from jackline.client.frames import End, Entry, Frame, Gap, Heartbeat, Ready, Shutdown
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from jackline.client.follow import FollowState

_RESULT_CHARS: Final = 1500
_BLOCKED_MS: Final = 10_000
"""A worker's loop that has not turned for so long is blocked by something a person wants to hear of."""


class SafeConsole(Console):
    """A console that leaves the process alone."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process here; the command has its own exit code for it."""
        raise BrokenPipeError


class TextView:
    """Narration as it comes; everything else on lines of its own, wrapped to the terminal.

    `asks`: questions are answered here, so how to answer them elsewhere need not be said.
    `said`: what the person typed is not repeated. `full`: results are not shortened.
    """

    tick_s: float | None = None

    def __init__(
        self, *, asks: bool = False, said: bool = False, full: bool = False, console: Console | None = None
    ) -> None:
        # No markup, no emoji codes, no highlighting: none of the text is ours.
        self._out = console or SafeConsole(markup=False, emoji=False, highlight=False)
        self._terminal = self._out.is_terminal
        self._asks = asks
        self._said = said
        self._full = full
        self._outages = Outages()
        self._open = False
        self._wrote = False
        self._message = ""
        self._texts: dict[str, list[str]] = {}
        self._state = ""
        self._worker = "alive"
        self._store: object = None
        self._blocked = False
        self._names: dict[str, str] = {}
        self._args: dict[str, object] = {}
        self._questioned: set[str] = set()
        self._spent = Spent()

    def frame(self, frame: Frame) -> bool:
        """See `View`."""
        self._wrote = False
        match frame:
            case Ready():
                self._spent.begin(frame.seq)
            case End():
                pass
            case Entry():
                self._entry(frame)
            case Heartbeat():
                self._heartbeat(frame)
            case Gap():
                self._gap(frame)
            case Shutdown():
                self.notice("the server is going away; the run goes on")
            case _:
                assert_never(frame)
        return self._wrote

    def notice(self, text: str) -> None:
        """See `View`."""
        if self._terminal:
            self._line(f"[{plain(text)}]", "dim")
        else:
            print(f"[{plain(text)}]", file=sys.stderr, flush=True)

    def phase(self, phase: FollowState, reason: str, again_s: float | None) -> bool:
        """See `View`."""
        del again_s
        words = self._outages.words(phase, reason, runs=self._state not in ENDED)
        if words is not None:
            self.notice(words)
        return words is not None

    def prompt(self, text: str | None) -> None:
        """See `View`."""
        if text is None:
            return
        self._fresh()
        self._out.out(plain(text), style="bold", end="")
        self._open = True
        self._out.file.flush()

    def entered(self) -> None:
        """See `View`."""
        self._open = False

    def show(self, *, anew: bool = False) -> None:
        """Everything is shown as it comes."""

    def away(self) -> None:
        """See `View`."""

    def close(self) -> None:
        """See `View`."""

    # -- writing -------------------------------------------------------------------------------

    def _fresh(self) -> None:
        if self._open:
            self._out.out("")
            self._open = False

    def _line(self, text: str, style: str = "") -> None:
        self._fresh()
        # Piped text is left to its reader: only a terminal has a width to wrap to.
        self._out.print(Text(plain(text), style=style), soft_wrap=not self._terminal)
        self._out.file.flush()
        self._wrote = True

    # -- entries -------------------------------------------------------------------------------

    def _entry(self, frame: Entry) -> None:
        match frame.type:
            case "token":
                self._token(frame.data)
            case "workflow":
                self._spent.add(frame.data)
                self._workflow(frame.data)
            case "tool":
                self._tool(frame.data)
            case "approval":
                self._approval(frame.data)
            case _:
                pass  # of a later version

    def _token(self, data: dict[str, Any]) -> None:
        message = f"{data.get('message_id')} {data.get('kind')}"
        if message != self._message:
            self._fresh()
            self._message = message
        raw = str(data.get("text", ""))
        if data.get("kind") == "text":
            self._texts.setdefault(str(data.get("message_id")), []).append(raw)
        text = plain(raw)
        if not text:
            return
        self._out.out(text, style="dim" if data.get("kind") == "reasoning" else None, end="")
        self._out.file.flush()
        self._open = not text.endswith("\n")
        self._wrote = True

    def _workflow(self, data: dict[str, Any]) -> None:
        state = str(data.get("state", ""))
        before, self._state = self._state, state
        match state:
            case "queued":
                if before != state:
                    self._line(f"run {data.get('run_id')} queued", "bold")
                    self._input(data)
            case "executing":
                self._executing(data, before)
            case "awaiting_approval":
                if before != state:
                    self._line("the run waits for an approval", "bold yellow")
            case "stopping":
                mode = " after the calls that run" if data.get("mode") == "after_step" else ""
                self._line(f"stopping{mode}{_by(data)}", "bold yellow")
            case "stopped":
                self._line(f"stopped{_by(data)}{self._spent.words()}", "bold yellow")
                for line in receipt.in_words(members(data.get("receipt")) or {}):
                    self._line(line, "yellow")
            case "failed":
                error = members(data.get("error")) or {}
                what = f"{error.get('message', '')} ({error.get('type', 'error')})"
                self._line(f"failed: {what}{self._spent.words()}", "bold red")
            case "completed":
                self._completed(data)
            case _:
                self._line(one_line(state), "bold")

    def _input(self, data: dict[str, Any]) -> None:
        if self._said:
            return
        for each in items(data.get("input")):
            message = members(each) or {}
            self._line(f"{data.get('by') or message.get('role')}: {message.get('content', '')}", "cyan")

    def _executing(self, data: dict[str, Any], before: str) -> None:
        retry = members(data.get("retry"))
        if data.get("reason") == "takeover":
            self._line(f"attempt {data.get('attempt')}: another worker took the run over", "bold yellow")
            if any(str(message) in self._texts for message in items(data.get("supersedes"))):
                self._line("what was being said above is void and will be said again", "yellow")
            for message in items(data.get("supersedes")):
                self._texts.pop(str(message), None)
        elif retry is not None:
            wait = duration(float(retry.get("after_ms") or 0))
            self._line(f"the model failed ({retry.get('error', '')}); asked again in {wait}", "yellow")
        elif before != "executing":
            self._line("executing", "bold")

    def _completed(self, data: dict[str, Any]) -> None:
        output = data.get("output")
        # The last message usually is the output; nobody wants to read it twice.
        said = {"".join(parts).strip() for parts in self._texts.values()}
        if output is not None and not (isinstance(output, str) and output.strip() in said):
            self._line(output if isinstance(output, str) else pretty(output))
        self._line(f"completed{self._spent.words()}", "bold green")

    def _tool(self, data: dict[str, Any]) -> None:
        call, name = str(data.get("call_id", "")), one_line(str(data.get("name", "")))
        self._names[call] = name
        took = f" after {duration(data['duration_ms'])}" if isinstance(data.get("duration_ms"), int) else ""
        match data.get("state"):
            case "requested":
                checked = self._names.get(str(data.get("verifies")), "")
                checks = f" (checks {checked or data['verifies']})" if data.get("verifies") else ""
                self._line(f"> {name} {compact(data.get('args', {}))}{checks}", "blue")
                self._args[call] = data.get("args", {})
            case "started":
                # Behind its request it says nothing new, unless a person was asked in between.
                if "args" in data and data["args"] != self._args.get(call, data["args"]):
                    self._line(f"> {name} runs with other arguments: {compact(data['args'])}", "blue")
                elif call in self._questioned:
                    self._line(f"> {name} runs", "blue")
            case "progress":
                self._line(f"  {name}: {self._short(compact(data.get('progress')))}", "dim")
            case "finished":
                self._line(f"< {name}{took}: {self._result(data.get('result'))}", "green")
            case "failed":
                error = members(data.get("error")) or {}
                self._line(f"< {name} failed{took}: {error.get('message', '')}", "red")
            case "unknown":
                self._line(f"< {name}: whether it had its effect is not known", "bold red")
            case state:
                self._line(f"< {name} {state}{took}", "yellow")

    def _short(self, text: str) -> str:
        return text if self._full else shorten(text, _RESULT_CHARS)

    def _result(self, value: object) -> str:
        aside = members(value) or {}
        if "artifact" in aside and "preview" in aside:
            preview = self._short(compact(aside["preview"]))
            return f"{aside.get('bytes')} bytes, stored aside as {aside['artifact']}: {preview}"
        # Indented, so that no result can pass for a line of ours.
        return self._short(compact(value)).replace("\n", "\n  ")

    def _approval(self, data: dict[str, Any]) -> None:
        name, state = one_line(str(data.get("name", ""))), str(data.get("state", ""))
        self._questioned.add(str(data.get("call_id", "")))
        if state != "pending":
            outcome = f" {data['outcome']}" if data.get("outcome") else ""
            self._line(f"? {name}: {state}{outcome}{_by(data)}", "yellow")
            return
        if data.get("kind") == "outcome":
            self._line(f"? what became of {name}? Its worker was lost while it ran.", "bold yellow")
        else:
            self._line(f"? {name} needs your approval", "bold yellow")
        if data.get("reason"):
            self._line(f"why: {one_line(str(data['reason']))}", "yellow")
        # Never shortened: this is what a person says yes to.
        self._line(pretty(data.get("args", {})), "yellow")
        if data.get("expires_at"):
            then = ", and then it is approved" if data.get("on_expiry") == "approve" else ""
            self._line(f"expires at {one_line(str(data['expires_at']))}{then}", "yellow")
        if not self._asks:
            for line in how_to_answer(data):
                self._line(line, "yellow")

    # -- the rest ------------------------------------------------------------------------------

    def _heartbeat(self, frame: Heartbeat) -> None:
        store = frame.data.get("store")
        if store != self._store:
            match store:
                case "away":
                    self.notice("the store does not answer; the run goes on when it is back")
                case "doubt":
                    self.notice("the store came back; waiting for the worker to say what is missing")
                case _:
                    self.notice("the store is back")
            self._store = store
        if frame.state == "executing" and frame.worker != self._worker:
            if frame.worker == "lost":
                self.notice("its worker is lost; another takes the run over when the lease has run out")
            elif frame.worker == "alive":
                self.notice("a worker drives the run again")
            self._worker = frame.worker
        blocked = frame.worker == "alive" and frame.idle_ms > _BLOCKED_MS
        if blocked and not self._blocked:
            self.notice(f"its worker is blocked for {duration(frame.idle_ms)} already")
        self._blocked = blocked

    def _gap(self, frame: Gap) -> None:
        self._spent.begin_anew(frame.snapshot)
        state = frame.snapshot.get("state", "unknown")
        self.notice(f"entries {frame.first} to {frame.last} are gone; the run is {state}; said so far:")
        for each in items(frame.snapshot.get("transcript")):
            said = members(each) or {}
            if said.get("role") == "assistant" and said.get("kind", "text") == "text":
                self._line(str(said.get("text", "")))


def _by(data: dict[str, Any]) -> str:
    by = f" by {one_line(str(data['by']))}" if data.get("by") else ""
    return by + (f": {one_line(str(data['reason']))}" if data.get("reason") else "")
