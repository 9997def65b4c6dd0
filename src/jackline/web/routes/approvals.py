"""`/api/v1/agent/approvals…`: questions to people, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from msgspec import Struct

from jackline.errors import NotFound, UnknownRun
from jackline.events import ApprovalStateName
from jackline.ids import is_call_id, run_of
from jackline.summary import read_summary
from jackline.web import query
from jackline.web.auth import principal_of
from jackline.web.bodies import AnswerBody, DecisionsBody, read_json, refuse
from jackline.web.frames import cursor_id
from jackline.web.lists import visible_page
from jackline.web.site import json_response, reserve
from jackline.web.snapshot import ApprovalItem, approval
from jackline.web.stream import Stream, events_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.commands import Decided, Decision
    from jackline.log.base import Head
    from jackline.web.site import Site

ApprovalFilter = ApprovalStateName | Literal["all"]
FILTERS: Final[tuple[ApprovalFilter, ...]] = (*get_args(ApprovalStateName), "all")


class ApprovalsPage(Struct, frozen=True, kw_only=True):
    """Questions of the caller's runs, those of the newest run first. `next`: the cursor of the next
    page, null at the end."""

    approvals: list[ApprovalItem]
    next: str | None


class DecidedItem(Struct, frozen=True, kw_only=True):
    """An answer that stands."""

    run_id: str
    call_id: str
    state: str
    by: str


class DecidedPage(Struct, frozen=True, kw_only=True):
    """The answers to several questions of one run, in the order they were given."""

    run_id: str
    decisions: list[DecidedItem]


async def listed(site: Site, request: Request) -> ASGIApp:
    """Questions in one state (`pending` unless asked otherwise). `limit` counts runs that have
    questions, because a run's questions stand together."""
    principal = principal_of(request)
    state = query.choice(request, "state", FILTERS) or "pending"

    async def fetch(cursor: str, limit: int) -> tuple[list[Head], str]:
        return await site.store.runs(cursor=cursor, limit=limit, open_only=state == "pending")

    def wanted(head: Head) -> bool:
        asks = state != "pending" or bool(read_summary(head.summary).waiting)
        return asks and site.authority.may_see(principal, head)

    cursor, limit = query.page_cursor(request), query.page_limit(request)
    while True:
        heads, following = await visible_page(fetch, wanted, cursor=cursor, limit=limit)
        found = [item for head in heads for item in await _questions(site, head.run_id, state)]
        if found or following is None:
            break
        cursor = following  # an empty page would look like the end
    return json_response(ApprovalsPage(approvals=found, next=following))


async def _questions(site: Site, run_id: str, state: ApprovalFilter) -> list[ApprovalItem]:
    try:
        run = await site.tails.state(run_id)
    except UnknownRun:
        return []  # deleted since the list was read
    return [approval(question) for question in run.questions.values() if state in {"all", question.state}]


async def one(site: Site, request: Request) -> ASGIApp:
    """The newest question about a call."""
    call_id = request.path_params["call_id"]
    if not is_call_id(call_id):
        raise NotFound(call_id)
    await site.authority.may_read_run(principal_of(request), run_of(call_id))
    question = (await site.tails.state(run_of(call_id))).last_question(call_id)
    if question is None:
        raise NotFound(call_id)
    return json_response(approval(question))


async def decide(site: Site, request: Request) -> ASGIApp:
    """Answer one question."""
    choices = query.stream_choices(request)
    body, raw = await read_json(request, AnswerBody, site.settings)
    refuse(body.faults())
    if choices.streaming:
        site.crowd.sit(request.scope)
    decided = await _decide(site, request, raw, [body.decision(request.path_params["call_id"])])
    return await _answer(site, choices, decided, _item(decided[0]))


async def decide_several(site: Site, request: Request) -> ASGIApp:
    """Answer several questions of one run, all or none."""
    choices = query.stream_choices(request)
    body, raw = await read_json(request, DecisionsBody, site.settings)
    refuse(body.faults())
    decisions = [decision.answer().decision(decision.call_id) for decision in body.decisions]
    if choices.streaming:
        site.crowd.sit(request.scope)
    decided = await _decide(site, request, raw, decisions)
    answers = DecidedPage(run_id=decided[0].run_id, decisions=[_item(answer) for answer in decided])
    return await _answer(site, choices, decided, answers)


async def _decide(site: Site, request: Request, raw: bytes, decisions: Sequence[Decision]) -> list[Decided]:
    principal = principal_of(request)
    key = query.idempotency_key(request, principal)
    for decision in decisions:
        await site.authority.may_decide(principal, decision.call_id)
    await reserve(site, key, query.digest(request, raw), run_of(decisions[0].call_id))
    return await site.commands.decide(decisions, by=principal.name)


async def _answer(
    site: Site,
    choices: query.StreamChoices,
    decided: Sequence[Decided],
    answers: DecidedItem | DecidedPage,
) -> ASGIApp:
    run_id = decided[0].run_id
    begin = min(answer.seq for answer in decided) - 1
    if not choices.streaming:
        # Whoever cannot take the stream knows by the cursor where it would have begun.
        epoch = (await site.store.read(run_id, begin, 1)).epoch
        cursor = cursor_id(begin, epoch)
        headers = {"X-Run-Id": run_id, "Location": events_path(run_id), "Last-Event-ID": cursor}
        return json_response(answers, headers=headers)
    return Stream(
        site,
        run_id,
        choices.resume,
        compact=choices.compact,
        until_pause=choices.until_pause,
        tick=choices.tick,
        began_here=True,
        begin=begin,
    )


def _item(decided: Decided) -> DecidedItem:
    return DecidedItem(run_id=decided.run_id, call_id=decided.call_id, state=decided.state, by=decided.by)
