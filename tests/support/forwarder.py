"""A TCP forwarder between a client and a server, which cuts connections where the test wants it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, field

from tests.support.processes import HOST, free_port

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER, so that the peer sees a reset and no clean end


@dataclass(kw_only=True)
class Forwarder:
    """Carries bytes both ways. `cuts`: the first connection over which one of these bytes comes back
    is reset right behind them, once for each."""

    upstream: int
    port: int
    cuts: list[bytes]
    made: list[bytes] = field(default_factory=list[bytes])
    """Those that were made, in order."""
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def take(self, seen: bytes, chunk: bytes) -> tuple[bytes, bool]:
        """What of `chunk`, which follows `seen`, is passed on, and whether the connection is cut then."""
        whole = seen + chunk
        found = [(at, cut) for cut in self.cuts if (at := whole.find(cut)) >= 0]
        if not found:
            return chunk, False
        at, cut = min(found)
        self.cuts.remove(cut)
        self.made.append(cut)
        return whole[len(seen) : at + len(cut)], True


@contextlib.contextmanager
def forwarder(upstream: int, *cuts: bytes, port: int = 0) -> Generator[Forwarder]:
    """A forwarder to a port of the loopback for the length of the block; on a free port unless told."""
    made = Forwarder(upstream=upstream, port=port or free_port(), cuts=list(cuts))
    wake, woken = socket.socketpair()
    with wake, woken, socket.create_server((HOST, made.port)) as listener:
        thread = threading.Thread(target=_run, args=(made, listener, woken))
        thread.start()
        try:
            yield made
        finally:
            wake.send(b"x")
            thread.join()


@dataclass(kw_only=True)
class _Way:
    """One direction of a connection."""

    to: socket.socket
    back: bool
    seen: bytes = b""


def _run(made: Forwarder, listener: socket.socket, woken: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    for other in list(selector.get_map().values()):
                        if isinstance(other.data, _Way):
                            other.data.to.close()
                    return
                if key.fileobj is listener:
                    _accept(made, listener, selector)
                elif (
                    isinstance(key.data, _Way)
                    and isinstance(key.fileobj, socket.socket)
                    and (key.fileobj.fileno() < 0 or not _carry(made, key.fileobj, key.data))
                ):
                    _close(selector, key.fileobj, key.data.to)


def _accept(made: Forwarder, listener: socket.socket, selector: selectors.BaseSelector) -> None:
    client, _ = listener.accept()
    try:
        server = socket.create_connection((HOST, made.upstream), timeout=10)
    except OSError:
        client.close()
        return
    made.connections += 1
    selector.register(client, selectors.EVENT_READ, _Way(to=server, back=False))
    selector.register(server, selectors.EVENT_READ, _Way(to=client, back=True))


def _carry(made: Forwarder, source: socket.socket, way: _Way) -> bool:
    """Pass on what has come; whether the connection is to stay."""
    try:
        chunk = source.recv(65536)
        cut = False
        if way.back:
            passed, cut = made.take(way.seen, chunk)
            way.seen = (way.seen + chunk)[-64:]
            way.to.sendall(passed)
        else:
            way.to.sendall(chunk)
    except OSError:
        return False
    if cut:
        way.to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return bool(chunk) and not cut


def _close(selector: selectors.BaseSelector, *ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(end)
        end.close()
