"""What happens in all runs: the feed, over as many connections as it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, assert_never

from jackline.client.connected import Connected, FollowState
from jackline.client.errors import ProtocolViolation
from jackline.client.frames import Entry, Shutdown
from jackline.client.http import Call, Failed, Server
from jackline.client.shape import members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jackline.sse import ServerSentEvent

_PATH: Final = "/api/v1/agent/feed"
_NOW: Final = "now"
_REMEMBERED: Final = 4096
"""Entries, so that each is handed out once: the feed repeats some when it is resumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedReady:
    """Opens every connection, which begins after `cursor`; `newest` is the cursor of the feed's end. Polls
    are one connection together: theirs comes with the first page, and `newest` is that page's end."""

    cursor: str
    newest: str
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedHeartbeat:
    """The connection is alive. `cursor`: everything up to there has come."""

    cursor: str | None
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedGap:
    """What came between two cursors cannot be had any more: lists must be read anew."""

    cursor: str
    """Where the feed goes on."""
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


FeedFrame = FeedReady | Entry | FeedHeartbeat | FeedGap | Shutdown


class Feed(Connected[FeedFrame]):
    """An async iterator, without an end, of the workflow and approval entries of every run that the caller
    may see. `Entry.data` has the `run_id`.

    Entries of one run come in order, and each once as far as the newest 4096 go: whoever needs more looks
    at run and `seq`. Iteration raises `Refused` (400 for a cursor of another store), `Unreachable` and
    `ProtocolViolation`.
    """

    def __init__(
        self, server: Server, after: str | None, on_state: Callable[[FollowState, str], None] | None
    ) -> None:
        super().__init__(server, after, on_state)
        self._seen: dict[tuple[str, int, str], None] = {}

    def _call(self) -> Call:
        if not self.cursor:
            return Call(method="GET", path=_PATH)
        # Both: a proxy may strip the one, and where both arrive they say the same.
        headers = {"Last-Event-ID": self.cursor}
        return Call(method="GET", path=_PATH, params={"after": self.cursor}, headers=headers)

    def _parse(self, event: ServerSentEvent) -> FeedFrame | None:
        return parse(event.event, event.id or "", event.data)

    async def _pollable(self) -> Call:
        # Once as a page: a poll is answered when something happens, and lists wait for the beginning. And a
        # poll that fails must be sent again with the cursor of now, not with that of a later now.
        return self._call() if self.cursor == _NOW else await super()._pollable()

    def _read_page(self, page: dict[str, Any]) -> Sequence[FeedFrame]:
        try:
            frames, following = list(_frames(page)), str(page["next"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolViolation(f"a page of entries that cannot be read: {error!r}") from error
        if self.cursor == _NOW:
            return [_polled_ready(following, following)]
        if frames and self._polling_since is None:
            frames.insert(0, _polled_ready(self.cursor or "", following))
        return frames

    def _take(self, frame: FeedFrame) -> FeedFrame | None:
        match frame:
            case FeedReady():
                self.cursor = frame.cursor
                self._begun()
            case Entry():
                self.cursor = frame.id
                self._backoff.progress()
                return frame if self._is_new(frame) else None
            case FeedHeartbeat():
                self.cursor = frame.cursor or self.cursor
                self._beat(frame.data.get("ts"))
            case FeedGap():
                self.cursor = frame.cursor
                self._backoff.progress()
            case Shutdown():
                self._drop(Failed("the server is going away", frame.retry_ms / 1000))
            case _:
                assert_never(frame)
        return frame

    def _is_new(self, frame: Entry) -> bool:
        # The time too: a log that came back shorter counts anew.
        key = str(frame.data.get("run_id")), frame.seq, str(frame.data.get("ts"))
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True


def parse(name: str, cursor: str, raw: str) -> FeedFrame | None:
    """The frame of an event of the feed, None for one that this version does not know. Raises
    `ProtocolViolation` for a known one that lacks what it must have."""
    try:
        return _parse(name, cursor, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"a {name!r} frame that cannot be read: {error!r}") from error


def _parse(name: str, cursor: str, raw: str) -> FeedFrame | None:
    match name:
        case "ready":
            data = _object(raw)
            return FeedReady(
                cursor=str(data["cursor"]), newest=str(data.get("newest", "")), data=data, raw=raw
            )
        case "heartbeat":
            data = _object(raw)
            at = data.get("cursor")
            return FeedHeartbeat(cursor=None if at is None else str(at), data=data, raw=raw)
        case "gap":
            data = _object(raw)
            return FeedGap(cursor=str(data["to"]), data=data, raw=raw)
        case "shutdown":
            data = _object(raw)
            return Shutdown(retry_ms=int(data.get("retry_ms", 0)), data=data, raw=raw)
        case _ if cursor:
            data = _object(raw)
            seq = int(data["seq"])
            _ = data["run_id"]
            return Entry(type=name, seq=seq, first=seq, id=cursor, data=data, raw=raw)
        case _:
            return None


def _polled_ready(cursor: str, newest: str) -> FeedReady:
    data = {"cursor": cursor, "newest": newest}
    return FeedReady(cursor=cursor, newest=newest, data=data, raw=_text(data))


def _frames(page: Mapping[str, Any]) -> Iterator[FeedFrame]:
    for name in ("gap", "heartbeat"):
        data = members(page.get(name))
        if data is not None:
            yield from _frame(name, "", data)
    for each in page["entries"]:
        yield from _frame(str(each["type"]), str(each["id"]), each["data"])


def _frame(name: str, cursor: str, data: object) -> Iterator[FeedFrame]:
    frame = parse(name, cursor, _text(data))
    if frame is not None:
        yield frame


def _text(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _object(raw: str) -> dict[str, Any]:
    data = members(json.loads(raw))
    if data is None:
        raise TypeError("data is not a JSON object")
    return data
