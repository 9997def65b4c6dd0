"""Where a Redis server is, from its URL. Pure."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from jackline.errors import ConfigError

_EXAMPLE: Final = (
    "write it like redis://user:password@host:6379/0, rediss://… for TLS, or unix:///path/to/socket"
)
_PLAIN: Final = ("redis", "valkey")
_TLS: Final = ("rediss", "valkeys")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Host and port, or a socket's path; TLS, the credentials, the database's number.

    `ca_file`: the certificates to trust instead of the system's. `life_key`: where the server's life is
    noted, "" for nowhere. Its repr has no password.
    """

    host: str
    port: int
    path: str
    tls: bool
    ca_file: str
    user: str
    password: str
    database: int
    life_key: str = ""

    def __str__(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Address {self}>"

    def ssl_context(self) -> ssl.SSLContext | None:
        """None without TLS. Raises `ConfigError` when the certificates cannot be read."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise ConfigError(f"cannot read the certificates in {self.ca_file}: {error}") from error


def parse(url: str) -> Address:
    """The address in `url`. Raises `ConfigError`, which never contains the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        database = query.pop("db", "" if parts.scheme == "unix" else parts.path.strip("/"))
        number = int(database or "0")
    except ValueError as error:
        raise ConfigError(f"the Redis URL cannot be read; {_EXAMPLE}") from error
    ca_file = query.pop("ssl_ca_certs", "")
    if parts.scheme not in (*_PLAIN, *_TLS, "unix"):
        raise ConfigError(f"the Redis URL begins with {parts.scheme or 'no scheme'}; {_EXAMPLE}")
    if query:
        raise ConfigError(
            f"the Redis URL has unknown options: {', '.join(sorted(query))} (known: db, ssl_ca_certs)"
        )
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=port,
        path=unquote(parts.path) if parts.scheme == "unix" else "",
        tls=parts.scheme in _TLS,
        ca_file=ca_file,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=number,
    )
