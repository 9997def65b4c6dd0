"""What the proxies take for Jackline: every byte goes on to it, and answers are spoiled where a test asks.

A request with the header `X-Fault: reset` or `X-Fault: 503` is carried out; then its connection is reset in
the place of the answer, or a 503 is given. A proxy that sends such a request again has it carried out twice.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.support.processes import HOST, free_port

Fault = Literal["reset", "503"]

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER, so that the peer sees a reset and no clean end
_AWAY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MARK: Final = re.compile(rb"(?i)\r\nx-fault: (reset|503)\r\n")
_CHUNK: Final = 1 << 16
_HEARTBEAT: Final = re.compile(rb"[0-9a-fA-F]+\r\nevent: heartbeat\n[^\r]*\r\n")
"""A heartbeat and nothing else, as one chunk of an answer."""
_BEGINNING: Final = re.compile(rb"HTTP/1.1 200 [^\r]*\r\n(?is:.*)content-type: text/event-stream")
_ENOUGH: Final = 1500
_SOON: Final = 0.5
"""Seconds within which a server says what it has to say at once."""


@dataclass(kw_only=True)
class _Connection:
    client: socket.socket
    server: socket.socket
    strip: bytes
    mute: bool
    gather: bool
    asked: bytes = b""

    def carry(self) -> None:
        with self.client, self.server, contextlib.suppress(OSError):
            while True:
                sides, _, _ = select.select([self.client, self.server], [], [])
                if not all(self._pass_on(side) for side in sides):
                    return

    def _pass_on(self, side: socket.socket) -> bool:
        """Carry what came from one side to the other; whether the connection is to stay."""
        chunk = side.recv(_CHUNK)
        if not chunk:
            return False
        if side is self.client:
            self.asked = (self.asked + chunk)[-_CHUNK:]
            self.server.sendall(chunk)
            return True
        fault = _MARK.search(self.asked)
        if self.gather and _BEGINNING.match(chunk) and b"/agent/" in self.asked:
            chunk = self._gathered(chunk)
        if self.mute and _HEARTBEAT.fullmatch(chunk):
            return True
        if fault is None:
            self.client.sendall(chunk.replace(self.strip, b"x" * len(self.strip)) if self.strip else chunk)
        elif fault[1] == b"503":
            self.client.sendall(_AWAY)
        else:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return fault is None

    def _gathered(self, chunk: bytes) -> bytes:
        """An answer's beginning with what follows it soon."""
        while len(chunk) < _ENOUGH and select.select([self.server], [], [], _SOON)[0]:
            more = self.server.recv(_CHUNK)
            if not more:
                break
            chunk += more
        return chunk

    def end(self) -> None:
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@dataclass(kw_only=True)
class Origin:
    """Listens on `port` before the server on `upstream`. `strip` is made illegible in all answers;
    `mute` takes the heartbeats out of them where they come alone. `gather` lets a run's stream begin with one
    large piece, as it does when the server reads a log's beginning faster than it writes."""

    upstream: int
    strip: str = ""
    mute: bool = False
    gather: bool = False
    port: int = field(default_factory=free_port)
    _connections: list[tuple[_Connection, threading.Thread]] = field(
        default_factory=list[tuple[_Connection, threading.Thread]]
    )

    def accept(self, listener: socket.socket) -> None:
        """Take connections until the listener is shut."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._begin(client)

    def cut(self) -> None:
        """Cut all connections."""
        for connection, thread in self._connections:
            connection.end()
            thread.join()

    def _begin(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self.upstream))
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(
            client=client, server=server, strip=self.strip.encode(), mute=self.mute, gather=self.gather
        )
        thread = threading.Thread(target=connection.carry, daemon=True)
        self._connections.append((connection, thread))
        thread.start()


@contextlib.contextmanager
def origin(upstream: int, *, strip: str = "", mute: bool = False, gather: bool = False) -> Generator[Origin]:
    """An origin for the length of the block."""
    made = Origin(upstream=upstream, strip=strip, mute=mute, gather=gather)
    with socket.create_server((HOST, made.port)) as listener:
        thread = threading.Thread(target=made.accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            made.cut()
