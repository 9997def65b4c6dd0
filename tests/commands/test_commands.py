"""Start, decide, stop, and what time makes due: with no worker, and against one that writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from jackline.commands import Commands, Decided, Decision, Started, Stopped, read_state
from jackline.edited import Edit, EditedArguments
from jackline.errors import CommandError, Conflict, FieldError, Invalid, Moved, NotFound, StoreUnavailable
from jackline.events import (
    Approval,
    Entry,
    Event,
    Json,
    Message,
    Outcome,
    StopMode,
    Tool,
    Unknown,
    Workflow,
    encode,
    timestamp,
)
from jackline.log.base import NEVER, Appended, Begun, Page, Serves, Start, Store
from jackline.log.memory import MemoryStore
from jackline.log.sqlite import SqliteStore
from jackline.run import RunState, fold
from jackline.summary import summarise
from tests.worker.house import Clock, House

pytestmark = pytest.mark.anyio

TS = "2026-01-01T00:00:00.000Z"
SCHEMA: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "deep": {"type": "array", "items": {"type": "string"}}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    store = await SqliteStore.open(tmp_path, synchronous="NORMAL")
    yield store
    await store.aclose()


async def start(commands: Commands, **more: object) -> Started:
    given: dict[str, object] = {
        "by": "user:ana",
        "agent": "a",
        "messages": [Message(role="user", content="hi")],
    }
    return await commands.start(**(given | more))  # type: ignore[arg-type]


async def write(store: Store, run_id: str, *events: Event, due: int | None = None) -> None:
    """What a worker would have written, with nobody left behind the run."""
    state = await read_state(store, run_id)
    await store.append(
        run_id,
        [encode(event) for event in events],
        expect=state.seq,
        summary=summarise(state, events),
        due=NEVER if due is None else due,
    )


def executing() -> Workflow:
    return Workflow(ts=TS, state="executing", attempt=1)


def requested(call_id: str) -> Tool:
    return Tool(ts=TS, call_id=call_id, name="t", state="requested", args={"n": 1})


def pending(call_id: str, *, round: int = 1, expires_ms: int | None = None) -> Approval:  # noqa: A002
    return Approval(
        ts=TS,
        call_id=call_id,
        round=round,
        kind="call",
        name="t",
        state="pending",
        args={"n": 1},
        args_schema=SCHEMA,
        expires_at=None if expires_ms is None else timestamp(expires_ms / 1000),
    )


async def parked(store: Store, calls: int = 1, *, expires_ms: Sequence[int | None] = (None,)) -> str:
    """A run that waits for answers about its calls."""
    run = (await start(Commands(store))).run_id
    ids = [f"{run}.{number}" for number in range(1, calls + 1)]
    due = [ms for ms in expires_ms if ms is not None]
    await write(
        store,
        run,
        executing(),
        *map(requested, ids),
        *[pending(i, expires_ms=expires_ms[n % len(expires_ms)]) for n, i in enumerate(ids)],
        Workflow(ts=TS, state="awaiting_approval", attempt=1),
        due=min(due, default=None),
    )
    return run


async def asked_twice(store: Store) -> str:
    """A run whose call was approved, was lost, and is now asked about."""
    run = await parked(store)
    await Commands(store).decide([Decision(call_id=f"{run}.1", approve=True)], by="user:ana")
    await write(
        store,
        run,
        executing(),
        Tool(ts=TS, call_id=f"{run}.1", name="t", state="started"),
        Workflow(ts=TS, state="executing", attempt=2, reason="takeover"),
        Tool(ts=TS, call_id=f"{run}.1", name="t", state="unknown"),
        Approval(
            ts=TS,
            call_id=f"{run}.1",
            round=2,
            kind="outcome",
            name="t",
            state="pending",
            choices=("retry", "done", "abort"),
        ),
        Workflow(ts=TS, state="awaiting_approval", attempt=2),
    )
    return run


async def check(store: Store, run_id: str) -> RunState:
    """Every log must fold from its first entry."""
    events: list[Event | Unknown] = await House(store=store).events(run_id)
    return fold(run_id, events)


# Start


async def test_the_same_key_again_gives_the_same_run(store: Store) -> None:
    commands = Commands(store)
    first = await start(commands, key="k", digest="d")
    second = await start(commands, key="k", digest="d")
    assert (first.repeated, second.repeated) == (False, True)
    assert first.run_id == second.run_id
    assert second.state == "queued"
    await commands.stop(first.run_id, by="user:ana")
    assert (await start(commands, key="k", digest="d")).state == "stopped"
    with pytest.raises(Invalid) as refused:
        await start(commands, key="k", digest="other")
    assert refused.value.errors[0].field == "Idempotency-Key"


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_start_that_was_half_made_is_completed(how: str) -> None:
    """The key was reserved; the run was made or not, and nobody was told."""

    class Half(MemoryStore):
        fails = True

        async def begin(self, start: Start) -> Begun:
            if self.fails and how == "before":
                raise StoreUnavailable("away")
            begun = await super().begin(start)
            if self.fails:
                raise StoreUnavailable("away")
            return begun

    half = Half()
    commands = Commands(half)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await start(commands, key="k", digest="d")
    half.fails = False
    made = await start(commands, key="k", digest="d")
    assert made.repeated == (how == "after")
    assert [head.run_id for head in (await half.runs())[0]] == [made.run_id]


async def test_many_starts_with_one_key_at_once_make_one_run(store: Store) -> None:
    commands = Commands(store)
    made = await asyncio.gather(*[start(commands, key="k", digest="d") for _ in range(10)])
    assert len({started.run_id for started in made}) == 1
    assert sum(not started.repeated for started in made) == 1


async def test_a_busy_conversation_names_its_run_or_queues_or_stops(store: Store) -> None:
    commands = Commands(store)
    first = await start(commands)
    talk = first.conversation_id
    with pytest.raises(Conflict) as busy:
        await start(commands, conversation_id=talk)
    assert busy.value.members == {"run_id": first.run_id}
    second = await start(commands, conversation_id=talk, on_busy="queue")
    assert (await store.head(second.run_id)).waiting
    third = await start(commands, conversation_id=talk, on_busy="stop", key="k", digest="d")
    assert (await read_state(store, first.run_id)).state == "stopped"
    heads = [await store.head(run.run_id) for run in (second, third)]
    assert [head.waiting for head in heads] == [False, True]
    # A queued run can be stopped while it waits, and another time.
    for _ in range(2):
        await commands.stop(third.run_id, by="user:ana")
    assert (await read_state(store, third.run_id)).state == "stopped"
    assert not (await store.head(second.run_id)).closed


async def test_an_unknown_conversation_is_not_made(store: Store) -> None:
    with pytest.raises(NotFound):
        await start(Commands(store), conversation_id="a" * 20)
    assert (await store.runs())[0] == []


# Decide


async def test_the_first_decision_counts_and_the_same_again_answers_the_same(store: Store) -> None:
    """G5."""
    run = await parked(store)
    commands = Commands(store)
    first = await commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")
    again = await commands.decide([Decision(call_id=f"{run}.1", approve=True, reason="x")], by="user:cy")
    assert again == first
    assert (first[0].state, first[0].by) == ("granted", "user:bo")
    for other in (
        Decision(call_id=f"{run}.1", approve=False),
        Decision(call_id=f"{run}.1", approve=True, args={"n": 2}),
    ):
        with pytest.raises(Conflict) as refused:
            await commands.decide([other], by="user:cy")
        assert refused.value.members["by"] == "user:bo"
        assert refused.value.members["state"] == "granted"
        assert refused.value.members["at"]
    await commands.stop(run, by="user:ana")
    assert await commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:cy") == first
    await check(store, run)


async def test_of_many_decisions_at_once_one_wins(store: Store) -> None:
    """G5: atomically, and all who said the same are told the same."""
    run = await parked(store)
    commands = Commands(store)

    async def decide(number: int) -> list[Decided] | Conflict:
        try:
            decision = Decision(call_id=f"{run}.1", approve=number % 2 == 0)
            return await commands.decide([decision], by=f"user:u{number}")
        except Conflict as error:
            return error

    answers = await asyncio.gather(*map(decide, range(10)))
    good = [answer for answer in answers if not isinstance(answer, Conflict)]
    assert len(good) == 5
    assert all(answer == good[0] for answer in good)
    assert {a.members["by"] for a in answers if isinstance(a, Conflict)} == {good[0][0].by}
    state = await check(store, run)
    assert not state.pending


async def test_a_batch_is_all_or_none(store: Store) -> None:
    """G5, G11."""
    run = await parked(store, 3)
    commands = Commands(store)
    await commands.decide([Decision(call_id=f"{run}.3", approve=False)], by="user:ana")
    good = [Decision(call_id=f"{run}.1", approve=True), Decision(call_id=f"{run}.2", approve=False)]
    bad: list[tuple[Decision, type[CommandError]]] = [
        (Decision(call_id=f"{run}.3", approve=True), Conflict),
        (Decision(call_id=f"{run}.9", approve=True), NotFound),
        (Decision(call_id=f"{run}.1", approve=True), Invalid),
        (Decision(call_id="aaaaaaaaaaaaaaaaaaaa.1.1", approve=True), Invalid),
        (Decision(call_id="nonsense", approve=True), NotFound),
    ]
    for decision, error in bad:
        with pytest.raises(error):
            await commands.decide([*good, decision], by="user:bo")
        assert len((await read_state(store, run)).pending) == 2
    with pytest.raises(Invalid):
        await commands.decide([], by="user:bo")
    same = Decision(call_id=f"{run}.3", approve=False)
    made = await commands.decide([good[0], same, good[1]], by="user:bo")
    assert [(d.call_id[-1], d.state, d.by) for d in made] == [
        ("1", "granted", "user:bo"),
        ("3", "denied", "user:ana"),
        ("2", "denied", "user:bo"),
    ]
    events = await House(store=store).events(run)
    for decided in made:
        event = events[decided.seq - 1]
        assert isinstance(event, Approval)
        assert (event.call_id, event.state) == (decided.call_id, decided.state)
    head = await store.head(run)
    assert head.due_ms is not None
    assert head.due_ms <= await store.now_ms()


WRONG: list[tuple[Decision, str]] = [
    (Decision(call_id="1", approve=True, args={"n": "one"}), "args.n"),
    (Decision(call_id="1", approve=True, args={}), "args.n"),
    (Decision(call_id="1", approve=True, args={"n": 1, "x": 2}), "args"),
    (Decision(call_id="1", approve=True, args={"n": 1, "deep": ["a", 2]}), "args.deep.1"),
    (Decision(call_id="1", approve=True, args=[1]), "args"),
    (Decision(call_id="1", approve=False, args={"n": 1}), "args"),
    (Decision(call_id="1"), "approve"),
    (Decision(call_id="1", outcome="retry"), "approve"),
]


@pytest.mark.parametrize(("decision", "field"), WRONG, ids=lambda value: str(value)[:40])
async def test_edited_arguments_are_checked_and_the_field_is_named(decision: Decision, field: str) -> None:
    """G11: nothing is changed."""
    store = MemoryStore()
    run = await parked(store)
    made = Decision(
        call_id=f"{run}.1", approve=decision.approve, args=decision.args, outcome=decision.outcome
    )
    with pytest.raises(Invalid) as refused:
        await Commands(store).decide([made], by="user:bo")
    assert field in [error.field for error in refused.value.errors]
    assert len((await read_state(store, run)).pending) == 1


async def test_edited_arguments_are_checked_once_however_often_the_log_moves_on() -> None:
    """G5, G10: each check is a process; the question and its schema do not change."""

    class Busy(MemoryStore):
        moves = 3

        async def append(self, run_id: str, *args: Any, **more: Any) -> Appended:
            if any(name.startswith("approval:") for name in more.get("once", ())) and self.moves:
                self.moves -= 1
                raise Moved(run_id, 1)
            return await super().append(run_id, *args, **more)

    class Counted(EditedArguments):
        checked = 0

        async def check(self, edits: Sequence[Edit], *, by: str) -> None:
            self.checked += len(edits)
            await super().check(edits, by=by)

    store, checks = Busy(), Counted()
    run = await parked(store)
    made = Decision(call_id=f"{run}.1", approve=True, args={"n": 2})
    [decided] = await Commands(store, edited=checks).decide([made], by="user:bo")
    assert (decided.state, store.moves, checks.checked) == ("granted", 0, 1)


async def test_edited_arguments_that_are_checked_until_it_is_too_late_come_too_late() -> None:
    """G5: a check may wait for its turn; what counts is when the answer is recorded."""
    clock = Clock()

    class Slow(EditedArguments):
        async def check(self, edits: Sequence[Edit], *, by: str) -> None:
            await super().check(edits, by=by)
            clock.ahead = 11

    store = MemoryStore(clock)
    run = await parked(store, expires_ms=[await store.now_ms() + 10_000])
    made = Decision(call_id=f"{run}.1", approve=True, args={"n": 2})
    with pytest.raises(Conflict) as refused:
        await Commands(store, edited=Slow()).decide([made], by="user:bo")
    assert (refused.value.members["state"], refused.value.members["by"]) == ("expired", "system")


async def test_an_answer_too_large_for_an_entry_names_its_field() -> None:
    """G11."""
    store = MemoryStore()
    run = await parked(store)
    args: Json = {"n": 1, "deep": ["x" * 70_000]}
    with pytest.raises(Invalid) as refused:
        await Commands(store).decide([Decision(call_id=f"{run}.1", approve=True, args=args)], by="user:bo")
    assert [error.field for error in refused.value.errors] == ["args"]
    assert isinstance(refused.value.errors[0], FieldError)


@pytest.mark.parametrize("outcome", ["retry", "done", "abort"])
async def test_an_old_approval_sent_again_never_means_retry(store: Store, outcome: Outcome) -> None:
    """G5, G6: it answers as it did, and the question about the outcome stays open."""
    run = await asked_twice(store)
    commands = Commands(store)
    approve = Decision(call_id=f"{run}.1", approve=True)
    (again,) = await commands.decide([approve], by="user:cy")
    assert (again.state, again.by) == ("granted", "user:ana")
    assert len((await read_state(store, run)).pending) == 1
    with pytest.raises(Conflict):
        await commands.decide([Decision(call_id=f"{run}.1", approve=False)], by="user:cy")
    with pytest.raises(Invalid):
        await commands.decide([Decision(call_id=f"{run}.1", outcome="retry", result=1)], by="user:cy")
    (answer,) = await commands.decide([Decision(call_id=f"{run}.1", outcome=outcome)], by="user:cy")
    assert answer.state == "answered"
    assert (await commands.decide([approve], by="user:cy"))[0] == again
    await check(store, run)


# Expiry


async def test_an_answer_to_one_question_never_answers_the_next_about_the_same_call(store: Store) -> None:
    """G5: a `retry` that is sent again, late, is the first one's; nobody has read the second question."""
    run = await asked_twice(store)
    commands, call_id = Commands(store), f"{run}.1"
    retry = Decision(call_id=call_id, round=2, outcome="retry")
    (made,) = await commands.decide([retry], by="user:ana")
    await write(
        store,
        run,
        executing(),
        Tool(ts=TS, call_id=call_id, name="t", state="started"),
        Workflow(ts=TS, state="executing", attempt=3, reason="takeover"),
        Tool(ts=TS, call_id=call_id, name="t", state="unknown"),
        Approval(
            ts=TS,
            call_id=call_id,
            round=3,
            kind="outcome",
            name="t",
            state="pending",
            choices=("retry", "done", "abort"),
        ),
        Workflow(ts=TS, state="awaiting_approval", attempt=3),
    )
    assert await commands.decide([retry], by="user:ana") == [made]
    assert [asked.round for asked in (await read_state(store, run)).pending] == [3]
    with pytest.raises(NotFound):
        await commands.decide([Decision(call_id=call_id, round=4, outcome="retry")], by="user:ana")
    await commands.decide([Decision(call_id=call_id, round=3, outcome="abort")], by="user:ana")
    assert not (await read_state(store, run)).pending


async def test_a_decision_that_comes_too_late_is_refused_and_the_expiry_recorded() -> None:
    """G5: by the store's clock; of a batch only what is late expires, and nothing is decided."""
    clock = Clock()
    store = MemoryStore(clock)
    now = await store.now_ms()
    run = await parked(store, 2, expires_ms=[now + 10_000, None])
    commands = Commands(store)
    assert await commands.sweep() == 0
    clock.ahead = 11
    both = [Decision(call_id=f"{run}.{n}", approve=True) for n in (1, 2)]
    with pytest.raises(Conflict) as refused:
        await commands.decide(both, by="user:bo")
    assert refused.value.members["state"] == "expired"
    state = await check(store, run)
    assert [question.call_id for question in state.pending] == [f"{run}.2"]
    assert (await commands.decide(both[1:], by="user:bo"))[0].state == "granted"


async def test_sweeps_and_decisions_at_once_record_one_expiry() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    run = await parked(store, 2, expires_ms=[await store.now_ms() + 10_000])
    clock.ahead = 11
    commands = Commands(store)
    one = [Decision(call_id=f"{run}.1", approve=True)]
    done = await asyncio.gather(
        *[commands.sweep() for _ in range(4)],
        *[commands.decide(one, by="user:bo") for _ in range(4)],
        return_exceptions=True,
    )
    assert all(isinstance(result, (int, Conflict)) for result in done)
    state = await check(store, run)
    assert [question.state for question in state.questions.values()] == ["expired", "expired"]


async def test_a_late_decision_on_a_run_that_is_being_stopped_spoils_nothing() -> None:
    """G3, G4: no answer may follow the stop, not even the expiry."""
    clock = Clock()
    store = MemoryStore(clock)
    run = await parked(store, expires_ms=[await store.now_ms() + 1000])
    clock.ahead = 2
    lease = await store.claim("w", 15, [Serves(name="a", revision="1")])
    assert lease is not None
    commands = Commands(store)
    await commands.stop(run, by="user:bo")
    with pytest.raises(Conflict) as refused:
        await commands.decide([Decision(call_id=f"{run}.1", approve=True)], by="user:bo")
    assert refused.value.members["state"] == "withdrawn"
    assert (await check(store, run)).state == "stopping"
    clock.ahead = 60
    assert await commands.sweep() == 1
    assert (await check(store, run)).state == "stopped"


async def test_one_run_that_cannot_be_read_does_not_keep_the_sweep_from_the_others() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    expires = [await store.now_ms() + 1000]
    bad = await parked(store, expires_ms=expires)
    good = await parked(store, expires_ms=expires)
    await store.append(bad, [Entry("workflow", encode(executing()).body.replace(b"executing", b"stopped"))])
    clock.ahead = 2
    assert await Commands(store).sweep() == 1
    assert not (await read_state(store, good)).pending


async def test_many_runs_that_wait_for_a_worker_do_not_hide_an_expiry() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    commands = Commands(store)
    for _ in range(150):
        await start(commands)
    clock.ahead = 1
    run = await parked(store, expires_ms=[await store.now_ms() + 1000])
    clock.ahead = 3
    assert await commands.sweep() == 1
    assert not (await read_state(store, run)).pending


# Stop


async def executing_run(store: Store) -> str:
    run = (await start(Commands(store))).run_id
    call = f"{run}.1"
    await write(
        store, run, executing(), requested(call), Tool(ts=TS, call_id=call, name="t", state="started")
    )
    return run


async def queued_run(store: Store) -> str:
    return (await start(Commands(store))).run_id


@pytest.mark.parametrize("make", [queued_run, parked, executing_run, asked_twice])
@pytest.mark.parametrize("mode", ["immediate", "after_step"])
async def test_a_run_without_a_worker_is_ended_by_the_stop_itself(
    store: Store, make: Callable[[Store], Awaitable[str]], mode: StopMode
) -> None:
    """G4, G3: `stopping` and the true ending are one append; again is the same."""
    run = await make(store)
    commands = Commands(store)
    answers = await asyncio.gather(*[commands.stop(run, by="user:bo", mode=mode) for _ in range(5)])
    assert {answer.state for answer in answers} <= {"stopping", "stopped"}
    state = await check(store, run)
    assert state.state == "stopped"
    assert state.receipt is not None
    if make is executing_run:
        assert [entry.outcome for entry in state.receipt.tools] == ["unknown"]
    assert not state.pending
    final: Stopped = await commands.stop(run, by="user:cy")
    assert (final.state, final.receipt) == ("stopped", state.receipt)
    if make is parked:
        with pytest.raises(Conflict):
            await commands.decide([Decision(call_id=f"{run}.1", approve=False)], by="user:bo")


async def test_a_stop_with_a_living_worker_is_one_entry_per_mode(store: Store) -> None:
    """G4: idempotent; the stronger may follow the weaker, not the other way."""
    run = await queued_run(store)
    lease = await store.claim("w", 15, [Serves(name="a", revision="1")])
    assert lease is not None
    commands = Commands(store)
    modes: list[StopMode] = ["after_step", "after_step", "immediate", "after_step", "immediate"]
    await asyncio.gather(*[commands.stop(run, by="user:bo", mode=mode) for mode in modes[:2]])
    for mode in modes[2:]:
        await commands.stop(run, by="user:bo", mode=mode)
    events = await House(store=store).events(run)
    found = [e.mode for e in events if isinstance(e, Workflow) and e.state == "stopping"]
    assert found == ["after_step", "immediate"]


async def test_a_stop_that_was_told_what_the_run_was_finds_out_what_it_is(store: Store) -> None:
    """G3, G4: valid in every state, also when that changes after its caller has looked."""
    run = await queued_run(store)
    lease = await store.claim("w", 15, [Serves(name="a", revision="1")])
    assert lease is not None
    held = await store.head(run)
    await store.release(lease, NEVER, expect=held.last)
    loose = await store.head(run)
    commands = Commands(store)
    assert (await commands.stop(run, by="user:bo", head=held)).state == "stopping"
    assert (await check(store, run)).stop is not None
    for head in (loose, held):  # the one ends it, though a stop has come since; the other comes too late
        await commands.stop(run, by="user:bo", head=head)
        assert (await check(store, run)).state == "stopped"
    assert (await commands.stop(run, by="user:bo", head=held)).state in {"stopping", "stopped"}


async def test_a_stop_of_a_run_whose_lost_worker_keeps_writing_is_recorded() -> None:
    """G4: valid in every state; the lease has lapsed and nobody has taken over."""
    clock = Clock()

    class Busy(MemoryStore):
        """Whoever reads is always a moment late."""

        async def read(
            self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20
        ) -> Page:
            page = await super().read(run_id, after, limit, max_bytes)
            if self.busy:
                await self.append(run_id, [Entry("note", b'{"ts":"x"}')], fence=1)
            return page

        busy = False

    store = Busy(clock)
    run = await queued_run(store)
    await store.claim("w", 15, [Serves(name="a", revision="1")])
    await write(store, run, executing())
    clock.ahead = 60
    store.busy = True
    commands = Commands(store)
    assert (await commands.stop(run, by="user:bo")).state == "stopping"
    assert (await check(store, run)).stop is not None
    store.busy = False
    assert await commands.sweep() == 1
    assert (await check(store, run)).state == "stopped"


async def test_a_run_that_is_not_there_is_not_found(store: Store) -> None:
    for run in ("nonsense", "aaaaaaaaaaaaaaaaaaaa.1"):
        with pytest.raises(NotFound):
            await Commands(store).stop(run, by="user:bo")


async def test_the_cost_of_a_stop_does_not_grow_with_the_run() -> None:
    """G4: a worker lives, so the stop reads nothing but the run's head."""

    class Watched(MemoryStore):
        reads = 0

        async def read(
            self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20
        ) -> Page:
            self.reads += 1
            return await super().read(run_id, after, limit, max_bytes)

    store = Watched()
    run = await queued_run(store)
    await store.claim("w", 15, [Serves(name="a", revision="1")])
    before = store.reads
    assert (await Commands(store).stop(run, by="user:bo")).state == "stopping"
    assert store.reads == before
    assert (await check(store, run)).stop is not None


async def test_arguments_cannot_be_edited_where_the_tools_schema_cannot_be_followed(store: Store) -> None:
    """G5, G11: what cannot be checked is refused, with the field; the question stays open."""
    run = await queued_run(store)
    call_id = f"{run}.1"
    await write(
        store,
        run,
        executing(),
        Tool(ts=TS, call_id=call_id, name="t", state="requested", args={"n": 1}),
        structs.replace(pending(call_id), args_schema={"$ref": "#/nowhere"}),
        Workflow(ts=TS, state="awaiting_approval", attempt=1),
    )
    commands = Commands(store)
    with pytest.raises(Invalid) as refused:
        await commands.decide([Decision(call_id=call_id, approve=True, args={"n": 2})], by="user:bo")
    assert refused.value.errors[0].field == "args"
    assert (await check(store, run)).pending
    assert (await commands.decide([Decision(call_id=call_id, approve=True)], by="user:bo"))[
        0
    ].state == "granted"
