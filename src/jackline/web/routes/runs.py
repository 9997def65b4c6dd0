"""`/api/v1/agent/runs…`: lists, snapshots, entries, artifacts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from msgspec import Raw, Struct
from starlette.responses import Response

from jackline.errors import InDoubt, NotFound
from jackline.events import RunStateName, frame_data, timestamp
from jackline.ids import is_conversation_id
from jackline.summary import read_summary
from jackline.web import frames, query
from jackline.web.auth import principal_of
from jackline.web.lists import visible_page
from jackline.web.problems import Problem
from jackline.web.site import json_response
from jackline.web.snapshot import snapshot, with_reason
from jackline.web.stream import Stream, check_cursor
from jackline.web.waiting import Reasons, Waiting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.log.base import Head, Page
    from jackline.web.site import Site

STATES: Final[tuple[RunStateName, ...]] = get_args(RunStateName)
_ARTIFACT: Final = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_MEDIA: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}(; ?charset=[A-Za-z0-9-]+)?"
)


class RunItem(Struct, frozen=True, kw_only=True):
    """A run in a list. `worker`: whether a live lease stands behind it; `waiting_for`: the calls
    whose questions wait for an answer; `waiting`: why it waits, if it does."""

    run_id: str
    conversation_id: str
    state: str
    agent: str
    by: str
    title: str
    attempt: int
    seq: int
    created_at: str
    updated_at: str
    worker: str
    waiting_for: tuple[str, ...]
    waiting: Waiting | None


class RunsPage(Struct, frozen=True, kw_only=True):
    """Runs, newest first. `next`: the cursor of the next page, null at the end."""

    runs: list[RunItem]
    next: str | None


class EntryItem(Struct, frozen=True, kw_only=True):
    """An entry: what its frame on a stream says, with the same bytes in `data`."""

    id: str
    type: str
    data: Raw


class EntriesPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Entries in order. `next`: what to give to `?after=` for the following ones, null when the run
    has finished and all is read. `gap`: entries that cannot be given any more."""

    entries: list[EntryItem]
    next: int | str | None
    gap: frames.Gap | None = None


async def listed(site: Site, request: Request) -> ASGIApp:
    """The caller's runs, newest first."""
    principal = principal_of(request)
    state = query.choice(request, "state", STATES)
    conversation_id = request.query_params.get("conversation_id", "")
    if conversation_id and not is_conversation_id(conversation_id):
        raise query.bad_query("conversation_id", "the id of a conversation")

    async def fetch(cursor: str, limit: int) -> tuple[list[Head], str]:
        return await site.store.runs(cursor=cursor, limit=limit, conversation_id=conversation_id)

    def wanted(head: Head) -> bool:
        return site.authority.may_see(principal, head) and (
            state is None or read_summary(head.summary).state == state
        )

    heads, following = await visible_page(
        fetch, wanted, cursor=query.page_cursor(request), limit=query.page_limit(request)
    )
    reasons = Reasons(site.store)
    runs = [run_item(head, await reasons.of(head)) for head in heads]
    return json_response(RunsPage(runs=runs, next=following))


def run_item(head: Head, waiting: Waiting | None) -> RunItem:
    """A run as lists show it."""
    summary = read_summary(head.summary)
    return RunItem(
        run_id=head.run_id,
        conversation_id=summary.conversation_id,
        state=summary.state,
        agent=head.agent,
        by=head.owner,
        title=summary.title,
        attempt=summary.attempt,
        seq=head.last,
        created_at=timestamp(head.created_ms / 1000),
        updated_at=timestamp(head.updated_ms / 1000),
        worker=head.worker,
        waiting_for=summary.waiting,
        waiting=waiting,
    )


async def snapshot_of(site: Site, request: Request) -> ASGIApp:
    """What the run has come to."""
    run_id = request.path_params["run_id"]
    head = await site.authority.may_read_run(principal_of(request), run_id)
    waiting = await Reasons(site.store).of(head)
    return json_response(with_reason(snapshot(await site.tails.state(run_id)), waiting))


async def events(site: Site, request: Request) -> ASGIApp:
    """The run's entries: as a stream, or as a page."""
    run_id = request.path_params["run_id"]
    await site.authority.may_read_run(principal_of(request), run_id)
    cursor = query.cursor(request)
    until_pause = query.until_pause(request)
    tick = query.tick(request)
    limit = query.page_limit(request, default=query.MAX_PAGE)
    if query.wants_stream(request):
        compact = query.compact(request, default=True)
        site.crowd.sit(request.scope)
        return Stream(site, run_id, cursor, compact=compact, until_pause=until_pause, tick=tick)
    compact = query.compact(request, default=False)
    return json_response(await _page(site, run_id, cursor, limit=limit, compact=compact))


async def _page(
    site: Site, run_id: str, cursor: query.Cursor | None, *, limit: int, compact: bool
) -> EntriesPage:
    after = 0 if cursor is None else cursor.seq
    page = await site.store.read(run_id, after, limit)
    if cursor is not None and cursor.seq > page.last and cursor.epoch == page.epoch:
        page = await _seen_more(site, page, run_id, after, limit)
    if cursor is not None:
        check_cursor(cursor, last=page.last, epoch=page.epoch)
    cuts = page.cuts[cursor.epoch :] if cursor is not None else ()
    first = min((after, *cuts)) + 1
    if first <= after or page.first > first:
        state = await site.tails.state(run_id)
        gap = frames.Gap(from_=first, to=max(after, state.seq), snapshot=snapshot(state))
        following = None if state.ended else _next(state.seq, page.epoch)
        return EntriesPage(entries=[], next=following, gap=gap)
    numbered = list(enumerate(page.entries, page.first))
    shown = frames.merged(numbered) if compact else numbered
    reached = numbered[-1][0] if numbered else after
    finished = page.closed and reached >= page.last
    return EntriesPage(
        entries=[
            EntryItem(
                id=frames.cursor_id(seq, page.epoch),
                type=entry.type,
                data=Raw(frame_data(run_id, seq, entry.body)),
            )
            for seq, entry in shown
        ],
        next=None if finished else _next(reached, page.epoch),
    )


async def _seen_more(site: Site, page: Page, run_id: str, after: int, limit: int) -> Page:
    """The cursor lies beyond the log's end: it may have come back from its store shorter."""
    if page.doubt:
        raise InDoubt(run_id)
    if page.restored:
        await site.store.cut(run_id, page)
    return await site.store.read(run_id, after, limit)


def _next(seq: int, epoch: int) -> int | str:
    return frames.cursor_id(seq, epoch) if epoch else seq


async def artifact(site: Site, request: Request) -> ASGIApp:
    """A result that was too large for an entry, as it was."""
    run_id, artifact_id = request.path_params["run_id"], request.path_params["artifact_id"]
    await site.authority.may_read_run(principal_of(request), run_id)
    found = await site.store.artifact(run_id, artifact_id) if _ARTIFACT.fullmatch(artifact_id) else None
    if found is None:
        raise NotFound(artifact_id)
    media_type = found.media_type if _MEDIA.fullmatch(found.media_type) else "application/octet-stream"
    headers = {
        "Content-Type": media_type,
        # A tool wrote it: no browser may take it for a page of this origin.
        "Content-Disposition": f'attachment; filename="{artifact_id}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-store",
    }
    return Response(found.data, headers=headers)


async def delete(site: Site, request: Request) -> ASGIApp:
    """Remove a finished run everywhere."""
    run_id = request.path_params["run_id"]
    head = await site.authority.may_delete_run(principal_of(request), run_id)
    if not head.closed:
        raise Problem(409, "the run has not finished; stop it first", members={"run_id": run_id})
    await site.store.delete(run_id)
    site.tails.forget(run_id)
    return Response(status_code=204)
