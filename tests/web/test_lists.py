"""Runs, conversations, snapshots, artifacts."""

from __future__ import annotations

import pytest

from jackline.events import Workflow
from jackline.log.base import Artifact
from tests.web.harness import API, TS, running

pytestmark = pytest.mark.anyio


async def test_a_snapshot_is_what_the_entries_come_to() -> None:
    async with running() as setup:
        run_id = await setup.whole_run()
        snapshot = (await setup.client.get(f"{API}/runs/{run_id}")).json()
        assert snapshot["run_id"] == run_id
        assert snapshot["conversation_id"] == run_id.split(".")[0]
        assert (snapshot["state"], snapshot["attempt"], snapshot["seq"]) == ("completed", 1, 15)
        assert (snapshot["agent"], snapshot["by"], snapshot["output"]) == ("demo", "local", "done")
        assert (snapshot["error"], snapshot["receipt"], snapshot["stop"]) == (None, None, None)
        said = [
            (item["role"], item["message_id"], item["kind"], item["text"]) for item in snapshot["transcript"]
        ]
        assert said == [
            ("user", "u1", "text", "hello"),
            ("assistant", "m1", "text", "abc"),
            ("assistant", "m2", "text", "de"),
        ]
        (tool,) = snapshot["tools"]
        assert (tool["call_id"], tool["state"], tool["result"]) == (f"{run_id}.1", "finished", "ok")
        assert tool["args"] == {"service": "web"}
        assert tool["duration_ms"] == 3
        (approval,) = snapshot["approvals"]
        assert (approval["state"], approval["by"]) == ("granted", "local")


async def test_superseded_text_is_not_in_the_transcript() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        await worker.say("half a sen")
        await worker.append(
            Workflow(ts=TS, state="executing", attempt=2, reason="takeover", supersedes=("m1",))
        )
        await worker.say("a whole sentence", message_id="m2")
        snapshot = (await setup.client.get(f"{API}/runs/{run_id}")).json()
        assert [item["text"] for item in snapshot["transcript"]] == ["hello", "a whole sentence"]
        assert snapshot["attempt"] == 2


async def test_a_watched_runs_snapshot_is_as_new_as_the_log() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
            await stream.until("workflow")
            await setup.worker(run_id).execute()
            assert (await setup.client.get(f"{API}/runs/{run_id}")).json()["state"] == "executing"


async def test_runs_are_listed_newest_first_in_pages() -> None:
    async with running() as setup:
        done = await setup.whole_run()
        runs = [await setup.client.chat(f"number {n}") for n in range(3)]
        page = (await setup.client.get(f"{API}/runs?limit=2")).json()
        assert [run["run_id"] for run in page["runs"]] == [runs[2], runs[1]]
        rest = (await setup.client.get(f"{API}/runs?limit=2&cursor={page['next']}")).json()
        assert [run["run_id"] for run in rest["runs"]] == [runs[0], done]
        assert rest["next"] is None
        first = rest["runs"][0]
        assert (first["state"], first["by"], first["title"], first["seq"]) == (
            "queued",
            "local",
            "number 0",
            1,
        )
        completed = (await setup.client.get(f"{API}/runs?state=completed&limit=1")).json()
        assert [run["run_id"] for run in completed["runs"]] == [done]
        conversation = runs[1].split(".")[0]
        mine = (await setup.client.get(f"{API}/runs?conversation_id={conversation}")).json()
        assert [run["run_id"] for run in mine["runs"]] == [runs[1]]


@pytest.mark.parametrize(
    ("query", "field", "status"),
    [
        ("state=done", "state", 422),
        ("conversation_id=No!", "conversation_id", 422),
        ("limit=0", "limit", 422),
        ("cursor=nonsense", "cursor", 400),
        ("cursor=" + "9" * 201, "cursor", 400),
    ],
)
async def test_a_bad_query_names_its_parameter(query: str, field: str, status: int) -> None:
    """G11."""
    async with running() as setup:
        await setup.client.chat()
        assert (await setup.client.get(f"{API}/runs?{query}")).fields(status) == [field]


async def test_a_conversation_has_its_history() -> None:
    async with running() as setup:
        first = await setup.whole_run()
        conversation = first.split(".")[0]
        second = await setup.client.chat("and now?", conversation_id=conversation)
        page = (await setup.client.get(f"{API}/conversations")).json()
        (item,) = page["conversations"]
        assert (item["conversation_id"], item["runs"], item["active"]) == (
            conversation,
            [first, second],
            second,
        )
        history = (await setup.client.get(f"{API}/conversations/{conversation}")).json()
        assert [run["run_id"] for run in history["runs"]] == [first, second]
        assert history["runs"][0]["transcript"][-1]["text"] == "de"
        assert history["runs"][1]["transcript"][0]["text"] == "and now?"
        one = (await setup.client.get(f"{API}/conversations/{conversation}?limit=1")).json()
        assert ([run["run_id"] for run in one["runs"]], one["next"]) == ([first], first)
        rest = (await setup.client.get(f"{API}/conversations/{conversation}?cursor={first}")).json()
        assert ([run["run_id"] for run in rest["runs"]], rest["next"]) == ([second], None)
        assert (await setup.client.get(f"{API}/conversations/{conversation}?cursor=x")).problem(400)


async def test_what_is_deleted_is_gone_and_what_is_active_is_not_deleted() -> None:
    async with running() as setup:
        first = await setup.whole_run()
        conversation = first.split(".")[0]
        second = await setup.client.chat(conversation_id=conversation)
        for path in (f"runs/{second}", f"conversations/{conversation}"):
            answer = await setup.client.call("DELETE", f"{API}/{path}")
            assert answer.problem(409)["run_id"] == second
        await setup.client.post(f"{API}/runs/{second}/stop?wait=5")
        assert (await setup.client.call("DELETE", f"{API}/runs/{first}")).status == 204
        assert (await setup.client.get(f"{API}/runs/{first}")).problem(404)
        assert (await setup.client.get(f"{API}/runs/{first}/events")).problem(404)
        assert (await setup.client.call("DELETE", f"{API}/runs/{first}")).problem(404)
        assert (await setup.client.call("DELETE", f"{API}/conversations/{conversation}")).status == 204
        assert (await setup.client.get(f"{API}/conversations/{conversation}")).problem(404)
        assert (await setup.client.get(f"{API}/runs")).json()["runs"] == []


async def test_an_artifact_is_served_as_a_download() -> None:
    """G12: what a tool wrote is never a page of this origin."""
    async with running() as setup:
        run_id = await setup.client.chat()
        artifact = Artifact(media_type="text/html", data=b"<script>alert(1)</script>")
        await setup.store.put_artifact(run_id, "a1", artifact)
        answer = await setup.client.get(f"{API}/runs/{run_id}/artifacts/a1")
        assert (answer.status, answer.body) == (200, artifact.data)
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"
        await setup.store.put_artifact(run_id, "a2", Artifact(media_type="a\r\nb: c", data=b"x"))
        answer = await setup.client.get(f"{API}/runs/{run_id}/artifacts/a2")
        assert answer.headers["content-type"] == "application/octet-stream"
        for unknown in ("a3", "a%20b", '"'):
            assert (await setup.client.get(f"{API}/runs/{run_id}/artifacts/{unknown}")).problem(404)
