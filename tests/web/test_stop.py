"""The stop's endpoints."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jackline.events import Receipt, Workflow
from jackline.log.base import Serves
from tests.web.harness import API, DEADLINE_SECONDS, TS, Setup, eventually, running

pytestmark = pytest.mark.anyio


async def held(setup: Setup) -> str:
    """A run behind which a live worker stands."""
    run_id = await setup.client.chat()
    assert await setup.store.claim("w", 60, [Serves(name="demo", revision="r")]) is not None
    await setup.worker(run_id).execute()
    return run_id


async def quiet(setup: Setup, run_id: str) -> None:
    """What the worker does when it has obeyed."""
    receipt = Receipt(by="local", requested_at=TS, quiet_ms=5, model="closed", tools=())
    worker = setup.worker(run_id)
    await worker.append(Workflow(ts=TS, state="stopped", attempt=1, receipt=receipt), close=True)


async def test_a_stop_is_accepted_at_once() -> None:
    """G4."""
    async with running() as setup:
        run_id = await held(setup)
        for _ in range(2):
            answer = await setup.client.post(f"{API}/runs/{run_id}/stop")
            assert (answer.status, answer.json()) == (202, {"run_id": run_id, "state": "stopping"})
        await quiet(setup, run_id)
        answer = await setup.client.post(f"{API}/runs/{run_id}/stop")
        assert answer.status == 200
        assert answer.json()["state"] == "stopped"
        assert answer.json()["receipt"]["quiet_ms"] == 5


async def test_a_stop_may_wait_for_the_receipt() -> None:
    """G4."""
    async with running() as setup:
        run_id = await held(setup)
        async with asyncio.TaskGroup() as group:
            path = f"{API}/runs/{run_id}/stop?wait={DEADLINE_SECONDS}"
            waiting = group.create_task(setup.client.post(path, {"reason": "wrong host"}))
            await eventually(lambda: bool(setup.site.tails.viewers))
            snapshot = (await setup.client.get(f"{API}/runs/{run_id}")).json()
            assert (snapshot["state"], snapshot["stop"]["reason"]) == ("stopping", "wrong host")
            await quiet(setup, run_id)
        assert waiting.result().status == 200
        assert waiting.result().json()["receipt"]["model"] == "closed"


async def test_a_wait_that_is_too_short_is_202() -> None:
    async with running() as setup:
        run_id = await held(setup)
        answer = await setup.client.post(f"{API}/runs/{run_id}/stop?wait=0.01")
        assert (answer.status, answer.json()["state"]) == (202, "stopping")


async def test_a_run_without_a_worker_is_stopped_by_the_web() -> None:
    """G4: valid in every state, the queued and the waiting one too."""
    async with running() as setup:
        queued = await setup.client.chat()
        waiting = await setup.client.chat()
        worker = setup.worker(waiting)
        await worker.execute()
        await worker.ask()
        for run_id in (queued, waiting):
            answer = await setup.client.post(f"{API}/runs/{run_id}/stop?wait=5")
            assert (answer.status, answer.json()["state"]) == (200, "stopped")
            assert answer.json()["receipt"]["by"] == "local"


async def test_after_step_is_a_mode() -> None:
    async with running() as setup:
        run_id = await held(setup)
        assert (await setup.client.post(f"{API}/runs/{run_id}/stop", {"mode": "after_step"})).status == 202
        assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["stop"]["mode"] == "after_step"
        assert (await setup.client.post(f"{API}/runs/{run_id}/stop", {"mode": "immediate"})).status == 202
        assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["stop"]["mode"] == "immediate"


async def test_a_conversations_active_run_is_stopped() -> None:
    async with running() as setup:
        run_id = await held(setup)
        conversation = run_id.split(".")[0]
        answer = await setup.client.post(f"{API}/stop", {"conversation_id": conversation})
        assert (answer.status, answer.json()["run_id"]) == (202, run_id)
        await quiet(setup, run_id)
        answer = await setup.client.post(f"{API}/stop", {"conversation_id": conversation})
        assert (answer.status, answer.json()["state"]) == (200, "stopped")
        answer = await setup.client.post(f"{API}/stop", {"run_id": run_id})
        assert (answer.status, answer.json()["state"]) == (200, "stopped")


async def test_the_stop_of_a_conversation_lets_nothing_begin() -> None:
    """G4: who stops a conversation does not want its next message to begin."""
    async with running() as setup:
        run_id = await held(setup)
        conversation = run_id.split(".")[0]
        behind = [await setup.client.chat(conversation_id=conversation, on_busy="queue") for _ in range(2)]
        answer = await setup.client.post(
            f"{API}/stop", {"conversation_id": conversation, "mode": "after_step"}
        )
        assert (answer.status, answer.json()["run_id"]) == (202, run_id)
        for waiting in behind:
            snapshot = (await setup.client.get(f"{API}/runs/{waiting}")).json()
            assert (snapshot["state"], snapshot["attempt"]) == ("stopped", 0)
        await quiet(setup, run_id)
        assert (await setup.client.get(f"{API}/conversations/{conversation}")).json()["active"] is None


async def test_the_stop_of_a_run_lets_the_one_behind_it_begin() -> None:
    async with running() as setup:
        run_id = await held(setup)
        conversation = run_id.split(".")[0]
        behind = await setup.client.chat(conversation_id=conversation, on_busy="queue")
        assert (await setup.client.post(f"{API}/runs/{run_id}/stop")).status == 202
        await quiet(setup, run_id)
        assert (await setup.client.get(f"{API}/conversations/{conversation}")).json()["active"] == behind


async def test_a_completed_run_answers_with_its_state() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        answer = await setup.client.post(f"{API}/runs/{run_id}/stop?wait=1")
        assert (answer.status, answer.json()) == (200, {"run_id": run_id, "state": "completed"})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["run_id", "conversation_id"]),
        ({"run_id": "a", "conversation_id": "b"}, ["run_id", "conversation_id"]),
        ({"run_id": 5}, ["run_id"]),
        ({"run_id": "a", "mode": "soon"}, ["mode"]),
    ],
)
async def test_a_field_at_fault_is_named(body: Any, fields: list[str]) -> None:
    """G11."""
    async with running() as setup:
        assert (await setup.client.post(f"{API}/stop", body)).fields(422) == fields


@pytest.mark.parametrize("wait", ["x", "-1", "nan", "inf", ""])
async def test_a_bad_wait_stops_nothing(wait: str) -> None:
    """G11."""
    async with running() as setup:
        run_id = await held(setup)
        answer = await setup.client.post(f"{API}/runs/{run_id}/stop?wait={wait}")
        assert answer.fields(422) == ["wait"]
        assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["state"] == "executing"


async def test_an_unknown_run_is_404() -> None:
    async with running() as setup:
        for run_id in ("abcdefghijklmnopqrst.1", "x", "abcdefghijklmnopqrst"):
            assert (await setup.client.post(f"{API}/runs/{run_id}/stop")).problem(404)
            assert (await setup.client.post(f"{API}/stop", {"run_id": run_id})).problem(404)
        answer = await setup.client.post(f"{API}/stop", {"conversation_id": "abcdefghijklmnopqrst"})
        assert answer.problem(404)


async def test_the_same_key_stops_once_and_another_body_is_422() -> None:
    async with running() as setup:
        run_id = await held(setup)
        path = f"{API}/runs/{run_id}/stop"
        assert (await setup.client.post(path, {"reason": "a"}, idempotency_key="k")).status == 202
        assert (await setup.client.post(path, {"reason": "a"}, idempotency_key="k")).status == 202
        assert (await setup.client.post(path, {"reason": "b"}, idempotency_key="k")).fields(422)
