"""What lies between the servers and their store: it can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from jackline.drill.processes import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_CHUNK = 1 << 16


class Forwarder:
    """Carries bytes both ways between a port of the loopback and `host:port`."""

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port()
        self.refusing = False
        """Whether new connections are ended at once."""
        self._to = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Self]:
        """Listen for the length of the block."""
        server = await asyncio.start_server(self._carry, HOST, self.port)
        try:
            yield self
        finally:
            server.close()
            self.refusing = True
            self.cut()
            if self._carrying:
                await asyncio.wait(self._carrying)

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        ends = list(self._open)
        for writer in ends:
            writer.transport.abort()
        return len(ends) // 2

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        if self.refusing:
            writer.transport.abort()
            return
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(*self._to)
            self._open.add(there)
            if self.refusing:
                return  # it was cut while it was being made
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, there))
                group.create_task(_copy(back, writer))
        except OSError:
            return  # the store is not there: the client finds its connection ended
        finally:
            for end in filter(None, (writer, there)):
                self._open.discard(end)
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
