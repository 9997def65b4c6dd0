"""The keeping part of the Redis store."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jackline.errors import Busy, UnknownRun
from jackline.ids import is_conversation_id, run_id
from jackline.log.packing import chunks
from jackline.log.redis_core import Core, milliseconds
from jackline.log.redis_directory import remove
from jackline.log.redis_keys import marks_in, record
from jackline.log.redis_wire import array, integer, raw, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.events import Entry
    from jackline.log.packing import Chunk
    from jackline.log.redis_keys import Record, RunKeys
    from jackline.log.redis_wire import Command

_SWEEP: Final = 50
"""Conversations per call whose place among the ended is checked."""
_ROUNDS: Final = 4
"""Looks per call when what was found no longer held; the next call goes on from there."""
_RECORDS: Final = 64
"""Records read at once while compacting: 4 MiB where the entries are the largest."""
_PORTION_BYTES: Final = 1 << 20
"""Bodies compacted at once: sixteen chunks."""
_MAKING_MS: Final = 10 * 60 * 1000
"""How long compacted records may lie beside the run before they take the place of the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rest:
    """Since when a conversation is at rest; now, while a run of it is unfinished."""

    since_ms: int
    unfinished: bool


class KeepingPart:
    """`Keeping` on Redis."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checked = 0

    async def ended(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.ended`."""
        await self._mend_ended()
        index = self._core.keys.index("ended")
        found: list[tuple[int, str]] = []
        for _ in range(_ROUNDS):
            found.clear()
            stale = 0
            for name in await self._oldest(index, before_ms, limit):
                rest = await self._rest(name)
                if rest is None:
                    await self._core.one(("ZREM", index, name))
                elif rest.unfinished or rest.since_ms > before_ms:
                    # XX: one that was deleted meanwhile must not come back.
                    await self._core.one(("ZADD", index, "XX", rest.since_ms, name))
                else:
                    found.append((rest.since_ms, name))
                    continue
                stale += 1
            if not stale:
                break
        return _in_order(found)

    async def _oldest(self, index: str, before_ms: int, limit: int) -> list[str]:
        command: Command = ("ZRANGE", index, "-inf", before_ms, "BYSCORE", "LIMIT", 0, limit)
        return [text(name) for name in array(await self._core.one(command))]

    async def _rest(self, conversation_id: str) -> _Rest | None:
        """None when there is no such conversation."""
        if not is_conversation_id(conversation_id):
            return None
        core = self._core
        created, numbers, time = await core.call(
            ("HGET", core.keys.conversation(conversation_id), "created"),
            ("ZRANGE", core.keys.numbers(conversation_id), 0, -1),
            ("TIME",),
        )
        if created is None:
            return None
        keys = [core.run_keys(run_id(conversation_id, integer(number))) for number in array(numbers)]
        runs = await core.call(*(("HMGET", key.run, "closed", "updated") for key in keys)) if keys else []
        endings: list[int] = []
        for closed, updated in map(array, runs):
            if closed is None or updated is None:
                return _Rest(since_ms=milliseconds(time), unfinished=True)
            endings.append(integer(updated))
        return _Rest(since_ms=max(endings, default=integer(created)), unfinished=False)

    async def _mend_ended(self) -> None:
        """Find conversations at rest that no index knows, a few at each call: whoever closed their run
        died before it said so, or the index was lost, or a version before this one made them."""
        core = self._core
        after: Command = (
            *("ZRANGE", core.keys.index("conversations"), f"({self._checked}", "+inf"),
            *("BYSCORE", "LIMIT", 0, _SWEEP, "WITHSCORES"),
        )
        hits = [array(hit) for hit in array(await core.one(after))]
        self._checked = integer(hits[-1][1]) if len(hits) == _SWEEP else 0
        names = [name for hit in hits if is_conversation_id(name := text(hit[0]))]
        if not names:
            return
        index = core.keys.index("ended")
        scores = array(await core.one(("ZMSCORE", index, *names)))
        for name, score in zip(names, scores, strict=True):
            if score is not None:
                continue
            exists, active, numbers = await core.call(
                ("EXISTS", core.keys.conversation(name)),
                ("HEXISTS", core.keys.conversation(name), "active"),
                ("ZRANGE", core.keys.numbers(name), 0, -1),
            )
            if integer(exists) and not integer(active):
                runs = [part for number in array(numbers) for part in (0, run_id(name, integer(number)))]
                if runs:
                    await core.one(("ZADD", core.keys.index("loose"), "NX", *runs))
                await core.one(("ZADD", index, "NX", 0, name))

    async def forget(self, conversation_id: str, before_ms: int) -> bool:
        """See `Keeping.forget`."""
        try:
            return await remove(self._core, conversation_id, before_ms)
        except (Busy, UnknownRun):
            return False

    async def loose(self, before_ms: int, limit: int) -> list[str]:
        """See `Keeping.loose`."""
        core, index = self._core, self._core.keys.index("loose")
        found: list[tuple[int, str]] = []
        for _ in range(_ROUNDS):
            found.clear()
            stale = 0
            for name in await self._oldest(index, before_ms, limit):
                keys = core.keys.run(name)
                fields = ("closed", "compacted", "updated")
                row = [None] * 3 if keys is None else array(await core.one(("HMGET", keys.run, *fields)))
                closed, compacted, updated = row
                if closed is None or compacted is not None or updated is None:
                    await core.one(("ZREM", index, name))
                elif integer(updated) > before_ms:
                    await core.one(("ZADD", index, "XX", integer(updated), name))
                else:
                    found.append((integer(updated), name))
                    continue
                stale += 1
            if not stale:
                break
        return _in_order(found)

    async def compact(self, run_id: str) -> None:
        """See `Keeping.compact`. The compacted records are made beside the others, and take their
        place in one step."""
        core, keys = self._core, self._core.keys.run(run_id)
        if keys is None:
            return
        (seq, closed, compacted), length = await self._stands(keys)
        if closed and not compacted:
            beside = keys.compacted(secrets.token_hex(8))
            made = await self._make(keys, beside)
            command = core.scripts.compact.by_digest([keys.run, keys.records, beside], seq, length, made)
            if raw(array(await core.one(command))[0]) != b"ok":
                return
        await core.one(("ZREM", core.keys.index("loose"), run_id))

    async def _stands(self, keys: RunKeys) -> tuple[tuple[bytes, bool, bool], int]:
        fields, length = await self._core.call(
            ("HMGET", keys.run, "seq", "closed", "compacted"), ("XLEN", keys.records)
        )
        seq, closed, compacted = array(fields)
        state = b"" if seq is None else raw(seq), closed is not None, compacted is not None
        return state, integer(length)

    async def _make(self, keys: RunKeys, beside: str) -> int:
        """Write the compacted records; how many they are."""
        after, made, whole = 0, 0, False
        while not whole:
            numbered: list[tuple[int, Entry]] = []
            marks: list[tuple[bytes, int, int]] = []
            size = 0
            while size < _PORTION_BYTES and not whole:
                records = await self._records_after(keys, after)
                whole = not records
                for found, marked in records:
                    marks += [(mark, first or found.first, last) for mark, first, last in marked]
                    after = found.last
                    numbered += enumerate(found.entries, found.first)
                    size += sum(len(entry.body) for entry in found.entries)
            for chunk in await asyncio.to_thread(list, chunks(numbered)):
                await self._write(beside, chunk, marks)
                made += 1
        return made

    async def _records_after(
        self, keys: RunKeys, after: int
    ) -> list[tuple[Record, list[tuple[bytes, int, int]]]]:
        command: Command = ("XRANGE", keys.records, after + 1, "+", "COUNT", _RECORDS)
        found = array(await self._core.one(command))
        items = [
            (raw(identity), [raw(field) for field in array(fields)]) for identity, fields in map(array, found)
        ]
        return [(record(*item), marks_in(*item)) for item in items]

    async def _write(self, beside: str, chunk: Chunk, marks: Sequence[tuple[bytes, int, int]]) -> None:
        # Where in it the feed's pointers point to must still be found.
        spans = [(mark, max(first, chunk.first), min(last, chunk.last)) for mark, first, last in marks]
        words = b" ".join(b"%b:%d:%d" % span for span in spans if span[1] <= span[2])
        marked = ("f", words) if words else ()
        await self._core.call(
            ("XADD", beside, f"{chunk.last}-0", "v", "1", "z", chunk.body, *marked),
            ("PEXPIRE", beside, _MAKING_MS),
        )

    async def hold(self, name: str, holder: str, ttl: float) -> bool:
        """See `Keeping.hold`."""
        key = self._core.keys.index(f"hold:{name}")
        command = self._core.scripts.hold.by_digest([key], holder, max(1, int(ttl * 1000)))
        return integer(await self._core.one(command)) == 1

    async def fullness(self) -> float | None:
        """See `Keeping.fullness`: of `maxmemory`. A server without one has no limit that is known."""
        info = raw(await self._core.one(("INFO", "memory"))).decode(errors="replace")
        values = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        limit = int(values.get("maxmemory", "0"))
        if limit <= 0:
            return None
        # What the server itself compares with its limit: buffers of replicas and of the AOF are left out.
        used = int(values.get("used_memory", "0")) - int(values.get("mem_not_counted_for_evict", "0"))
        return used / limit


def _in_order(found: list[tuple[int, str]]) -> list[str]:
    """The names, longest ago first. An index's times are later than the endings, by how long it took to
    say so there: two runs that ended a millisecond apart may stand there the other way round."""
    return [name for _, name in sorted(found)]
