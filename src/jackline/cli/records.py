"""What is kept of runs: shown on the page, exported, deleted."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from jackline.cli import browser, exits, page
from jackline.cli.hints import command
from jackline.cli.plain import one_line, plain
from jackline.cli.running import Target, complain, interactive, run, say, say_json
from jackline.client.errors import Refused
from jackline.client.export import is_run
from jackline.client.shape import members

if TYPE_CHECKING:
    from pathlib import Path

    from jackline.client.api import Client


def open_page(target: Target, name: str | None, *, only_print: bool) -> int:
    """Show the page for an id in a browser, or print its address."""

    async def order(client: Client) -> int:
        from jackline.settings import environment

        told = (only_print or target.json) and page.is_told(name)
        address = page.address(client.url, name) if told else await page.address_of(client, name)
        if target.json:
            say_json({"url": address})
        elif only_print or not browser.can_show(environment()) or not browser.show(address):
            say(address)
        return exits.COMPLETED

    return run(target, order)


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
            return complain(f"cannot write {file}: {error.strerror}", exits.FAILED)
        finally:
            part.unlink(missing_ok=True)
        return exits.COMPLETED

    return run(target, order)


async def _write_lines(client: Client, name: str, file: BinaryIO) -> None:
    async for line in client.export(name):
        file.write(line)
        if line.startswith(b'{"run"'):
            run = members(json.loads(line)["run"]) or {}
            if run.get("open"):
                words = f"run {run['run_id']} is {run['state']}: this is all up to entry {run['seq']}"
                say(f"jackline: {one_line(words)}", file=sys.stderr)
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
            return complain(text, exits.FAILED)
        if target.json:
            say_json({"deleted": name})
        else:
            say(f"{what} {name} is gone")
        return exits.COMPLETED

    if not sure and interactive() and not _agrees(f"delete {what} {plain(name)} for ever? [y/N] "):
        say("nothing was deleted", file=sys.stderr)
        return exits.FAILED
    return run(target, order)


def _agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        return False
