"""`POST …/runs/{run_id}/stop` and `POST …/stop`: the most important button (G4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from jackline.errors import NotFound, StoreUnavailable, UnknownRun
from jackline.events import TERMINAL, Receipt
from jackline.web import query
from jackline.web.auth import principal_of
from jackline.web.bodies import StopAnyBody, StopBody, read_optional_json, refuse
from jackline.web.site import json_response, reserve

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.commands import Stopped
    from jackline.web.site import Site


class StopAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a stop so far. `receipt`: once a stopped run is quiet."""

    run_id: str
    state: str
    receipt: Receipt | None = None


async def stop_run(site: Site, request: Request) -> ASGIApp:
    """Stop a run."""
    seconds = query.wait_seconds(request)
    body, raw = await read_optional_json(request, StopBody, site.settings)
    return await _stop(site, request, request.path_params["run_id"], body, raw, seconds)


async def stop_any(site: Site, request: Request) -> ASGIApp:
    """Stop a run, or all that goes on and waits in a conversation."""
    seconds = query.wait_seconds(request)
    body, raw = await read_optional_json(request, StopAnyBody, site.settings)
    refuse(body.faults())
    if body.conversation_id is not None:
        run_id = await _run_of(site, request, body.conversation_id, body.reason)
    else:
        run_id = body.run_id or ""
    return await _stop(site, request, run_id, StopBody(reason=body.reason, mode=body.mode), raw, seconds)


async def _run_of(site: Site, request: Request, conversation_id: str, reason: str | None) -> str:
    """The active run; without one, the newest, whose final state is then the answer. Those that wait
    behind the active one are stopped before it: nothing may begin because of a stop."""
    principal = principal_of(request)
    conversation = await site.authority.may_stop_conversation(principal, conversation_id)
    if conversation.active is not None:
        behind = conversation.run_ids[conversation.run_ids.index(conversation.active) + 1 :]
        for waiting in reversed(behind):
            await site.commands.stop(waiting, by=principal.name, reason=reason)
        return conversation.active
    if not conversation.run_ids:
        raise NotFound(conversation_id)
    return conversation.run_ids[-1]


async def _stop(
    site: Site, request: Request, run_id: str, body: StopBody, raw: bytes, seconds: float
) -> ASGIApp:
    principal = principal_of(request)
    key = query.idempotency_key(request, principal)
    head = await site.authority.may_stop_run(principal, run_id)
    await reserve(site, key, query.digest(request, raw), run_id)
    stopped = await site.commands.stop(
        run_id, by=principal.name, reason=body.reason, mode=body.mode, head=head
    )
    headers = {"X-Run-Id": run_id}
    if stopped.state in TERMINAL:
        return json_response(_final(stopped), headers=headers)
    answer = await _until_quiet(site, run_id, seconds) if seconds else None
    if answer is not None:
        return json_response(answer, headers=headers)
    return json_response(StopAnswer(run_id=run_id, state="stopping"), 202, headers=headers)


def _final(stopped: Stopped) -> StopAnswer:
    return StopAnswer(run_id=stopped.run_id, state=stopped.state, receipt=stopped.receipt)


async def _until_quiet(site: Site, run_id: str, seconds: float) -> StopAnswer | None:
    """The run's ending, None when it has none within `seconds`, or nobody can tell: the stop is
    accepted all the same."""
    try:
        async with asyncio.timeout(seconds), site.tails.watch(run_id) as tail:
            while not tail.closed:
                news = tail.news
                if site.tails.draining or tail.gone:
                    return None
                await news.wait()
            return StopAnswer(run_id=run_id, state=tail.name, receipt=tail.receipt)
    except (TimeoutError, StoreUnavailable, UnknownRun):
        return None
