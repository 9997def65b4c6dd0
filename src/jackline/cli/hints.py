"""Commands that are told to a person, so that they work as they stand. Pure."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jackline.cli.plain import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHOICES: Final = ("retry", "done", "abort")


def program(called: str | None = None) -> str:
    """How this program is called here: as it was, where the shell would not find it by its name."""
    path = Path(sys.argv[0] if called is None else called)
    if path.name != "jackline" or shutil.which("jackline"):
        return "jackline"
    return shlex.quote(os.path.relpath(path))


def command(*words: str, line: Sequence[str] | None = None) -> str:
    """The command `jackline WORDS` for the server that `line`, this process's own, names. Its key is not
    told: it would stand on the screen."""
    line = sys.argv if line is None else line
    return " ".join([program(line[0]), *words, *_url(line)])


def approve(call_id: str, *, outcome: bool, choices: Sequence[str] = ()) -> str:
    """The command that answers a question; `outcome`: whether it is about what has become of a call, which
    takes no plain yes."""
    words = ["approve", one_line(call_id)]
    if outcome:
        words += ["--outcome", "|".join(map(one_line, choices or _CHOICES))]
    return command(*words)


def _url(line: Sequence[str]) -> list[str]:
    found: list[str] = []
    for at, word in enumerate(line):
        if word == "--":
            break
        if word == "--url" and at + 1 < len(line):
            found = ["--url", shlex.quote(line[at + 1])]
        elif word.startswith("--url="):
            found = ["--url", shlex.quote(word.removeprefix("--url="))]
    return found
