"""What the client's commands do. Everything heavy is imported from here, and this by none but them."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import anyio

from jackline.cli import exits, receipt
from jackline.cli.course import Wish, course_of
from jackline.cli.courses import One
from jackline.cli.hints import approve, command
from jackline.cli.names import run_named
from jackline.cli.plain import one_line, plain
from jackline.cli.view import JsonView, View
from jackline.cli.watch import watch
from jackline.client.api import Client, Decision, OnBusy, StopMode, Stopped
from jackline.client.errors import ClientError, Refused, Unreachable
from jackline.client.export import is_run
from jackline.client.pace import Pace
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Set
    from pathlib import Path

    from jackline.cli.board import Board
    from jackline.cli.line import LineEditor

# Who types a command wants to hear at once that nobody is there; a server that is there and cannot
# answer gets a little time, and a run once followed is not given up before the client's own default.
_PACE = Pace(connect_budget_s=0, first_budget_s=10)
# What has no end of its own ends when it is left: overnight a server may be away for hours.
_WAIT_S = 60.0
"""The longest that the server waits within one request."""
_AGAIN_S = 0.2
ENDLESS = replace(_PACE, follow_budget_s=math.inf, waits=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a command goes, and how it answers."""

    url: str
    token: str | None
    json: bool


def chat(
    target: Target,
    message: str | None,
    *,
    conversation_id: str | None,
    agent: str | None,
    on_busy: OnBusy | None,
    full: bool,
) -> int:
    """Start a run and watch it; without a message talk, run after run."""
    ask = not target.json and _interactive()
    if message is None:
        if not ask:
            return _complain("nothing to ask for: give a message, or - to read it from stdin", exits.USAGE)
        return _talk(target, conversation_id=conversation_id, agent=agent, on_busy=on_busy, full=full)
    try:
        said = sys.stdin.read() if message == "-" else message
        said.encode()
    except UnicodeError:
        return _complain("what stdin holds is not UTF-8", exits.USAGE)

    async def order(client: Client) -> int:
        opens = partial(client.chat, said, conversation_id=conversation_id, agent=agent, on_busy=on_busy)
        view, editor = _seen(target, asks=ask, said=True, full=full)
        return await watch(client, One(opens=opens), view, ask=ask, editor=editor)

    return _run(target, order)


def _talk(
    target: Target, *, conversation_id: str | None, agent: str | None, on_busy: OnBusy | None, full: bool
) -> int:
    from jackline.cli.talk import Talk

    async def order(client: Client) -> int:
        view, editor = _seen(target, asks=True, full=full, speaks=True)
        talk = Talk(client, conversation_id=conversation_id, agent=agent, on_busy=on_busy)
        await talk.greet(view)
        return await watch(client, talk, view, ask=True, editor=editor)

    return _run(target, order, ENDLESS)


def tail(target: Target, run_id: str | None, wish: Wish) -> int:
    """Watch a run, or with `follow` a conversation's runs, one after the other."""

    async def order(client: Client) -> int:
        course = await course_of(client, run_id, wish)
        view, editor = _seen(target, full=wish.full)
        return await watch(client, course, view, ask=False, editor=editor)

    return _run(target, order, ENDLESS if wish.follow else _PACE)


def decide(target: Target, decision: Decision, *, follow: bool) -> int:
    """Send a decision; with `follow` go on watching the run."""
    ask = follow and not target.json and _interactive()

    async def order(client: Client) -> int:
        if follow:
            opens = partial(client.decide_and_follow, decision)
            view, editor = _seen(target, asks=ask)
            return await watch(client, One(opens=opens), view, ask=ask, editor=editor)
        decided = await client.decide(decision)
        if target.json:
            _print_json(decided.data)
        else:
            by = f" by {decided.by}" if decided.by else ""
            _print(f"{decided.call_id}: {decided.state}{by}")
            _print(f"watch it with: {command('tail', decided.run_id)}")
        return exits.COMPLETED

    return _run(target, order)


def stop(target: Target, run_id: str, *, reason: str | None, mode: StopMode, wait_s: float | None) -> int:
    """Stop a run and say what that did."""

    async def order(client: Client) -> int:
        found = await run_named(client, run_id)
        stopped = await _stop(client, found, reason=reason, mode=mode, wait_s=wait_s)
        if target.json:
            _print_json(stopped.data)
        else:
            for line in _stop_in_words(stopped, wait_s):
                _print(line)
        return exits.COMPLETED

    return _run(target, order)


async def _stop(
    client: Client, run_id: str, *, reason: str | None, mode: StopMode, wait_s: float | None
) -> Stopped:
    """The stop, which is sent again as long as it may be waited for: the server waits no longer for one."""
    until = time.monotonic() + (wait_s or 0)
    asked = None if wait_s is None else min(wait_s, _WAIT_S)
    stopped: Stopped | None = None
    while True:
        try:
            stopped = await client.stop(run_id, reason=reason, mode=mode, wait_s=asked)
        except Unreachable:
            if stopped is None:
                raise
            # It was accepted: that the server is away now does not take it back.
        left = until - time.monotonic()
        if stopped.quiet or left <= 0:
            return stopped
        await anyio.sleep(min(left, _AGAIN_S))
        asked = min(max(until - time.monotonic(), 0), _WAIT_S)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Which runs to list."""

    state: str | None
    conversation_id: str | None
    limit: int
    cursor: str | None = None


def runs(target: Target, wish: Listing) -> int:
    """List runs, newest first."""

    async def order(client: Client) -> int:
        from jackline.cli.board import outcomes_in

        page = await client.runs(
            state=wish.state, conversation_id=wish.conversation_id, limit=wish.limit, cursor=wish.cursor
        )
        if target.json:
            _print_json(page)
            return exits.COMPLETED
        found = items(page.get("runs"))
        outcomes = await outcomes_in(client, page)
        for each in found:
            for line in _run_lines(members(each) or {}, outcomes):
                _print(line)
        if not found:
            _print("no runs", file=sys.stderr)
        if page.get("next"):
            _print(f"there are more: --cursor {page['next']}", file=sys.stderr)
        return exits.COMPLETED

    return _run(target, order)


def watch_runs(target: Target, wish: Listing) -> int:
    """List runs, and go on showing what changes."""

    async def order(client: Client) -> int:
        from jackline.cli import board

        state, conversation_id = wish.state, wish.conversation_id

        async def lists() -> tuple[dict[str, Any], Set[str]]:
            page = await client.runs(state=state, conversation_id=conversation_id, limit=wish.limit)
            return page, frozenset() if target.json else await board.outcomes_in(client, page)

        shown, editor = (board.JsonLines(), None) if target.json else _board()
        return await board.watch(
            client, lists, shown, state=state, conversation_id=conversation_id, editor=editor
        )

    return _run(target, order, ENDLESS)


def _board() -> tuple[Board, LineEditor | None]:
    from jackline.cli.terminal import is_live

    if not is_live():
        from jackline.cli.board import Lines

        return Lines(), None
    from jackline.cli.line import LineEditor
    from jackline.cli.live_board import LiveBoard
    from jackline.cli.terminal import console, screen, signs

    board = LiveBoard(console=console(), screen=screen(), signs=signs())
    return board, LineEditor() if sys.stdin.isatty() else None


def open_page(target: Target, name: str | None, *, only_print: bool) -> int:
    """Show the page for an id in a browser, or print its address."""

    async def order(client: Client) -> int:
        from jackline.cli import browser, page
        from jackline.settings import environment

        told = (only_print or target.json) and page.is_told(name)
        address = page.address(client.url, name) if told else await page.address_of(client, name)
        if target.json:
            _print_json({"url": address})
        elif only_print or not browser.can_show(environment()) or not browser.show(address):
            _print(address)
        return exits.COMPLETED

    return _run(target, order)


def export(target: Target, name: str, *, file: Path | None) -> int:
    """Write a run or a conversation as JSON lines."""

    async def order(client: Client) -> int:
        if file is None:
            await _write_lines(client, name, sys.stdout.buffer)
            return exits.COMPLETED
        # Beside it first: what was cut must not look like the whole.
        part = file.with_name(f".{file.name}.part")
        try:
            with part.open("wb") as lines:
                await _write_lines(client, name, lines)
            part.replace(file)
        except OSError as error:
            return _complain(f"cannot write {file}: {error.strerror}", exits.FAILED)
        finally:
            part.unlink(missing_ok=True)
        return exits.COMPLETED

    return _run(target, order)


async def _write_lines(client: Client, name: str, file: BinaryIO) -> None:
    async for line in client.export(name):
        file.write(line)
        if line.startswith(b'{"run"'):
            run = members(json.loads(line)["run"]) or {}
            if run.get("open"):
                words = f"run {run['run_id']} is {run['state']}: this is all up to entry {run['seq']}"
                _print(f"jackline: {one_line(words)}", file=sys.stderr)
    file.flush()


def delete(target: Target, name: str, *, sure: bool) -> int:
    """Remove a run or a conversation everywhere."""
    what = "run" if is_run(name) else "conversation"

    async def order(client: Client) -> int:
        try:
            await client.delete(name)
        except Refused as refused:
            run_id = refused.problem.get("run_id")
            if refused.status != HTTPStatus.CONFLICT or run_id is None:
                raise
            first = command("stop", str(run_id), "--wait", "10")
            text = f"run {run_id} has not finished; stop it first: {first}"
            return _complain(text, exits.FAILED)
        if target.json:
            _print_json({"deleted": name})
        else:
            _print(f"{what} {name} is gone")
        return exits.COMPLETED

    if not sure and _interactive() and not _agrees(f"delete {what} {plain(name)} for ever? [y/N] "):
        _print("nothing was deleted", file=sys.stderr)
        return exits.FAILED
    return _run(target, order)


def _agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        return False


# ----------------------------------------------------------------------------------------------


def _run(target: Target, order: Callable[[Client], Awaitable[int]], pace: Pace = _PACE) -> int:
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
        return _complain(str(error), exits.USAGE)
    async with client:
        try:
            return await order(client)
        except ClientError as error:
            return _complain(*exits.explain(error))
        except ValueError as error:
            return _complain(str(error), exits.USAGE)


def _complain(text: str, code: int) -> int:
    _print(f"jackline: {one_line(text)}", file=sys.stderr)
    return code


def _seen(
    target: Target, *, asks: bool = False, said: bool = False, full: bool = False, speaks: bool = False
) -> tuple[View, LineEditor | None]:
    if target.json:
        return JsonView(), None
    # Rich takes a while to import, and only this needs it.
    from jackline.cli.terminal import seen

    found = seen(asks=asks, said=said, full=full, speaks=speaks)
    return found.view, found.editor


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _print(text: str, *, file: Any = None) -> None:
    print(plain(text), file=file, flush=True)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)


def _stop_in_words(stopped: Stopped, wait_s: float | None) -> list[str]:
    run_id, state = stopped.run_id, stopped.state
    if not stopped.quiet:
        waited = "" if wait_s is None else f", not quiet after {wait_s:g} s"
        return [f"run {run_id} is {state}{waited}", f"watch it with: {command('tail', run_id)}"]
    words: Literal["", "had already ended: "] = "" if stopped.receipt else "had already ended: "
    lines = [f"run {run_id} {words}{state}"]
    return lines + (receipt.in_words(stopped.receipt) if stopped.receipt else [])


def _run_lines(run: dict[str, Any], outcomes: Set[str]) -> list[str]:
    """A run on one line; its title and the questions it has on lines under it, so that nothing
    depends on how wide the terminal is."""
    columns = [str(run.get("run_id", "")), str(run.get("state", "")).ljust(len("awaiting_approval"))]
    columns += [one_line(str(run[name])) for name in ("updated_at", "agent") if run.get(name)]
    lines = ["  ".join(columns)]
    if title := run.get("title"):
        lines.append(f"    {one_line(str(title))[:100]}")
    lines += [
        f"    waits for: {approve(str(call), outcome=call in outcomes)}"
        for call in items(run.get("waiting_for"))
    ]
    waiting = members(run.get("waiting")) or {}
    if waiting.get("for") != "approval" and waiting.get("detail"):
        lines.append(f"    waits: {one_line(str(waiting['detail']))}")
    return lines
