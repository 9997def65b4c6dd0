"""What each route takes and answers, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

from jackline.web.bodies import AnswerBody, ChatBody, DecisionsBody, StopAnyBody, StopBody
from jackline.web.probe.ledger import Report
from jackline.web.probe.plan import MAX_MS, Ending, Mode, Protection
from jackline.web.probe.probes import Mirror
from jackline.web.query import MAX_PAGE, MAX_TICK_MS, MAX_WAIT_SECONDS
from jackline.web.routes.agents import AgentsPage, ToolsPage
from jackline.web.routes.approvals import FILTERS, ApprovalsPage, DecidedItem, DecidedPage
from jackline.web.routes.chat import Accepted
from jackline.web.routes.conversations import ConversationsPage, History
from jackline.web.routes.events import EntriesPage
from jackline.web.routes.feed import FeedEntries
from jackline.web.routes.runs import STATES, RunsPage
from jackline.web.routes.stop import StopAnswer
from jackline.web.snapshot import ApprovalItem, RunSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import Struct

    from jackline.events import Json

API: Final = "/api/v1/agent"
PROBE: Final = "/api/v1/probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One method of one path. `answers`: JSON by status (None: no body). `stream`: 200 may be a
    stream. `media`: the media type of a 200 that is something else."""

    name: str
    summary: str
    answers: Mapping[int, type[Struct] | None] = field(default_factory=dict[int, "type[Struct] | None"])
    problems: Sequence[int] = ()
    parameters: Sequence[Json] = ()
    body: type[Struct] | None = None
    body_required: bool = True
    stream: bool = False
    media: str | None = None


def _query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    query: dict[str, Json] = {"name": name, "in": "query", "schema": schema, "description": description}
    return {**query, "required": True} if required else query


def _header(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_LIMIT: Final = _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}, "how many on a page")
_CURSOR: Final = _query("cursor", {"type": "string"}, "`next` of the page before")
_TICK: Final = _query(
    "tick",
    {"type": "integer", "minimum": 0, "maximum": MAX_TICK_MS, "default": 0},
    "milliseconds in which news may gather before they are sent together",
)
_COMPACT: Final = _query("compact", {"enum": ["0", "1"]}, "whether consecutive tokens of a replay go as one")
_UNTIL: Final = _query("until", {"enum": ["pause"]}, "end the stream when the run waits for a person")
_POLL: Final = _query(
    "poll",
    {"enum": ["0", "1"]},
    "answer as soon as there is something to say, and end: a page, or a short stream",
)
_EVENT_CURSOR: Final = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,14})(\.[1-9][0-9]{0,8})?$"}
_AFTER: Final = _query("after", _EVENT_CURSOR, "the entry to go on after")
_LAST_EVENT_ID: Final = _header("Last-Event-ID", _EVENT_CURSOR, "the same, and stronger")
_FEED_ID: Final = {"type": "string", "pattern": "^[0-9A-Za-z~-]{1,400}$"}
_FEED_CURSOR: Final = (
    _query("after", _FEED_ID, "the cursor to go on after; `now`: what comes from now on"),
    _header("Last-Event-ID", _FEED_ID, "the same, and stronger"),
)
_KEY: Final = _header(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "a retry with the same key does nothing twice",
)
_WAIT: Final = _query(
    "wait",
    {"type": "number", "minimum": 0},
    f"seconds to wait until it is quiet, at most {MAX_WAIT_SECONDS:g}",
)
_READ: Final = (401, 403, 404, 500, 503)
_LIST: Final = (400, 401, 403, 422, 500, 503)
_WRITE: Final = (400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 500, 503)
_STREAM: Final = (*_WRITE, 429)
_PROBE: Final = (400, 401, 403, 404, 408, 413, 422, 429, 500, 503)
_MS: Final = {"type": "integer", "minimum": 0, "maximum": MAX_MS, "default": 0}
_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"}
_NONCE: Final = _header("X-Probe-Nonce", _NAME, "comes in each event")
_PLAN: Final = (
    _query("id", _NAME, "its report's name", required=True),
    _query("plan", {"type": "string"}, "events as OFFSET_MS:PADDING, by commas", required=True),
    _query("delay", _MS, "milliseconds before the headers"),
    _query("beat", _MS, "milliseconds between heartbeats, 0 for none"),
    _query("ending", {"enum": list(get_args(Ending)), "default": "frame"}, "how it ends"),
    _query(
        "without", {"type": "string"}, "headers to leave out, by commas: " + ", ".join(get_args(Protection))
    ),
    _query("identity", {"enum": ["0", "1"]}, "whether to say Content-Encoding: identity"),
    _NONCE,
)
_COUNT: Final = (
    _query("mode", {"enum": list(get_args(Mode)), "default": "ok"}, "how to answer"),
    _query("delay", _MS, "milliseconds before the answer, with `slow`"),
)
_STREAM_PARAMETERS: Final = (_COMPACT, _TICK, _UNTIL, _AFTER, _LAST_EVENT_ID)

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", f"{API}/chat"): Operation(
        name="chat",
        summary="Start a run",
        body=ChatBody,
        answers={202: Accepted},
        stream=True,
        problems=_STREAM,
        parameters=(_KEY, *_STREAM_PARAMETERS),
    ),
    ("GET", f"{API}/approvals"): Operation(
        name="listApprovals",
        summary="Questions to people",
        answers={200: ApprovalsPage},
        problems=_LIST,
        parameters=(_query("state", {"enum": list(FILTERS)}, "`pending` if left out"), _LIMIT, _CURSOR),
    ),
    ("POST", f"{API}/approvals"): Operation(
        name="decideSeveral",
        summary="Answer several questions of one run, all or none",
        body=DecisionsBody,
        answers={200: DecidedPage},
        stream=True,
        problems=_STREAM,
        parameters=(_KEY, *_STREAM_PARAMETERS),
    ),
    ("GET", f"{API}/approvals/{{call_id}}"): Operation(
        name="getApproval",
        summary="The newest question about a call",
        answers={200: ApprovalItem},
        problems=_READ,
    ),
    ("POST", f"{API}/approvals/{{call_id}}"): Operation(
        name="decide",
        summary="Answer a question",
        body=AnswerBody,
        answers={200: DecidedItem},
        stream=True,
        problems=_STREAM,
        parameters=(_KEY, *_STREAM_PARAMETERS),
    ),
    ("POST", f"{API}/stop"): Operation(
        name="stop",
        summary="Stop a run, or a conversation's active one",
        body=StopAnyBody,
        answers={200: StopAnswer, 202: StopAnswer},
        problems=_WRITE,
        parameters=(_KEY, _WAIT),
    ),
    ("GET", f"{API}/runs"): Operation(
        name="listRuns",
        summary="Runs, newest first",
        answers={200: RunsPage},
        problems=_LIST,
        parameters=(
            _query("state", {"enum": list(STATES)}, "only runs in this state"),
            _query("conversation_id", {"type": "string"}, "only runs of this conversation"),
            _LIMIT,
            _CURSOR,
        ),
    ),
    ("GET", f"{API}/runs/{{run_id}}"): Operation(
        name="getRun", summary="What a run has come to", answers={200: RunSnapshot}, problems=_READ
    ),
    ("DELETE", f"{API}/runs/{{run_id}}"): Operation(
        name="deleteRun", summary="Remove a finished run", answers={204: None}, problems=(*_READ, 409)
    ),
    ("GET", f"{API}/runs/{{run_id}}/events"): Operation(
        name="events",
        summary="A run's entries, as a stream or as a page",
        answers={200: EntriesPage, 204: None},
        stream=True,
        problems=(*_READ, 400, 406, 422, 429),
        parameters=(*_STREAM_PARAMETERS, _LIMIT, _POLL),
    ),
    ("POST", f"{API}/runs/{{run_id}}/stop"): Operation(
        name="stopRun",
        summary="Stop a run",
        body=StopBody,
        body_required=False,
        answers={200: StopAnswer, 202: StopAnswer},
        problems=_WRITE,
        parameters=(_KEY, _WAIT),
    ),
    ("GET", f"{API}/runs/{{run_id}}/artifacts/{{artifact_id}}"): Operation(
        name="artifact", summary="A result too large for an entry", media="*/*", problems=_READ
    ),
    ("GET", f"{API}/feed"): Operation(
        name="feed",
        summary="What happens in all runs, as a stream or as a page",
        answers={200: FeedEntries},
        stream=True,
        problems=(*_LIST, 406, 429),
        parameters=(_TICK, *_FEED_CURSOR, _LIMIT, _POLL),
    ),
    ("GET", f"{API}/conversations"): Operation(
        name="listConversations",
        summary="Conversations, newest first",
        answers={200: ConversationsPage},
        problems=_LIST,
        parameters=(_LIMIT, _CURSOR),
    ),
    ("GET", f"{API}/conversations/{{conversation_id}}"): Operation(
        name="getConversation",
        summary="A conversation's history",
        answers={200: History},
        problems=(*_READ, 400, 422),
        parameters=(_LIMIT, _CURSOR),
    ),
    ("DELETE", f"{API}/conversations/{{conversation_id}}"): Operation(
        name="deleteConversation",
        summary="Remove a conversation without an active run",
        answers={204: None},
        problems=(*_READ, 409),
    ),
    ("GET", f"{API}/agents"): Operation(
        name="agents",
        summary="The agents that live workers serve",
        answers={200: AgentsPage},
        problems=(401, 403, 500, 503),
    ),
    ("GET", f"{API}/tools"): Operation(
        name="tools",
        summary="Their tools, with the policy's verdict",
        answers={200: ToolsPage},
        problems=(401, 403, 500, 503),
    ),
    ("GET", f"{PROBE}/echo"): Operation(
        name="probeEcho", summary="What arrived of this request", answers={200: Mirror}, problems=_PROBE
    ),
    ("POST", f"{PROBE}/echo"): Operation(
        name="probeEchoBody", summary="The same, with a body", answers={200: Mirror}, problems=_PROBE
    ),
    ("GET", f"{PROBE}/stream"): Operation(
        name="probeStream",
        summary="A stream of a known timing",
        stream=True,
        problems=_PROBE,
        parameters=_PLAN,
    ),
    ("POST", f"{PROBE}/stream"): Operation(
        name="probeStreamByPost",
        summary="The same, by POST",
        stream=True,
        problems=_PROBE,
        parameters=_PLAN,
    ),
    ("GET", f"{PROBE}/count/{{nonce}}"): Operation(
        name="probeCount",
        summary="Count an execution",
        parameters=_COUNT,
        problems=_PROBE,
        media="application/json",
    ),
    ("POST", f"{PROBE}/count/{{nonce}}"): Operation(
        name="probeCountByPost",
        summary="The same, by POST",
        parameters=_COUNT,
        problems=_PROBE,
        media="application/json",
    ),
    ("GET", f"{PROBE}/report/{{id}}"): Operation(
        name="probeReport", summary="What became of a probe", answers={200: Report}, problems=_PROBE
    ),
    ("GET", "/healthz"): Operation(
        name="healthz", summary="Liveness", media="application/json", problems=(500,)
    ),
    ("GET", "/readyz"): Operation(
        name="readyz", summary="Readiness", media="application/json", problems=(500, 503)
    ),
    ("GET", "/metrics"): Operation(
        name="metrics", summary="Metrics for Prometheus", media="text/plain", problems=(401, 403, 500)
    ),
    ("GET", "/openapi.json"): Operation(
        name="openapi", summary="This document", media="application/json", problems=(403, 500)
    ),
    ("GET", "/jackline.js"): Operation(
        name="script", summary="The JavaScript client", media="text/javascript", problems=(403, 500)
    ),
    ("GET", "/"): Operation(
        name="page", summary="The operator's page", media="text/html", problems=(403, 500)
    ),
    ("GET", "/ui/{path}"): Operation(
        name="pagePart", summary="A file of the page", media="*/*", problems=(403, 404, 500)
    ),
}
