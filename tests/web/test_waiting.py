"""Why a run waits: in its snapshot, in lists, in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jackline.log.base import NEVER, Serves
from tests.web.harness import API, Setup, running

pytestmark = pytest.mark.anyio


async def serve(setup: Setup, worker: str, *agents: tuple[str, str], **more: int) -> None:
    """A live worker that serves these agents and revisions."""
    served = [{"name": name, "revision": revision} for name, revision in agents]
    catalogue = msgspec.json.encode({"worker": worker, "agents": served, **more})
    await setup.store.beat(worker, 60, idle_ms=0, catalogue=catalogue)


async def waiting(setup: Setup, run_id: str) -> Any:
    """What the run's page says, which lists must say too."""
    told = (await setup.client.get(f"{API}/runs/{run_id}")).json()["waiting"]
    runs = (await setup.client.get(f"{API}/runs")).json()["runs"]
    (listed,) = [run["waiting"] for run in runs if run["run_id"] == run_id]
    assert listed == told
    return told


async def begun(setup: Setup, revision: str) -> str:
    """A run that a worker of this revision has begun and let go of."""
    run_id = await setup.client.chat()
    lease = await setup.store.claim("w0", 60, [Serves(name="demo", revision=revision)])
    assert lease is not None
    await setup.store.release(lease, "now", expect=lease.last)
    return run_id


async def test_without_any_worker_it_waits_for_one() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        assert await waiting(setup, run_id) == {"for": "worker", "detail": "no worker lives", "agent": "demo"}
        await serve(setup, "w1", ("demo", "r1"))
        assert await waiting(setup, run_id) is None


async def test_workers_that_serve_other_agents_are_no_help() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        await serve(setup, "w1", ("shop", "r1"), ("ops", "r1"))
        assert await waiting(setup, run_id) == {
            "for": "worker",
            "detail": "no live worker serves the agent demo; served: ops, shop",
            "agent": "demo",
            "served": ["ops", "shop"],
        }


async def test_a_run_waits_for_the_revision_that_began_it() -> None:
    async with running() as setup:
        run_id = await begun(setup, "old")
        await serve(setup, "w1", ("demo", "new"))
        await serve(setup, "w2", ("demo", "newer"))
        assert await waiting(setup, run_id) == {
            "for": "revision",
            "detail": "it began with revision old of the agent demo, which no live worker serves; "
            "served: new, newer",
            "agent": "demo",
            "revision": "old",
            "served": ["new", "newer"],
        }
        await serve(setup, "w3", ("demo", "old"))
        assert await waiting(setup, run_id) is None


async def test_a_run_waits_while_every_worker_that_could_drive_it_is_full() -> None:
    async with running() as setup:
        run_id = await begun(setup, "old")
        await serve(setup, "w1", ("demo", "old"), runs=2, max_runs=2)
        await serve(setup, "w2", ("demo", "new"), runs=0, max_runs=2)
        told = await waiting(setup, run_id)
        assert (told["for"], told["agent"]) == ("worker", "demo")
        assert told["detail"] == "the worker that serves it drives as many runs as allowed (max_runs)"
        await serve(setup, "w3", ("demo", "old"), runs=1, max_runs=2)
        assert await waiting(setup, run_id) is None


async def test_a_queued_run_names_the_one_before_it() -> None:
    async with running() as setup:
        first = await setup.client.chat()
        second = await setup.client.chat(conversation_id=first.split(".")[0], on_busy="queue")
        assert await waiting(setup, second) == {
            "for": "turn",
            "detail": f"run {first} must end first",
            "run_id": first,
        }


async def test_a_question_is_waited_for_until_it_is_answered() -> None:
    async with running() as setup:
        await serve(setup, "w1", ("demo", "r1"))
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        call_id = await worker.ask()
        told = {"for": "approval", "detail": "the answer to a question", "calls": [call_id]}
        assert await waiting(setup, run_id) == told
        await setup.client.post(f"{API}/approvals/{call_id}", {"approve": True})
        assert await waiting(setup, run_id) is None


async def test_a_run_that_is_driven_or_ended_waits_for_nothing() -> None:
    async with running() as setup:
        driven = await setup.client.chat()
        assert await setup.store.claim("w1", 60, [Serves(name="demo", revision="r1")])
        assert await waiting(setup, driven) is None
        ended = await setup.whole_run()
        assert await waiting(setup, ended) is None
        stopped = await setup.client.chat()
        await setup.client.post(f"{API}/runs/{stopped}/stop")
        assert await waiting(setup, stopped) is None


async def test_what_a_worker_of_another_version_says_is_taken_as_far_as_it_is_known() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        await setup.store.append(run_id, [], due=NEVER)
        await setup.store.beat("w1", 60, idle_ms=0, catalogue=b'{"agents":"later"}')
        assert (await waiting(setup, run_id))["detail"] == "no worker lives"
        later = {"name": "demo", "revision": "r1", "moods": ["good"]}
        catalogue = msgspec.json.encode({"agents": [later], "slots": {"free": 0}})
        await setup.store.beat("w2", 60, idle_ms=0, catalogue=catalogue)
        assert await waiting(setup, run_id) is None
