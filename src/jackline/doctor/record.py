"""What was measured, as it is kept and shown to programs. Times are ms of the client's clock since the
request left, unless they say otherwise."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Ended = Literal["clean", "cut", "open", "failed"]
"""How a stream ended for the client: as HTTP wants it, in the middle, not at all in the time it was given, or
there was no answer to read."""

Method = Literal["GET", "POST"]


class Arrival(Struct, frozen=True, kw_only=True):
    """An event: when the server wrote it, in ms since the request reached it, and when it arrived."""

    at: float
    arrived: float
    nonce: str = ""


class Execution(Struct, frozen=True, kw_only=True):
    """One arrival of a request at the server. `ended`: `open`, `done`, `cut`, `left` or `drained`."""

    method: str
    http: str
    ended: str
    ms: float
    sent: int


class Seen(Struct, frozen=True, kw_only=True):
    """What the servers saw of a probe. `executions`: how often its request arrived; `read`: whether a server
    could be asked at all."""

    executions: int = 0
    read: bool = True
    seen: list[Execution] = msgspec.field(default_factory=list[Execution])


class Stream(Struct, frozen=True, kw_only=True):
    """A stream, from both sides. `plan`: when its events are due, in ms since the request reaches the server.
    `gzip`: whether compression was offered. `last_frame`: whether its own last frame arrived."""

    name: str
    method: Method = "GET"
    gzip: bool = False
    without: list[str] = msgspec.field(default_factory=list[str])
    identity: bool = False
    plan: list[int] = msgspec.field(default_factory=list[int])
    nonce: str = ""
    status: int | None = None
    headers: list[tuple[str, str]] = msgspec.field(default_factory=list[tuple[str, str]])
    headers_ms: float | None = None
    framing: str = "none"
    sizes: list[str] = msgspec.field(default_factory=list[str])
    events: list[Arrival] = msgspec.field(default_factory=list[Arrival])
    beats: list[float] = msgspec.field(default_factory=list[float])
    last_frame: bool = False
    ended: Ended = "failed"
    ended_ms: float = 0.0
    error: str = ""
    server: Seen = msgspec.field(default_factory=Seen)

    def header(self, name: str) -> str:
        """A header's values, joined by commas; empty where there is none."""
        return ", ".join(value for known, value in self.headers if known == name)


class Echo(Struct, frozen=True, kw_only=True):
    """A request as it was sent and as it arrived."""

    http: str
    peer: str
    rtt_ms: float
    headers: list[tuple[str, str]]
    """Of the answer."""
    arrived: list[tuple[str, str]]
    """The request's headers with their values, where these are told."""
    changed: list[str]
    """What differs: `path`, `query`, `body`, or a header's name."""
    host_changed: bool = False


class Count(Struct, frozen=True, kw_only=True):
    """A request that the server counted. `mode`: how it answered. `read`: whether `executions` could be
    asked for."""

    method: Method
    mode: Literal["ok", "503", "slow", "cut"]
    status: int | None
    executions: int
    read: bool = True


class Measurements(Struct, frozen=True, kw_only=True):
    """All of it. `horizon_s`: how long silent streams were watched, 0 if not."""

    url: str
    echo: Echo
    streams: list[Stream]
    counts: list[Count] = msgspec.field(default_factory=list[Count])
    provoked: str = ""
    """What answered a request that was wrong on purpose."""
    horizon_s: float = 0.0
    seconds: float = 0.0

    def stream(self, name: str) -> Stream | None:
        """The stream of that name."""
        return next((stream for stream in self.streams if stream.name == name), None)
