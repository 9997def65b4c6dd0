"""Who may do what, and who may connect at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jackline.errors import ConfigError
from tests.web.harness import ANA, API, BOB, JSON, KEYS, as_user, message, running

pytestmark = pytest.mark.anyio

HELLO: dict[str, Any] = {"messages": [message("hello")]}
EVIL = "https://evil.example"


@pytest.mark.parametrize(
    "authorization", ["", "Basic YTpi", "Bearer", "Bearer ", "Bearer wrong", f"Token {ANA}", f"Bearer {ANA}x"]
)
async def test_with_keys_nobody_comes_in_without_one(authorization: str) -> None:
    """G12."""
    async with running(keys=KEYS) as setup:
        for method, path in (
            ("POST", "/chat"),
            ("GET", "/runs"),
            ("GET", "/tools"),
            ("GET", "/no-such-route"),
        ):
            headers = {**JSON, "authorization": authorization}
            answer = await setup.client.call(method, API + path, json_body=HELLO, headers=headers)
            assert answer.problem(401)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="jackline"')
        assert await setup.entry_count() == 0
        for path in ("/healthz", "/readyz", "/openapi.json", "/", "/ui/html.js"):
            assert (await setup.client.get(path)).status == 200


async def test_somebody_elses_run_is_like_no_run_at_all() -> None:
    """G12: every route, and byte for byte the same answer."""
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        run_id = await ana.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        call_id = await worker.ask()
        conversation = run_id.split(".")[0]
        nobody = conversation[::-1]
        before = await setup.entry_count()
        routes: list[tuple[str, str, object]] = [
            ("GET", "/runs/{c}.1", ...),
            ("GET", "/runs/{c}.1/events", ...),
            ("GET", "/runs/{c}.1/artifacts/x", ...),
            ("POST", "/runs/{c}.1/stop", ...),
            ("POST", "/stop", {"run_id": "{c}.1"}),
            ("POST", "/stop", {"conversation_id": "{c}"}),
            ("DELETE", "/runs/{c}.1", ...),
            ("GET", "/approvals/{c}.1.1", ...),
            ("POST", "/approvals/{c}.1.1", {"approve": True}),
            ("POST", "/approvals", {"decisions": [{"call_id": "{c}.1.1", "approve": True}]}),
            ("GET", "/conversations/{c}", ...),
            ("DELETE", "/conversations/{c}", ...),
            ("POST", "/chat", {**HELLO, "conversation_id": "{c}"}),
        ]
        for method, path, body in routes:
            answers = [
                await bob.call(method, API + _filled(path, c), json_body=_filled_body(body, c))
                for c in (conversation, nobody)
            ]
            assert answers[0].problem(404)
            assert (answers[0].body, answers[0].headers) == (answers[1].body, answers[1].headers)
        assert await setup.entry_count() == before
        for path, member in (
            ("runs", "runs"),
            ("approvals", "approvals"),
            ("conversations", "conversations"),
        ):
            assert (await bob.get(f"{API}/{path}")).json()[member] == []
            assert len((await ana.get(f"{API}/{path}")).json()[member]) == 1
        assert (await ana.get(f"{API}/approvals/{call_id}")).status == 200
        assert (await ana.get(f"{API}/runs/{run_id}")).json()["by"] == "user:ana"


def _filled(text: str, conversation: str) -> str:
    return text.replace("{c}", conversation)


def _filled_body(body: object, conversation: str) -> object:
    return body if body is ... else json.loads(_filled(json.dumps(body), conversation))


async def test_a_page_of_a_list_skips_what_is_others() -> None:
    """G12."""
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        mine: list[str] = []
        for _ in range(3):
            mine.append(await ana.chat())
            await bob.chat()
        page = (await ana.get(f"{API}/runs?limit=2")).json()
        rest = (await ana.get(f"{API}/runs?limit=2&cursor={page['next']}")).json()
        assert [run["run_id"] for run in page["runs"] + rest["runs"]] == mine[::-1]


async def test_a_check_that_cannot_be_made_fails_closed() -> None:
    """G12, G8."""
    async with running(keys=KEYS) as setup:
        run_id = await as_user(setup, ANA).chat()
        setup.store.away = True
        for path in (f"runs/{run_id}", f"runs/{run_id}/events"):
            assert (await as_user(setup, ANA).get(f"{API}/{path}")).problem(503)


async def test_others_can_reach_a_server_only_with_keys() -> None:
    """G12."""
    with pytest.raises(ConfigError, match="keys"):
        async with running(host="0.0.0.0"):
            raise AssertionError
    async with running(host="0.0.0.0", keys=KEYS) as setup:
        assert (await setup.client.get(f"{API}/runs")).problem(401)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:8787", True),
        ("127.0.0.1:8787", True),
        ("[::1]:8787", True),
        ("app.localhost", True),
        ("jackline", True),
        ("192.168.1.5", True),
        ("ops.example.org", True),
        ("OPS.example.org.:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("a@evil.example", False),
        ("evil.example:x", False),
    ],
)
async def test_without_keys_a_public_name_is_refused(host: str, *, allowed: bool) -> None:
    """G12: a page whose name was pointed here (DNS rebinding) gets nothing."""
    async with running(allowed_hosts=["ops.example.org"]) as setup:
        for path in (f"{API}/runs", "/", "/ui/html.js"):
            answer = await setup.client.get(path, host=host)
            if allowed:
                assert answer.status == 200
            else:
                assert "allowed_hosts" in answer.problem(403)["detail"]
        assert (await setup.client.get("/healthz", host=host)).status == 200


async def test_with_keys_any_name_is_served() -> None:
    async with running(keys=KEYS) as setup:
        assert (await as_user(setup, ANA).get(f"{API}/runs", host="jackline.example.org")).status == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:9", True),
        ("http://192.168.1.5:8787", True),
        ("https://ui.example", True),
        (EVIL, False),
        ("null", False),
        ("http://localhost.evil.example", False),
        ("http://192.168.1.6", False),
    ],
)
async def test_without_keys_a_page_of_elsewhere_changes_nothing(origin: str, *, allowed: bool) -> None:
    """G12."""
    async with running(cors_origins=["https://ui.example"]) as setup:
        answer = await setup.client.post(f"{API}/chat", HELLO, origin=origin, host="192.168.1.5:8787")
        if allowed:
            assert answer.status == 202
        else:
            assert answer.problem(403)
            assert await setup.entry_count() == 0
        assert (await setup.client.get(f"{API}/runs", origin=origin)).status == 200


async def test_cors_is_closed_by_default() -> None:
    """G12."""
    async with running() as setup:
        preflight = {"origin": "http://localhost:3000", "access_control_request_method": "POST"}
        answer = await setup.client.call(
            "OPTIONS", f"{API}/chat", headers={k.replace("_", "-"): v for k, v in preflight.items()}
        )
        assert answer.problem(403)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        answer = await setup.client.get(f"{API}/runs", origin="http://localhost:3000")
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_cors_opens_for_the_origins_that_are_listed() -> None:
    async with running(keys=KEYS, cors_origins=["https://ui.example"]) as setup:
        headers = {"origin": "https://ui.example", "access-control-request-method": "POST"}
        answer = await setup.client.call("OPTIONS", f"{API}/chat", headers=headers)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://ui.example"
        allowed = answer.headers["access-control-allow-headers"].lower()
        for name in ("authorization", "content-type", "idempotency-key", "last-event-id"):
            assert name in allowed
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        refused = await setup.client.call("OPTIONS", f"{API}/chat", headers={**headers, "origin": EVIL})
        assert refused.problem(403)
        assert "access-control-allow-origin" not in refused.headers
        ana = as_user(setup, ANA)
        answer = await ana.post(f"{API}/chat", HELLO, origin="https://ui.example")
        assert answer.headers["access-control-allow-origin"] == "https://ui.example"
        assert "X-Run-Id" in answer.headers["access-control-expose-headers"]
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert "Last-Event-ID" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        unauthorised = await setup.client.get(f"{API}/runs", origin="https://ui.example")
        assert unauthorised.headers["access-control-allow-origin"] == "https://ui.example"
        assert "access-control-allow-origin" not in (await ana.get(f"{API}/runs", origin=EVIL)).headers


async def test_cors_for_all_is_a_star() -> None:
    async with running(keys=KEYS, cors_origins=["*"]) as setup:
        answer = await as_user(setup, ANA).get(f"{API}/runs", origin=EVIL)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
