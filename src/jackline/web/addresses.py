"""Whose address a request comes from, where proxies stand between. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The proxies that are believed when they say for whom they ask: `trusted` are addresses and networks."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in trusted]

    def client(self, peer: str | None, forwarded: Iterable[str] = ()) -> str | None:
        """The name by which limits count who asks; None when nobody can tell, or it is a proxy itself.

        `forwarded` are the values of `X-Forwarded-For`. They are read from the right, where the nearest
        proxy writes: what stands to the left of the first address that is none of the trusted ones may be
        anybody's invention. Of an IPv6 address the first 64 bits count: one host has all the others.
        """
        hops = [hop for value in forwarded for hop in value.split(",")]
        name = peer
        while name is not None:
            address = _parse(name)
            if address is None:
                return None
            if not any(address in network for network in self._networks):
                return _name(address)
            name = hops.pop() if hops else None
        return None


def _parse(text: str) -> _Address | None:
    """An address, also with a port behind it, as some proxies write it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _name(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
