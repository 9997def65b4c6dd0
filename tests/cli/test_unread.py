"""Nobody reads what a command writes: a signal ends it all the same."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from tests.cli.terminal import PATIENCE_S, environment, full
from tests.cli.test_board import Runs as Listed
from tests.cli.test_board import row
from tests.cli.toy import RUN, Toy, objects
from tests.client.server import Server

pytestmark = pytest.mark.anyio

PAGE = 4096
ENDINGS = pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    process: asyncio.subprocess.Process
    reads: int
    """What nobody reads."""

    async def end(self, number: signal.Signals) -> tuple[int | None, str]:
        """Send the signal; the exit code and stderr."""
        self.process.send_signal(number)
        with anyio.fail_after(PATIENCE_S):
            _, err = await self.process.communicate()
        return self.process.returncode, (err or b"").decode()


@asynccontextmanager
async def unread(*command: str, both: bool = False) -> AsyncGenerator[Unread]:
    """A command whose stdout is a pipe that is full; with `both` its stderr is that, too."""
    async with piped("-m", "jackline", *command, both=both) as found:
        yield found


@asynccontextmanager
async def piped(*args: str, both: bool = False) -> AsyncGenerator[Unread]:
    """The same of any Python program."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PAGE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=writes,
        stderr=writes if both else asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        await full(writes)
        yield Unread(process=process, reads=reads)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        os.close(reads)
        os.close(writes)


def much(toy: Toy) -> None:
    toy.begin()
    for _ in range(300):
        toy.say("x" * 200 + "\n")


@ENDINGS
@pytest.mark.parametrize("args", [("tail", RUN), ("tail", RUN, "--json"), ("chat", "hello")])
async def test_a_run_that_is_watched_is_left(
    server: Server, toy: Toy, args: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    """G2: the run goes on."""
    much(toy)
    async with unread(*args, "--url", server.url) as command:
        said = await command.end(number)
    assert said[0] == code
    assert f"run {RUN} goes on; come back with: jackline tail {RUN} " in said[1]
    assert "Traceback" not in said[1]


async def test_who_comes_back_misses_nothing_of_what_was_not_written(server: Server, toy: Toy) -> None:
    """G1: the cursor that is told is never ahead of what can still be read."""
    much(toy)
    async with unread("tail", RUN, "--json", "--url", server.url) as command:
        _, said = await command.end(signal.SIGTERM)
        written = os.read(command.reads, PAGE).decode()
    told = re.search(r"--after (\d+)", said)
    ids = [each["id"] for each in objects(written[: written.rfind("\n") + 1]) if "id" in each]
    assert told is None or told[1] == ids[-1]


@ENDINGS
@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_a_list_that_is_watched_is_left(
    server: Server, flags: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    server.answer(Listed([row(f"c{n}.1", "executing", 2) for n in range(1000)]).answer)
    async with unread("runs", "--watch", *flags, "--url", server.url) as command:
        assert await command.end(number) == (code, "")


async def test_what_is_said_at_the_end_is_not_waited_for_either(server: Server, toy: Toy) -> None:
    """Where stderr is the same pipe."""
    much(toy)
    async with unread("tail", RUN, "--url", server.url, both=True) as command:
        assert (await command.end(signal.SIGTERM))[0] == 143


async def test_a_run_that_has_ended_meanwhile_is_no_success_of_output_that_was_lost(
    server: Server, toy: Toy
) -> None:
    much(toy)
    toy.finish()
    async with unread("tail", RUN, "--url", server.url) as command:
        assert (await command.end(signal.SIGTERM))[0] == 143


SAYS_MUCH = """
import asyncio, signal, sys
from jackline.cli.signals import signals

async def main():
    over = asyncio.Event()
    with signals({signal.SIGTERM: over.set}, ends={signal.SIGTERM}, last_s=60) as caught:
        print("x" * 100_000)
        await over.wait()
        print("the end")
    sys.exit(caught.lost)

asyncio.run(main())
"""


async def test_a_reader_that_is_only_slow_gets_the_end() -> None:
    """A terminal that lags behind is put right by what is written last."""
    async with piped("-c", SAYS_MUCH) as command:
        command.process.send_signal(signal.SIGTERM)
        said = b""
        with anyio.fail_after(PATIENCE_S):
            while not said.endswith(b"the end\n"):
                await anyio.wait_readable(command.reads)
                said += os.read(command.reads, PAGE)
            assert await command.process.wait() == 0
    assert said == b"x" * 100_000 + b"\nthe end\n"


async def test_a_reader_that_begins_late_gets_everything(server: Server, toy: Toy) -> None:
    """G1: slow is not lost."""
    much(toy)
    toy.finish()
    line = '"$0" -m jackline tail "$1" --url "$2" | (read -r first; cat)'
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            ["bash", "-c", line, sys.executable, RUN, server.url], env=environment(), check=False
        )
    lines = done.stdout.decode().splitlines()
    assert (lines.count("x" * 200), lines[-1], done.stderr) == (300, "completed", b"")
