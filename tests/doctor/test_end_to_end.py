"""The command itself, with a throw-away origin behind a real NGINX, and with a real Jackline."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jackline.proxies import Wish, render
from tests.support.nginx import nginx, proxy, wrap
from tests.support.processes import (
    HOST,
    PATIENCE,
    Process,
    clean_environment,
    eventually,
    free_port,
    serve,
    start,
)

JACKLINE = [sys.executable, "-m", "jackline"]
SECRET = "0123456789abcdef" * 2


@dataclass(kw_only=True)
class Origin:
    """A throw-away origin that runs."""

    port: int
    token: str
    process: Process

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Generator[Origin]:
    port = free_port()
    folder = tmp_path_factory.mktemp("origin")
    args = [*JACKLINE, "doctor", "--origin", "--listen", f"{HOST}:{port}"]
    with start(args, log_path=folder / "log", env=clean_environment(), cwd=folder) as process:
        found = eventually(lambda: re.search(r"--token (\S+)", process.log()), what="the origin's token")
        yield Origin(port=port, token=found[1], process=process)
        assert list(folder.iterdir()) == [folder / "log"], "it has no store"


def doctor(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*JACKLINE, "doctor", *args],
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
        stdin=subprocess.DEVNULL,
    )


def behind(origin: Origin, folder: Path, config: str, port: int, *args: str) -> dict[str, Any]:
    """What the doctor says of the origin behind an NGINX."""
    with nginx(folder, config, port):
        done = doctor(f"http://{HOST}:{port}", "--token", origin.token, "--json", *args)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["exit_code"] == done.returncode
    return said


def codes(said: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in said["findings"]}


def test_a_generated_configuration_is_good(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    config = render("nginx", Wish(upstream=(HOST, origin.port), listen=(HOST, port)))
    said = behind(origin, tmp_path, config, port)
    assert (said["verdict"], said["exit_code"], said["findings"]) == ("good", 0, [])
    assert said["proxy"]["name"] == "nginx"
    assert said["proxy"]["score"] >= 0.8


def test_http_1_0_is_found_with_what_to_paste(origin: Origin, tmp_path: Path) -> None:
    """NGINX's default before 1.29.7, for a service that sends no header against it; and for people."""
    port = free_port()
    with nginx(tmp_path, proxy(port, origin.url, "proxy_http_version 1.0;"), port):
        done = doctor(f"http://{HOST}:{port}", "--token", origin.token, "--plain")
    assert done.returncode == 20, done.stdout + done.stderr
    assert "buffered-http10 (broken)" in done.stdout
    assert 'proxy_http_version 1.1; proxy_set_header Connection "";' in done.stdout
    pasted = done.stdout.partition("jackline proxy nginx):")[2]
    assert pasted.strip() == render("nginx", Wish()).strip()
    rows = {line[:17].strip(): line for line in done.stdout.splitlines()}
    assert rows["GET"].endswith("live")
    assert rows["no protection"].endswith("all at the end")


def test_a_proxy_that_ignores_our_headers_breaks_our_streams(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    settings = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;"
    said = behind(origin, tmp_path, proxy(port, origin.url, settings), port)
    assert (said["verdict"], said["exit_code"]) == ("broken", 20)
    assert {"buffered-http10", "accel-stripped"} <= codes(said)


def test_a_proxy_that_repeats_a_post_is_dangerous(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    servers = f"server {HOST}:{origin.port}; " * 2
    location = "proxy_pass http://twice; proxy_next_upstream error http_503 non_idempotent;"
    server = f"server {{ listen {HOST}:{port}; location / {{ {location} }} }}"
    said = behind(origin, tmp_path, wrap(f"upstream twice {{ {servers} }} {server}"), port)
    assert (said["verdict"], said["exit_code"]) == ("dangerous", 30)
    assert "repeated-request" in codes(said)


def test_a_limit_on_silence_is_found_in_time(origin: Origin, tmp_path: Path) -> None:
    """Whoever waits that long for a first byte loses it too."""
    port = free_port()
    config = proxy(port, origin.url, "proxy_http_version 1.1; proxy_read_timeout 1s;")
    said = behind(origin, tmp_path, config, port, "--long", "--seconds", "10")
    assert {"idle-limit", "error-before-headers"} <= codes(said)
    assert "lifetime-cap" not in codes(said)


def test_what_is_there_without_the_proxy_is_not_counted(origin: Origin, tmp_path: Path) -> None:
    """And a direct way is good."""
    port = free_port()
    config = proxy(port, origin.url, "proxy_http_version 1.1; proxy_set_header Last-Event-ID x;")
    said = behind(origin, tmp_path, config, port, "--compare", origin.url)
    assert said["baseline"] == []
    assert codes(said) == {"rewritten"}
    assert said["exit_code"] == 10


def test_a_jackline_is_asked_with_a_grant_and_says_so_without(tmp_path: Path) -> None:
    """G12: without one there is nothing but the advice to get one."""
    with serve(tmp_path, role="web", env={"JACKLINE_PROBE_SECRET": SECRET}) as server:
        closed = doctor(server.url)
        assert closed.returncode == 2
        assert "jackline doctor --grant" in closed.stdout
        assert "content-type" in closed.stdout
        programs = doctor(server.url, "--json")
        assert (programs.returncode, json.loads(programs.stdout)["verdict"]) == (2, None)
        grant = doctor("--grant", JACKLINE_PROBE_SECRET=SECRET)
        assert grant.returncode == 0
        done = doctor(server.url, "--json", JACKLINE_TOKEN=grant.stdout.strip())
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"], said["proxy"]) == (0, "good", None)
    assert said["measured"]["echo"]["changed"] == []


def test_what_cannot_be_asked_is_said_in_a_line(origin: Origin) -> None:
    nobody = doctor(f"http://{HOST}:{free_port()}")
    assert (nobody.returncode, nobody.stdout) == (4, "")
    assert "not reachable" in nobody.stderr
    stranger = doctor(origin.url)
    assert stranger.returncode == 1
    assert "token" in stranger.stderr
    for args in (
        [],
        [origin.url, "--origin"],
        ["--grant", "--origin"],
        ["ftp://x"],
        ["--origin", "--listen", "x"],
    ):
        assert doctor(*args).returncode == 2
    secretless = doctor("--grant")
    assert secretless.returncode == 2
    assert "probe_secret" in secretless.stderr


def test_an_origin_ends_in_good_order(tmp_path: Path) -> None:
    args = [*JACKLINE, "doctor", "--origin", "--listen", f"{HOST}:0"]
    with start(args, log_path=tmp_path / "log", env=clean_environment(), cwd=tmp_path) as process:
        eventually(lambda: "Ctrl-C" in process.log())
        process.kill(signal.SIGINT)
        assert process.wait() == 0
        assert "Traceback" not in process.log()
