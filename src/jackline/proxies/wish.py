"""What a configuration is wanted for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """`upstream`: host and port of a web process. `listen`: where the proxy listens. `heartbeat`: seconds
    between the heartbeats of a silent stream. `tls`: paths of the certificate and its key, where the proxy
    ends TLS."""

    upstream: tuple[str, int] = ("127.0.0.1", 8787)
    listen: tuple[str, int] = ("127.0.0.1", 8080)
    heartbeat: float = 15.0
    tls: tuple[str, str] | None = None
