"""Request bodies: reading them, and their shapes. What is wrong is told by field (G11)."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import ClientDisconnect

from jackline.commands import Decision
from jackline.errors import FieldError
from jackline.events import Json, Message, Outcome, StopMode
from jackline.web.problems import WHOLE_BODY, Problem, field_problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from jackline.settings import Settings

DRAIN_BYTES: Final = 8 << 20
"""So much of a body that is too large is read and thrown away, so that the client, which is still
sending, gets to see the answer instead of a reset connection."""

BODY_SECONDS: Final = 60.0
"""A body that takes longer to arrive is given up: it would hold a connection for ever."""

MAX_MESSAGES: Final = 1000
MAX_DECISIONS: Final = 1000
WHOLE_LIMITS: Final = frozenset({"steps", "tokens", "bytes"})

_AT: Final = re.compile(r" - at `(?:key in )?\$(.*?)`$")
_REQUIRED: Final = re.compile(r"^Object missing required field `(.+?)`")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]|\[\.\.\.\]")
_Body = TypeVar("_Body", bound=Struct)

_LongText = Annotated[str, Meta(max_length=10_000)]


class ChatBody(Struct, frozen=True, kw_only=True):
    """`POST /api/v1/agent/chat`: new messages only; the last one must not be blank."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    conversation_id: str | None = None
    agent: str | None = None
    on_busy: Literal["reject", "queue", "stop"] = "reject"
    metadata: dict[str, Json] | None = None
    limits: dict[str, Json] | None = None

    @property
    def lowered(self) -> dict[str, float] | None:
        """The limits that it asks for, once there are no faults."""
        if self.limits is None:
            return None
        return {name: value for name, value in self.limits.items() if isinstance(value, (int, float))}

    def faults(self) -> list[FieldError]:
        """What the types do not say."""
        found: list[FieldError] = []
        if not self.messages[-1].content.strip():
            last = len(self.messages) - 1
            found.append(
                FieldError(field=f"messages.{last}.content", detail="the last message must not be blank")
            )
        for name, value in (self.limits or {}).items():
            if name not in LIMITS:
                detail = "no such limit; there are " + ", ".join(LIMITS)
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                detail = "a number"
            elif value <= 0:
                detail = "more than 0"
            elif name in WHOLE_LIMITS and value != int(value):
                detail = "a whole number"
            else:
                continue
            found.append(FieldError(field=f"limits.{name}", detail=detail))
        return found


LIMITS: Final = ("wall_seconds", "steps", "tokens", "tool_seconds", "bytes")
"""The limits a chat may lower; the names of `settings.Limits`."""


Round = Annotated[int, Meta(ge=1)]
"""Of the questions about one call: the first is 1."""


class AnswerBody(Struct, frozen=True, kw_only=True):
    """`POST …/approvals/{call_id}`: `approve` (with edited `args`, if any) for a question whether a
    call may run; `outcome` (with its `result`, if any) for one what became of it. `round`: to this
    question about the call and no later one."""

    round: Round | None = None
    approve: bool | None = None
    args: dict[str, Json] | None = None
    outcome: Outcome | None = None
    result: Json | UnsetType = UNSET
    reason: _LongText | None = None

    def faults(self, prefix: str = "") -> list[FieldError]:
        """What the types do not say."""
        return answer_faults(self.approve, self.args, self.outcome, self.result, prefix)

    def decision(self, call_id: str) -> Decision:
        """The command's form."""
        return Decision(
            call_id=call_id,
            round=self.round,
            approve=self.approve,
            args=UNSET if self.args is None else self.args,
            outcome=self.outcome,
            result=self.result,
            reason=self.reason,
        )


class DecisionBody(Struct, frozen=True, kw_only=True):
    """One of several answers."""

    call_id: str
    round: Round | None = None
    approve: bool | None = None
    args: dict[str, Json] | None = None
    outcome: Outcome | None = None
    result: Json | UnsetType = UNSET
    reason: _LongText | None = None

    def answer(self) -> AnswerBody:
        """The same without the call."""
        return AnswerBody(
            round=self.round,
            approve=self.approve,
            args=self.args,
            outcome=self.outcome,
            result=self.result,
            reason=self.reason,
        )


class DecisionsBody(Struct, frozen=True, kw_only=True):
    """`POST …/approvals`: answers to questions of one run, all or none."""

    decisions: Annotated[list[DecisionBody], Meta(min_length=1, max_length=MAX_DECISIONS)]

    def faults(self) -> list[FieldError]:
        """What the types do not say."""
        found: list[FieldError] = []
        seen: set[str] = set()
        for at, decision in enumerate(self.decisions):
            found += decision.answer().faults(f"decisions.{at}.")
            if decision.call_id in seen:
                found.append(FieldError(field=f"decisions.{at}.call_id", detail="answered twice"))
            seen.add(decision.call_id)
        return found


class StopBody(Struct, frozen=True, kw_only=True):
    """`POST …/runs/{run_id}/stop`; may be left out."""

    reason: _LongText | None = None
    mode: StopMode = "immediate"


class StopAnyBody(Struct, frozen=True, kw_only=True):
    """`POST …/stop`: exactly one of `run_id` and `conversation_id`."""

    run_id: str | None = None
    conversation_id: str | None = None
    reason: _LongText | None = None
    mode: StopMode = "immediate"

    def faults(self) -> list[FieldError]:
        """What the types do not say."""
        if (self.run_id is None) == (self.conversation_id is None):
            detail = "send exactly one of run_id and conversation_id"
            return [FieldError(field=name, detail=detail) for name in ("run_id", "conversation_id")]
        return []


def answer_faults(
    approve: bool | None, args: object, outcome: str | None, result: object, prefix: str
) -> list[FieldError]:
    """An answer has exactly one of `approve` and `outcome`; `args` go with a yes, `result` with `done`."""
    if approve is None and outcome is None:
        return [FieldError(field=f"{prefix}approve", detail="send approve (true or false), or outcome")]
    if approve is not None and outcome is not None:
        return [FieldError(field=f"{prefix}outcome", detail="send either approve or outcome")]
    if args is not None and approve is not True:
        return [FieldError(field=f"{prefix}args", detail="edited arguments go with approve: true")]
    if result is not UNSET and outcome != "done":
        return [FieldError(field=f"{prefix}result", detail="a result goes with outcome: done")]
    return []


def refuse(faults: list[FieldError]) -> None:
    """Raises a 422 problem that names the fields, if there are any."""
    if faults:
        raise field_problem(*faults)


async def read_body(request: Request, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body. Raises a 413 problem above `limit` bytes (the rest is read and thrown away, up
    to 8 MiB), a 408 problem when it does not arrive within `seconds`."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit and "expect" in request.headers:
        raise _too_large(limit)  # the client asks before it sends
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                else:
                    chunks.clear()
                if size > max(DRAIN_BYTES, limit):
                    break
    except TimeoutError:
        # What is still to come would be taken for the next request, or waited for.
        detail = "the request's body did not arrive in time"
        raise Problem(408, detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the client left before its request was whole") from None
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def check_json(request: Request) -> None:
    """Raises a 415 problem for a body that does not say it is JSON in UTF-8."""
    media, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charsets = [part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset")]
    is_json = media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
    if not is_json or any(charset not in {"utf-8", "utf8"} for charset in charsets):
        raise Problem(
            415, "send the body as Content-Type: application/json", headers={"Accept": "application/json"}
        )


def parse(body: bytes, shape: type[_Body]) -> _Body:
    """The body as `shape`; unknown members are ignored. Raises 400 (not JSON), 422 (a field)."""
    if not body.strip():
        fields = [field for field in msgspec.structs.fields(shape) if field.required]
        faults = [FieldError(field=field.encode_name, detail="required") for field in fields]
        raise field_problem(*faults, status=400) if faults else Problem(400, "the body is empty; send JSON")
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise field_problem(_fault(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


async def read_json(request: Request, shape: type[_Body], settings: Settings) -> tuple[_Body, bytes]:
    """Read, check and parse the body; the raw bytes too, for digests."""
    body = await read_body(request, settings.max_body, settings.body_timeout)
    if body:
        check_json(request)
    return parse(body, shape), body


async def read_optional_json(request: Request, shape: type[_Body], settings: Settings) -> tuple[_Body, bytes]:
    """The same, for a body that may be left out when every member has a default."""
    body = await read_body(request, settings.max_body, settings.body_timeout)
    if not body:
        return shape(), body
    check_json(request)
    return parse(body, shape), body


def _fault(message: str) -> FieldError:
    """The field that msgspec complains of: ``Expected `str`, got `int` - at `$.messages[0].content` ``."""
    at = _AT.search(message)
    detail = _AT.sub("", message)
    path = [step[1] or step[2] or "*" for step in _STEP.finditer(at[1])] if at is not None else []
    missing = _REQUIRED.match(detail)
    if missing is not None:
        path.append(missing[1])
        detail = "required"
    return FieldError(field=".".join(path) or WHOLE_BODY, detail=detail)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes")
