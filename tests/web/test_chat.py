"""Starting runs, and refusing to."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.web.harness import ANA, API, BOB, JSON, KEYS, as_user, data_of, message, running

pytestmark = pytest.mark.anyio

HELLO: dict[str, Any] = {"messages": [message("hello")]}


async def test_json_is_answered_at_once_with_the_run() -> None:
    async with running() as setup:
        answer = await setup.client.post(f"{API}/chat", HELLO)
        assert answer.status == 202
        run = answer.json()
        assert run == {
            "run_id": run["run_id"],
            "conversation_id": run["run_id"].split(".")[0],
            "state": "queued",
        }
        assert answer.headers["x-run-id"] == run["run_id"]
        assert answer.headers["location"] == f"{API}/runs/{run['run_id']}/events"


async def test_what_was_asked_for_stands_in_the_first_entry() -> None:
    async with running() as setup:
        limits = {"steps": 3, "wall_seconds": 1.5}
        body = {**HELLO, "metadata": {"ticket": [1, None]}, "limits": limits, "of_a_later_version": 1}
        run_id = (await setup.client.post(f"{API}/chat", body)).json()["run_id"]
        page = await setup.client.get(f"{API}/runs/{run_id}/events", **JSON)
        entry = page.json()["entries"][0]["data"]
        assert entry["metadata"] == {"ticket": [1, None]}
        assert entry["limits"] == {"steps": 3, "wall_seconds": 1.5}
        assert entry["by"] == "local"
        assert entry["agent"] == "demo"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [message("x"), {"role": "system", "content": "x"}]}, "messages.1.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content"),
        ({"messages": [message("x"), message(" \n\t")]}, "messages.1.content"),
        ({"messages": [message("")]}, "messages.0.content"),
        ({"messages": [message("x")] * 1001}, "messages"),
        ({**HELLO, "on_busy": "wait"}, "on_busy"),
        ({**HELLO, "conversation_id": 5}, "conversation_id"),
        ({**HELLO, "agent": "nobody"}, "agent"),
        ({**HELLO, "agent": 1}, "agent"),
        ({**HELLO, "metadata": []}, "metadata"),
        ({**HELLO, "limits": {"money": 1}}, "limits.money"),
        ({**HELLO, "limits": {"steps": 0}}, "limits.steps"),
        ({**HELLO, "limits": {"steps": 1.5}}, "limits.steps"),
        ({**HELLO, "limits": {"wall_seconds": -1}}, "limits.wall_seconds"),
        ({**HELLO, "limits": {"steps": True}}, "limits.steps"),
        ([], "(body)"),
        (5, "(body)"),
    ],
)
async def test_a_field_at_fault_is_named_and_nothing_is_written(body: object, field: str) -> None:
    """G11."""
    async with running() as setup:
        answer = await setup.client.post(f"{API}/chat", body)
        assert answer.fields(422) == [field]
        error = answer.json()["errors"][0]
        assert error["detail"]
        assert error["pointer"] == ("" if field == "(body)" else "/" + field.replace(".", "/"))
        assert await setup.entry_count() == 0


async def test_all_faults_are_told_at_once() -> None:
    async with running() as setup:
        body = {"messages": [message("")], "limits": {"a": 1, "tokens": -1}}
        answer = await setup.client.post(f"{API}/chat", body)
        assert answer.fields(422) == ["messages.0.content", "limits.a", "limits.tokens"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "", 400),
        (b"", "application/json", 400),
        (b"  ", "application/json", 400),
        (b"{", "application/json", 400),
        (b"hello", "application/json", 400),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "application/json", 400),
        (b'{"metadata": {"a": ' + b"[" * 100_000, "application/json", 400),
        (json.dumps(HELLO).encode(), "", 415),
        (json.dumps(HELLO).encode(), "text/plain", 415),
        (json.dumps(HELLO).encode(), "application/x-www-form-urlencoded", 415),
        (json.dumps(HELLO).encode(), "application/json; charset=latin-1", 415),
        (b"x" * 2_000_000, "application/json", 413),
        (b"x" * 10_000_000, "application/json", 413),
    ],
)
async def test_what_is_no_json_is_refused(body: bytes, content_type: str, status: int) -> None:
    """G11."""
    async with running() as setup:
        headers = {**JSON, "content-type": content_type}
        answer = await setup.client.call("POST", f"{API}/chat", body=body, headers=headers)
        document = answer.problem(status)
        if not body:
            assert [error["field"] for error in document["errors"]] == ["messages"]
        assert await setup.entry_count() == 0


async def test_json_by_another_name_is_read() -> None:
    async with running() as setup:
        for content_type in ("application/json; charset=UTF-8", "application/vnd.x+json"):
            headers = {**JSON, "content-type": content_type}
            body = json.dumps(HELLO).encode()
            answer = await setup.client.call("POST", f"{API}/chat", body=body, headers=headers)
            assert answer.status == 202


async def test_a_message_may_be_larger_than_an_entry_of_the_agent() -> None:
    async with running() as setup:
        answer = await setup.client.post(f"{API}/chat", {"messages": [message("x" * 100_000)]})
        assert answer.status == 202
        assert await setup.entry_count() == 1


async def test_an_unknown_conversation_is_404() -> None:
    async with running() as setup:
        for unknown in ("abcdefghijklmnopqrst", "Not An Id", "", "a.1"):
            answer = await setup.client.post(f"{API}/chat", {**HELLO, "conversation_id": unknown})
            assert answer.problem(404)
        assert await setup.entry_count() == 0


async def test_a_busy_conversation_is_409_with_its_run() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        conversation = run_id.split(".")[0]
        answer = await setup.client.post(f"{API}/chat", {**HELLO, "conversation_id": conversation})
        assert answer.problem(409)["run_id"] == run_id
        queued = await setup.client.chat(conversation_id=conversation, on_busy="queue")
        assert queued == f"{conversation}.2"
        await setup.client.post(f"{API}/runs/{run_id}/stop")
        await setup.client.post(f"{API}/runs/{queued}/stop")
        third = await setup.client.chat(conversation_id=conversation)
        fourth = await setup.client.chat(conversation_id=conversation, on_busy="stop")
        assert (await setup.client.get(f"{API}/runs/{third}")).json()["state"] == "stopped"
        assert (await setup.client.get(f"{API}/runs/{fourth}")).json()["state"] == "queued"


async def test_a_retry_with_the_same_key_is_the_same_run() -> None:
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        first = await ana.post(f"{API}/chat", HELLO, idempotency_key="k1")
        again = await ana.post(f"{API}/chat", HELLO, idempotency_key="k1")
        assert first.json() == again.json()
        assert (await ana.post(f"{API}/chat", HELLO, idempotency_key="k2")).json() != first.json()
        assert (await bob.post(f"{API}/chat", HELLO, idempotency_key="k1")).json() != first.json()
        other = await ana.post(f"{API}/chat", {"messages": [message("other")]}, idempotency_key="k1")
        assert other.fields(422) == ["Idempotency-Key"]
        assert await setup.entry_count() == 3


async def test_a_client_that_posts_again_goes_on_where_it_was_cut() -> None:
    """Libraries repeat the POST with `Last-Event-ID`: with the key it is the same run's stream."""
    async with running() as setup:
        first = await setup.client.post(f"{API}/chat", HELLO, idempotency_key="k")
        worker = setup.worker(first.json()["run_id"])
        await worker.execute()
        await worker.say("a", "b")
        await worker.complete()
        headers = {"idempotency-key": "k", "last-event-id": "3"}
        answer = await setup.client.call("POST", f"{API}/chat?compact=0", json_body=HELLO, headers=headers)
        assert [event.id for event in answer.events()] == [None, "4", "5", None]
        headers = {"idempotency-key": "new", "last-event-id": "3"}
        async with setup.client.open("POST", f"{API}/chat", json_body=HELLO, headers=headers) as stream:
            assert data_of(await stream.next())["seq"] == 0
            assert (await stream.next()).id == "1"


@pytest.mark.parametrize("key", ["a b", "x" * 256, "\x7f", "é"])
async def test_a_key_must_be_visible_ascii(key: str) -> None:
    async with running() as setup:
        headers = {**JSON, "idempotency-key": key}
        answer = await setup.client.call("POST", f"{API}/chat", json_body=HELLO, headers=headers)
        assert answer.fields(400) == ["Idempotency-Key"]
        assert await setup.entry_count() == 0


async def test_agents_are_those_of_live_workers_and_the_default() -> None:
    async with running(default=None) as setup:
        assert (await setup.client.post(f"{API}/chat", HELLO)).problem(503)
        for worker, names in (("w1", ("beta", "alpha")), ("w2", ("alpha",))):
            tool = {"name": "disk", "schema": {"type": "object"}, "effect": "read_only", "approval": "allow"}
            agents = [{"name": name, "revision": "r1", "tools": [tool]} for name in names]
            catalogue = msgspec.json.encode({"worker": worker, "agents": agents, "later": 1})
            await setup.store.beat(worker, 60, idle_ms=0, catalogue=catalogue)
        await setup.store.beat("w3", 60, idle_ms=0, catalogue=b"?")
        page = (await setup.client.get(f"{API}/agents")).json()
        assert [(agent["name"], agent["workers"]) for agent in page["agents"]] == [("alpha", 2), ("beta", 1)]
        assert page["default"] == "alpha"
        tools = (await setup.client.get(f"{API}/tools")).json()["tools"]
        assert [(tool["agent"], tool["name"], tool["approval"]) for tool in tools] == [
            ("alpha", "disk", "allow"),
            ("beta", "disk", "allow"),
        ]
        run_id = await setup.client.chat()
        assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["agent"] == "alpha"
        run_id = await setup.client.chat(agent="beta")
        assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["agent"] == "beta"


async def test_nothing_is_started_while_the_store_is_away() -> None:
    """G8."""
    async with running() as setup:
        run_id = await setup.client.chat()
        setup.store.away = True
        body = {**HELLO, "conversation_id": run_id.split(".")[0]}
        answer = await setup.client.post(f"{API}/chat", {**body, "on_busy": "stop"})
        assert answer.problem(503)
        assert int(answer.headers["retry-after"]) > 0
