"""The feed part of the Redis store.

The feed lies in a slot of its own, so it is an index: a stream of pointers. A pointer is written before
the append that it announces, and bears the mark that the append's record will have; who reads the feed
looks for that record in the run. So the feed has nothing that was not appended, and misses nothing that
was, whoever dies in between. A pointer whose append was not made (yet) is kept in the cursor, and looked
at again, until it is too old to be still under way.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from jackline.ids import conversation_of, is_run_id, number_of
from jackline.ids import run_id as run_id_of
from jackline.log.feed import FeedItem, FeedPage
from jackline.log.redis_keys import last_in, marked_in
from jackline.log.redis_wire import array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from jackline.events import Entry
    from jackline.log.redis_core import Core
    from jackline.log.redis_wire import Command, Reply

PATIENCE_MS: Final = 15_000
"""How old a pointer may be whose append is still under way: three times the deadline of an answer."""

_UNSETTLED: Final = 8
"""Pointers that a cursor may hold; behind more of them a reader waits."""

_RECORDS: Final = 4
"""Records of a run looked at for one pointer at first: nearly always it is the first of them."""
_MORE_RECORDS: Final = 256

_NAME_DIGITS: Final = 8
_ID_DIGITS: Final = 18


class Place(NamedTuple):
    """A pointer's id: when it was written, by the server's clock (ms), and its number in that moment."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """All pointers up to `place` have been read; those in `unsettled` are to be looked at again."""

    name: str
    place: Place
    unsettled: tuple[Place, ...] = ()

    def __str__(self) -> str:
        return "~".join([f"{self.name}-{self.place}", *map(str, self.unsettled)])

    def settled(self, place: Place) -> Cursor:
        """The same without one that was to be looked at again."""
        return replace(self, unsettled=tuple(each for each in self.unsettled if each != place))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pointer:
    """An announcement: entries of the run after `after` will be in records that bear `mark`."""

    place: Place
    run_id: str
    after: int
    mark: str

    @property
    def begins(self) -> bool:
        """Whether it may have announced a run, not more of one."""
        return self.after == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What a pointer has come to: entries with their seqs; none where nothing will come of it any more."""

    run_id: str
    owner: str
    numbered: Sequence[tuple[int, Entry]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """What was read of the feed's stream."""

    name: str
    now_ms: int
    first: Place
    last: Place
    added: int
    pointers: Sequence[_Pointer]
    again: Sequence[_Pointer]


_NOTHING: Final = _Found(run_id="", owner="", numbered=())


def parse(text_: str) -> Cursor:
    """The cursor of its text. Raises `ValueError`."""
    head, *others = text_.split("~")
    name, _, place = head.partition("-")
    if len(name) != _NAME_DIGITS or len(others) > _UNSETTLED:
        raise ValueError("no cursor of this feed")
    return Cursor(name=name, place=_place(place), unsettled=tuple(map(_place, others)))


def _place(words: str) -> Place:
    ms, _, number = words.partition("-")
    if not all(each.isascii() and each.isdecimal() and len(each) <= _ID_DIGITS for each in (ms, number)):
        raise ValueError("no cursor of this feed")
    return Place(int(ms), int(number))


def _items(what: _Found, before: Cursor, after: Cursor) -> list[FeedItem]:
    """What a pointer stands for; who was given only a part of it goes on before it."""
    last = len(what.numbered) - 1
    return [
        FeedItem(
            run_id=what.run_id,
            seq=seq,
            owner=what.owner,
            entry=entry,
            cursor=str(after if at == last else before),
        )
        for at, (seq, entry) in enumerate(what.numbered)
    ]


async def tell_gone(core: Core, run_ids: Sequence[str]) -> None:
    """Runs have been deleted. A reader who did not know would take one that has just begun for one that is
    still to begin, and wait for it."""
    if await core.one(("EXISTS", core.keys.feed)) == 0:
        return
    told: list[Command] = [
        ("SET", core.keys.feed_gone(run_id), 1, "PX", 2 * PATIENCE_MS) for run_id in run_ids
    ]
    await core.call(*told, spare=told)


class FeedPart:
    """`Feed` on Redis."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        """See `Feed.read_feed`."""
        given = parse(cursor) if cursor else Cursor(name="", place=Place(0, 0))
        look = await self._look(given, limit)
        name = look.name
        if not cursor:
            given = replace(given, name=name)
        elif given.name != name:
            raise ValueError("no cursor of this feed")
        if given.place > look.last:
            # The server came back without what was written last. What has come since may be under way.
            begin = str(Cursor(name=name, place=Place(max(0, look.last.ms - PATIENCE_MS), 0)))
            return replace(await self.read_feed(begin, limit), gap=True)
        trimmed = given.place < look.first and look.added > self._core.feed_entries
        page = await self._gather(given, look)
        more = page.more or len(look.pointers) >= limit
        if not (cursor and trimmed):
            return replace(page, start=str(given), more=more)
        begin = Cursor(name=name, place=look.first, unsettled=(look.first,))
        return replace(page, start=str(begin), more=more, gap=True)

    async def feed_end(self) -> str:
        """See `Feed.feed_end`. What was announced a while ago may still be under way: that is looked at."""
        look = await self._look(Cursor(name="", place=Place(0, 0)), 1)
        start = min(look.last, Place(max(0, look.now_ms - PATIENCE_MS), 0))
        cursor = str(Cursor(name=look.name, place=start))
        while True:
            page = await self.read_feed(cursor)
            if page.next == cursor or not page.more:
                return page.next
            cursor = page.next

    @contextmanager
    def listen_feed(self, hear: Callable[[], None]) -> Generator[None]:
        """See `Feed.listen_feed`."""
        with self._core.hints.listening(self._core.keys.feed_channel, 0, lambda _: hear()):
            yield

    # -- pointers ------------------------------------------------------------------------------

    async def _look(self, cursor: Cursor, limit: int) -> _Look:
        keys = self._core.keys
        command = self._core.scripts.feed_read.by_digest(
            [keys.feed, keys.feed_name],
            str(cursor.place),
            limit,
            secrets.token_hex(_NAME_DIGITS // 2),
            *map(str, cursor.unsettled),
        )
        name, now, first, last, added, pointers, again = array(await self._core.one(command))
        return _Look(
            name=text(name),
            now_ms=integer(now),
            first=_place(text(first)),
            last=_place(text(last)),
            added=integer(added),
            pointers=[_pointer(each) for each in array(pointers)],
            again=[_pointer(each) for each in array(again)],
        )

    async def _gather(self, cursor: Cursor, look: _Look) -> FeedPage:
        pointers = [*look.again, *look.pointers]
        found = await self._found(pointers, look.now_ms)
        gone = set(cursor.unsettled) - {each.place for each in look.again}
        for place in gone:
            cursor = cursor.settled(place)
        items: list[FeedItem] = []
        given: set[tuple[str, int]] = set()
        stopped = False
        for pointer in pointers:
            known = pointer.place in cursor.unsettled
            what = found.get(pointer.place)
            before = cursor
            after = cursor.settled(pointer.place) if known else replace(cursor, place=pointer.place)
            if what is None:
                if known:
                    continue
                if len(cursor.unsettled) == _UNSETTLED:
                    stopped = True
                    break
                cursor = replace(after, unsettled=(*cursor.unsettled, pointer.place))
                continue
            fresh = [each for each in what.numbered if (what.run_id, each[0]) not in given]
            given.update((what.run_id, seq) for seq, _ in fresh)
            items += _items(replace(what, numbered=fresh), before, after)
            cursor = after
        return FeedPage(
            items=items, start="", next=str(cursor), more=stopped, unsettled=stopped or bool(cursor.unsettled)
        )

    async def _found(self, pointers: Sequence[_Pointer], now_ms: int) -> dict[Place, _Found]:
        """What the pointers have come to; not those of which nothing has come yet."""
        core = self._core
        commands: list[Command] = []
        known = [pointer for pointer in pointers if pointer.run_id]
        for pointer in known:
            keys = core.run_keys(pointer.run_id)
            # In this order: what is said of the run is never older than what was read of it.
            commands.append(("XRANGE", keys.records, pointer.after + 1, "+", "COUNT", _RECORDS))
            commands.append(("HGET", keys.run, "owner"))
        replies = await core.call(*commands) if commands else []
        found = {pointer.place: _NOTHING for pointer in pointers if not pointer.run_id}
        for pointer, records, owner in zip(known, replies[::2], replies[1::2], strict=True):
            what = await self._come_to(pointer, array(records), owner)
            if what is not None:
                found[pointer.place] = what
            elif now_ms - pointer.place.ms > PATIENCE_MS:
                found[pointer.place] = _NOTHING
        return found

    async def _come_to(self, pointer: _Pointer, records: list[Reply], owner: Reply) -> _Found | None:
        """What a pointer has come to. None: nothing yet."""
        run_id = pointer.run_id
        numbered = await self._announced(pointer, records, _RECORDS)
        if not numbered and pointer.begins:
            run_id, owner, numbered = await self._begun(pointer, owner)
        if owner is None:
            begun = not pointer.begins or await self._is_gone(run_id)
            return _NOTHING if begun else None
        if not numbered:
            return None
        fed = [(seq, entry) for seq, entry in numbered if self._core.in_feed(entry)]
        return _Found(run_id=run_id, owner=text(owner), numbered=fed)

    async def _is_gone(self, run_id: str) -> bool:
        return await self._core.one(("EXISTS", self._core.keys.feed_gone(run_id))) == 1

    async def _announced(
        self, pointer: _Pointer, records: list[Reply], asked: int
    ) -> list[tuple[int, Entry]]:
        """The entries that a pointer has announced, with their seqs, found in the first records after it,
        which were read, or in those that follow. With them comes what others have announced and appended
        before them: so a run's entries are in order, though pointers and appends may overtake each other."""
        keys = self._core.run_keys(pointer.run_id)
        mark = pointer.mark.encode()
        found: list[tuple[int, Entry]] = []
        others: list[tuple[int, Entry]] = []
        while True:
            for item in records:
                identity, fields = array(item)
                for name, numbered in marked_in(raw(identity), [raw(field) for field in array(fields)]):
                    if name == mark:
                        found += [*others, *numbered]
                        others = []
                    elif found:
                        return found
                    else:
                        others += [each for each in numbered if each[0] > pointer.after]
            if len(records) < asked:
                return found
            asked = _MORE_RECORDS
            after = last_in(raw(array(records[-1])[0]))
            command: Command = ("XRANGE", keys.records, after + 1, "+", "COUNT", asked)
            records = array(await self._core.one(command))

    async def _begun(self, pointer: _Pointer, owner: Reply) -> tuple[str, Reply, list[tuple[int, Entry]]]:
        """Where another one took the number that a run was announced with, it has one of the following."""
        core, conversation_id = self._core, conversation_of(pointer.run_id)
        newest = await core.one(("HGET", core.keys.conversation(conversation_id), "last"))
        for number in range(number_of(pointer.run_id) + 1, 0 if newest is None else integer(newest) + 1):
            run_id = run_id_of(conversation_id, number)
            keys = core.run_keys(run_id)
            records, of = await core.call(
                ("XRANGE", keys.records, 1, "+", "COUNT", 1), ("HGET", keys.run, "owner")
            )
            renamed = replace(pointer, run_id=run_id)
            numbered = await self._announced(renamed, array(records), 2)
            if numbered:
                return run_id, of, numbered
        return pointer.run_id, owner, []


def _pointer(item: Reply) -> _Pointer:
    """A pointer of the stream. One of a later version that this one cannot read is one to no run."""
    identity, fields = array(item)
    values = array(fields)
    words = dict(zip(map(raw, values[::2]), map(raw, values[1::2]), strict=True)).get(b"p", b"").decode()
    run_id, _, rest = words.partition(" ")
    after, _, mark = rest.partition(" ")
    if not is_run_id(run_id) or not after.isdecimal() or len(after) > _ID_DIGITS or not mark:
        run_id, after, mark = "", "0", ""
    return _Pointer(place=_place(text(identity)), run_id=run_id, after=int(after), mark=mark)
