"""The web process: uvicorn with a drain of our own, for a caller that owns the event loop."""

from __future__ import annotations

import asyncio
import math
import resource
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

import uvicorn

from jackline.errors import ConfigError
from jackline.web.app import site_of
from jackline.web.care import Config, care_of
from jackline.web.handover import Http

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import FrameType

    from starlette.applications import Starlette

    from jackline.settings import Settings
    from jackline.web.care import CarefulHttp
    from jackline.web.handover import Connection

DEFAULT_PORT: Final = 8787

_BACKLOG: Final = 2048

_OTHER_DESCRIPTORS: Final = 256
"""For the store, the worker and its pipes, files, and the connections above the limit that are told so."""

_KEEPALIVE: Final = (30, 10, 3)
"""TCP keep-alive: after so many idle seconds, every so many, so often."""

_USER_TIMEOUT_MS: Final = 120_000
"""A peer that takes nothing for so long is gone. Keep-alive alone finds nobody while heartbeats are
under way. Much less would cut a viewer that only reads slowly: a full window counts as silence."""


class Server(uvicorn.Server):
    """uvicorn, but a signal first tells the viewers (`shutdown`, their last frame) and the caller.

    uvicorn's own lifespan shutdown runs when the streams have ended, which is too late to end them;
    and it raises the signal again when it is done, which would kill a process that has other work
    to finish. Here the caller learns the signal from `signals` and ends the process itself.
    """

    def __init__(
        self, config: uvicorn.Config, *, on_start: Callable[[], None], on_exit: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.signals: list[int] = []
        self._on_start = on_start
        self._on_exit = on_exit
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGINT and SIGTERM while the server runs, and put back what was before."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGINT, signal.SIGTERM)
        former = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests from here on."""
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came. A second SIGINT does not wait for open connections."""
        del frame
        self.signals.append(sig)
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.stop()

    def abort(self) -> None:
        """Let go of all that is left, after an end out of order: a loop does not close with it."""
        for server in self.servers if self.started else ():
            server.close()
        for connection in tuple(self.server_state.connections):
            cast("CarefulHttp | Connection", connection).abort()

    def stop(self) -> None:
        """Begin to drain. May be called from a signal handler."""
        self.should_exit = True
        if self._loop is not None:
            # Not here: a handler runs between any two lines of the loop's own code.
            self._loop.call_soon_threadsafe(self._on_exit)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host`; port 0 takes a free one, the same for all.
    Raises `ConfigError` that says what to change."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"host {host}: {error}; set --host to an address of this machine") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            taken = port or (sockets[0].getsockname()[1] if sockets else 0)
            sockets.append(_listener(family, (address[0], taken, *address[2:])))
    except OSError as error:
        for listener in sockets:
            listener.close()
        advice = "set --port to a free one, or stop who has it" if port else "set --host"
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}; {advice}") from None
    return sockets


async def serve_web(
    app: Starlette,
    settings: Settings,
    *,
    sockets: Sequence[socket.socket] | None = None,
    stop: asyncio.Event | None = None,
    on_drain: Callable[[], None] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int | None:
    """Serve until SIGTERM or SIGINT, or until `stop` is set; returns the signal, if it was one.

    `on_ready` gets the URL once requests are taken. `on_drain` is called in the event loop when
    the end begins: readiness is 503 by then, every viewer gets `shutdown` as its last frame, each
    at its own moment, and the server returns as soon as they are gone, at the latest after
    `settings.drain` seconds. It prints nothing. Raises `ConfigError` when it cannot listen.
    """
    listeners = list(sockets) if sockets is not None else listen(settings.host, _port(settings))
    site = site_of(app)

    def drain() -> None:
        if site.tails.draining:
            return
        site.tails.drain()
        if on_drain is not None:
            on_drain()

    def announce() -> None:
        if on_ready is not None:
            on_ready(url_of(settings.host, listeners[0]))

    site.crowd.max_connections = _descriptors(settings.max_connections)
    server = Server(_config(app, settings), on_start=announce, on_exit=drain)
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_stop_with(server, stop)) if stop is not None else None
            await server.serve(sockets=listeners)
            if watcher is not None:
                watcher.cancel()
    finally:
        for listener in listeners:  # the server closes them too, unless it was cancelled
            listener.close()
        server.abort()
    drain()
    return server.signals[0] if server.signals else None


def url_of(host: str, listener: socket.socket) -> str:
    """The address to tell people."""
    port: int = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _port(settings: Settings) -> int:
    return DEFAULT_PORT if settings.port is None else settings.port


def _descriptors(wanted: int | None) -> int | None:
    """How many connections the system lets this process have, at most `wanted`. It is asked for more where
    it has given less: its default is meant for programs that know nothing newer than select()."""
    soft, hard = (_known(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    most = math.inf if wanted is None else wanted
    allowed = min(most + _OTHER_DESCRIPTORS, hard)
    if soft < allowed:
        with suppress(OSError, ValueError):  # some systems have a limit beside the hard one
            values = (
                resource.RLIM_INFINITY if limit == math.inf else int(limit) for limit in (allowed, hard)
            )
            resource.setrlimit(resource.RLIMIT_NOFILE, (next(values), next(values)))
            soft = allowed
    room = min(most, max(1, soft - _OTHER_DESCRIPTORS))
    return None if room == math.inf else int(room)


def _known(limit: int) -> float:
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _config(app: Starlette, settings: Settings) -> Config:
    site = site_of(app)
    return Config(
        care_of(settings, site.crowd, site.counts),
        app,
        http=Http,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # For whom a proxy asks is found out where it matters (`crowd.py`), and believed of trusted ones.
        proxy_headers=False,
        backlog=_BACKLOG,
        # Longer than proxies keep idle connections to us (NGINX: 60): who closes last gets no request
        # on a connection that is just going, which a proxy answers with 502.
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=max(1, math.ceil(settings.drain)),
    )


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections inherit these from their listener.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        for name, value in zip(names, (*_KEEPALIVE, _USER_TIMEOUT_MS), strict=True):
            if hasattr(socket, name):  # not every system has them all
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def _stop_with(server: Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.stop()
