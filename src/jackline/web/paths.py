"""Which path and method calls which function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.web.routes import (
    agents,
    approvals,
    chat,
    conversations,
    events,
    feed,
    health,
    metrics,
    page,
    probe,
    runs,
    script,
    stop,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackline.web.site import Handler

API: Final = "/api/v1/agent"
PROBE: Final = "/api/v1/probe"

HEALTH: Final = ("/healthz", "/readyz")
"""All that a worker's own port answers."""

ROUTES: Final[Mapping[str, Mapping[str, Handler]]] = {
    f"{API}/chat": {"POST": chat.start},
    f"{API}/approvals": {"GET": approvals.listed, "POST": approvals.decide_several},
    f"{API}/approvals/{{call_id}}": {"GET": approvals.one, "POST": approvals.decide},
    f"{API}/stop": {"POST": stop.stop_any},
    f"{API}/runs": {"GET": runs.listed},
    f"{API}/runs/{{run_id}}": {"GET": runs.snapshot_of, "DELETE": runs.delete},
    f"{API}/runs/{{run_id}}/events": {"GET": events.events},
    f"{API}/runs/{{run_id}}/stop": {"POST": stop.stop_run},
    f"{API}/runs/{{run_id}}/artifacts/{{artifact_id}}": {"GET": runs.artifact},
    f"{API}/feed": {"GET": feed.feed},
    f"{API}/conversations": {"GET": conversations.listed},
    f"{API}/conversations/{{conversation_id}}": {"GET": conversations.one, "DELETE": conversations.delete},
    f"{API}/agents": {"GET": agents.agents},
    f"{API}/tools": {"GET": agents.tools},
    f"{PROBE}/echo": {"GET": probe.echo, "POST": probe.echo},
    f"{PROBE}/stream": {"GET": probe.stream, "POST": probe.stream},
    f"{PROBE}/count/{{nonce}}": {"GET": probe.count, "POST": probe.count},
    f"{PROBE}/report/{{id}}": {"GET": probe.report},
    "/healthz": {"GET": health.alive},
    "/readyz": {"GET": health.ready},
    "/metrics": {"GET": metrics.metrics},
    "/openapi.json": {"GET": health.document},
    "/jackline.js": {"GET": script.script},
    "/": {"GET": page.page},
    "/ui/{path:path}": {"GET": page.part},
}
"""The document in `openapi.py` has each of them; a test holds the two together."""
