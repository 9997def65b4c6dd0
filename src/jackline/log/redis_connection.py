"""A connection that mends itself. A task of its own owns it; callers only await futures."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError, StoreUnavailable
from jackline.log.redis_greeting import Server, greet
from jackline.log.redis_wire import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.log.redis_address import Address
    from jackline.log.redis_wire import Command, Reply

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds between attempts, doubled from the first to the longest, with jitter so that a hundred
processes do not come back in step."""


async def connect(
    address: Address,
    deadline: float,
    on_push: Callable[[list[Reply]], None],
    on_lost: Callable[[Link, str], None],
) -> tuple[Link, Server]:
    """A link that has said its greeting, within `deadline` seconds. Raises as `greet` does."""
    loop = asyncio.get_running_loop()
    context = address.ssl_context()
    link: Link | None = None

    def made() -> Link:
        nonlocal link
        link = Link(deadline, on_push, on_lost)
        return link

    try:
        async with asyncio.timeout(deadline):
            if address.path:
                transport, new = await loop.create_unix_connection(made, address.path)
            else:
                transport, new = await loop.create_connection(made, address.host, address.port, ssl=context)
                raw_socket: socket.socket = transport.get_extra_info("socket")
                # Without keep-alive a firewall that forgets an idle connection is noticed too late.
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return new, await greet(new, address)
    except BaseException as error:
        if link is not None:
            link.end("the greeting failed")
        if isinstance(error, TimeoutError):
            raise StoreUnavailable(f"Redis at {address} did not answer within {deadline:g} s") from error
        if isinstance(error, OSError):
            raise StoreUnavailable(f"Redis at {address} cannot be reached ({error})") from error
        raise


class Connection:
    """One connection, made anew whenever it breaks.

    While it is down `call` fails at once with the reason of the last attempt; in the moment
    between a loss and the first attempt it waits for that one. `on_up` runs after each greeting,
    `on_down` after each loss, both on the loop and without awaiting.
    """

    def __init__(
        self,
        address: Address,
        deadline: float,
        *,
        on_push: Callable[[list[Reply]], None] = lambda _: None,
        on_up: Callable[[Link], None] = lambda _: None,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._deadline = deadline
        self._on_push = on_push
        self._on_up = on_up
        self._on_down = on_down
        self._link: Link | None = None
        self._reason: str | None = None
        self._since = 0.0
        self._hoping: set[asyncio.Future[Link]] = set()
        self._broken = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self.server = Server(version="", aof=None, waitaof=False)

    async def start(self) -> None:
        """Connect for the first time; raises as `connect` does, and then keeps nothing open."""
        await self._connect()
        # Not in a task group: it lives as long as this object, from `start` to `aclose`.
        self._owner = asyncio.create_task(self._keep(), name=f"redis {self._address}")

    async def aclose(self) -> None:
        """End the connection and its task."""
        if self._owner is not None:
            self._owner.cancel()
        if self._link is not None:
            self._link.end("the store was closed")
        self._attempt_failed("the store was closed")
        if self._owner is not None:
            await asyncio.wait({self._owner})

    def call(self, commands: Sequence[Command], life: str | None = None) -> Awaitable[list[Reply]]:
        """The replies of `commands`, errors among them as values. Raises `StoreUnavailable`, also
        when the server is no longer the one of `life`: then nothing was sent."""
        link = self._link
        return self._call_later(commands, life) if link is None else self._send(link, commands, life)

    async def _call_later(self, commands: Sequence[Command], life: str | None) -> list[Reply]:
        return await self._send(await self._next_link(), commands, life)

    def _send(self, link: Link, commands: Sequence[Command], life: str | None) -> asyncio.Future[list[Reply]]:
        if life is not None and life != self.server.life:
            raise StoreUnavailable("Redis has just come back")
        return link.send(commands)

    @property
    def link(self) -> Link | None:
        """The present link, None while it is down."""
        return self._link

    def drop(self, reason: str) -> None:
        """Connect anew: the server at the other end has become the wrong one."""
        if self._link is not None:
            self._link.end(reason)

    async def _next_link(self) -> Link:
        if self._reason is not None:
            raise StoreUnavailable(self._reason)
        hope: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._hoping.add(hope)
        try:
            return await hope
        finally:
            self._hoping.discard(hope)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            await self._broken.wait()
            self._broken.clear()
            if loop.time() - self._since > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            else:
                # It broke right after the greeting: trying again at once would go on for ever.
                pause = await _rest(pause)
            while self._link is None:
                try:
                    await self._connect()
                except (StoreUnavailable, ConfigError) as error:
                    # A server that came back unfit (a Cluster, a lost password) may be mended too.
                    self._attempt_failed(str(error))
                    pause = await _rest(pause)

    async def _connect(self) -> None:
        link, server = await connect(self._address, self._deadline, self._on_push, self._lost)
        if link.lost is not None:
            raise StoreUnavailable(link.lost)
        self._link, self.server, self._reason = link, server, None
        self._since = asyncio.get_running_loop().time()
        self._on_up(link)
        for hope in self._hoping:
            if not hope.done():
                hope.set_result(link)

    def _attempt_failed(self, reason: str) -> None:
        self._reason = reason
        for hope in self._hoping:
            if not hope.done():
                hope.set_exception(StoreUnavailable(reason))

    def _lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._broken.set()
            self._on_down()


async def _rest(pause: float) -> float:
    """Sleep about `pause` seconds; the next pause."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
    return min(2 * pause, _LONGEST_PAUSE)
