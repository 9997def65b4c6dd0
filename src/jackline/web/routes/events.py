"""`/api/v1/agent/runs/{run_id}/events`: a run's entries as a stream, as a page, or by long-polling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from jackline.errors import InDoubt
from jackline.events import frame_data
from jackline.web import frames, query
from jackline.web.auth import principal_of
from jackline.web.poll import Poll
from jackline.web.problems import Problem
from jackline.web.site import json_response
from jackline.web.snapshot import snapshot
from jackline.web.stream import Stream, check_cursor

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from jackline.log.base import Page
    from jackline.web.site import Site
    from jackline.web.tail import Tail


_COME_BACK: Final = {"Retry-After": "1"}


class EntryItem(Struct, frozen=True, kw_only=True):
    """An entry: what its frame on a stream says, with the same bytes in `data`."""

    id: str
    type: str
    data: Raw


class EntriesPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Entries in order. `next`: what to give to `?after=` for the following ones, null when the run
    has finished and all is read. `gap`: entries that cannot be given any more. Where the page was
    waited for: `heartbeat`, if one came before any entry; `end`, where a stream would end."""

    entries: list[EntryItem]
    next: int | str | None
    gap: frames.Gap | None = None
    heartbeat: frames.Heartbeat | None = None
    end: frames.End | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wish:
    """What is asked of a page."""

    run_id: str
    cursor: query.Cursor | None
    limit: int
    compact: bool
    until_pause: bool

    @property
    def after(self) -> int:
        return 0 if self.cursor is None else self.cursor.seq


async def events(site: Site, request: Request) -> ASGIApp:
    """The run's entries."""
    await site.tails.turns.turn()
    run_id = request.path_params["run_id"]
    await site.authority.may_read_run(principal_of(request), run_id)
    cursor = query.cursor(request)
    until_pause = query.until_pause(request)
    tick = query.tick(request)
    poll = query.poll(request)
    limit = query.page_limit(request, default=query.MAX_PAGE)
    streaming = query.wants_stream(request, unnamed=not poll)
    if streaming or poll:
        site.crowd.sit(request.scope)
    if streaming:
        return Stream(
            site,
            run_id,
            cursor,
            compact=query.compact(request, default=True),
            until_pause=until_pause,
            tick=tick,
            poll=poll,
        )
    wish = _Wish(
        run_id=run_id,
        cursor=cursor,
        limit=limit,
        compact=query.compact(request, default=False),
        until_pause=until_pause,
    )
    return Poll(partial(_polled, site, wish)) if poll else json_response(await _page(site, wish))


async def _polled(site: Site, wish: _Wish) -> EntriesPage:
    """The page, once there is something to say: entries, an end, a heartbeat (G9: no proxy's idle limit
    is met). Nothing is kept from one call to the next."""
    async with site.tails.watch(wish.run_id) as tail:
        beats = tail.beats
        while True:
            news = tail.news
            page = await _page(site, wish)
            if page.next is None and not tail.closed:
                await tail.refresh()  # the page has the ending, and the tail has not heard of it yet
            end = _end(tail, wish, page)
            if page.entries or page.gap is not None or end is not None:
                return msgspec.structs.replace(page, end=end)
            if tail.beats != beats:
                return msgspec.structs.replace(page, heartbeat=tail.heartbeat)
            if tail.gone:
                await site.store.head(wish.run_id)  # raises where it was deleted; else the tail failed
            if tail.gone or site.tails.draining:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "this process lets go of its runs; come back",
                    headers=_COME_BACK,
                )
            await news.wait()


def _end(tail: Tail, wish: _Wish, page: EntriesPage) -> frames.End | None:
    """What a stream that has come as far as `page` would end with."""
    if page.next is not None:
        at_the_end = wish.until_pause and tail.paused and not tail.stale
        if not at_the_end or str(page.next) != frames.cursor_id(tail.last, tail.epoch):
            return None
    return frames.End(run_id=wish.run_id, state=tail.name, seq=tail.last)


async def _page(site: Site, wish: _Wish) -> EntriesPage:
    run_id, cursor, after, limit = wish.run_id, wish.cursor, wish.after, wish.limit
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
    shown = frames.merged(numbered) if wish.compact else numbered
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
