"""Pages of lists that hold only what the caller may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from jackline.web.query import bad_cursor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_MAX_READS: Final = 50
"""Reads of the store per page. A page may be short, even empty, and still have a `next`: one
caller's rare runs among very many of others must not make one request read the whole store."""

_Item = TypeVar("_Item")


async def visible_page(
    fetch: Callable[[str, int], Awaitable[tuple[list[_Item], str]]],
    wanted: Callable[[_Item], bool],
    *,
    cursor: str,
    limit: int,
) -> tuple[list[_Item], str | None]:
    """Up to `limit` wanted items after `cursor`, and where to go on (None at the end).

    `fetch(cursor, limit)` reads the store. Raises a 400 problem when the store does not know the
    cursor.
    """
    found: list[_Item] = []
    for _ in range(_MAX_READS):
        try:
            items, following = await fetch(cursor, limit - len(found))
        except ValueError:
            raise bad_cursor() from None
        found.extend(item for item in items if wanted(item))
        if not following:
            return found, None
        cursor = following
        if len(found) >= limit:
            break
    return found, cursor
