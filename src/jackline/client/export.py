"""A run or a conversation as the lines of an export, read over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from jackline.client.errors import Refused
from jackline.client.shape import items, members
from jackline.export import Count, artifact_ids, artifact_line, end_line, entry_line, gap_line, run_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jackline.client.api import Client


def is_run(name: str) -> bool:
    """Whether this is a run's id, and not a conversation's."""
    return "." in name


async def export(client: Client, name: str) -> AsyncIterator[bytes]:
    """See `Client.export`."""
    count = Count()
    for run_id in [name] if is_run(name) else await _runs_of(client, name):
        async for line in _run(client, run_id, count):
            yield line
    yield end_line(count)


async def _runs_of(client: Client, conversation_id: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.runs(conversation_id=conversation_id, limit=1000, cursor=cursor)
        found += [str(run["run_id"]) for each in items(page.get("runs")) if (run := members(each))]
        cursor = page.get("next")
        if cursor is None:
            break
    if not found:
        await client.conversation(conversation_id)  # says so when there is none
    return found[::-1]


async def _run(client: Client, run_id: str, count: Count) -> AsyncIterator[bytes]:
    head = await client.snapshot(run_id)
    last = int(head["seq"])
    yield run_line(head)
    count.runs += 1
    cursor: int | str | None = 0
    reached, named = 0, dict[str, None]()
    while reached < last and cursor is not None:
        page = await client.page(run_id, after=cursor, limit=min(1000, last - reached))
        gap = members(page.data.get("gap"))
        if gap is not None:
            yield gap_line(int(gap["from"]), int(gap["to"]))
            reached = int(gap["to"])
        elif not page.entries:
            break
        for entry in page.entries:
            yield entry_line(entry.id, entry.type, entry.raw.encode())
            count.entries += 1
            named |= dict.fromkeys(artifact_ids(entry.data))
            reached = int(entry.data["seq"])
        cursor = page.next
    for artifact_id in named:
        line = await _artifact(client, run_id, artifact_id)
        if line is not None:
            yield line
            count.artifacts += 1


async def _artifact(client: Client, run_id: str, artifact_id: str) -> bytes | None:
    try:
        found = await client.artifact(run_id, artifact_id)
    except Refused as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            return None  # a tool may give what only looks like one
        raise
    return artifact_line(run_id, artifact_id, found.media_type, found.data)
