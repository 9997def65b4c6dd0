"""Slack's users, and who they are to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackline.client.api import Client
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.client.pace import Pace


class People:
    """Who may do something: the users that `keys` names, each with the API key that acts for them. Without a
    key ("") they act as `local`, which a server without keys takes. The server decides what each may do.

    Raises `ConfigError` for what can be no key."""

    def __init__(self, url: str, keys: Mapping[str, str], pace: Pace | None = None) -> None:
        self._keys = dict(keys)
        self._clients: dict[str, Client] = {}
        for user, key in self._keys.items():
            if key not in self._clients:
                try:
                    self._clients[key] = Client(url, key or None, pace=pace)
                except ValueError as error:
                    # Not the error's words: they name settings of the command line.
                    raise ConfigError(
                        f"slack_users: the key of {user} has characters that no key has; copy it once more"
                    ) from error

    def client(self, user: str) -> Client | None:
        """Who acts for this user; None for one who is not mapped."""
        key = self._keys.get(user)
        return None if key is None else self._clients[key]

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()
