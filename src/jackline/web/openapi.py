"""The OpenAPI 3.1 document: schemas from the types that are really read and sent, paths by hand."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from jackline.events import Approval, Token, Tool, Workflow
from jackline.web import frames
from jackline.web.openapi_paths import OPERATIONS, Operation
from jackline.web.openapi_types import ProblemDocument

if TYPE_CHECKING:
    from jackline.events import Json

_DESCRIPTION: Final = (
    "Runs agents on long tasks and lets people watch, approve and stop them. Streams are Server-Sent "
    "Events: `ready`, then entries (`token`, `workflow`, `tool`, `approval`), `heartbeat` in between, and "
    "`end` or `shutdown` as the last frame. See docs/protocol.md."
)
_FRAMES: Final = (
    Token,
    Workflow,
    Tool,
    Approval,
    frames.Ready,
    frames.Heartbeat,
    frames.Gap,
    frames.End,
    frames.Shutdown,
    frames.FeedReady,
    frames.FeedHeartbeat,
    frames.FeedGap,
)
_OPEN: Final = ("/healthz", "/readyz", "/openapi.json", "/jackline.js", "/", "/ui/{path}")


def openapi() -> dict[str, Json]:
    """The document. Every route is in it."""
    types = {ProblemDocument, *_FRAMES}
    for operation in OPERATIONS.values():
        types |= {kind for kind in (operation.body, *operation.answers.values()) if kind is not None}
    _, schemas = msgspec.json.schema_components(
        sorted(types, key=lambda kind: kind.__name__), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Json]] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Jackline", "version": "1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _operation(path: str, operation: Operation) -> dict[str, Json]:
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _path_parameters(path)
    ]
    document: dict[str, Json] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*parameters, *operation.parameters],
        "responses": _responses(operation),
    }
    if path in _OPEN:
        document["security"] = []
    if operation.body is not None:
        document["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    return document


def _responses(operation: Operation) -> dict[str, Json]:
    responses: dict[str, Json] = {}
    statuses = {*operation.answers, 200} if operation.stream or operation.media else operation.answers
    for status in statuses:
        kind = operation.answers.get(status)
        content: dict[str, Json] = {}
        if kind is not None:
            content["application/json"] = {"schema": _ref(kind)}
        if status == HTTPStatus.OK and operation.stream:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        if status == HTTPStatus.OK and operation.media is not None:
            content[operation.media] = {}
        responses[str(status)] = {
            "description": _PHRASES[status],
            **({"content": content} if content else {}),
        }
    for status in operation.problems:
        responses[str(status)] = {
            "description": _PHRASES[status],
            "content": {"application/problem+json": {"schema": _ref(ProblemDocument)}},
        }
    return responses


def _path_parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _ref(kind: type) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


_PHRASES: Final = {
    200: "the answer",
    202: "accepted; it goes on",
    204: "done, or nothing more will come",
    400: "not JSON, or a bad cursor or key",
    401: "no key, or an unknown one",
    403: "a host name or a page that may not call this server",
    404: "unknown, or not yours",
    406: "neither of the media types there are is acceptable",
    408: "the body did not arrive in time",
    409: "busy, or decided otherwise, expired, withdrawn",
    413: "the body is too large",
    415: "the body is not declared as JSON",
    422: "a field is at fault",
    429: "too much at once, or in a minute",
    500: "the server failed",
    503: "the store is away, or nobody is ready",
}
