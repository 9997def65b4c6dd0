"""`jackline serve`: puts the parts together. A web process, a worker under its supervisor, or both."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from jackline.agents.naming import agent_name
from jackline.archive import archive_of
from jackline.cli.browser import can_show, show
from jackline.cli.hints import program
from jackline.cli.logs import configure_logs
from jackline.cli.stores import open_store
from jackline.commands import Commands
from jackline.errors import ConfigError, JacklineError, StoreUnavailable
from jackline.keeping import Keeper
from jackline.pressure import Pressure
from jackline.settings import environment, load
from jackline.supervisor import Supervisor, worker_command

if TYPE_CHECKING:
    from pathlib import Path

    from jackline.log.base import Store
    from jackline.settings import Settings

SWEEP_SECONDS: Final = 1.0
"""How late an expiry, or the ending of a run whose worker died while it was being stopped, may be."""


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    agent: str | None = None,
    redis: str | None = None,
    role: str | None = None,
    model: str | None = None,
    mcp_config: Path | None = None,
    data_dir: Path | None = None,
    config: Path | None = None,
    open_page: bool | None = None,
    open_unless_told: bool = False,
) -> int:
    """Serve until told to stop. Returns the exit code: 0, or 2 when it cannot start. `open_unless_told`:
    `open_page` where neither the file, nor a variable, nor the command line says anything of it."""
    configure_logs()
    fault: JacklineError | None = None
    try:
        settings = load(
            config,
            host=host,
            port=port,
            agent=agent,
            redis=redis,
            role=role,
            model=model,
            mcp_config=mcp_config,
            data_dir=data_dir,
            open_page=open_page,
        )
        if open_unless_told and "open_page" not in settings.model_fields_set:
            settings = settings.model_copy(update={"open_page": True})
        check(settings)
        uvloop.run(_serve(settings))
    except* (ConfigError, StoreUnavailable) as faults:
        fault = _first(faults)
    if fault is None:
        return 0
    print(f"jackline: {fault}", file=sys.stderr)
    return 2


def _first(group: BaseExceptionGroup[JacklineError]) -> JacklineError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def check(settings: Settings) -> None:
    """G12: refuse to be open to others without keys. Raises `ConfigError`."""
    listens = settings.role != "worker" or settings.port is not None
    if listens and not settings.keys and not settings.loopback:
        raise ConfigError(
            f"{settings.host} can be reached from other hosts and there are no keys; "
            "add [[keys]] to jackline.toml, or listen on 127.0.0.1"
        )


async def _serve(settings: Settings) -> None:
    store = await open_store(settings)
    try:
        pressure = Pressure(store, settings.store_full)
        commands = Commands(store, pressure)
        supervisor = None
        if settings.role != "web":
            supervisor = Supervisor(
                store=store, commands=commands, settings=settings, command=worker_command()
            )
        async with asyncio.TaskGroup() as group:
            sweeper = group.create_task(_sweep(commands))
            keeper = group.create_task(_keeper(settings, store).run())
            try:
                if settings.role == "worker" and settings.port is None:
                    assert supervisor is not None
                    await _serve_worker(settings, store, supervisor)
                else:
                    await _serve_web(settings, store, commands, supervisor, pressure)
            finally:
                sweeper.cancel()
                keeper.cancel()
    finally:
        await store.aclose()


async def _serve_worker(settings: Settings, store: Store, supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.leave)
    print(f"Jackline worker · store: {store.describe()} · model: {_model(settings)}", flush=True)
    await supervisor.run()


async def _sweep(commands: Commands) -> None:
    """What time has made due, where no worker does it."""
    log = structlog.get_logger()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await commands.sweep()
        except StoreUnavailable:
            continue
        except JacklineError as error:
            log.warning("sweep_failed", error=str(error))


def _keeper(settings: Settings, store: Store) -> Keeper:
    archive = None if settings.archive is None else archive_of(settings.archive, settings.data_dir)
    return Keeper(store, retention=settings.retention, compact_after=settings.compact_after, archive=archive)


def _model(settings: Settings) -> str:
    if settings.agent is not None:
        return f"of the agent {settings.agent}"
    if settings.model == "demo":
        return "demo (scripted, no language model; --model openai:… for a real one)"
    return settings.model


class _Web:
    """The web side, imported when this is made."""

    def __init__(self) -> None:
        from jackline.web.app import create_app
        from jackline.web.server import serve_web

        self.create_app = create_app
        self.serve = serve_web


async def _serve_web(
    settings: Settings, store: Store, commands: Commands, supervisor: Supervisor | None, pressure: Pressure
) -> None:
    async def default_agent() -> str:
        return agent_name(settings.agent)

    stop = asyncio.Event()
    fault: ConfigError | None = None
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def supervise(supervisor: Supervisor) -> None:
        nonlocal fault
        try:
            await supervisor.run()
        except ConfigError as error:
            fault = error  # raised once the web side has ended in good order
            stop.set()

    async def greet() -> None:
        address = await url
        if supervisor is not None:
            await supervisor.ready.wait()
        wanted = settings.open_page and settings.role != "worker" and can_show(environment())
        opened = wanted and await asyncio.to_thread(show, address)
        print(_greeting(settings, store, address, opened=opened), flush=True)

    async with asyncio.TaskGroup() as group:
        if supervisor is not None:
            group.create_task(supervise(supervisor))
        # In a thread, so that the worker is started and does its own imports meanwhile.
        web = await asyncio.to_thread(_Web)
        app = web.create_app(
            settings,
            store,
            commands,
            default_agent=default_agent if settings.agent is not None or supervisor is not None else None,
            needs_worker=supervisor is not None,
            own_worker=supervisor.ready.is_set if supervisor is not None else lambda: True,
            only_health=settings.role == "worker",
            pressure=pressure,
        )
        greeting = group.create_task(greet())
        await web.serve(
            app,
            settings,
            stop=stop,
            on_drain=supervisor.leave if supervisor is not None else None,
            on_ready=url.set_result,
        )
        greeting.cancel()
        if supervisor is not None:
            supervisor.leave()
    if fault is not None:
        raise fault


def _greeting(settings: Settings, store: Store, url: str, *, opened: bool) -> str:
    lines = [f"Jackline on {url}", f"  store   {store.describe()}"]
    if settings.role != "web":
        lines.append(f"  model   {_model(settings)}")
    if settings.role == "worker":
        return "\n".join([*lines, "This port answers /healthz and /readyz."])
    keys = f"{len(settings.keys)} keys" if settings.keys else "no keys: this host only, everybody is `local`"
    from jackline.web.server import DEFAULT_PORT

    at = "" if url.endswith(f":{DEFAULT_PORT}") else f" --url {url}"
    lines += [
        f"  access  {keys}",
        "",
        f"The page opens in your browser: {url}" if opened else f"Open {url} in a browser.",
        "Or in another terminal:",
        f'  {program()} chat{at} "check the disk of this host"',
        f"  {program()} runs{at}",
        "Ctrl-C here stops the server; its runs go on when it is back.",
    ]
    return "\n".join(lines)
