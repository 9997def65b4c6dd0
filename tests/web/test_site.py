"""Unknown routes, health, the page and the document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

import jackline.web
from jackline.web.openapi import openapi
from tests.web.harness import API, KEYS, FlakyStore, message, running

pytestmark = pytest.mark.anyio

SCRIPT = Path(jackline.web.__file__).parent / "static" / "jackline.js"


@pytest.mark.parametrize(
    "path", ["/nothing", f"{API}/runs/", f"{API}/chat/", f"{API}", "//", f"{API}/runs/a/b"]
)
async def test_an_unknown_path_is_a_problem(path: str) -> None:
    """G11: 404, and no redirect for a slash too many."""
    async with running() as setup:
        answer = await setup.client.get(path)
        assert answer.problem(404)
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{API}/chat", "POST"),
        ("PUT", f"{API}/runs/abcdefgh.1", "DELETE, GET, HEAD"),
        ("POST", f"{API}/runs/abcdefgh.1", "DELETE, GET, HEAD"),
        ("DELETE", f"{API}/approvals", "GET, HEAD, POST"),
        ("OPTIONS", f"{API}/runs", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_with_those_there_are(method: str, path: str, allowed: str) -> None:
    async with running() as setup:
        answer = await setup.client.call(method, path)
        assert answer.problem(405)
        assert answer.headers["allow"] == allowed


async def test_head_is_answered_like_get() -> None:
    async with running() as setup:
        for path in (f"{API}/runs", "/healthz", "/"):
            assert (await setup.client.call("HEAD", path)).status == 200


async def test_liveness_asks_no_dependency_and_readiness_asks_all() -> None:
    """G8."""
    async with running() as setup:
        assert (await setup.client.get("/readyz")).json() == {
            "state": "ready",
            "store": {"state": "ok"},
            "workers": {"alive": 0, "required": False},
        }
        setup.store.away = True
        assert (await setup.client.get("/healthz")).json() == {"status": "ok"}
        answer = await setup.client.get("/readyz")
        assert answer.problem(503)["store"] == {"state": "away"}
        assert "retry-after" in answer.headers


async def test_a_full_store_refuses_new_runs_and_keeps_the_server_ready() -> None:
    """G8: stops and decisions must still reach it."""
    store = FlakyStore()
    store.full = 0.8312
    async with running(store=store) as setup:
        body = {"messages": [message("hi")]}
        answer = await setup.client.post(f"{API}/chat", body)
        assert "83% full" in answer.problem(503)["detail"]
        assert int(answer.headers["retry-after"]) > 0
        ready = await setup.client.get("/readyz")
        assert (ready.status, ready.json()["store"]) == (200, {"state": "full", "fullness": 0.831})
        assert (await setup.client.get(f"{API}/runs")).json()["runs"] == []


async def test_readiness_may_wait_for_a_worker() -> None:
    async with running(needs_worker=True) as setup:
        assert (await setup.client.get("/readyz")).problem(503)["detail"] == "not ready: starting"
        await setup.store.beat("w", 60, idle_ms=0, catalogue=b'{"worker":"w","agents":[]}')
        assert (await setup.client.get("/readyz")).json()["workers"] == {"alive": 1, "required": True}


async def test_every_route_is_in_the_document_and_nothing_else() -> None:
    async with running() as setup:
        document = (await setup.client.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert set(document["paths"]) == {
            route.path_format for route in setup.app.routes if isinstance(route, Route)
        }
        for path, item in document["paths"].items():
            concrete = re.sub(r"\{\w+\}", "x", path)
            allowed = (await setup.client.call("BREW", concrete)).headers["allow"].lower().split(", ")
            assert {*item} == {*allowed} - {"head"}


def test_the_documents_schemas_are_schemas_and_its_references_lead_somewhere() -> None:
    document: dict[str, Any] = json.loads(json.dumps(openapi()))
    schemas: dict[str, Any] = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(re.findall(r"#/components/schemas/(\w+)", repr(document))) <= set(schemas)
    operations: list[dict[str, Any]] = [op for item in document["paths"].values() for op in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert operation["responses"]


async def test_the_javascript_client_is_served_to_everybody_and_asked_about_each_time() -> None:
    async with running(keys=KEYS) as setup:
        answer = await setup.client.get("/jackline.js")
        assert (answer.status, answer.body) == (200, SCRIPT.read_bytes())
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
        tag = answer.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await setup.client.get("/jackline.js", if_none_match=known)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert (await setup.client.get("/jackline.js", if_none_match='"other"')).status == 200
