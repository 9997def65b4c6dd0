"""The lines of an export: runs with their entries and artifacts, as JSON, one object a line. Pure.

The first member of a line tells what it is:

- `{"run":{…},"export":1}`: a run begins. Its head at the time of the export; `open` tells that it
  had not ended, and then more may have followed. `1` is the version of this format.
- `{"id":"7","type":"tool","data":{…}}`: its next entry, as a page of the protocol gives it.
- `{"gap":{"from":N,"to":N}}`: entries that the log no longer has.
- `{"artifact":"ID","run_id":"…","media_type":"…","text":"…"}`, or `"base64"` for what is no text.
- `{"end":{"runs":N,"entries":N,"artifacts":N}}`: the last line. Without it the export was cut.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION: Final = 1

_HEAD: Final = (
    *("run_id", "conversation_id", "state", "agent", "by", "attempt", "seq"),
    *("created_at", "updated_at"),
)
_STAND_IN: Final = frozenset({"artifact", "bytes", "preview"})
_OVER: Final = frozenset({"completed", "failed", "stopped"})


@dataclass(kw_only=True, slots=True)
class Count:
    """What an export has had so far."""

    runs: int = 0
    entries: int = 0
    artifacts: int = 0


def run_line(head: Mapping[str, object]) -> bytes:
    """A run begins. `head`: its snapshot, or the members of one that `_HEAD` names."""
    members = {name: head.get(name) for name in _HEAD}
    return _line({"run": members | {"open": head.get("state") not in _OVER}, "export": VERSION})


def entry_line(entry_id: str, kind: str, data: bytes) -> bytes:
    """An entry; `data` is JSON."""
    return b'{"id":%b,"type":%b,"data":%b}\n' % (_json(entry_id), _json(kind), data)


def gap_line(first: int, last: int) -> bytes:
    """Entries that cannot be given any more (G1: never silence)."""
    return _line({"gap": {"from": first, "to": last}})


def artifact_line(run_id: str, artifact_id: str, media_type: str, data: bytes) -> bytes:
    """A value that was stored aside."""
    members = {"artifact": artifact_id, "run_id": run_id, "media_type": media_type}
    if media_type.startswith(("text/", "application/json")):
        try:
            return _line(members | {"text": data.decode()})
        except UnicodeDecodeError:
            pass
    return _line(members | {"base64": base64.b64encode(data).decode()})


def end_line(count: Count) -> bytes:
    """The last line."""
    return _line({"end": {"runs": count.runs, "entries": count.entries, "artifacts": count.artifacts}})


def artifact_ids(value: object) -> Iterator[str]:
    """The artifacts that an entry's data names, wherever in it they stand."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if members.keys() == _STAND_IN and isinstance(members["artifact"], str):
            yield members["artifact"]
            return
        for member in members.values():
            yield from artifact_ids(member)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from artifact_ids(item)


def _line(members: Mapping[str, object]) -> bytes:
    return _json(members) + b"\n"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
