"""What is asked of the person at the terminal, one question at a time. Pure: frames, lines and
interrupts go in, prompts and actions come out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from jackline.client.api import Decision
from jackline.client.frames import Entry, Frame, Gap
from jackline.client.shape import is_stand_in, items, members

if TYPE_CHECKING:
    from collections.abc import Mapping

_MENU: Final = "[s]top the run, [l]eave it running, [c]ontinue? "
_MENU_WITH_ESC: Final = "[s]top the run (or Esc Esc), [l]eave it running, [c]ontinue (or Esc)? "


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """Send this decision."""

    decision: Decision


@dataclass(frozen=True, kw_only=True, slots=True)
class SendAll:
    """Send these decisions, all or none."""

    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Let the person edit these arguments of this very question, then call `edited`."""

    call_id: str
    round: str
    args: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Say:
    """Say this, and ask again."""

    text: str


Action = Send | SendAll | Edit | Say | Literal["stop", "leave"] | None


@dataclass(kw_only=True, slots=True)
class _Question:
    call_id: str
    name: str
    kind: str
    round: str
    args: dict[str, Any]
    edited: dict[str, Any] | None = None
    typing_args: bool = False
    asks_result: bool = False

    def outcome(self, outcome: Literal["retry", "done", "abort"], result: object = None) -> Decision:
        """The answer to this very question: the next one about the same call is another."""
        return Decision(call_id=self.call_id, round=int(self.round), outcome=outcome, result=result)


class Dialog:
    """The questions that wait for the person, oldest first, and the menu that Ctrl-C opens. `keys`: whether
    keys are read one by one, Esc too."""

    def __init__(self, *, keys: bool = False) -> None:
        self._keys = keys
        self._waiting: dict[str, _Question] = {}
        self._sent: dict[str, _Question] = {}
        self._menu = False
        self._was_menu = False
        """Whether the Esc before closed the menu."""
        self._all = False
        self._run = 0

    @property
    def topic(self) -> str:
        """What is asked now, as one word: an answer to another topic is no answer. "" for nothing."""
        if self._menu:
            return f"menu {self._run}"
        question = self._current()
        if question is None:
            return ""
        if self._all:
            return f"all {' '.join(each.call_id for each in self._calls())}"
        return f"{question.call_id} {question.round} {question.typing_args} {question.asks_result}"

    @property
    def single(self) -> str:
        """Keys that are an answer by themselves."""
        return "slcSLC" if self._menu else ""

    @property
    def prompt(self) -> str | None:
        """What to ask now, None for nothing."""
        if self._menu:
            return _MENU_WITH_ESC if self._keys else _MENU
        question = self._current()
        if question is None:
            return None
        if question.kind == "outcome":
            return self._outcome_prompt(question)
        if self._all:
            names = ", ".join(each.name for each in self._calls())
            return f"approve all {len(self._calls())} of this step ({names})? [y]es / [n]o: "
        if question.typing_args:
            return f"{question.name}: arguments as one JSON object (empty: as they were): "
        more = len(self._calls())
        every = f" / [a]ll {more} of this step" if more > 1 else ""
        if question.edited is not None:
            return f"approve {question.name} with these arguments? [y]es / [n]o / [e]dit{every}: "
        return f"approve {question.name}? [y]es / [n]o, or n and the reason / [e]dit the arguments{every}: "

    def frame(self, frame: Frame) -> None:
        """Learn what is asked, and what others have answered meanwhile."""
        match frame:
            case Entry(type="approval"):
                self._learn(frame.data)
            case Gap():
                self._waiting.clear()
                for each in items(frame.snapshot.get("approvals")):
                    self._learn(members(each) or {})
            case _:
                pass

    def line(self, text: str) -> Action:
        """The person has typed a line."""
        text = text.strip()
        if self._menu:
            return self._answer_menu(text)
        question = self._current()
        if question is None:
            return None
        if question.kind == "outcome":
            return self._answer_outcome(question, text)
        if question.typing_args:
            return self._type_args(question, text)
        if self._all:
            return self._answer_all(text)
        return self._answer_call(question, text)

    def _answer_call(self, question: _Question, text: str) -> Action:
        match _word(text):
            case "a" | "all" if len(self._calls()) > 1:
                self._all = True
                return None
            case "y" | "yes" if _is_word(text):
                return self._send(
                    question, Decision(call_id=question.call_id, approve=True, args=question.edited)
                )
            case "n" | "no":
                reason = text.partition(" ")[2].strip() or None
                return self._send(question, Decision(call_id=question.call_id, approve=False, reason=reason))
            case "e" | "edit" if is_stand_in(question.args):
                return Say(text="the arguments are too large to be edited here")
            case "e" | "edit":
                args = question.args if question.edited is None else question.edited
                return Edit(call_id=question.call_id, round=question.round, args=args)
            case _:
                return Say(text="y, n, e or a" if len(self._calls()) > 1 else "y, n or e")

    def interrupt(self) -> Action:
        """The person has pressed Ctrl-C: once asks, twice leaves."""
        if self._menu:
            return "leave"
        self._menu = True
        return None

    def escape(self, *, twice: bool) -> Action:
        """The person has pressed Esc: back from a menu; twice asks, as Ctrl-C does. Where the first of the
        two was pressed in the menu, it stops: whoever presses Esc again and again wants an end."""
        stops = twice and self._was_menu
        self._was_menu = self._menu and not twice
        self._menu, self._all = twice and not stops, False
        return "stop" if stops else None

    def over(self) -> None:
        """The run has ended: nothing of it is asked any more, and an answer to it is none to the next run."""
        self._waiting, self._sent = {}, {}
        self._menu = self._was_menu = self._all = False
        self._run += 1

    def edit_by_line(self, edit: Edit) -> None:
        """There is no editor: the next line holds the arguments."""
        question = self._question(edit)
        if question is not None:
            question.typing_args = True

    def edited(self, edit: Edit, text: str) -> Action:
        """The arguments as the person left them. By now another question may stand first: it must not get
        what was meant for this one."""
        question = self._question(edit)
        if question is None:
            return Say(text=f"{edit.call_id} is not asked any more; what you edited is not used")
        return self._type_args(question, text.strip())

    def refused(self, call_id: str, *, final: bool) -> None:
        """A decision was not taken. Unless that is final the question is asked again."""
        question = self._sent.pop(call_id, None)
        if question is not None and not final:
            self._waiting = {call_id: question, **self._waiting}

    # ------------------------------------------------------------------------------------------

    def _current(self) -> _Question | None:
        return next(iter(self._waiting.values()), None)

    def _question(self, edit: Edit) -> _Question | None:
        found = self._waiting.get(edit.call_id)
        return found if found is not None and found.round == edit.round else None

    def _calls(self) -> list[_Question]:
        return [each for each in self._waiting.values() if each.kind == "call"]

    def _answer_all(self, text: str) -> Action:
        self._all = False
        match text.lower():
            case "y" | "yes":
                sent = self._calls()
                for each in sent:
                    del self._waiting[each.call_id]
                    self._sent[each.call_id] = each
                made = [Decision(call_id=each.call_id, approve=True, args=each.edited) for each in sent]
                return SendAll(decisions=tuple(made))
            case "n" | "no":
                return None
            case _:
                return Say(text="y or n; nothing was decided")

    def _learn(self, data: Mapping[str, Any]) -> None:
        call_id = str(data.get("call_id", ""))
        self._waiting.pop(call_id, None)
        self._sent.pop(call_id, None)
        self._all = False  # what was to be approved together is not the same any more
        if data.get("state") == "pending":
            self._waiting[call_id] = _Question(
                call_id=call_id,
                name=" ".join(str(data.get("name", "the call")).split()),
                kind=str(data.get("kind", "call")),
                round=str(data.get("round", 1)),
                args=members(data.get("args")) or {},
            )

    def _send(self, question: _Question, decision: Decision) -> Send:
        del self._waiting[question.call_id]
        self._sent[question.call_id] = question
        return Send(decision=decision)

    def _answer_menu(self, text: str) -> Action:
        match text.lower():
            case "s" | "stop":
                self._menu = False
                return "stop"
            case "l" | "leave":
                self._menu = False
                return "leave"
            case "c" | "continue":
                self._menu = False
                return None
            case _:
                return Say(text="s, l or c")

    def _outcome_prompt(self, question: _Question) -> str:
        if question.asks_result:
            return "its result, as JSON or text (empty: none): "
        return f"{question.name}: [r]etry it, it is [d]one, or [a]bort the run? "

    def _answer_outcome(self, question: _Question, text: str) -> Action:
        if question.asks_result:
            question.asks_result = False
            decision = question.outcome("done", _json_or_text(text))
            return self._send(question, decision)
        match text.lower():
            case "r" | "retry":
                return self._send(question, question.outcome("retry"))
            case "d" | "done":
                question.asks_result = True
                return None
            case "a" | "abort":
                return self._send(question, question.outcome("abort"))
            case _:
                return Say(text="r, d or a")

    def _type_args(self, question: _Question, text: str) -> Action:
        question.typing_args = False
        if not text:
            return Say(text="the arguments stay as they were")
        try:
            value: object = json.loads(text)
        except ValueError as error:
            return Say(text=f"not JSON: {error}")
        if not isinstance(value, dict):
            return Say(text="the arguments must be a JSON object")
        if value == question.args:
            question.edited = None
            return Say(text="the arguments stay as they were")
        question.edited = cast("dict[str, Any]", value)
        return Say(text=json.dumps(value, ensure_ascii=False))


def _word(text: str) -> str:
    """The answer's first word: a sentence that begins with a y is no yes."""
    return text.partition(" ")[0].rstrip(",.:;").lower()


def _is_word(text: str) -> bool:
    return " " not in text


def _json_or_text(text: str) -> object:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
