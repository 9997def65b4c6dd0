"""A line that is being typed: keys in, the text and where the cursor stands out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from jackline.cli.plain import plain

_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|\x1b?\[[0-9;]*[A-Za-z~]|[^\x1b\[O])", re.DOTALL
)
_PARTIAL: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)\Z")
_PASTE: Final = "\x1b[200~"
_PASTED: Final = "\x1b[201~"
_LATE_S: Final = 0.05
"""A key's sequence that a slow line has cut in two is whole again after so long."""
_HISTORY: Final = 200
_MOVES: Final = {
    "\x01": "\x1b[H",
    "\x02": "\x1b[D",
    "\x04": "\x1b[3~",
    "\x05": "\x1b[F",
    "\x06": "\x1b[C",
    "\x08": "\x1b[backspace",
    "\x0e": "\x1b[B",
    "\x10": "\x1b[A",
    "\x7f": "\x1b[backspace",
}
"""Control keys, as the keys that do the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Enter:
    """The line is done."""

    text: str


Key = Enter | Literal["escape", "end", "redraw"]


class LineEditor:
    """What a person types at a prompt: the keys that shells have, paste, and history.

    `end` is Ctrl-D on an empty line. `now` is any clock, in seconds.
    """

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.single: frozenset[str] = frozenset()
        """Keys that are an answer by themselves, where nothing was typed before."""
        self._history: list[str] = []
        self._back = 0
        self._stash = ""
        self._rest = ""
        self._escaped_at = float("-inf")
        self._pasting = False

    def feed(self, data: str, now: float) -> list[Key]:
        """Take what was typed; what came of it, in order."""
        keys: list[Key] = []
        if data[:1] in {"[", "O"} and now - self._escaped_at < _LATE_S:
            self._rest = "\x1b"
        data, self._rest = self._rest + data, ""
        while data:
            data = self._paste(data) if self._pasting else self._key(data, now, keys)
        return keys

    def clear(self) -> None:
        """Throw away what was typed."""
        self.text, self.at = "", 0

    def put(self, text: str) -> None:
        """Replace what was typed."""
        self.text, self.at = text, len(text)

    def remember(self, text: str) -> None:
        """Add a line to the history."""
        if text and self._history[-1:] != [text]:
            self._history = [*self._history, text][-_HISTORY:]
        self._back = 0

    # ------------------------------------------------------------------------------------------

    def _paste(self, data: str) -> str:
        pasted, end, rest = data.partition(_PASTED)
        if not end:
            # The end's mark may come in pieces.
            for kept in range(len(_PASTED) - 1, 0, -1):
                if pasted.endswith(_PASTED[:kept]):
                    pasted, self._rest = pasted[:-kept], pasted[-kept:]
                    break
            if pasted.endswith("\r") and not self._rest:
                pasted, self._rest = pasted[:-1], "\r"  # perhaps the half of a line's end
        self._pasting = not end
        self._insert(pasted.replace("\r\n", "\n").replace("\r", "\n"))
        return rest

    def _key(self, data: str, now: float, keys: list[Key]) -> str:
        if data.startswith(_PASTE):
            self._pasting = True
            return data[len(_PASTE) :]
        if data[0] == "\x1b":
            if _PARTIAL.match(data):
                self._rest = data
                return ""
            found = _SEQUENCE.match(data)
            if found is None:
                self._escaped_at = now if len(data) == 1 else self._escaped_at
                keys.append("escape")
                return data[1:]
            self._sequence(found[0])
            return data[found.end() :]
        self._plain_key(data[0], keys)
        return data[1:]

    def _plain_key(self, key: str, keys: list[Key]) -> None:
        if key in self.single and not self.text:
            keys.append(Enter(text=key))
        elif key in "\r\n":
            keys.append(Enter(text=self.text))
            self.clear()
        elif key == "\x04" and not self.text:
            keys.append("end")
        elif key == "\x0c":
            keys.append("redraw")
        elif key in _MOVES:
            self._sequence(_MOVES[key])
        elif key in "\x15\x0b\x17":
            first, last = {"\x15": (0, self.at), "\x0b": (self.at, len(self.text))}.get(
                key, (self._word(), self.at)
            )
            self._delete(first, last)
        else:
            self._insert(key)

    def _sequence(self, sequence: str) -> None:
        match sequence[1:]:
            case "[D" | "OD":
                self.at = max(self.at - 1, 0)
            case "[C" | "OC":
                self.at = min(self.at + 1, len(self.text))
            case "[A" | "OA" | "[B" | "OB" as key:
                self._older(1 if key.endswith("A") else -1)
            case "[H" | "OH" | "[1~" | "[7~":
                self.at = 0
            case "[F" | "OF" | "[4~" | "[8~":
                self.at = len(self.text)
            case "[3~":
                self._delete(self.at, self.at + 1)
            case "[backspace":
                self._delete(self.at - 1, self.at)
            case "b" | "[1;5D" | "[1;3D":
                self.at = self._word()
            case "f" | "[1;5C" | "[1;3C":
                self.at = self._next_word()
            case "\x7f":
                self._delete(self._word(), self.at)
            case "\r" | "\n":
                self._insert("\n")
            case _:
                pass  # a key that means nothing here

    def _insert(self, text: str) -> None:
        text = plain(text)
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def _delete(self, first: int, last: int) -> None:
        first = max(first, 0)
        self.text = self.text[:first] + self.text[last:]
        self.at = first

    def _word(self) -> int:
        return len(self.text[: self.at].rstrip().rstrip(_letters(self.text)).rstrip("\0"))

    def _next_word(self) -> int:
        found = re.compile(r"\s*\S+").match(self.text, self.at)
        return found.end() if found else len(self.text)

    def _older(self, step: int) -> None:
        back = self._back + step
        if not 0 <= back <= len(self._history):
            return
        if self._back == 0:
            self._stash = self.text
        self._back = back
        self.put(self._stash if back == 0 else self._history[-back])


def _letters(text: str) -> str:
    """What words of `text` are made of."""
    return "".join({char for char in text if not char.isspace()})
