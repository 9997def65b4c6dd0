"""`/api/v1/agent/feed`: what happens in all runs that the caller may see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from jackline.events import frame_data
from jackline.web import frames, query
from jackline.web.auth import principal_of
from jackline.web.feed import PAGE_ITEMS, bounded
from jackline.web.feed_viewer import FeedViewer, FeedWish
from jackline.web.handover import HANDOVER
from jackline.web.headers import stream_headers
from jackline.web.poll import Poll
from jackline.web.problems import Problem
from jackline.web.routes.events import EntryItem
from jackline.web.site import json_response
from jackline.web.stream import handed_over, seat_of, send_whole, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from jackline.log.feed import FeedPage
    from jackline.web.handover import Handover
    from jackline.web.site import Site

_NOW: Final = "now"
_PAGE_BYTES: Final = 1 << 20
"""About how large a page gets, as of other pages of entries."""
_MAX_READS: Final = 50
"""Reads of the store per page: one caller's rare entries among very many of others must not make one
request read the whole feed in one go."""

_COME_BACK: Final = {"Retry-After": "1"}


class FeedEntries(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Entries of the feed. `next`: what to give to `?after=` for the following ones; there may be some
    already. `gap`: what came before these cannot be given any more. `heartbeat`: where the page was waited
    for, if one came before any entry."""

    entries: list[EntryItem]
    next: str
    gap: frames.FeedGap | None = None
    heartbeat: frames.FeedHeartbeat | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wish:
    """What is asked of a page."""

    cursor: str
    sees: Callable[[str], bool]
    limit: int


async def feed(site: Site, request: Request) -> ASGIApp:
    """The entries of all runs that the caller may see."""
    await site.tails.turns.turn()
    principal = principal_of(request)
    cursor = query.feed_cursor(request)
    tick = query.tick(request)
    poll = query.poll(request)
    limit = query.page_limit(request, default=query.MAX_PAGE)
    streaming = query.wants_stream(request, unnamed=not poll)
    if streaming or poll:
        site.crowd.sit(request.scope)
    sees = partial(site.authority.may_see_owner, principal)
    if streaming:
        return FeedStream(site, cursor, sees, tick=tick, poll=poll)
    wish = _Wish(cursor=cursor, sees=sees, limit=limit)
    return Poll(partial(_polled, site, wish)) if poll else json_response((await _page(site, wish)).page)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A page, and whether more was there when it was read, be it for this caller or not."""

    page: FeedEntries
    more: bool = False


class FeedStream:
    """An ASGI callable: the feed to one client (G9). Before the headers leave it may raise: a problem for a
    cursor that the feed has never given, `StoreUnavailable`."""

    def __init__(
        self, site: Site, cursor: str, sees: Callable[[str], bool], *, tick: int, poll: bool
    ) -> None:
        self._site = site
        self._cursor = cursor
        self._sees = sees
        self._tick = tick
        self._poll = poll

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until its last frame, or until the client is gone; where the server hands its
        connection over, return once the viewer has it."""
        site, tails = self._site, self._site.tails
        handover: Handover | None = scope.get("extensions", {}).get(HANDOVER)
        await tails.feed.enter()
        kept = False
        try:
            wish = await self._wish()
            headers = stream_headers(identity=site.settings.encoding_identity)
            if scope["method"] == "HEAD":
                await send_whole(send, HTTPStatus.OK, headers)
                return
            if handover is not None:
                handover.prepare()
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
            seat = seat_of(scope)
            viewer = FeedViewer(tails, wish, drain_seconds=site.settings.drain, seat=seat)
            if handover is None or not handover.possible:
                kept = True
                await serve(viewer, receive, send, site)
            else:
                kept = handed_over(viewer, handover, seat)
        finally:
            if not kept:
                tails.feed.leave()

    async def _wish(self) -> FeedWish:
        tail, page = self._site.tails.feed, None
        cursor = tail.cursor if self._cursor == _NOW else self._cursor
        # Before the reading: what the tail takes in after that may not be in the page.
        place, era = tail.last, tail.era
        if tail.place_after(cursor) is None:
            page = await _read(self._site, cursor)
            cursor = cursor or page.start
        return FeedWish(
            cursor=cursor,
            page=page,
            place=place,
            era=era,
            sees=self._sees,
            tick=self._tick,
            poll=self._poll,
        )


async def _read(site: Site, cursor: str) -> FeedPage:
    try:
        return await site.tails.feed.read(cursor)
    except ValueError:
        raise query.bad_feed_cursor() from None


async def _page(site: Site, wish: _Wish) -> _Found:
    """Up to about `limit` entries: what was appended in one step stays together."""
    cursor = await site.store.feed_end() if wish.cursor == _NOW else wish.cursor
    entries: list[EntryItem] = []
    size = 0
    more = False
    gap: frames.FeedGap | None = None
    for _ in range(_MAX_READS):
        try:
            # However few are wanted: those that the caller may not see must not use the reads up.
            page = bounded(await site.store.read_feed(cursor, PAGE_ITEMS), cursor, _PAGE_BYTES - size)
        except ValueError:
            raise query.bad_feed_cursor() from None
        page = _cut(page, cursor, wish.sees, wish.limit - len(entries))
        if page.gap and gap is None:
            gap = frames.FeedGap(from_=cursor, to=page.start)
        entries += [
            EntryItem(
                id=item.cursor,
                type=item.entry.type,
                data=Raw(frame_data(item.run_id, item.seq, item.entry.body)),
            )
            for item in page.items
            if wish.sees(item.owner)
        ]
        size += sum(len(item.entry.body) for item in page.items if wish.sees(item.owner))
        more, cursor = page.more and page.next != page.start, page.next
        if not more or len(entries) >= wish.limit or size >= _PAGE_BYTES:
            break
    return _Found(page=FeedEntries(entries=entries, next=cursor, gap=gap), more=more)


def _cut(page: FeedPage, cursor: str, sees: Callable[[str], bool], limit: int) -> FeedPage:
    """The page after `cursor` up to the last entry of the step that has the `limit`th of those who `sees`."""
    before = cursor
    for at, item in enumerate(page.items, 1):
        limit -= sees(item.owner)
        # All entries of a step but its last may have the cursor of what came before it.
        ends = item.cursor not in (before, cursor, page.start)
        before = item.cursor
        if limit <= 0 and ends and at < len(page.items):
            return replace(page, items=page.items[:at], next=item.cursor, more=True)
    return page


async def _polled(site: Site, wish: _Wish) -> FeedEntries:
    """The page, once there is something to say: entries, a gap, a heartbeat."""
    tail = site.tails.feed
    await tail.enter()
    try:
        beats = tail.beats
        while True:
            news = tail.news
            # What others do must not make everybody who polls read the store.
            end = tail.passed_over(wish.cursor, wish.sees)
            nothing = None if end is None else _Found(page=FeedEntries(entries=[], next=end))
            found = nothing or await _page(site, wish)
            page = found.page
            if page.entries or page.gap is not None:
                return page
            if tail.beats != beats and tail.heartbeat is not None:
                heartbeat = msgspec.structs.replace(tail.heartbeat, cursor=page.next)
                return msgspec.structs.replace(page, heartbeat=heartbeat)
            if site.tails.draining or not tail.followed:
                detail = "this process lets go of its viewers; come back"
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_COME_BACK)
            wish = replace(wish, cursor=page.next)
            if found.more:
                # An entry may be there already, behind many of others. They are read in turns with whoever
                # else comes.
                await asyncio.sleep(0)
                await site.tails.turns.turn()
            else:
                await news.wait()
    finally:
        tail.leave()
