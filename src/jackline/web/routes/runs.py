"""`/api/v1/agent/runs…`: lists, snapshots, entries, artifacts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from msgspec import Struct
from starlette.responses import Response

from jackline.errors import NotFound
from jackline.events import RunStateName, timestamp
from jackline.ids import is_conversation_id
from jackline.summary import read_summary
from jackline.web import query
from jackline.web.auth import principal_of
from jackline.web.lists import visible_page
from jackline.web.problems import Problem
from jackline.web.site import json_response
from jackline.web.snapshot import snapshot, with_reason
from jackline.web.waiting import Reasons, Waiting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.log.base import Head
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
