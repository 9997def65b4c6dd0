"""Where to begin with a run: `--since`, `--lines`, `--after` as a cursor."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jackline.client.api import Client

_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(text: str, now: datetime) -> int | datetime:
    """What `--since` says: an entry's number, or a point in time (`10m`, `1h30m`, RFC 3339; a time
    without a zone is a local one). Raises `ValueError`."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:18])
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        span = sum(float(number) * _UNITS[unit] for number, unit in parts)
        try:
            return now - timedelta(seconds=span)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"--since: {text!r} is neither a span (10m, 2h, 1d), nor a time (2026-11-28T12:00Z), nor a number"
        ) from None


async def after_time(client: Client, run_id: str, since: datetime) -> int:
    """The cursor before the first entry that is not older. Times of the entries are the writers': where
    their clocks differ, it is the first place where the next entry is new enough."""
    low, high = 0, int((await client.snapshot(run_id))["seq"])
    while low < high:
        middle = (low + high) // 2
        written = await _written(client, run_id, middle)
        if written is None or written < since:
            low = middle + 1
        else:
            high = middle
    return await _whole(client, run_id, low)


async def last(client: Client, run_id: str, lines: int) -> int:
    """The cursor before the last so many entries."""
    seq = int((await client.snapshot(run_id))["seq"])
    return await _whole(client, run_id, max(seq - lines, 0))


async def _written(client: Client, run_id: str, after: int) -> datetime | None:
    """When the entry after this cursor was written, None where there is none."""
    page = await client.page(run_id, after=after, limit=1)
    if not page.entries:
        return None
    written = datetime.fromisoformat(str(page.entries[0].data["ts"]))
    return written if written.tzinfo else written.replace(tzinfo=UTC)


async def _whole(client: Client, run_id: str, after: int) -> int:
    """The same cursor, or the one before the merged entry that it would cut in two."""
    page = await client.page(run_id, after=after, limit=1)
    return min(after, page.entries[0].first - 1) if page.entries else after
