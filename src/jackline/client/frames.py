"""The frames of a run's stream, typed. Pure.

`raw` is the frame's `data` as it stood on the wire, `data` the same decoded. Members that a later
version adds are in both; frames of an unknown kind without an id are no frames to this version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jackline.client.errors import ProtocolViolation
from jackline.client.shape import members

if TYPE_CHECKING:
    from jackline.sse import ServerSentEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """Opens every connection. `seq` is the cursor after which it begins."""

    run_id: str
    conversation_id: str
    state: str
    seq: int
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry of the run's log. `id` is the opaque cursor after it, `first` the first seq it stands
    for: `seq` itself, or less where token entries were merged."""

    type: str
    seq: int
    first: int
    id: str
    data: dict[str, Any]
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """The run is alive: `worker` is `alive`, `lost` or `none`, `idle_ms` how long ago its loop turned."""

    run_id: str
    state: str
    seq: int
    worker: str
    idle_ms: int
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """The entries `first` … `last` cannot be had any more; `snapshot` says how the run stands."""

    first: int
    last: int
    snapshot: dict[str, Any]
    id: str | None
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The run has finished (with `until="pause"`: or waits), and this stream with it."""

    run_id: str
    state: str
    seq: int
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shutdown:
    """The server ends this connection, not the run; the client comes back after `retry_ms` or later."""

    retry_ms: int
    data: dict[str, Any] = field(repr=False)
    raw: str = field(repr=False)


Frame = Ready | Entry | Heartbeat | Gap | End | Shutdown

WIRE_NAMES: dict[type, str] = {
    Ready: "ready",
    Heartbeat: "heartbeat",
    Gap: "gap",
    End: "end",
    Shutdown: "shutdown",
}


def parse(event: ServerSentEvent) -> Frame | None:
    """The frame of a server-sent event, None for one that this version does not know.

    Raises `ProtocolViolation` for a known one that lacks what it must have.
    """
    try:
        return _parse(event)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"a {event.event!r} frame that cannot be read: {error!r}") from error


def _parse(event: ServerSentEvent) -> Frame | None:
    raw = event.data
    match event.event:
        case "ready":
            data = _object(raw)
            return Ready(
                run_id=str(data["run_id"]),
                conversation_id=str(data.get("conversation_id", "")),
                state=str(data.get("state", "")),
                seq=int(data["seq"]),
                data=data,
                raw=raw,
            )
        case "heartbeat":
            return _heartbeat(raw)
        case "gap":
            data = _object(raw)
            return Gap(
                first=int(data["from"]),
                last=int(data["to"]),
                snapshot=members(data.get("snapshot")) or {},
                id=event.id,
                data=data,
                raw=raw,
            )
        case "end":
            data = _object(raw)
            return End(
                run_id=str(data["run_id"]), state=str(data["state"]), seq=int(data["seq"]), data=data, raw=raw
            )
        case "shutdown":
            data = _object(raw)
            return Shutdown(retry_ms=int(data.get("retry_ms", 0)), data=data, raw=raw)
        case _ if event.id:
            return entry(event.event, event.id, _object(raw), raw)
        case _:
            return None


def entry(name: str, cursor: str, data: dict[str, Any], raw: str) -> Entry:
    """An entry from its members; used for frames and for the entries of a page."""
    seq = int(data["seq"])
    return Entry(type=name, seq=seq, first=int(data.get("merged_from") or seq), id=cursor, data=data, raw=raw)


def _heartbeat(raw: str) -> Heartbeat:
    data = _object(raw)
    return Heartbeat(
        run_id=str(data.get("run_id", "")),
        state=str(data.get("state", "")),
        seq=int(data.get("seq", 0)),
        worker=str(data.get("worker", "")),
        idle_ms=int(data.get("idle_ms") or 0),
        data=data,
        raw=raw,
    )


def _object(raw: str) -> dict[str, Any]:
    data = members(json.loads(raw))
    if data is None:
        raise TypeError("data is not a JSON object")
    return data


def wire(frame: Frame) -> str:
    """The frame on one line of JSON: `{"event":…,"id":…,"data":{…}}`; `id` where it had one."""
    name = frame.type if isinstance(frame, Entry) else WIRE_NAMES[type(frame)]
    cursor = frame.id if isinstance(frame, Entry | Gap) else None
    opening = f'{{"event":{json.dumps(name)}' + (f',"id":{json.dumps(cursor)}' if cursor else "")
    return f'{opening},"data":{_one_line(frame.raw)}}}'


def _one_line(raw: str) -> str:
    # JSON may hold line breaks between its tokens only; within strings they are escaped.
    return raw.replace("\n", " ")
