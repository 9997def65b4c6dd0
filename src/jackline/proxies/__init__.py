"""Configurations of proxies through which streams work, as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.errors import ConfigError
from jackline.proxies import nginx
from jackline.proxies.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["GENERATED", "NOTES", "Wish", "render"]

_TEXTS: Final[Mapping[str, Callable[[Wish], str]]] = {"nginx": nginx.nginx}

GENERATED: Final[tuple[str, ...]] = ("nginx",)
"""Those of which a whole configuration is written."""

NOTES: Final[tuple[str, ...]] = ()
"""Those of others' making, of which it is only told what to set."""


def render(name: str, wish: Wish) -> str:
    """The configuration of the proxy `name`. Raises `ConfigError`, which names those there are."""
    text = _TEXTS.get(name)
    if text is None:
        raise ConfigError(f"there is nothing for {name!r}; there is for: {', '.join(_TEXTS)}")
    return text(wish)
