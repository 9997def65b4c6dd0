"""Questions that nobody answers in time, and answers that come from two replicas at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from jackline.commands import Commands, Decided, Decision, read_state
from jackline.errors import Conflict, Invalid
from jackline.events import Approval, Json, Message, Tool, Workflow, encode, timestamp
from jackline.log.base import Artifact, Store
from jackline.log.memory import MemoryStore
from jackline.summary import summarise
from tests.contract.backends import BACKENDS
from tests.worker.house import Clock, House

pytestmark = pytest.mark.anyio

TS = "2026-01-01T00:00:00.000Z"
SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}


def approve(call_id: str, **more: Any) -> Decision:
    return Decision(call_id=call_id, approve=True, **more)


async def asked(store: Store, *questions: Approval) -> str:
    """A run that waits for answers to these questions about its first calls."""
    messages = [Message(role="user", content="hi")]
    run = (await Commands(store).start(by="user:ana", agent="a", messages=messages)).run_id
    ids = [f"{run}.{number}" for number in range(1, len(questions) + 1)]
    events = [
        Workflow(ts=TS, state="executing", attempt=1),
        *[Tool(ts=TS, call_id=i, name="t", state="requested", args={"n": 1}) for i in ids],
        *[structs.replace(question, call_id=i) for i, question in zip(ids, questions, strict=True)],
        Workflow(ts=TS, state="awaiting_approval", attempt=1),
    ]
    state = await read_state(store, run)
    entries = [encode(event) for event in events]
    await store.append(run, entries, summary=summarise(state, events), due=await store.now_ms())
    return run


def question(
    *, expires_ms: int | None = None, on_expiry: str | None = None, schema: Json = SCHEMA
) -> Approval:
    return Approval(
        ts=TS,
        call_id="",
        round=1,
        kind="call",
        name="t",
        state="pending",
        args={"n": 1},
        args_schema=schema,
        expires_at=None if expires_ms is None else timestamp(expires_ms / 1000),
        on_expiry=on_expiry,
    )


async def test_a_question_may_mean_yes_when_nobody_answers() -> None:
    """G5: the choice that was recorded with the question counts; the answer is the server's, and later
    ones are held against it."""
    clock = Clock()
    store = MemoryStore(clock)
    now = await store.now_ms()
    run = await asked(
        store,
        question(expires_ms=now + 1000, on_expiry="approve"),
        question(expires_ms=now + 1000, on_expiry="deny"),
    )
    clock.ahead = 2
    commands = Commands(store)
    assert await commands.sweep() == 1
    assert await commands.sweep() == 0
    state = await read_state(store, run)
    assert [(q.state, q.by, q.answer_reason) for q in state.questions.values()] == [
        ("granted", "system", "nobody answered in time"),
        ("expired", "system", None),
    ]
    assert state.questions[f"{run}.1", 1].granted_args == {"n": 1}
    (same,) = await commands.decide([approve(f"{run}.1")], by="user:bo")
    assert (same.state, same.by) == ("granted", "system")
    for other in (Decision(call_id=f"{run}.1", approve=False), approve(f"{run}.1", args={"n": 2})):
        with pytest.raises(Conflict) as refused:
            await commands.decide([other], by="user:bo")
        assert (refused.value.members["by"], refused.value.members["state"]) == ("system", "granted")


@pytest.mark.parametrize("approved", [True, False])
async def test_an_answer_that_comes_too_late_finds_what_silence_meant(approved: bool) -> None:
    """G5: before any sweep; the expiry is recorded by whoever finds it."""
    clock = Clock()
    store = MemoryStore(clock)
    run = await asked(store, question(expires_ms=await store.now_ms() + 1000, on_expiry="approve"))
    clock.ahead = 2
    late = Decision(call_id=f"{run}.1", approve=approved)
    if approved:
        (answer,) = await Commands(store).decide([late], by="user:bo")
        assert (answer.state, answer.by) == ("granted", "system")
    else:
        with pytest.raises(Conflict) as refused:
            await Commands(store).decide([late], by="user:bo")
        assert refused.value.members["by"] == "system"
    assert not (await read_state(store, run)).pending


@pytest.mark.parametrize(("after_ms", "state"), [(-1, "granted"), (0, "expired")])
async def test_the_boundary_of_an_expiry_is_the_stores_clock_to_the_millisecond(
    after_ms: int, state: str
) -> None:
    """G5."""
    at = 1_800_000_000_000
    store = MemoryStore(lambda: (at + after_ms) / 1000)
    run = await asked(store, question(expires_ms=at))
    if state == "granted":
        assert (await Commands(store).decide([approve(f"{run}.1")], by="user:bo"))[0].state == "granted"
    else:
        with pytest.raises(Conflict) as refused:
            await Commands(store).decide([approve(f"{run}.1")], by="user:bo")
        assert refused.value.members["state"] == "expired"


async def test_what_a_later_version_wants_done_at_an_expiry_is_taken_for_no() -> None:
    """G5, G12: the question stays readable, and nothing runs unasked."""
    clock = Clock()
    store = MemoryStore(clock)
    run = await asked(store, question(expires_ms=await store.now_ms() + 1000, on_expiry="ask the boss"))
    clock.ahead = 2
    assert await Commands(store).sweep() == 1
    assert [q.state for q in (await read_state(store, run)).questions.values()] == ["expired"]


async def test_an_unknown_outcome_never_becomes_known_by_waiting() -> None:
    """G6: `on_expiry` is about calls that have not run."""
    clock = Clock()
    store = MemoryStore(clock)
    asks = question(expires_ms=await store.now_ms() + 1000, on_expiry="approve")
    run = await asked(store, structs.replace(asks, kind="outcome", choices=("retry", "done", "abort")))
    clock.ahead = 2
    assert await Commands(store).sweep() == 1
    assert [q.state for q in (await read_state(store, run)).questions.values()] == ["expired"]


LARGE: Json = {"type": "object", "properties": {"n": {"type": "integer", "description": "x" * 100_000}}}


async def test_edited_arguments_are_checked_against_a_schema_that_is_stored_aside() -> None:
    """G5, G11."""
    store = MemoryStore()
    run = await asked(
        store, *[question(schema={"artifact": f"{n}-schema", "bytes": 1, "preview": ""}) for n in (1, 2)]
    )
    artifact = Artifact(media_type="application/json", data=msgspec.json.encode(LARGE))
    await store.put_artifact(run, "1-schema", artifact)
    commands = Commands(store)
    with pytest.raises(Invalid) as refused:
        await commands.decide([approve(f"{run}.1", args={"n": "two"})], by="user:bo")
    assert [error.field for error in refused.value.errors] == ["args.n"]
    with pytest.raises(Invalid) as refused:
        await commands.decide([approve(f"{run}.2", args={"n": 2})], by="user:bo")
    assert "the tool's schema is gone" in refused.value.errors[0].detail
    both = [approve(f"{run}.1", args={"n": 2}), approve(f"{run}.2")]
    assert [answer.state for answer in await commands.decide(both, by="user:bo")] == ["granted", "granted"]


async def test_a_reason_too_long_for_an_entry_is_the_field_at_fault() -> None:
    """G11."""
    store = MemoryStore(max_entry_bytes=1024)
    run = await asked(store, question())
    with pytest.raises(Invalid) as refused:
        await Commands(store).decide([approve(f"{run}.1", reason="x" * 2000)], by="user:bo")
    assert [error.field for error in refused.value.errors] == ["reason"]


@pytest.fixture(params=["redis", "sqlite"])
async def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[list[Store]]:
    """Two handles on one store, as two processes would have them."""
    async with AsyncExitStack() as stack:
        opened = BACKENDS[request.param]
        yield [await stack.enter_async_context(opened(tmp_path)) for _ in range(2)]


async def test_of_many_decisions_on_two_replicas_one_wins(replicas: list[Store]) -> None:
    """G5: by one atomic append; who said the same is told the same, who said else is told by whom."""
    for attempt in range(10):
        run = await asked(replicas[0], question(), question())

        async def decide(number: int, run: str = run) -> list[Decided] | Conflict:
            decision = Decision(call_id=f"{run}.1", approve=number // 2 % 2 == 0)
            try:
                return await Commands(replicas[number % 2]).decide([decision], by=f"user:u{number}")
            except Conflict as error:
                return error

        answers = await asyncio.gather(*map(decide, range(8)))
        won = [answer for answer in answers if not isinstance(answer, Conflict)]
        assert len(won) == 4, attempt
        assert all(answer == won[0] for answer in won)
        lost = [answer.members for answer in answers if isinstance(answer, Conflict)]
        assert {(members["by"], members["state"]) for members in lost} == {(won[0][0].by, won[0][0].state)}
        assert all(members["at"] for members in lost)
        told = [
            event
            for event in await House(store=replicas[1]).events(run)
            if isinstance(event, Approval) and event.state != "pending"
        ]
        assert [(event.call_id, event.by) for event in told] == [(f"{run}.1", won[0][0].by)]
