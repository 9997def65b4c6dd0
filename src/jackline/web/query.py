"""What requests carry beside their body: `Accept`, cursors, page sizes, keys. Pure."""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from jackline.errors import FieldError
from jackline.web.frames import cursor_id
from jackline.web.problems import Problem, field_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from jackline.web.auth import Principal

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
MAX_TICK_MS: Final = 1000
MAX_WAIT_SECONDS: Final = 60.0
"""A longer wait meets the idle limits of too many proxies; ask again instead."""

_CURSOR: Final = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([1-9][0-9]{0,8}))?", re.ASCII)
_CURSOR_CHARACTERS: Final = 200
_FEED_CURSOR: Final = re.compile(r"[0-9A-Za-z~-]{1,400}", re.ASCII)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_Choice = TypeVar("_Choice", bound=str)


class Cursor(NamedTuple):
    """Where a reader stands in a run: after entry `seq` of the log's `epoch`."""

    seq: int
    epoch: int

    def __str__(self) -> str:
        return cursor_id(self.seq, self.epoch)


def cursor(request: Request) -> Cursor | None:
    """`Last-Event-ID`, or else `?after=`: EventSource cannot change its URL when it comes back, so
    the header is the newer one. Raises a 400 problem."""
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        detail = f"{text[:40]!r} is no cursor; send back the id of an entry of this run"
        raise Problem(400, detail, members={"errors": [{"field": "after", "detail": detail}]})
    return Cursor(int(match[1]), int(match[2] or 0))


def feed_cursor(request: Request) -> str:
    """The same of the feed, whose cursors are opaque words; `now` is one of what comes from now on, `0` one
    of all, as on a run's stream. "" for none, and for all. Raises a 400 problem for what cannot be one."""
    text = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    if text == "0":
        return ""
    if text and not _FEED_CURSOR.fullmatch(text):
        raise bad_feed_cursor()
    return text


def bad_feed_cursor() -> Problem:
    """A cursor that this feed has not given."""
    detail = "this is no cursor of this feed; begin without one, or with after=now, and read the list anew"
    return Problem(400, detail, members={"errors": [{"field": "after", "detail": detail}]})


def page_limit(request: Request, default: int = DEFAULT_PAGE) -> int:
    """`?limit=`: 1 to 1000. Raises a 422 problem."""
    text = request.query_params.get("limit")
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not 1 <= int(text) <= MAX_PAGE:
        raise bad_query("limit", f"a whole number from 1 to {MAX_PAGE}")
    return int(text)


def page_cursor(request: Request) -> str:
    """`?cursor=`: where a list goes on; opaque. Raises a 400 problem for what cannot be one."""
    text = request.query_params.get("cursor", "")
    if len(text) > _CURSOR_CHARACTERS or not text.isascii() or not text.isprintable():
        raise bad_cursor()
    return text


def bad_cursor() -> Problem:
    """A list's cursor that the store has not given."""
    detail = "this is no cursor; send back `next` of the page before"
    return Problem(400, detail, members={"errors": [{"field": "cursor", "detail": detail}]})


def choice(request: Request, name: str, choices: Sequence[_Choice]) -> _Choice | None:
    """A query parameter that is one of `choices`. Raises a 422 problem."""
    text = request.query_params.get(name)
    if text is None:
        return None
    for candidate in choices:
        if candidate == text:
            return candidate
    raise bad_query(name, "one of " + ", ".join(choices))


def compact(request: Request, *, default: bool) -> bool:
    """`?compact=`: whether consecutive tokens of a replay go as one. Raises a 422 problem."""
    asked = choice(request, "compact", ("0", "1"))
    return default if asked is None else asked == "1"


def until_pause(request: Request) -> bool:
    """`?until=pause`. Raises a 422 problem."""
    return choice(request, "until", ("pause",)) is not None


def tick(request: Request) -> int:
    """`?tick=`: ms that news may gather before they are sent together, 0 to 1000. Raises a 422 problem."""
    text = request.query_params.get("tick", "0")
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or int(text) > MAX_TICK_MS:
        raise bad_query("tick", f"a whole number of milliseconds from 0 to {MAX_TICK_MS}")
    return int(text)


class StreamChoices(NamedTuple):
    """How the answer to a POST is to look. `resume`: what a client that posts again has seen."""

    streaming: bool
    compact: bool
    until_pause: bool
    tick: int
    resume: Cursor | None


def stream_choices(request: Request) -> StreamChoices:
    """All of them, checked before anything is done. Raises 400, 406 and 422 problems."""
    return StreamChoices(
        wants_stream(request),
        compact(request, default=True),
        until_pause(request),
        tick(request),
        cursor(request),
    )


def wait_seconds(request: Request) -> float:
    """`?wait=`: seconds, decimals allowed, at most 60. Raises a 422 problem."""
    text = request.query_params.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise bad_query("wait", "seconds, 0 or more")
    return min(seconds, MAX_WAIT_SECONDS)


def bad_query(name: str, detail: str) -> Problem:
    """A query parameter at fault."""
    return field_problem(FieldError(field=name, detail=detail), in_body=False)


def idempotency_key(request: Request, principal: Principal) -> str | None:
    """The caller's key, bound to the caller: two principals' keys never meet. Raises a 400 problem."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        detail = "1 to 255 visible ASCII characters"
        error = FieldError(field="Idempotency-Key", detail=detail)
        raise field_problem(error, status=400, in_body=False)
    return hashlib.sha256(f"{principal.name}\0{key}".encode()).hexdigest()


def digest(request: Request, body: bytes) -> str:
    """What an idempotency key stands for: method, path and body."""
    head = f"{request.method}\0{request.url.path}\0".encode("utf-8", "surrogatepass")
    return hashlib.sha256(head + body).hexdigest()


def poll(request: Request) -> bool:
    """`?poll=1`: an answer that is complete as soon as there is something to say. Raises a 422 problem."""
    return choice(request, "poll", ("0", "1")) == "1"


def wants_stream(request: Request, *, unnamed: bool = True) -> bool:
    """Whether the answer is to be the stream (else JSON), by `Accept` (RFC 9110, section 12.5.1).

    Missing or `*/*` means the stream (`unnamed` says so), and so does a tie, unless JSON was asked for
    by name and the stream only by a wildcard. Raises a 406 problem when neither is acceptable.
    """
    accept = ",".join(request.headers.getlist("accept"))
    if not accept.strip():
        return unnamed
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    stream = _quality(ranges, "text", "event-stream")
    page = _quality(ranges, "application", "json")
    if stream[0] <= 0 and page[0] <= 0:
        raise Problem(406, "there is text/event-stream and application/json; ask for one of them")
    return stream >= page if unnamed or stream[1] else stream > page


def _media_range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return media.lower(), quality


def _quality(ranges: list[tuple[str, float]], kind: str, subtype: str) -> tuple[float, int]:
    """The quality of a media type, and how specifically it was named: 2 by name, 0 by `*/*`."""
    for specific, name in ((2, f"{kind}/{subtype}"), (1, f"{kind}/*"), (0, "*/*")):
        found = [quality for media, quality in ranges if media == name]
        if found:
            return max(found), specific
    return 0.0, 0
