"""`/api/v1/agent/conversations…`: what belongs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.responses import Response

from jackline.errors import UnknownRun
from jackline.events import Json, Receipt, timestamp
from jackline.web import query
from jackline.web.auth import principal_of
from jackline.web.lists import visible_page
from jackline.web.problems import Problem
from jackline.web.site import json_response
from jackline.web.snapshot import SaidItem, snapshot

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.log.base import Conversation
    from jackline.web.site import Site


class ConversationItem(Struct, frozen=True, kw_only=True):
    """A conversation in a list. `runs`: its runs' ids in order; `active`: the one that is not over."""

    conversation_id: str
    by: str
    runs: tuple[str, ...]
    active: str | None
    created_at: str


class ConversationsPage(Struct, frozen=True, kw_only=True):
    """Conversations, newest first. `next`: the cursor of the next page, null at the end."""

    conversations: list[ConversationItem]
    next: str | None


class RunHistory(Struct, frozen=True, kw_only=True):
    """What was said in one run, and what came of it."""

    run_id: str
    state: str
    agent: str
    created_at: str
    updated_at: str
    transcript: list[SaidItem]
    output: Json
    receipt: Receipt | None


class History(Struct, frozen=True, kw_only=True):
    """A page of a conversation's runs, oldest first. `next`: the cursor of the next page."""

    conversation_id: str
    by: str
    active: str | None
    created_at: str
    runs: list[RunHistory]
    next: str | None


async def listed(site: Site, request: Request) -> ASGIApp:
    """The caller's conversations, newest first."""
    principal = principal_of(request)

    async def fetch(cursor: str, limit: int) -> tuple[list[Conversation], str]:
        return await site.store.conversations(cursor=cursor, limit=limit)

    def wanted(conversation: Conversation) -> bool:
        return site.authority.may_see(principal, conversation)

    found, following = await visible_page(
        fetch, wanted, cursor=query.page_cursor(request), limit=query.page_limit(request)
    )
    items = [_item(conversation) for conversation in found]
    return json_response(ConversationsPage(conversations=items, next=following))


async def one(site: Site, request: Request) -> ASGIApp:
    """A conversation with its runs' transcripts."""
    conversation_id = request.path_params["conversation_id"]
    conversation = await site.authority.may_read_conversation(principal_of(request), conversation_id)
    limit, after = query.page_limit(request), query.page_cursor(request)
    if after and after not in conversation.run_ids:
        raise query.bad_cursor()
    begin = conversation.run_ids.index(after) + 1 if after else 0
    shown = conversation.run_ids[begin : begin + limit]
    histories = [await _history(site, run_id) for run_id in shown]
    more = begin + limit < len(conversation.run_ids)
    history = History(
        conversation_id=conversation_id,
        by=conversation.owner,
        active=conversation.active,
        created_at=timestamp(conversation.created_ms / 1000),
        runs=[history for history in histories if history is not None],
        next=shown[-1] if more else None,
    )
    return json_response(history)


async def delete(site: Site, request: Request) -> ASGIApp:
    """Remove a conversation with all of its runs."""
    conversation_id = request.path_params["conversation_id"]
    conversation = await site.authority.may_delete_conversation(principal_of(request), conversation_id)
    if conversation.active is not None:
        detail = "a run of the conversation has not finished; stop it first"
        raise Problem(409, detail, members={"run_id": conversation.active})
    await site.store.delete(conversation_id)
    for run_id in conversation.run_ids:
        site.tails.forget(run_id)
    return Response(status_code=204)


async def _history(site: Site, run_id: str) -> RunHistory | None:
    try:
        whole = snapshot(await site.tails.state(run_id))
    except UnknownRun:
        return None  # deleted since the conversation was read
    return RunHistory(
        run_id=run_id,
        state=whole.state,
        agent=whole.agent,
        created_at=whole.created_at,
        updated_at=whole.updated_at,
        transcript=whole.transcript,
        output=whole.output,
        receipt=whole.receipt,
    )


def _item(conversation: Conversation) -> ConversationItem:
    return ConversationItem(
        conversation_id=conversation.conversation_id,
        by=conversation.owner,
        runs=conversation.run_ids,
        active=conversation.active,
        created_at=timestamp(conversation.created_ms / 1000),
    )
