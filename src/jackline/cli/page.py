"""The address in the page that an id has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
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
