"""Servers for the black-box tests: the embedded one, and two web with two worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil
import pytest

from tests.blackbox.api import Api
from tests.contract.redis_server import RedisServer, redis_server
from tests.support.processes import Server, eventually, serve

AGENTS = Path(__file__).parent / "agents.py"
AGENT = f"{AGENTS}:agent"


@dataclass(kw_only=True)
class World:
    """Servers on one store. `effects`: what tools did, written outside all processes. `store`: where
    it is not a file."""

    servers: list[Server]
    path: Path
    store: RedisServer | None = None
    clients: list[Api] = field(default_factory=list[Api])

    @property
    def server(self) -> Server:
        return self.servers[0]

    @property
    def port(self) -> int:
        """The first server's."""
        assert self.server.port is not None
        return self.server.port

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
        return self.client(self.webs[-1].url)

    @property
    def webs(self) -> list[Server]:
        return [server for server in self.servers if server.port is not None]

    @property
    def workers(self) -> list[Server]:
        """The processes that supervise a worker and serve nothing else."""
        return [server for server in self.servers if server.port is None]

    def until_workers(self, count: int) -> None:
        """Wait until so many workers live, and no more."""
        ready = lambda: self.api.http.get("/readyz").json()["workers"]["alive"] == count  # noqa: E731
        eventually(ready, what=f"{count} workers")

    def mend(self) -> None:
        """Start again what was killed."""
        for server in self.servers:
            if not server.process.running:
                server.launch()
        self.until_workers(max(1, len(self.workers)))

    def open_gate(self, name: str) -> None:
        """Let the tools that wait for this gate go on."""
        (self.path / f"gate-{name}").touch()

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
        "JACKLINE_STOP_GRACE": "6",
    }


@contextlib.contextmanager
def world(path: Path, *, agent: str | None = AGENT, **env: str) -> Generator[World]:
    """An embedded server of its own, for tests that kill it or need settings."""
    path.mkdir(exist_ok=True)
    with serve(path, agent=agent, env=environment(path) | env) as server:
        made = World(servers=[server], path=path)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """One embedded server for all tests of a process: starting one takes seconds."""
    with world(tmp_path_factory.mktemp("embedded")) as made:
        yield made


@contextlib.contextmanager
def demo_world(path: Path) -> Generator[World]:
    """What a newcomer gets: a server with nothing set, the demo's own files in a folder of the tests."""
    with world(path, agent=None, JACKLINE_DEMO_DIR=str(path / "scratch")) as made:
        yield made
    for process in psutil.process_iter():  # its scratch services outlive it
        with contextlib.suppress(psutil.Error):
            if str(path / "scratch") in " ".join(process.cmdline()):
                process.kill()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A newcomer's server for all tests of a process."""
    with demo_world(tmp_path_factory.mktemp("demo")) as made:
        yield made


@pytest.fixture(scope="session")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Two web and two worker processes on one Valkey."""
    path = tmp_path_factory.mktemp("replicas")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(redis_server(path, aof="always"))
        env = environment(path)
        servers = [
            stack.enter_context(
                serve(path, agent=AGENT, redis=store.url, role=role, env=env, name=f"{role}{number}")
            )
            for role in ("worker", "web")
            for number in (0, 1)
        ]
        made = World(servers=servers[2:] + servers[:2], path=path, store=store)
        made.until_workers(2)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(params=["embedded", "replicas"], scope="session")
def anywhere(request: pytest.FixtureRequest) -> World:
    """Each kind of servers: what is promised holds on all of them."""
    return request.getfixturevalue(request.param)
