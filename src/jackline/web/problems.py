"""Every answer that is an error: `application/problem+json` (RFC 9457), G11.

The document has `type` (`about:blank`: the status says it), `title`, `status`, `detail`, and where
they help `errors` (the fields at fault), `run_id`, or `by`, `at`, `state`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jackline.errors import (
    Busy,
    Conflict,
    EntryTooLarge,
    InDoubt,
    Invalid,
    NotFound,
    Overloaded,
    RunClosed,
    StoreFull,
    StoreUnavailable,
    UnknownRun,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from jackline.errors import FieldError
    from jackline.events import Json

RETRY_AFTER_SECONDS: Final = 2
"""What a 503 tells clients to wait: a store that restarts is back after about so long."""
FULL_RETRY_AFTER_SECONDS: Final = 60
"""The same of a store that is full: somebody, or retention, must make room first."""
OVERLOADED_RETRY_AFTER_SECONDS: Final = 10
"""The same where too much is asked at once: as long as one check of edited arguments may take."""

HANDLED: Final = (
    HTTPException,
    Busy,
    Conflict,
    EntryTooLarge,
    Invalid,
    NotFound,
    Overloaded,
    RunClosed,
    StoreFull,
    StoreUnavailable,
    UnknownRun,
)
"""Errors that are somebody's answer. Any other is a fault of ours: 500, and in the server's log."""

WHOLE_BODY: Final = "(body)"
"""The field's name when no single member is at fault."""

_HEADER_FIELDS: Final = frozenset({"Idempotency-Key"})


class Problem(Exception):  # noqa: N818
    """An answer with an error status; nothing was changed (G11)."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def response(self) -> Response:
        """The answer itself."""
        document: dict[str, Json] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(
            msgspec.json.encode(document),
            status_code=self.status,
            media_type="application/problem+json",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **self.headers},
        )


def field_problem(*errors: FieldError, status: int = 422, in_body: bool = True) -> Problem:
    """A problem that names the fields at fault. `in_body`: they have a JSON pointer (RFC 6901)."""
    listed: list[Json] = []
    for error in errors:
        member = {"field": error.field}
        if in_body and error.field not in _HEADER_FIELDS:
            member["pointer"] = _pointer(error.field)
        listed.append({**member, "detail": error.detail})
    detail = "; ".join(f"{error.field}: {error.detail}" for error in errors)
    return Problem(status, detail, members={"errors": listed})


def unavailable(detail: str, **members: Json) -> Problem:
    """503 with `Retry-After` (G8)."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}, members=members)


def problem_of(error: Exception) -> Problem:  # noqa: PLR0911 (one line per error)
    """The problem that an error is, seen from outside. What is not listed is our own fault: 500."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, error.detail, headers=error.headers)
        case NotFound() | UnknownRun():
            return not_found()
        case Conflict():
            return Problem(409, str(error), members=error.members)
        case Busy() | RunClosed():
            return Problem(409, str(error), members={"run_id": error.run_id})
        case Invalid():
            return field_problem(*error.errors)
        case EntryTooLarge():
            return Problem(413, str(error))
        case InDoubt():
            return unavailable(str(error))
        case StoreFull():
            return Problem(503, str(error), headers={"Retry-After": str(FULL_RETRY_AFTER_SECONDS)})
        case Overloaded():
            return Problem(503, str(error), headers={"Retry-After": str(OVERLOADED_RETRY_AFTER_SECONDS)})
        case StoreUnavailable():
            return unavailable("the store does not answer; try again")
        case _:
            pass
    return Problem(500, "the server failed; its log says more")


def not_found() -> Problem:
    """Unknown, or somebody else's: the two look alike (G12)."""
    return Problem(404, "no such thing, or not yours")


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for every error."""
    del request
    return problem_of(error).response()


def _pointer(field: str) -> str:
    if field == WHOLE_BODY:
        return ""
    parts = field.split(".")
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
