"""How a client's command is run: its client, its exit code, what it prints."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from jackline.cli import exits
from jackline.cli.plain import one_line, plain
from jackline.cli.view import JsonView, View
from jackline.client.api import Client
from jackline.client.errors import ClientError
from jackline.client.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.cli.line import LineEditor

# Who types a command wants to hear at once that nobody is there; a server that is there and cannot
# answer gets a little time, and a run once followed is not given up before the client's own default.
PACE: Final = Pace(connect_budget_s=0, first_budget_s=10)
# What has no end of its own ends when it is left: overnight a server may be away for hours.
ENDLESS: Final = replace(PACE, follow_budget_s=math.inf, waits=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a command goes, and how it answers."""

    url: str
    token: str | None
    json: bool


def run(target: Target, order: Callable[[Client], Awaitable[int]], pace: Pace = PACE) -> int:
    """Do this with a client, and give the exit code; what goes wrong is said in one line."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not the end of the command.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    code = exits.FAILED
    try:
        code = anyio.run(_with_client, target, order, pace)
    except* BrokenPipeError:
        # Python flushes stdout once more at its exit; there must be something that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.NO_READER
    except* KeyboardInterrupt:
        code = exits.INTERRUPTED
    return code


async def _with_client(target: Target, order: Callable[[Client], Awaitable[int]], pace: Pace) -> int:
    try:
        client = Client(target.url, target.token, pace=pace)
    except ValueError as error:
        return complain(str(error), exits.USAGE)
    async with client:
        try:
            return await order(client)
        except ClientError as error:
            return complain(*exits.explain(error))
        except ValueError as error:
            return complain(str(error), exits.USAGE)


def complain(text: str, code: int) -> int:
    """Say what is wrong; the exit code again."""
    say(f"jackline: {one_line(text)}", file=sys.stderr)
    return code


def seen(
    target: Target, *, asks: bool = False, said: bool = False, full: bool = False, speaks: bool = False
) -> tuple[View, LineEditor | None]:
    """Where a run is shown, and what edits the line that is typed there."""
    if target.json:
        return JsonView(), None
    # Rich takes a while to import, and only this needs it.
    from jackline.cli import terminal

    found = terminal.seen(asks=asks, said=said, full=full, speaks=speaks)
    return found.view, found.editor


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def say(text: str, *, file: Any = None) -> None:
    """Write a line for people."""
    print(plain(text), file=file, flush=True)


def say_json(value: dict[str, Any]) -> None:
    """Write a line for programs."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)
