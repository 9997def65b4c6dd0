"""`jackline open`: the page's address for an id, and a browser for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.client.api import Client

_RUN_PARTS: Final = 2
"""Ids nest: a conversation's, its run's, its call's."""


def address(url: str, name: str | None) -> str:
    """Where the page shows a run, the run of a call, a conversation, or the list."""
    base = url.rstrip("/") + "/"
    if not name:
        return base
    parts = name.split(".")
    if len(parts) < _RUN_PARTS:
        return f"{base}#/conversations/{quote(name, safe='')}"
    return f"{base}#/runs/{quote('.'.join(parts[:_RUN_PARTS]), safe='')}"


def is_told(name: str | None) -> bool:
    """Whether the address follows from the name alone, and printing it needs no server."""
    return name is None or len(name.split(".")) >= _RUN_PARTS


async def address_of(client: Client, name: str | None) -> str:
    """The same, once the server has said that it knows the name. Raises `ClientError`."""
    if name is None:
        await client.agents()
    elif len(name.split(".")) >= _RUN_PARTS:
        await client.page(".".join(name.split(".")[:_RUN_PARTS]), limit=1)
    else:
        await client.conversation(name)
    return address(client.url, name)


def can_show(environment: Mapping[str, str]) -> bool:
    """Whether a browser would be seen: not on a server, and not through SSH."""
    if sys.platform == "darwin" or environment.get("BROWSER"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def show(address: str) -> bool:
    """Open it in the person's browser; whether there was one. What the browser says is not for here."""
    import webbrowser

    return webbrowser.open(address)
