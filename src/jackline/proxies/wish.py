"""What a configuration is wanted for."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from typing import Final

from jackline.errors import ConfigError

_IDLE_SECONDS: Final = 3600
"""How long a stream may be silent: an hour, or what a slow heartbeat needs."""

_MISSED: Final = 4
"""Heartbeats that may be missing before a proxy cuts: more than the two and a half after which a client
comes back by itself, so that no proxy is quicker than the client."""

_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PATH: Final = re.compile(r"[^\s\"'`\\;{}#$<>|&*?()\[\]@]+")
_LAST_PORT: Final = 65535

_LONGEST_HEARTBEAT: Final = 86400
"""A day: limits are a multiple of it, and programs refuse those that do not fit into their numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """`upstream`: host and port of a web process. `listen`: where the proxy listens. `heartbeat`: seconds
    between the heartbeats of a silent stream. `tls`: paths of the certificate and its key, where the proxy
    ends TLS. Raises `ConfigError` for what no configuration can hold: each has a syntax of its own, and what
    stands here goes into all of them as it is."""

    upstream: tuple[str, int] = ("127.0.0.1", 8787)
    listen: tuple[str, int] = ("127.0.0.1", 8080)
    heartbeat: float = 15.0
    tls: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for what, (host, port) in (("upstream", self.upstream), ("listen", self.listen)):
            if not (_HOST.fullmatch(host) and (":" not in host or is_address(host))):
                raise ConfigError(f"{what}: {host!r} is neither a host name nor an address")
            if not 0 < port <= _LAST_PORT:
                raise ConfigError(f"{what}: {port} is no port; they go from 1 to {_LAST_PORT}")
        if not 0 < self.heartbeat <= _LONGEST_HEARTBEAT:
            raise ConfigError(
                f"heartbeat: {self.heartbeat:g} is no time in seconds above 0 and up to {_LONGEST_HEARTBEAT}"
            )
        for path in self.tls or ():
            if not (_PATH.fullmatch(path) and path.isprintable()):
                raise ConfigError(f"tls: {path!r} has a character that no configuration can hold")

    @property
    def idle(self) -> int:
        """Seconds of silence that a proxy has to bear."""
        return max(_IDLE_SECONDS, self.least)

    @property
    def least(self) -> int:
        """Seconds of silence below which no limit may lie, at all costs."""
        return math.ceil(_MISSED * self.heartbeat)


def address(place: tuple[str, int]) -> str:
    """`HOST:PORT`, as it stands in a URL."""
    return f"{bracketed(place[0])}:{place[1]}"


def is_address(host: str) -> bool:
    """Whether it is an address of IPv4 or IPv6, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """An IPv6 address in brackets, anything else as it is."""
    return f"[{host}]" if ":" in host else host
