"""The directory part of the Redis store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from jackline.errors import Busy, UnknownRun
from jackline.ids import conversation_of, is_conversation_id, is_run_id, number_of, run_id
from jackline.log.base import Begun, Conversation, Head, Reservation, Start
from jackline.log.packing import pack
from jackline.log.redis_core import Core, Place, unexpected
from jackline.log.redis_feed import tell_gone
from jackline.log.redis_wire import array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jackline.log.redis_core import Found
    from jackline.log.redis_wire import Command, Reply

_DAY_MS: Final = 24 * 60 * 60 * 1000
"""How long an idempotency key is kept at least."""
_SWEEP: Final = 50
"""Runs whose place is checked, and old reservations looked at, per call of `overdue`."""
_ROUNDS: Final = 8
"""Times that `overdue` looks again because what it found was no longer so."""

_T = TypeVar("_T")


class DirectoryPart:
    """`Directory` on Redis."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._swept = 0

    async def begin(self, start: Start) -> Begun:
        """See `Directory.begin`."""
        core, conversation_id = self._core, start.conversation_id
        if not is_conversation_id(conversation_id):
            if start.new_conversation:
                raise ValueError("a conversation's id is 8 to 40 lower-case letters and digits")
            raise UnknownRun(conversation_id)
        former = await core.one(("HGET", core.keys.conversation(conversation_id), "last"))
        coming = run_id(conversation_id, (0 if former is None else integer(former)) + 1)
        # The indexes first: should this process die in between, they name a run that is not there,
        # which is found out; a run that no index names would never be driven.
        place = Place(state="new", name=core.keys.due_of(start.agent, ""), due_ms=0)
        life = core.server.life
        announced = await core.announce(coming, start.entries, 0)
        pointer = () if announced is None else (announced.pointer,)
        hint = () if announced is None else (announced.hint,)
        mark = "" if announced is None else announced.mark
        commands = (*pointer, self._begin(start, life, mark), *hint)
        replies = await core.call(
            core.place(coming, place), *commands, core.look(coming), life=life, spare=(*pointer, *hint)
        )
        look, answer = replies[-1], array(replies[1 + len(pointer)])
        if answer[0] != b"ok" or integer(answer[3]) == 1:
            core.withdraw(replies[1])
        match raw(answer[0]):
            case b"ok":
                begun = _begun(conversation_id, answer)
                async with core.durable(life):
                    await core.settle(coming, core.place_of(look))
                    if begun.run_id != coming:
                        await core.settle(begun.run_id)
                return begun
            case b"busy":
                await core.settle(coming)
                raise Busy(run_id(conversation_id, integer(answer[1])))
            case b"unknown":
                await core.settle(coming)
                raise UnknownRun(conversation_id)
            case _:
                raise unexpected(answer)

    def _begin(self, start: Start, life: str, mark: str) -> Command:
        return self._core.scripts.begin.by_digest(
            _conversation_keys(self._core, start.conversation_id),
            self._core.keys.base(start.conversation_id),
            int(start.new_conversation),
            start.token,
            start.agent,
            start.owner,
            len(start.entries),
            pack(start.entries),
            start.summary,
            int(start.queue),
            life,
            mark,
        )

    async def reserve(self, key: str, reservation: Reservation) -> Reservation:
        """See `Directory.reserve`."""
        if "\n" in reservation.digest:
            raise ValueError("a digest is one line")
        value = f"{reservation.digest}\n{reservation.target}"
        standing = await self._core.one(self._core.scripts.reserve.by_digest(self._reservations, key, value))
        return _reservation(raw(standing))

    @property
    def _reservations(self) -> list[str]:
        return [self._core.keys.index("reservations"), self._core.keys.index("reservations:age")]

    async def conversation(self, conversation_id: str) -> Conversation:
        """See `Directory.conversation`."""
        (found,) = await self._conversations([conversation_id])
        if found is None:
            raise UnknownRun(conversation_id)
        return found

    async def _conversations(self, ids: Sequence[str]) -> list[Conversation | None]:
        keys = self._core.keys
        commands: list[Command] = []
        known = [name for name in ids if is_conversation_id(name)]
        for name in known:
            commands.append(("HMGET", keys.conversation(name), "owner", "created", "active"))
            commands.append(("ZRANGE", keys.numbers(name), 0, -1))
        replies = await self._core.call(*commands) if commands else []
        pairs = zip(replies[::2], replies[1::2], strict=True)
        found = {
            name: _conversation(name, array(row), array(runs))
            for name, (row, runs) in zip(known, pairs, strict=True)
        }
        return [found.get(name) for name in ids]

    async def runs(
        self, *, cursor: str = "", limit: int = 100, open_only: bool = False, conversation_id: str = ""
    ) -> tuple[list[Head], str]:
        """See `Directory.runs`. Raises `ValueError` for a cursor that is none of its own."""
        if conversation_id and not is_conversation_id(conversation_id):
            return [], ""
        index = self._core.keys.index("open" if open_only else "runs")
        key = self._core.keys.numbers(conversation_id) if conversation_id else index

        async def fetch(names: Sequence[str]) -> list[Head | None]:
            ids = [run_id(conversation_id, int(name)) for name in names] if conversation_id else names
            found = await self._core.found(ids)
            heads = [self._wanted(one, open_only=open_only) for one in found]
            if not conversation_id:
                for name, head in zip(ids, heads, strict=True):
                    if head is None:
                        await self._core.settle(name)
            return heads

        return await self._page(key, cursor, limit, fetch)

    def _wanted(self, found: Found | None, *, open_only: bool) -> Head | None:
        return None if found is None or (open_only and found.head.closed) else found.head

    async def conversations(self, *, cursor: str = "", limit: int = 100) -> tuple[list[Conversation], str]:
        """See `Directory.conversations`. Raises `ValueError` for a cursor that is none of its own."""
        key = self._core.keys.index("conversations")

        async def fetch(names: Sequence[str]) -> list[Conversation | None]:
            found = await self._conversations(names)
            gone = [name for name, one in zip(names, found, strict=True) if one is None]
            if gone:
                await self._core.one(("ZREM", key, *gone))
            return found

        return await self._page(key, cursor, limit, fetch)

    async def _page(
        self, key: str, cursor: str, limit: int, fetch: Callable[[Sequence[str]], Awaitable[list[_T | None]]]
    ) -> tuple[list[_T], str]:
        """A page of a sorted set, highest score first, without the hits that no longer hold."""
        before = f"({int(cursor)}" if cursor else "+inf"
        page: list[tuple[int, _T]] = []
        while len(page) <= limit:
            wanted = limit + 1 - len(page)
            command: Command = (
                "ZRANGE",
                key,
                before,
                "-inf",
                "BYSCORE",
                "REV",
                "LIMIT",
                0,
                wanted,
                "WITHSCORES",
            )
            hits = [array(hit) for hit in array(await self._core.one(command))]
            found = await fetch([text(name) for name, _ in hits]) if hits else []
            page += [(integer(hit[1]), one) for hit, one in zip(hits, found, strict=True) if one is not None]
            if len(hits) < wanted:
                break
            before = f"({integer(hits[-1][1])}"
        items = [one for _, one in page[:limit]]
        return items, str(page[limit - 1][0]) if len(page) > limit > 0 else ""

    async def overdue(self, limit: int = 100) -> list[Head]:
        """See `Directory.overdue`. Each call also mends some of the indexes, and forgets some old
        reservations."""
        await self._mend()
        await self._forget()
        core = self._core
        late: dict[str, tuple[int, Head]] = {}
        for _ in range(_ROUNDS):
            command = core.scripts.due.by_digest([core.keys.index("runs"), core.keys.index("due")], limit)
            now, *hits = array(await core.one(command))
            names = [text(hit) for hit in hits]
            late.clear()
            stale: list[str] = []
            for name, found in zip(names, await core.found(names) if names else [], strict=True):
                claimable = None if found is None else found.claimable_ms
                if found is None or claimable is None or claimable > integer(now):
                    stale.append(name)
                else:
                    late[name] = claimable, found.head
            for name in stale:
                await core.settle(name)
            if not stale:
                break
        return [head for _, head in sorted(late.values(), key=lambda item: item[0])]

    async def _mend(self) -> None:
        """Settle open runs whose place is missing, wrong or too late, a few at each call. Their
        writer died between its append and the index, or the index was lost."""
        core = self._core
        after: Command = (
            *("ZRANGE", core.keys.index("open"), f"({self._swept}", "+inf"),
            *("BYSCORE", "LIMIT", 0, _SWEEP, "WITHSCORES"),
        )
        hits = [array(hit) for hit in array(await core.one(after))]
        self._swept = integer(hits[-1][1]) if len(hits) == _SWEEP else 0
        names = [text(hit[0]) for hit in hits if is_run_id(text(hit[0]))]
        if not names:
            return
        commands: list[Command] = []
        for name in names:
            commands.append(core.look(name))
            commands.append(("ZSCORE", core.keys.index("due"), name))
            commands.append(("HGET", core.keys.index("where"), name))
        replies = await core.call(*commands)
        for name, looked, score, where in zip(names, replies[::3], replies[1::3], replies[2::3], strict=True):
            place = core.place_of(looked)
            if place.state != "open" or not _stands(place, score, where):
                await core.settle(name, place)

    async def _forget(self) -> None:
        """Drop reservations older than a day whose conversation has no open run."""
        core = self._core
        values, ages = self._reservations
        now = array(await core.one(("TIME",)))
        before = integer(now[0]) * 1000 - _DAY_MS
        old = array(await core.one(("ZRANGE", ages, "-inf", before, "BYSCORE", "LIMIT", 0, _SWEEP)))
        for key in (raw(item) for item in old):
            value = await core.one(("HGET", values, key))
            if value is None:
                await core.one(("ZREM", ages, key))
                continue
            conversation_id = conversation_of(_reservation(raw(value)).target)
            active = await core.one(("HEXISTS", core.keys.conversation(conversation_id), "active"))
            await core.one(
                core.scripts.unreserve.by_digest(self._reservations, key, raw(value), integer(active))
            )

    async def delete(self, run_or_conversation_id: str) -> None:
        """See `Directory.delete`."""
        await remove(self._core, run_or_conversation_id)


async def remove(core: Core, doomed: str, before_ms: int | None = None) -> bool:
    """Remove a run or a conversation everywhere. False, and nothing is removed, when its last ending
    came after `before_ms`. Raises `Busy`, `UnknownRun`."""
    whole = is_conversation_id(doomed)
    if not whole and not is_run_id(doomed):
        raise UnknownRun(doomed)
    conversation_id = conversation_of(doomed)
    command = core.scripts.delete.by_digest(
        _conversation_keys(core, conversation_id),
        core.keys.base(conversation_id),
        "" if whole else number_of(doomed),
        "" if before_ms is None else before_ms,
    )
    answer = array(await core.one(command))
    match raw(answer[0]):
        case b"ok":
            gone = [run_id(conversation_id, integer(number)) for number in answer[1:]]
            for each in gone:
                await core.settle(each)
            if gone:
                await tell_gone(core, gone)
            if whole:
                for index in ("conversations", "ended"):
                    await core.one(("ZREM", core.keys.index(index), conversation_id))
            return True
        case b"later":
            return False
        case b"busy":
            raise Busy(run_id(conversation_id, integer(answer[1])))
        case b"unknown":
            raise UnknownRun(doomed)
        case _:
            raise unexpected(answer)


def _conversation_keys(core: Core, conversation_id: str) -> list[str]:
    keys = core.keys
    return [
        keys.conversation(conversation_id),
        keys.waiting(conversation_id),
        keys.numbers(conversation_id),
        keys.tokens(conversation_id),
    ]


def _begun(conversation_id: str, answer: list[Reply]) -> Begun:
    number, last, repeated, active = answer[1:]
    return Begun(
        run_id=run_id(conversation_id, integer(number)),
        last=integer(last),
        repeated=integer(repeated) == 1,
        active=None if active == b"" else run_id(conversation_id, integer(active)),
    )


def _conversation(name: str, row: list[Reply], numbers: list[Reply]) -> Conversation | None:
    owner, created, active = row
    if owner is None:
        return None
    return Conversation(
        conversation_id=name,
        owner=text(owner),
        run_ids=tuple(run_id(name, integer(number)) for number in numbers),
        active=None if active is None else run_id(name, integer(active)),
        created_ms=integer(created),
    )


def _reservation(value: bytes) -> Reservation:
    digest, _, target = value.decode().partition("\n")
    return Reservation(digest=digest, target=target)


def _stands(place: Place, score: Reply, where: Reply) -> bool:
    """Whether the indexes hold an open run well enough: a time that is too early is only a look
    too many, and leases are prolonged without telling the index."""
    if where is None or text(where) != place.name:
        return False
    return place.due_ms is None or (score is not None and integer(score) <= place.due_ms)
