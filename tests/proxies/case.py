"""A row of the matrix: a proxy with a configuration, and what is expected of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from jackline.proxies import Wish, render
from tests.proxies.matrix import Column
from tests.proxies.programs import Program

Edit = tuple[str, str]
"""A pattern, and what all that matches it is replaced by."""

GOOD: Final[Mapping[Column, str]] = {
    "live": "yes",
    "acts": "yes",
    "idle": "yes",
    "resume": "yes",
    "duplicates": "none",
    "doctor": "good",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A configuration. `scaled`: edits after which it allows a stream to be silent for `IDLE` seconds.
    `quiet`: the server's heartbeats do not come to the proxy. `strip`: a word that is lost from the server's
    answers before the proxy sees them. `gather`: its streams begin with a large piece. `expected`: what
    differs from `GOOD`. `text`: where the configuration is not a generated one. Without a `program` it is the
    direct path. `long`: seconds that the doctor must look for a time limit. `twin`: a word for it among those
    of one program."""

    program: Program | None
    name: str
    setting: str = "generated"
    twin: str = ""
    edits: tuple[Edit, ...] = ()
    scaled: tuple[Edit, ...] = ()
    quiet: bool = False
    strip: str = ""
    gather: bool = False
    long: int = 0
    expected: Mapping[Column, str] = field(default_factory=dict[Column, str])
    text: Callable[[Wish], str] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its row's."""
        return (f"{self.name} ({self.program.package})" if self.program else self.name), self.setting

    @property
    def id(self) -> str:
        """Its name among the tests."""
        words = f"{self.key[0]} {self.twin}"
        return re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-")

    @property
    def version(self) -> str:
        return self.program.version() if self.program else version("jackline")

    def expects(self, column: Column) -> str:
        return self.expected.get(column, GOOD[column])

    def written(self, wish: Wish, *, scaled: bool = False) -> str:
        """The whole configuration."""
        text = self.text(wish) if self.text else render(self.name, wish)
        for pattern, instead in self.edits + (self.scaled if scaled else ()):
            text, times = re.subn(pattern, instead, text, flags=re.MULTILINE)
            assert times, f"{pattern!r} is not in:\n{text}"
        return text
