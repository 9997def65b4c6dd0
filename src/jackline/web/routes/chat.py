"""`POST /api/v1/agent/chat`: start a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from jackline.errors import FieldError
from jackline.web import query
from jackline.web.auth import principal_of
from jackline.web.bodies import ChatBody, read_json, refuse
from jackline.web.catalogues import live_agents
from jackline.web.problems import unavailable
from jackline.web.site import json_response
from jackline.web.stream import Stream, events_path

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.web.auth import Principal
    from jackline.web.site import Site


class Accepted(Struct, frozen=True, kw_only=True):
    """A run that was started."""

    run_id: str
    conversation_id: str
    state: str


async def start(site: Site, request: Request) -> ASGIApp:
    """Check everything, append the first entry, answer. Nothing here waits for the agent (G9)."""
    principal = principal_of(request)
    choices = query.stream_choices(request)
    key = query.idempotency_key(request, principal)
    body, raw = await read_json(request, ChatBody, site.settings)
    refuse(body.faults())
    await _check_conversation(site, principal, body.conversation_id)
    agent = await _agent(site, body.agent)
    if choices.streaming:
        site.crowd.sit(request.scope)
    started = await site.commands.start(
        by=principal.name,
        agent=agent,
        messages=body.messages,
        conversation_id=body.conversation_id,
        on_busy=body.on_busy,
        metadata=body.metadata,
        limits=body.lowered,
        key=key,
        digest=query.digest(request, raw),
    )
    if not choices.streaming:
        accepted = Accepted(
            run_id=started.run_id, conversation_id=started.conversation_id, state=started.state
        )
        headers = {"X-Run-Id": started.run_id, "Location": events_path(started.run_id)}
        return json_response(accepted, 202, headers=headers)
    return Stream(
        site,
        started.run_id,
        # A client that posts again after a cut (with its key) says what it has seen already.
        choices.resume if started.repeated else None,
        compact=choices.compact,
        until_pause=choices.until_pause,
        tick=choices.tick,
        began_here=True,
    )


async def _check_conversation(site: Site, principal: Principal, conversation_id: str | None) -> None:
    if conversation_id is None:
        site.authority.may_start(principal)
        return
    await site.authority.may_continue(principal, conversation_id)


async def _agent(site: Site, asked: str | None) -> str:
    default = None if site.default_agent is None else await site.default_agent()
    if asked is None and default is not None:
        return default
    if asked is not None and asked == default:
        return asked
    served = sorted({agent.name for agent in await live_agents(site.store)})
    if asked is None:
        if not served:
            raise unavailable("no worker serves any agent now; try again")
        return served[0]
    if asked not in served:
        detail = "no live worker serves this agent; there are: " + (", ".join(served) or "none")
        refuse([FieldError(field="agent", detail=detail)])
    return asked
