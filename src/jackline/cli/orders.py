"""What is done with a run: chat, tail, decide, stop. Everything heavy is imported from here, and this by none
but the commands."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import anyio

from jackline.cli import exits, receipt
from jackline.cli.course import Wish, course_of
from jackline.cli.courses import One
from jackline.cli.hints import command
from jackline.cli.names import run_named
from jackline.cli.running import ENDLESS, PACE, Target, complain, interactive, run, say, say_json, seen
from jackline.cli.watch import watch
from jackline.client.errors import Unreachable

if TYPE_CHECKING:
    from jackline.client.api import Client, Decision, OnBusy, StopMode, Stopped

_WAIT_S: Final = 60.0
"""The longest that the server waits within one request."""
_AGAIN_S: Final = 0.2


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
    ask = not target.json and interactive()
    if message is None:
        if not ask:
            return complain("nothing to ask for: give a message, or - to read it from stdin", exits.USAGE)
        return _talk(target, conversation_id=conversation_id, agent=agent, on_busy=on_busy, full=full)
    try:
        said = sys.stdin.read() if message == "-" else message
        said.encode()
    except UnicodeError:
        return complain("what stdin holds is not UTF-8", exits.USAGE)

    async def order(client: Client) -> int:
        opens = partial(client.chat, said, conversation_id=conversation_id, agent=agent, on_busy=on_busy)
        view, editor = seen(target, asks=ask, said=True, full=full)
        return await watch(client, One(opens=opens), view, ask=ask, editor=editor)

    return run(target, order)


def _talk(
    target: Target, *, conversation_id: str | None, agent: str | None, on_busy: OnBusy | None, full: bool
) -> int:
    from jackline.cli.talk import Talk

    async def order(client: Client) -> int:
        view, editor = seen(target, asks=True, full=full, speaks=True)
        talk = Talk(client, conversation_id=conversation_id, agent=agent, on_busy=on_busy)
        await talk.greet(view)
        return await watch(client, talk, view, ask=True, editor=editor)

    return run(target, order, ENDLESS)


def tail(target: Target, run_id: str | None, wish: Wish) -> int:
    """Watch a run, or with `follow` a conversation's runs, one after the other."""

    async def order(client: Client) -> int:
        course = await course_of(client, run_id, wish)
        view, editor = seen(target, full=wish.full)
        return await watch(client, course, view, ask=False, editor=editor)

    return run(target, order, ENDLESS if wish.follow else PACE)


def decide(target: Target, decision: Decision, *, follow: bool) -> int:
    """Send a decision; with `follow` go on watching the run."""
    ask = follow and not target.json and interactive()

    async def order(client: Client) -> int:
        if follow:
            opens = partial(client.decide_and_follow, decision)
            view, editor = seen(target, asks=ask)
            return await watch(client, One(opens=opens), view, ask=ask, editor=editor)
        decided = await client.decide(decision)
        if target.json:
            say_json(decided.data)
        else:
            by = f" by {decided.by}" if decided.by else ""
            say(f"{decided.call_id}: {decided.state}{by}")
            say(f"watch it with: {command('tail', decided.run_id)}")
        return exits.COMPLETED

    return run(target, order)


def stop(target: Target, run_id: str, *, reason: str | None, mode: StopMode, wait_s: float | None) -> int:
    """Stop a run and say what that did."""

    async def order(client: Client) -> int:
        found = await run_named(client, run_id)
        stopped = await _stop(client, found, reason=reason, mode=mode, wait_s=wait_s)
        if target.json:
            say_json(stopped.data)
        else:
            for line in _stop_in_words(stopped, wait_s):
                say(line)
        return exits.COMPLETED

    return run(target, order)


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


def _stop_in_words(stopped: Stopped, wait_s: float | None) -> list[str]:
    run_id, state = stopped.run_id, stopped.state
    if not stopped.quiet:
        waited = "" if wait_s is None else f", not quiet after {wait_s:g} s"
        return [f"run {run_id} is {state}{waited}", f"watch it with: {command('tail', run_id)}"]
    words: Literal["", "had already ended: "] = "" if stopped.receipt else "had already ended: "
    lines = [f"run {run_id} {words}{state}"]
    return lines + (receipt.in_words(stopped.receipt) if stopped.receipt else [])
