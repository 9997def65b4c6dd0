"""The log part of the Redis store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

from jackline.errors import Moved, StoreUnavailable, UnknownRun
from jackline.ids import conversation_of
from jackline.ids import run_id as run_id_of
from jackline.log.base import KEEP, NOBODY, Appended, Artifact, Due, Head, Nobody, Page, Taken
from jackline.log.packing import pack
from jackline.log.redis_core import Core, changes_due, check_entries, due_argument, refusal, unexpected
from jackline.log.redis_keys import Record, record
from jackline.log.redis_pages import Gathering
from jackline.log.redis_wire import array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from jackline.events import Entry
    from jackline.log.base import Lease, Missing, News
    from jackline.log.redis_keys import RunKeys
    from jackline.log.redis_wire import Command, Reply

_AHEAD: Final = 1024
"""Entries beyond a page in whose reach its last record most likely ends; a longer one costs another
round."""

_RECORD_BYTES: Final = 256 * 1024
"""About the largest record that is put back: what a reader takes in at once."""

_BEYOND: Final = 1 << 62
"""A seq that no log reaches, and that still fits a record's id: cursors may be any number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _LogState:
    """What a page says of its log."""

    last: int
    closed: bool
    cuts: tuple[int, ...]
    restored: bool
    doubt: bool

    def page(self, first: int, entries: Sequence[Entry]) -> Page:
        return Page(
            first=first,
            entries=tuple(entries),
            last=self.last,
            closed=self.closed,
            cuts=self.cuts,
            restored=self.restored,
            doubt=self.doubt,
        )


class LogPart:
    """`EventLog` and `Artifacts` on Redis."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        """See `EventLog.append`."""
        core, keys = self._core, self._core.run_keys(run_id)
        server = core.server
        check_entries(entries, once, core.max_entry_bytes)
        announced = await core.announce(run_id, entries, expect)
        command = core.scripts.append.by_digest(
            [keys.run, keys.records, keys.names],
            keys.base,
            keys.number,
            len(entries),
            pack(entries),
            "" if fence is None else fence if isinstance(fence, int) else "nobody",
            "" if expect is None else expect,
            due_argument(due),
            int(close),
            server.life,
            server.trust,
            *(() if checkpoint is None else ("checkpoint", checkpoint)),
            *(() if summary is None else ("summary", summary)),
            *(() if announced is None else ("feed", announced.mark)),
            *(part for name in once for part in ("name", name)),
        )
        # A lease holder's run is looked at when its lease is over, whatever becomes of its holder.
        touches = changes_due(due) and not isinstance(fence, int)
        settles = touches or changes_due(due) or close or fence is NOBODY
        before = (core.touch(run_id),) if touches else ()
        after = (core.look(run_id),) if settles else ()
        if announced is None:
            replies = await core.call(*before, command, *after, life=server.life)
            answer = array(replies[len(before)])
        else:
            pointer, hint = announced.pointer, announced.hint
            replies = await core.call(
                *before, pointer, command, hint, *after, life=server.life, spare=(pointer, hint)
            )
            answer = array(replies[len(before) + 1])
            if answer[0] != b"ok":
                core.withdraw(replies[len(before)])
        if answer[0] == b"ok":
            core.note_end(run_id, integer(answer[1]))
        awaited = not lazy and bool(once or expect is not None or checkpoint is not None or close)
        if not (settles or awaited):
            return _appended(run_id, answer, len(entries))
        async with core.durable(server.life, awaited=awaited and refusal(answer, run_id) is None):
            if settles:
                await core.settle(run_id, core.place_of(replies[-1]))
            appended = _appended(run_id, answer, len(entries))
            if not appended.repeated and answer[2] != b"":
                await core.settle(run_id_of(conversation_of(run_id), integer(answer[2])))
        return appended

    async def heal(self, lease: Lease, ttl: float, missing: Missing) -> None:
        """See `EventLog.heal`."""
        core, keys = self._core, self._core.run_keys(lease.run_id)
        server = core.server
        records = _records(missing.entries, missing.last)
        announced = await core.announce(lease.run_id, missing.entries, missing.last)
        command = core.scripts.heal.by_digest(
            [keys.run, keys.records, keys.names],
            keys.base,
            keys.number,
            lease.generation,
            lease.worker,
            int(ttl * 1000),
            lease.revision,
            server.life,
            missing.last,
            int(missing.cut),
            *_optional(missing.checkpoint),
            *_optional(missing.summary),
            "" if announced is None else announced.mark,
            len(records),
            *(part for last, packed in records for part in (last, packed)),
            *(part for name, seq in missing.names.items() for part in (seq, name)),
        )
        if announced is None:
            answer = array(await core.one(command, life=server.life))
        else:
            pointer, hint = announced.pointer, announced.hint
            replies = await core.call(pointer, command, hint, life=server.life, spare=(pointer, hint))
            answer = array(replies[1])
            if answer[0] != b"ok":
                core.withdraw(replies[0])
        refused = refusal(answer, lease.run_id)
        if refused is not None:
            raise refused
        async with core.durable(server.life):
            await core.settle(lease.run_id)

    async def cut(self, run_id: str, page: Page) -> None:
        """See `EventLog.cut`."""
        server = self._core.server
        command = self._core.scripts.cut.by_digest(
            [self._core.run_keys(run_id).run], page.last, page.epoch, server.life, server.trust
        )
        refused = refusal(array(await self._core.one(command, life=server.life)), run_id)
        if refused is not None and not isinstance(refused, Moved):
            raise refused

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        """See `EventLog.read`."""
        keys = self._core.run_keys(run_id)
        page = Gathering(after, limit, max_bytes)
        missed = -1
        while True:
            # Groups end where they do: without a bound, and with large ones, most would be of no use.
            end = None if missed >= 0 else min(page.upto + page.wanted + _AHEAD, _BEYOND)
            records, state = await self._records(run_id, keys, page, end)
            page.take(records)
            self._core.note_end(run_id, state.last)
            if page.full or page.upto >= state.last:
                return state.page(page.first, page.entries)
            if not records and state.last == missed:
                # The log ends at `last` and does not hold what lies before it.
                return state.page(page.first if page.entries else state.last + 1, page.entries)
            missed = -1 if records else state.last

    async def _records(
        self, run_id: str, keys: RunKeys, page: Gathering, end: int | None
    ) -> tuple[list[Reply], _LogState]:
        """Records with the page's next entries, none whose last seq is beyond `end`; then the log's
        state. In this order, so that what is said of the log is never older than what was read of it."""
        server = self._core.server
        start = min(page.upto + 1, _BEYOND)
        ranged, fields = await self._core.call(
            ("XRANGE", keys.records, start, "+" if end is None else end, "COUNT", page.records),
            ("HMGET", keys.run, "seq", "closed", "cuts", "life", "unreleased"),
            life=server.life,
        )
        seq, closed, cuts, life, held = array(fields)
        if seq is None:
            raise UnknownRun(run_id)
        restored = bool(closed is None and server.life and life is not None and text(life) != server.life)
        state = _LogState(
            last=integer(seq),
            closed=closed is not None,
            cuts=() if cuts is None else tuple(map(int, raw(cuts).split())),
            restored=restored,
            doubt=restored and (held is not None or server.trust == "nothing"),
        )
        return array(ranged), state

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        """See `EventLog.wait`."""
        keys = self._core.keys.run(run_id)
        if keys is None:
            return
        channel = self._core.keys.channel(conversation_of(run_id))
        await self._core.hints.entries(channel, keys.number, after, timeout, partial(self._state, keys))

    @contextmanager
    def listen(self, run_id: str, hear: Callable[[News | None], None]) -> Generator[None]:
        """See `EventLog.listen`."""
        keys = self._core.keys.run(run_id)
        if keys is None:
            yield
            return
        channel = self._core.keys.channel(conversation_of(run_id))
        with self._core.hints.listening(channel, keys.number, hear):
            yield

    async def _state(self, keys: RunKeys) -> tuple[int, bool] | None:
        seq, closed = array(await self._core.one(("HMGET", keys.run, "seq", "closed")))
        return None if seq is None else (integer(seq), closed is not None)

    async def head(self, run_id: str) -> Head:
        """See `EventLog.head`."""
        (found,) = await self._core.found([run_id])
        if found is None:
            raise UnknownRun(run_id)
        return found.head

    async def checkpoint(self, run_id: str) -> bytes | None:
        """See `EventLog.checkpoint`."""
        command: Command = ("HMGET", self._core.run_keys(run_id).run, "seq", "checkpoint")
        seq, checkpoint = array(await self._core.one(command))
        if seq is None:
            raise UnknownRun(run_id)
        return None if checkpoint is None else raw(checkpoint)

    async def put_artifact(self, run_id: str, artifact_id: str, artifact: Artifact) -> None:
        """See `Artifacts.put_artifact`."""
        keys = self._core.run_keys(run_id)
        if "\n" in artifact.media_type:
            raise ValueError("a media type is one line")
        value = b"%b\n%b" % (artifact.media_type.encode(), artifact.data)
        script = self._core.scripts.put_artifact
        answer = array(await self._core.one(script.by_digest([keys.run, keys.artifacts], artifact_id, value)))
        refused = refusal(answer, run_id)
        if refused is not None:
            raise refused

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact | None:
        """See `Artifacts.artifact`."""
        keys = self._core.keys.run(run_id)
        value = None if keys is None else await self._core.one(("HGET", keys.artifacts, artifact_id))
        if value is None:
            return None
        media_type, _, data = raw(value).partition(b"\n")
        return Artifact(media_type=media_type.decode(), data=data)


def _appended(run_id: str, answer: list[Reply], count: int) -> Appended:
    if answer[0] == b"ok":
        last = integer(answer[1])
        return Appended(first=last - count + 1, last=last)
    refused = refusal(answer, run_id)
    if refused is not None:
        raise refused
    match raw(answer[0]):
        case b"full":
            raise StoreUnavailable("Redis has no memory left (maxmemory)")
        case b"taken":
            last = integer(answer[1])
            triples = zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
            taken = {text(name): _taken(seq, at) for name, seq, at in triples}
            return Appended(first=last + 1, last=last, repeated=True, taken=taken)
        case _:
            raise unexpected(answer)


def _optional(value: bytes | None) -> tuple[int, bytes]:
    return (0, b"") if value is None else (1, value)


def _record(item: Reply) -> Record:
    identity, fields = array(item)
    return record(raw(identity), [raw(field) for field in array(fields)])


def _records(entries: Sequence[Entry], last: int) -> list[tuple[int, bytes]]:
    """`entries` after `last` as records, each with its last seq."""
    groups: list[list[Entry]] = []
    size = _RECORD_BYTES
    for entry in entries:
        if size + len(entry.body) > _RECORD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += len(entry.body)
    ends = accumulate((len(group) for group in groups), initial=last)
    return [(end, pack(group)) for end, group in zip(islice(ends, 1, None), groups, strict=True)]


def _taken(seq: Reply, at: Reply) -> Taken:
    found, place = _record(at), integer(seq)
    if not found.first <= place <= found.last:
        raise StoreUnavailable(f"entry {place} of the log is not where it should be")
    return Taken(seq=place, entry=found.entries[place - found.first])
