"""What a drill takes place on: two web processes, two workers, and the store."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final

import httpx2

from jackline.client import Client, Pace
from jackline.drill.processes import HOST, Child, free_port
from jackline.drill.stores import PATIENCE, given_redis, scratch_redis, sqlite
from jackline.errors import ConfigError
from jackline.settings import environment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from jackline.drill.stores import Store

LEASE: Final = 2.0
"""Seconds. Shorter than in life, so that a drill need not wait long for a lease to lapse."""

GRACE: Final = 3.0

_TIMES: Final = {
    "JACKLINE_HEARTBEAT": "0.5",
    "JACKLINE_LEASE": str(LEASE),
    "JACKLINE_STOP_GRACE": str(GRACE),
    "JACKLINE_DRAIN": "3",
}

_NOT_OURS: Final = ("AGENT", "CORS_ORIGINS", "HOST", "KEYS", "PORT", "REDIS", "ROLE", "URL", "TOKEN")
"""Settings of the operator's own server, which a drill must not take over. Its model is wanted."""

_PACE: Final = Pace(
    heartbeat_s=0.5, first_budget_s=60.0, connect_budget_s=60.0, backoff_s=0.1, backoff_cap_s=0.5
)

_AGENT_FILE: Final = """\
from pathlib import Path

from jackline.drill.agent import drill_agent

drill = drill_agent(Path({effects!r}))
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to drill: the operator's agent (`FILE.py:NAME`; the drill's own without), and its store:
    a scratch Redis, `redis` (a URL), or the embedded one."""

    agent: str | None = None
    redis: str | None = None
    sqlite: bool = False
    prompt: str = "drill"


@dataclass(kw_only=True)
class Stage:
    """See the module. `effects`: where the built-in agent's tools record what they do."""

    store: Store
    folder: Path
    webs: list[Child]
    workers: list[Child]
    urls: list[str]
    clients: list[Client]
    own_agent: bool
    prompt: str

    @property
    def effects(self) -> Path:
        """The recorder's file."""
        return self.folder / "effects"

    @property
    def servers(self) -> list[Child]:
        """All processes but the store's."""
        return [*self.webs, *self.workers]

    def start_missing(self) -> None:
        """Start again what does not run."""
        for server in self.servers:
            if not server.running:
                server.end()  # what it may have left behind
                server.start()

    async def mend(self) -> None:
        """Start what was killed, and wait until all is ready. Raises `ConfigError` when it never is."""
        self.start_missing()
        deadline = time.monotonic() + PATIENCE
        async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as http:
            for url in self.urls:
                while (missing := await _missing(http, url, len(self.workers))) is not None:
                    dead = [server for server in self.servers if not server.running]
                    if dead:
                        raise ConfigError(f"{dead[0].name} does not start: {_last_words(dead[0].log)}")
                    if time.monotonic() > deadline:
                        logs = await asyncio.to_thread(self.keep_logs)
                        raise ConfigError(f"not ready within {PATIENCE:g} s: {missing}; the logs: {logs}")
                    await asyncio.sleep(0.05)

    def keep_logs(self) -> Path:
        """Copy the servers' logs to where they outlive the drill."""
        kept = Path(mkdtemp(prefix="jackline-drill-logs-"))
        for log in self.folder.glob("*.log"):
            shutil.copy(log, kept)
        return kept


async def _missing(http: httpx2.AsyncClient, url: str, workers: int) -> str | None:
    """What a web process still waits for; None when it is ready, and so are that many workers."""
    try:
        answer = await http.get(f"{url}/readyz")
    except httpx2.HTTPError as error:
        return f"{url}: {error}"
    if answer.status_code == HTTPStatus.OK and answer.json()["workers"]["alive"] == workers:
        return None
    return f"{url}/readyz says {answer.text}"


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it says nothing"


@asynccontextmanager
async def stage(plan: Plan, folder: Path) -> AsyncGenerator[Stage]:
    """Everything running and ready; at the end it is all killed. Raises `ConfigError`."""
    agent = _agent(plan, folder)
    async with AsyncExitStack() as stack:
        if plan.sqlite:
            store = await stack.enter_async_context(sqlite())
        elif plan.redis is not None:
            store = await stack.enter_async_context(given_redis(plan.redis))
        else:
            store = await stack.enter_async_context(scratch_redis(folder))
        env = _environment(folder)
        ports = [free_port(), free_port()]
        shared = ("--agent", agent, *store.arguments)
        webs = [
            _server(f"web{at}", ("--role", "web", "--port", str(port), *shared), env, folder)
            for at, port in enumerate(ports, 1)
        ]
        workers = [_server(f"worker{at}", ("--role", "worker", *shared), env, folder) for at in (1, 2)]
        for server in (*workers, *webs):
            stack.callback(server.end)
        urls = [f"http://{HOST}:{port}" for port in ports]
        clients = [await stack.enter_async_context(Client(url, pace=_PACE)) for url in urls]
        made = Stage(
            store=store,
            folder=folder,
            webs=webs,
            workers=workers,
            urls=urls,
            clients=clients,
            own_agent=plan.agent is None,
            prompt=plan.prompt,
        )
        await made.mend()
        yield made


def _agent(plan: Plan, folder: Path) -> str:
    """The agent as the servers get it: they are started in another folder."""
    if plan.agent is not None:
        name, colon, member = plan.agent.rpartition(":")
        return f"{Path(name).expanduser().resolve()}{colon}{member}"
    file = folder / "drill_agent.py"
    file.write_text(_AGENT_FILE.format(effects=str(folder / "effects")), "utf-8")
    return f"{file}:drill"


def _environment(folder: Path) -> dict[str, str]:
    taken = {f"JACKLINE_{name}" for name in _NOT_OURS}
    kept = {name: value for name, value in environment().items() if name not in taken}
    own = {
        "JACKLINE_DATA_DIR": str(folder / "data"),
        # A key prefix of its own: whatever else lies in the operator's database is never looked at.
        "JACKLINE_REDIS_PREFIX": f"drill-{secrets.token_hex(4)}",
    }
    return kept | _TIMES | own


def _server(name: str, options: Sequence[str], env: Mapping[str, str], folder: Path) -> Child:
    command = [sys.executable, "-m", "jackline", "serve", "--host", HOST, *options]
    return Child(name=name, command=command, env=env, folder=folder)
