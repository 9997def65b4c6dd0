"""Ids as people type them: whole, or as much of a run's as says which one is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.cli.hints import command
from jackline.client.export import is_run
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from jackline.client.api import Client

_PAGE: Final = 1000
_SHOWN: Final = 5


async def run_named(client: Client, name: str) -> str:
    """The id of the run that `name` is, or is the beginning of. A whole id is left to the server. Raises
    `ValueError` where it is not clear which run is meant: never a guess."""
    if is_run(name):
        return name
    page = await client.runs(limit=_PAGE)
    ids = [str((members(each) or {}).get("run_id", "")) for each in items(page.get("runs"))]
    found = [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(found) == 1 and page.get("next") is None:
        return found[0]
    older = page.get("next") is not None
    if not found:
        newest = f" of the newest {_PAGE}; older ones need the whole id" if older else ""
        raise ValueError(f"no run begins with {name}{newest}. See: {command('runs')}")
    if len(found) == 1:
        # What lies behind the first page could begin so, too: then only a whole id will do.
        raise ValueError(
            f"{found[0]} begins with {name}, but older runs may, too; give the whole id if it is that one"
        )
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN or older else "")
    raise ValueError(f"several runs begin with {name}; which one? {shown}")
