"""Servers for the black-box tests: the embedded one, and two web with two worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from tests.blackbox.api import Api
from tests.support.processes import Server, serve

AGENTS = Path(__file__).parent / "agents.py"
AGENT = f"{AGENTS}:agent"


@dataclass(kw_only=True)
class World:
    """Servers on one store. `effects`: what tools did, written outside all processes."""

    servers: list[Server]
    path: Path
    clients: list[Api] = field(default_factory=list[Api])

    @property
    def server(self) -> Server:
        return self.servers[0]

    def client(self, url: str = "", **headers: str) -> Api:
        """A client of its own, closed with the world."""
        self.clients.append(Api(url or self.server.url, **headers))
        return self.clients[-1]

    @cached_property
    def api(self) -> Api:
        return self.client()

    @cached_property
    def other(self) -> Api:
        """Another client; on another replica, where there is one."""
        return self.client([server for server in self.servers if server.port is not None][-1].url)

    def close(self) -> None:
        """Close the clients."""
        for client in self.clients:
            client.http.close()

    @property
    def effects(self) -> list[str]:
        path = self.path / "effects"
        return path.read_text().splitlines() if path.exists() else []


def environment(path: Path) -> dict[str, str]:
    """Short times, so that tests of them are short too."""
    return {
        "EFFECTS": str(path / "effects"),
        "JACKLINE_HEARTBEAT": "0.5",
        "JACKLINE_LEASE": "2",
        "JACKLINE_STOP_GRACE": "3",
    }


@contextlib.contextmanager
def world(path: Path, *, agent: str = AGENT, **env: str) -> Generator[World]:
    """An embedded server of its own, for tests that kill it or need settings."""
    path.mkdir(exist_ok=True)
    with serve(path, agent=agent, env=environment(path) | env) as server:
        made = World(servers=[server], path=path)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """One embedded server for a module's tests."""
    with world(tmp_path_factory.mktemp("embedded")) as made:
        yield made
