"""A look behind the store: commands straight to a server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import hiredis

from jackline.errors import StoreUnavailable
from jackline.log.redis import RedisStore
from jackline.log.redis_address import parse
from jackline.log.redis_connection import Connection
from jackline.log.redis_wire import Argument, Reply, array, integer, raw, text


class Behind:
    """A plain client."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def do(self, *command: Argument) -> Reply:
        """The reply of a command; its error is the test's fault."""
        (reply,) = await self._connection.call([command])
        assert not isinstance(reply, hiredis.ReplyError), reply
        return reply

    async def keys(self, pattern: str) -> set[str]:
        """Names of keys."""
        return {text(key) for key in array(await self.do("KEYS", pattern))}

    async def members(self, key: str) -> list[str]:
        """Of a sorted set, lowest first."""
        return [text(member) for member in array(await self.do("ZRANGE", key, 0, -1))]

    async def info(self, name: str) -> int:
        """A number in the server's INFO."""
        lines = raw(await self.do("INFO")).decode().splitlines()
        return integer(next(line for line in lines if line.startswith(f"{name}:")).split(":")[1].encode())

    async def waits(self) -> int:
        """How many WAITAOF the server has seen."""
        lines = raw(await self.do("INFO", "commandstats")).decode().splitlines()
        found = [line for line in lines if line.startswith("cmdstat_waitaof:")]
        return int(found[0].split("calls=")[1].split(",")[0]) if found else 0


@contextlib.asynccontextmanager
async def behind(url: str) -> AsyncGenerator[Behind]:
    """A client of the server at `url`."""
    connection = Connection(parse(url), 5.0)
    await connection.start()
    try:
        yield Behind(connection)
    finally:
        await connection.aclose()


async def answers(store: RedisStore) -> bool:
    """Whether the store can reach its server."""
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True
