"""The frames of a stream, as bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

from jackline import sse
from jackline.events import TYPES, Entry, Token, encode, frame_data
from jackline.ids import conversation_of
from jackline.web.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL: Final = "jackline/1"
RETRY_MS: Final = 2000
"""What `retry:` tells EventSource at the start of a stream."""

_MERGED_CHARACTERS: Final = 64 * 1024
"""A merged frame holds about as much text as one entry may: no client meets a larger line."""


class Ready(Struct, frozen=True, kw_only=True):
    """Opens every stream. `seq`: the cursor after which the stream begins; `newest`: the run's newest
    entry, so that a viewer can tell what it missed from what is new."""

    run_id: str
    conversation_id: str
    state: str
    seq: int
    newest: int
    protocol: str


class Heartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run is alive, or not: whether a live lease stands behind it, and how long ago, in ms,
    the loop that drives the agent last turned. `store` is `away` while the store does not answer,
    and the rest what was known last; `doubt` while it came back and the run's worker has not yet
    said whether anything is missing."""

    ts: str
    run_id: str
    state: str
    seq: int
    worker: Literal["alive", "lost", "none"]
    idle_ms: int
    store: Literal["away", "doubt"] | None = None


class Gap(Struct, frozen=True, kw_only=True):
    """Entries `from` … `to` cannot be given (any more, or as they were). `snapshot` stands for all
    that the log has; the stream goes on after it."""

    from_: int = msgspec.field(name="from")
    to: int
    snapshot: Snapshot


class End(Struct, frozen=True, kw_only=True):
    """The last frame of a stream whose run has finished, or paused where that was asked for."""

    run_id: str
    state: str
    seq: int


class Shutdown(Struct, frozen=True, kw_only=True):
    """The last frame of a stream that the server ends itself: come back after `retry_ms`."""

    retry_ms: int


class FeedReady(Struct, frozen=True, kw_only=True):
    """Opens a stream of the feed. `cursor`: after which it begins; `newest`: the newest one there is."""

    cursor: str
    newest: str
    protocol: str


class FeedHeartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stream is alive. `cursor`: where to go on after it, for who has had all before. `store` is `away`
    while the store does not answer."""

    ts: str
    cursor: str | None = None
    store: Literal["away"] | None = None


class FeedGap(Struct, frozen=True, kw_only=True):
    """What came between the cursors `from` and `to` cannot be given any more: lists must be read anew. The
    feed goes on after `to`."""

    from_: str = msgspec.field(name="from")
    to: str


def feed_opening(cursor: str, newest: str) -> bytes:
    """What a stream of the feed begins with."""
    ready = FeedReady(cursor=cursor, newest=newest, protocol=PROTOCOL)
    return sse.encode(event="ready", data=msgspec.json.encode(ready), retry=RETRY_MS)


def feed_heartbeat(beat: FeedHeartbeat) -> bytes:
    """A `heartbeat` frame of the feed."""
    return sse.encode(event="heartbeat", data=msgspec.json.encode(beat))


def feed_gap(gap: FeedGap) -> bytes:
    """A `gap` frame of the feed."""
    return sse.encode(event="gap", data=msgspec.json.encode(gap), id=gap.to)


def cursor_id(seq: int, epoch: int) -> str:
    """What a client sends back to go on after entry `seq`."""
    return f"{seq}.{epoch}" if epoch else str(seq)


class Framer:
    """Makes the frames of one run's entries: what they have in common is encoded once."""

    __slots__ = ("_heads", "_run_id")

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._heads: dict[str, bytes] = {}

    def entry(self, seq: int, stored: Entry, epoch: int) -> bytes:
        """An entry's frame."""
        body = stored.body
        head = self._heads.get(stored.type) or self._head(stored.type)
        if not head or b"\n" in body or b"\r" in body:
            data = frame_data(self._run_id, seq, body)
            return sse.encode(event=stored.type, data=data, id=cursor_id(seq, epoch))
        if epoch:
            return b"id: %d.%d%b%d,%b\n\n" % (seq, epoch, head, seq, body[1:])
        return b"id: %d%b%d,%b\n\n" % (seq, head, seq, body[1:])

    def _head(self, name: str) -> bytes:
        """What stands between an entry's two numbers; nothing for a type that is none of this version's."""
        if name not in TYPES:
            return b""
        head = b'\nevent: %b\ndata: {"run_id":"%b","seq":' % (name.encode(), self._run_id.encode())
        self._heads[name] = head
        return head


def opening(run_id: str, state: str, seq: int, newest: int) -> bytes:
    """What every stream begins with: `ready`, with `retry` in the same frame, because httpx-sse makes
    an empty event of a frame that has nothing else."""
    ready = Ready(
        run_id=run_id,
        conversation_id=conversation_of(run_id),
        state=state,
        seq=seq,
        newest=newest,
        protocol=PROTOCOL,
    )
    return sse.encode(event="ready", data=msgspec.json.encode(ready), retry=RETRY_MS)


def heartbeat(beat: Heartbeat) -> bytes:
    """A `heartbeat` frame."""
    return _frame("heartbeat", beat)


def gap(first: int, until: int, snapshot: Snapshot, epoch: int) -> bytes:
    """A `gap` frame. Its id is the entry that the snapshot reaches, so that a client which is cut
    right after it does not get the gap again."""
    data = msgspec.json.encode(Gap(from_=first, to=until, snapshot=snapshot))
    return sse.encode(event="gap", data=data, id=cursor_id(snapshot.seq, epoch))


def end(run_id: str, state: str, seq: int) -> bytes:
    """An `end` frame."""
    return _frame("end", End(run_id=run_id, state=state, seq=seq))


def shutdown(retry_ms: int) -> bytes:
    """A `shutdown` frame; `retry` tells EventSource the same."""
    return sse.encode(event="shutdown", data=msgspec.json.encode(Shutdown(retry_ms=retry_ms)), retry=retry_ms)


def merged(entries: Iterable[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
    """`entries` (seq and entry, in order) with consecutive tokens of one message and kind as one.

    Lossless: the texts joined are the same, no other type is merged or overtaken, nor a token with
    fields of a later version. A merged token has the last one's seq and `merged_from`, the first's.
    """
    result: list[tuple[int, Entry]] = []
    run: list[tuple[int, Entry, Token]] = []
    size = 0
    for seq, stored in entries:
        token = _token(stored)
        if token is None:
            result.extend(_flush(run))
            run, size = [], 0
            result.append((seq, stored))
            continue
        if run and (_speaker(run[-1][2]) != _speaker(token) or size > _MERGED_CHARACTERS):
            result.extend(_flush(run))
            run, size = [], 0
        run.append((seq, stored, token))
        size += len(token.text)
    result.extend(_flush(run))
    return result


class _PlainToken(Token, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token with nothing in it that this version does not know, and that merging would lose."""


_TOKENS: Final = msgspec.json.Decoder(_PlainToken)


def _token(stored: Entry) -> Token | None:
    if stored.type != "token":
        return None
    try:
        return _TOKENS.decode(stored.body)
    except msgspec.ValidationError:
        return None


def _speaker(token: Token) -> tuple[str, str]:
    return token.message_id, token.kind


def _flush(run: list[tuple[int, Entry, Token]]) -> list[tuple[int, Entry]]:
    if len(run) <= 1:
        return [(seq, stored) for seq, stored, _ in run]
    first, _, opener = run[0]
    last, _, closer = run[-1]
    whole = Token(
        ts=closer.ts,
        text="".join(token.text for _, _, token in run),
        kind=closer.kind,
        message_id=closer.message_id,
        merged_from=opener.merged_from or first,
    )
    return [(last, encode(whole))]


def _frame(event: str, data: Heartbeat | End) -> bytes:
    return sse.encode(event=event, data=msgspec.json.encode(data))
