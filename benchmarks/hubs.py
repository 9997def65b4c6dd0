"""Contestants of the scenarios in which one publisher's entries go to many viewers."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks import house
from benchmarks.bench import ENVIRONMENTS, PEERS, Bench
from benchmarks.load import get
from benchmarks.processes import HOST, Program, free_port, program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

_MODULES: Final = "/usr/lib/nginx/modules/ngx_nchan_module.so"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A server that entries can be published to. `sink`: kind and target for the publisher. `programs`:
    what is measured, `request`: a viewer's, by the channel's name. `redis`: one that is its own."""

    port: int
    programs: tuple[Program, ...]
    sink: tuple[str, str]
    request: Callable[[str], bytes]
    redis: Program | None = None


@contextmanager
def jackline_redis(bench: Bench, folder: Path, query: str = "") -> Generator[Hub]:
    """A web process, auth on, the log in a Redis with an AOF that is always written."""
    with ExitStack() as stack:
        store = stack.enter_context(house.redis(folder, bench.others, durable=True))
        web = house.jackline(folder, bench.server, store=store.url, role="web", agent=False)
        yield replace(jackline_hub(stack.enter_context(web), store.url, query), redis=store.program)


@contextmanager
def jackline_tick(bench: Bench, folder: Path) -> Generator[Hub]:
    """The same, where each viewer asks to be written to every 20 ms."""
    with jackline_redis(bench, folder, "?tick=20") as hub:
        yield hub


@contextmanager
def jackline_sqlite(bench: Bench, folder: Path) -> Generator[Hub]:
    """A web process, auth on, the embedded store."""
    data = folder / "data"
    with house.jackline(folder, bench.server, store=str(data), role="web", agent=False) as server:
        yield jackline_hub(server, str(data), "")


def jackline_hub(server: house.Server, store: str, query: str) -> Hub:
    """A server of Jackline as a hub: runs are channels."""

    def request(name: str) -> bytes:
        return get(f"/api/v1/agent/runs/{name}/events{query}", [house.AUTHORIZATION])

    return Hub(port=server.port, programs=server.programs, sink=("store", store), request=request)


@contextmanager
def nchan(bench: Bench, folder: Path) -> Generator[Hub]:
    """Nchan in NGINX: one worker, entries published by POST."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX % {"modules": _MODULES, "folder": folder, "port": port})
    command = ["nginx", "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(config)]
    with program("nginx", command, folder=folder, core=bench.server) as started:
        started.until_listening(port)
        yield Hub(port=port, programs=(started,), sink=("nchan", str(port)), request=_sub)


def _sub(name: str) -> bytes:
    return get(f"/sub/{name}")


@contextmanager
def queues(bench: Bench, folder: Path) -> Generator[Hub]:
    """Starlette with a queue per viewer; entries come over a socket."""
    ingest = free_port()
    with peer(bench, folder, "queues", {"INGEST_PORT": str(ingest)}) as server:
        yield Hub(port=server.port, programs=server.programs, sink=("lines", str(ingest)), request=_sub)


@contextmanager
def subscriptions(bench: Bench, folder: Path) -> Generator[Hub]:
    """sse-starlette with a Redis subscription per viewer."""
    with _redis_peer(bench, folder, "subscriptions", "publish") as hub:
        yield hub


@contextmanager
def pattern(bench: Bench, folder: Path) -> Generator[Hub]:
    """FastAPI with a Redis subscription and a polled stop key per viewer, and a list of all entries."""
    with _redis_peer(bench, folder, "pattern", "history") as hub:
        yield hub


@contextmanager
def _redis_peer(bench: Bench, folder: Path, name: str, kind: str) -> Generator[Hub]:
    with (
        house.redis(folder, bench.others, durable=False) as store,
        peer(bench, folder, name, {"REDIS_URL": store.url}) as server,
    ):
        yield Hub(
            port=server.port,
            programs=server.programs,
            sink=(kind, store.url),
            request=_sub,
            redis=store.program,
        )


@contextmanager
def peer(bench: Bench, folder: Path, name: str, env: dict[str, str]) -> Generator[house.Server]:
    """One of the servers in peers/, by uvicorn with uvloop and httptools."""
    port = free_port()
    command = [str(ENVIRONMENTS / "peers" / "bin" / "python"), "-m", "uvicorn", f"{name}:app"]
    command += ["--app-dir", str(PEERS), "--host", HOST, "--port", str(port), "--loop", "uvloop"]
    command += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with program(name, command, folder=folder, core=bench.server, env=env) as started:
        started.until_listening(port)
        yield house.Server(port=port, programs=(started,))


HUBS: Final = {
    "jackline": jackline_redis,
    "jackline embedded": jackline_sqlite,
    "jackline tick": jackline_tick,
    "nchan": nchan,
    "starlette queues": queues,
    "sse-starlette": subscriptions,
    "pattern": pattern,
}

_NGINX: Final = """
load_module %(modules)s;
daemon off;
worker_processes 1;
pid %(folder)s/nginx.pid;
error_log %(folder)s/nginx-error.log;
events { worker_connections 30000; }
http {
  access_log off;
  client_body_temp_path %(folder)s/body;
  proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/fastcgi;
  uwsgi_temp_path %(folder)s/uwsgi;
  scgi_temp_path %(folder)s/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  nchan_shared_memory_size 512M;
  nchan_message_buffer_length 1000;
  nchan_message_timeout 60s;
  server {
    listen 127.0.0.1:%(port)d backlog=4096;
    location ~ ^/sub/(\\w+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }
    location ~ ^/pub/(\\w+)$ { nchan_publisher; nchan_channel_id $1; }
  }
}
"""
