"""Viewers of a running server: what is delivered to them, and how late.

A quick look by a client in Python, which reads some tens of thousands of entries a second at most; when it
was too slow itself it says so. What is measured well is measured by `scripts/bench`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from jackline.client.api import Client
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUSY: Final = 0.8
"""The share of a core from which on this client may be what was measured."""

CONNECT_SECONDS: Final = 30.0
_AT_ONCE: Final = 100
"""Connections that are opened at a time: a server's queue of new ones is finite."""

_FRAME: Final = re.compile(rb'(?:^|\n)id: (\d+)[^\n]*\nevent: token\ndata: [^\n]*?"ts":"([^"]+)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """`runs` runs, each with `viewers` viewers, for `seconds`. `rate`: tokens a second that each run's
    agent is asked for; `prompt`: what it is asked instead, where it is not the speaker. `query` is
    added to a stream's address."""

    runs: int
    viewers: int
    rate: float
    seconds: float
    prompt: str | None = None
    agent: str | None = None
    query: str = ""

    def message(self) -> str:
        """What each run is asked for: more than is measured, and then it is stopped."""
        if self.prompt is not None:
            return self.prompt
        tokens = int(self.rate * (self.seconds + 2 * CONNECT_SECONDS)) + 1
        return json.dumps({"tokens": tokens, "rate": self.rate})


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Of the measured time. `latencies`: ms from an entry's `ts`, which has whole ms, to its arrival,
    rising; both clocks must agree. `lost`: connections that ended. `cpu_share`: of a core, this client's."""

    wish: Wish
    connected: int
    delivered: int
    lost: int
    latencies: Sequence[float]
    seconds: float
    cpu_share: float

    @property
    def busy(self) -> bool:
        """Whether the client itself was too slow for the figures to be the server's."""
        return self.cpu_share > BUSY

    def percentile(self, share: float) -> float:
        """Nearest rank, in ms; 0 where nothing came."""
        values = self.latencies
        return values[max(0, -(-int(share * 100) * len(values) // 100) - 1)] if values else 0.0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "benchmark": "viewers",
            "runs": self.wish.runs,
            "viewers": self.wish.viewers,
            "rate": self.wish.rate,
            "connected": self.connected,
            "lost": self.lost,
            "delivered": self.delivered,
            "delivered_per_s": round(self.delivered / self.seconds, 1),
            "latency_ms": {"p50": round(self.percentile(0.5), 1), "p99": round(self.percentile(0.99), 1)},
            "client_cpu_share": round(self.cpu_share, 2),
            "client_busy": self.busy,
        }

    def in_words(self) -> list[str]:
        """For people."""
        wish = self.wish
        asked = f", {wish.rate:g} tokens/s each" if wish.prompt is None else ""
        lines = [
            f"{wish.runs} runs{asked}; {self.connected} viewers in all, for {self.seconds:.1f} s",
            f"  delivered   {self.delivered / self.seconds:,.0f} entries/s",
            f"  latency     p50 {self.percentile(0.5):.0f} ms, p99 {self.percentile(0.99):.0f} ms",
            f"  this client {self.cpu_share:.0%} of a core",
        ]
        if self.lost:
            lines.append(f"  {self.lost} viewers were refused or cut off")
        if self.busy:
            lines.append("  The client was the bottleneck: the server may be faster. Ask for less.")
        return lines


@dataclass(kw_only=True, slots=True)
class _Count:
    """What all viewers have seen; nothing is counted before `open`."""

    open: bool = False
    delivered: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list[float])


class _Viewer(asyncio.Protocol):
    """One stream. Frames are looked at as they come; the framing of chunks never parts a frame's fields."""

    def __init__(self, request: bytes, count: _Count) -> None:
        self._request = request
        self._count = count
        self._rest = b""
        self._seq = 0
        self.answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        # Not `isinstance`: another loop's transports are of a class of its own.
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count the entries of whole frames."""
        if not self.answered.done():
            self.answered.set_result(data.startswith(b"HTTP/1.1 200 "))
        whole, found, rest = (self._rest + data).rpartition(b"\n\n")
        self._rest = rest
        if not found:
            return
        now = time.time()
        for match in _FRAME.finditer(whole):
            seq = int(match[1])
            if self._count.open:
                # A merged frame stands for all entries since the one before.
                self._count.delivered += seq - self._seq if self._seq else 1
                made = datetime.fromisoformat(match[2].decode()).timestamp()
                self._count.latencies.append(max(0.0, (now - made) * 1000))
            self._seq = seq

    def connection_lost(self, exc: Exception | None) -> None:
        """Cut off, unless this client ended it."""
        del exc
        if not self.answered.done():
            self.answered.set_result(False)
        elif not self.closing:
            self._count.lost += 1


async def bench_viewers(wish: Wish, *, url: str, token: str | None = None) -> Report:
    """Start runs, watch and measure them, and stop them. Raises `ClientError`, `ConfigError`."""
    async with Client(url, token) as client:
        runs: list[str] = []
        try:
            while len(runs) < wish.runs:
                runs.append((await client.start(wish.message(), agent=wish.agent)).run_id)
            return await _watch(wish, runs, url, token)
        finally:
            for run in runs:
                await client.stop(run)


async def _watch(wish: Wish, runs: Sequence[str], url: str, token: str | None) -> Report:
    count = _Count()
    turn = asyncio.Semaphore(_AT_ONCE)
    requests = [_request(url, token, f"/api/v1/agent/runs/{run}/events{wish.query}") for run in runs]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_open(url, request, count, turn))
            for request in requests
            for _ in range(wish.viewers)
        ]
    opened = [connection for task in tasks if (connection := task.result()) is not None]
    connected = len(opened)
    try:
        if not connected:
            raise ConfigError("no viewer got a stream; is the address right, and the token?")
        count.open, start, cpu = True, time.monotonic(), time.process_time()
        await asyncio.sleep(wish.seconds)
        count.open, seconds = False, time.monotonic() - start
        used = time.process_time() - cpu
    finally:
        for transport, viewer in opened:
            viewer.closing = True
            transport.abort()
    return Report(
        wish=wish,
        connected=connected,
        delivered=count.delivered,
        lost=count.lost + len(tasks) - connected,
        latencies=sorted(count.latencies),
        seconds=seconds,
        cpu_share=used / seconds,
    )


async def _open(
    url: str, request: bytes, count: _Count, turn: asyncio.Semaphore
) -> tuple[asyncio.Transport, _Viewer] | None:
    """A viewer whose stream has begun; None where it got none."""
    address = urlsplit(url)
    secure = ssl.create_default_context() if address.scheme == "https" else None
    port = address.port or (443 if secure else 80)
    loop, transport = asyncio.get_running_loop(), None
    async with turn:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                transport, viewer = await loop.create_connection(
                    lambda: _Viewer(request, count), address.hostname or "", port, ssl=secure
                )
                if await viewer.answered:
                    return transport, viewer
    if transport is not None:
        transport.abort()
    return None


def _request(url: str, token: str | None, path: str) -> bytes:
    address = urlsplit(url)
    lines = [
        f"GET {address.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {address.netloc.rpartition('@')[2]}",
        "Accept: text/event-stream",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
