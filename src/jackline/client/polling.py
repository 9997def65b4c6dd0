"""A run's frames by long-polling, for paths that hold a stream back whatever is done. No waiting here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jackline.client.errors import ProtocolViolation
from jackline.client.frames import Frame, entry, parse
from jackline.client.shape import members
from jackline.sse import ServerSentEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def read_page(page: Mapping[str, Any]) -> list[Frame]:
    """The frames that a stream would have had instead of this page. Raises `ProtocolViolation`."""
    try:
        return list(_frames(page))
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"a page of entries that cannot be read: {error!r}") from error


def _frames(page: Mapping[str, Any]) -> Iterator[Frame]:
    for name in ("gap", "heartbeat"):
        data = members(page.get(name))
        if data is not None:
            yield from _frame(name, data, _after_gap(page, data) if name == "gap" else None)
    for each in page["entries"]:
        yield entry(str(each["type"]), str(each["id"]), each["data"], _text(each["data"]))
    end = members(page.get("end"))
    if end is not None:
        yield from _frame("end", end, None)


def _after_gap(page: Mapping[str, Any], data: dict[str, Any]) -> str:
    """The cursor that a gap stands for: what the page goes on with, or where the run ended."""
    following = page.get("next")
    return str(data["snapshot"]["seq"] if following is None else following)


def _frame(name: str, data: dict[str, Any], cursor: str | None) -> Iterator[Frame]:
    frame = parse(ServerSentEvent(event=name, data=_text(data), id=cursor))
    if frame is not None:
        yield frame


def _text(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
