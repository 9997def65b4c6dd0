"""The page in a browser: opened only where somebody sits who sees it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psutil
import pytest

from jackline.cli import browser
from tests.cli.terminal import Terminal, environment, terminal
from tests.client.server import RUN, Connection, Request, Server
from tests.support.processes import HOST, eventually, free_port, start

pytestmark = pytest.mark.anyio

OPENER = """#!/bin/sh
echo "$@" > "$OPENED.half"
mv "$OPENED.half" "$OPENED"
"""


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """Where the opener that stands in for the desktop's writes what it is given."""
    (tmp_path / "bin").mkdir()
    opener = tmp_path / "bin" / "xdg-open"
    opener.write_text(OPENER)
    opener.chmod(0o755)
    return tmp_path / "opened"


def env_of(opened: Path, **more: str) -> dict[str, str]:
    path = f"{opened.parent / 'bin'}:{environment()['PATH']}"
    own = {"PATH": path, "OPENED": str(opened), "JACKLINE_DATA_DIR": str(opened.parent / "data")}
    return {"SSH_CONNECTION": "", "WAYLAND_DISPLAY": "", "DISPLAY": ":9"} | own | more


def given_to(opened: Path) -> str:
    """The address that was opened; empty when none was."""
    return opened.read_text().strip() if opened.exists() else ""


@pytest.mark.parametrize(
    ("environ", "at_terminal", "can"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ""}, True, False),
        ({}, True, False),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, True, False),
    ],
)
def test_a_browser_is_for_who_sits_at_a_display(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], at_terminal: bool, can: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert browser.can_show(environ, terminal=at_terminal) is can


async def known(request: Request, connection: Connection) -> None:
    del request
    await connection.json(200, {"entries": [], "next": 1})


@pytest.mark.parametrize(("display", "shown"), [(":9", True), ("", False)])
async def test_open_shows_a_run_to_who_sits_at_a_display_and_tells_others_its_address(
    opened: Path, server: Server, display: str, shown: bool
) -> None:
    server.answer(known)
    address = f"{server.url}/#/runs/{RUN}"
    env = env_of(opened, DISPLAY=display)
    async with terminal("open", RUN, "--url", server.url, columns=80, rows=24, **env) as screen:
        assert await screen.end() == 0
        assert (address in screen.text) is not shown
    if shown:
        assert await asyncio.to_thread(eventually, lambda: given_to(opened)) == address
    else:
        assert given_to(opened) == ""


async def served(screen: Terminal, port: int) -> None:
    await screen.until(f"Jackline on http://{HOST}:{port}")
    await screen.until("its runs go on when it is back.")


async def test_the_page_opens_where_there_is_a_terminal_and_a_display(opened: Path) -> None:
    port = free_port()
    url = f"http://{HOST}:{port}"
    async with terminal(
        "serve", "--port", str(port), "--open", columns=80, rows=24, **env_of(opened)
    ) as screen:
        await served(screen, port)
        assert f"The page opens in your browser: {url}" in screen.text
        assert await asyncio.to_thread(eventually, lambda: given_to(opened)) == url
        screen.type("\x03")
        assert await screen.end() == 0


@pytest.mark.parametrize(
    ("options", "env"),
    [
        (("--open",), {"DISPLAY": ""}),
        (("--no-open",), {"JACKLINE_OPEN_PAGE": "1"}),
        ((), {}),
        (("--open",), {"PATH": "/nowhere"}),
    ],
)
async def test_else_the_address_is_told(opened: Path, options: tuple[str, ...], env: dict[str, str]) -> None:
    """No display, switched off, never asked for, nothing to open it with."""
    port = free_port()
    given = env_of(opened, **env)
    if env.get("PATH") == "/nowhere":
        given["PATH"] = str(_without_opener(opened.parent))
    async with terminal("serve", "--port", str(port), *options, columns=80, rows=24, **given) as screen:
        await served(screen, port)
        assert f"Open http://{HOST}:{port} in a browser." in screen.text
        screen.type("\x03")
        assert await screen.end() == 0
    assert given_to(opened) == ""


def _without_opener(folder: Path) -> Path:
    """A PATH with only what a terminal's command is started by."""
    path = folder / "few"
    path.mkdir()
    setsid = shutil.which("setsid")
    assert setsid is not None
    (path / "setsid").symlink_to(setsid)
    return path


def test_up_asks_for_it_unless_told_otherwise(opened: Path, tmp_path: Path) -> None:
    """`scripts/up` ends in `jackline serve` with a wish that anything else outweighs, and says whose runs
    it serves."""
    up = Path(__file__).parents[2] / "scripts" / "up"
    log = tmp_path / "up.log"
    env = environment() | env_of(opened)
    with start([up, "--port", str(free_port())], log_path=log, env=env, cwd=tmp_path) as process:
        serving = psutil.Process(process.pid)
        eventually(lambda: "serve" in serving.cmdline(), what="scripts/up has become jackline serve")
        assert "--open-unless-told" in serving.cmdline()
        assert "JACKLINE_OPEN_PAGE" not in serving.environ()
    assert f"runs of {tmp_path}" in log.read_text()


@pytest.mark.parametrize(
    ("file", "env", "opens"),
    [
        ("", {}, True),
        ("open_page = false", {}, False),
        ("open_page = false", {"JACKLINE_OPEN_PAGE": "1"}, True),
        ("", {"JACKLINE_OPEN_PAGE": "0"}, False),
    ],
)
async def test_what_is_set_outweighs_the_wish_of_up(
    opened: Path, tmp_path: Path, file: str, env: dict[str, str], opens: bool
) -> None:
    """A file that says no is not overruled by how the server is started."""
    config = tmp_path / "told.toml"
    config.write_text(file)
    port = free_port()
    options = ("--open-unless-told", "--config", str(config), "--port", str(port))
    async with terminal("serve", *options, columns=80, rows=24, **env_of(opened, **env)) as screen:
        await served(screen, port)
        assert ("The page opens in your browser" in screen.text) is opens
        screen.type("\x03")
        assert await screen.end() == 0
