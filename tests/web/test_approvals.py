"""Questions to people, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from jackline.edited import Edit, EditedArguments
from jackline.errors import Overloaded
from tests.web.harness import ANA, API, BOB, KEYS, Setup, as_user, running

pytestmark = pytest.mark.anyio


async def asked(setup: Setup) -> str:
    """The id of a call that waits for a person."""
    worker = setup.worker(await setup.client.chat())
    await worker.execute()
    return await worker.ask()


async def test_a_question_is_listed_until_it_is_answered() -> None:
    async with running() as setup:
        call_id = await asked(setup)
        await asked(setup)
        page = (await setup.client.get(f"{API}/approvals?state=pending")).json()
        assert len(page["approvals"]) == 2
        assert page["next"] is None
        found = page["approvals"][1]
        assert found == (await setup.client.get(f"{API}/approvals/{call_id}")).json()
        assert (found["run_id"], found["call_id"], found["round"]) == (call_id[:-2], call_id, 1)
        assert (found["kind"], found["name"], found["state"]) == ("call", "restart", "pending")
        assert found["args"] == {"service": "web"}
        assert found["args_schema"]["type"] == "object"
        one = (await setup.client.get(f"{API}/approvals?limit=1")).json()
        assert len(one["approvals"]) == 1
        rest = (await setup.client.get(f"{API}/approvals?limit=1&cursor={one['next']}")).json()
        assert [item["call_id"] for item in rest["approvals"]] == [call_id]
        await setup.client.post(f"{API}/approvals/{call_id}", {"approve": False, "reason": "no"})
        left = (await setup.client.get(f"{API}/approvals")).json()["approvals"]
        assert [item["call_id"] for item in left] != [call_id]
        denied = (await setup.client.get(f"{API}/approvals?state=denied")).json()["approvals"]
        assert [(item["call_id"], item["by"], item["reason"]) for item in denied] == [
            (call_id, "local", "no")
        ]
        assert len((await setup.client.get(f"{API}/approvals?state=all")).json()["approvals"]) == 2


async def test_edited_arguments_whose_turn_does_not_come_are_to_be_sent_again() -> None:
    """G11: 503 with `Retry-After`, and the question stays open: unedited it can be answered at once."""

    class Full(EditedArguments):
        async def check(self, edits: Sequence[Edit], *, by: str) -> None:
            if edits:
                raise Overloaded("too many; try again")

    async with running(edited=Full()) as setup:
        path = f"{API}/approvals/{await asked(setup)}"
        refused = await setup.client.post(path, {"approve": True, "args": {"service": "db"}})
        assert refused.problem(503)["detail"] == "too many; try again"
        assert int(refused.headers["retry-after"]) > 0
        assert (await setup.client.post(path, {"approve": True})).json()["state"] == "granted"


async def test_the_same_decision_answers_the_same_and_another_409() -> None:
    """G5."""
    async with running() as setup:
        call_id = await asked(setup)
        path = f"{API}/approvals/{call_id}"
        first = await setup.client.post(path, {"approve": True})
        assert first.status == 200
        assert first.json() == {
            "run_id": call_id[:-2],
            "call_id": call_id,
            "state": "granted",
            "by": "local",
        }
        assert (await setup.client.post(path, {"approve": True})).json() == first.json()
        document = (await setup.client.post(path, {"approve": False})).problem(409)
        assert (document["by"], document["state"]) == ("local", "granted")
        assert document["at"]


async def test_edited_arguments_are_what_is_granted_and_must_fit_the_schema() -> None:
    """G11."""
    async with running() as setup:
        call_id = await asked(setup)
        path = f"{API}/approvals/{call_id}"
        before = await setup.entry_count()
        bad = await setup.client.post(path, {"approve": True, "args": {"service": 5}})
        assert bad.fields(422)[0].startswith("args")
        assert await setup.entry_count() == before
        assert (await setup.client.post(path, {"approve": True, "args": {"service": "db"}})).status == 200
        found = (await setup.client.get(path)).json()
        assert found["granted_args"] == {"service": "db"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "approve"),
        ({"approve": "yes"}, "approve"),
        ({"approve": None}, "approve"),
        ({"approve": True, "outcome": "retry"}, "outcome"),
        ({"approve": False, "args": {}}, "args"),
        ({"approve": True, "args": []}, "args"),
        ({"outcome": "perhaps"}, "outcome"),
        ({"outcome": "retry", "result": 1}, "result"),
        ({"approve": True, "reason": 5}, "reason"),
        ({"approve": True, "reason": "x" * 10_001}, "reason"),
    ],
)
async def test_a_field_at_fault_is_named_and_nothing_is_decided(body: Any, field: str) -> None:
    """G11."""
    async with running() as setup:
        call_id = await asked(setup)
        before = await setup.entry_count()
        answer = await setup.client.post(f"{API}/approvals/{call_id}", body)
        assert answer.fields(422) == [field]
        answer = await setup.client.post(f"{API}/approvals", {"decisions": [{"call_id": call_id, **body}]})
        assert answer.fields(422) == [f"decisions.0.{field}"]
        assert await setup.entry_count() == before


async def test_several_decisions_are_all_or_none() -> None:
    """G5."""
    async with running() as setup:
        one, two = await asked(setup), await asked(setup)
        path = f"{API}/approvals"
        before = await setup.entry_count()
        both = [{"call_id": one, "approve": True}, {"call_id": two, "approve": True}]
        assert (await setup.client.post(path, {"decisions": both})).problem(422)
        assert (await setup.client.post(path, {"decisions": [both[0], both[0]]})).fields(422)
        assert (await setup.client.post(path, {"decisions": []})).fields(422) == ["decisions"]
        assert (await setup.client.post(path)).fields(400) == ["decisions"]
        unknown = [both[0], {"call_id": f"{one[:-2]}.9", "approve": True}]
        assert (await setup.client.post(path, {"decisions": unknown})).problem(404)
        assert await setup.entry_count() == before
        answer = await setup.client.post(path, {"decisions": both[:1]})
        assert answer.json()["run_id"] == one[:-2]
        assert answer.json()["decisions"][0]["state"] == "granted"


async def test_an_unknown_call_is_404() -> None:
    async with running() as setup:
        run_id = await setup.client.chat()
        for call_id in (f"{run_id}.1", "abcdefghijklmnopqrst.1.1", "x", run_id, "..%2f"):
            path = f"{API}/approvals/{call_id}"
            assert (await setup.client.get(path)).problem(404)
            assert (await setup.client.post(path, {"approve": True})).problem(404)


@pytest.mark.parametrize("query", ["state=open", "limit=0", "limit=1001", "limit=x", "limit=-1", "limit="])
async def test_a_bad_query_is_422(query: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(f"{API}/approvals?{query}")
        assert answer.fields(422) == [query.split("=", maxsplit=1)[0]]


async def test_a_key_belongs_to_one_request() -> None:
    async with running(keys=KEYS) as setup:
        ana, bob = as_user(setup, ANA), as_user(setup, BOB)
        run_id = await ana.chat()
        worker = setup.worker(run_id)
        await worker.execute()
        call_id = await worker.ask()
        path = f"{API}/approvals/{call_id}"
        first = await ana.post(path, {"approve": True}, idempotency_key="k")
        again = await ana.post(path, {"approve": True}, idempotency_key="k")
        assert (first.status, first.body) == (again.status, again.body)
        other = await ana.post(path, {"approve": False}, idempotency_key="k")
        assert other.fields(422) == ["Idempotency-Key"]
        assert (await bob.post(path, {"approve": True}, idempotency_key="k")).problem(404)
