"""Stops at random moments, on real stores, of runs that are made of instant tool calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from jackline.commands import Commands
from jackline.context import RunContext
from jackline.errors import RunClosed
from jackline.events import Json, StopMode, Tool, Unknown, Workflow
from jackline.log.base import Store
from jackline.log.sqlite import SqliteStore
from jackline.settings import load
from tests.contract.redis_server import redis_store
from tests.worker.house import House, Scripted, request

pytestmark = pytest.mark.anyio

STOPS = 200
AT_ONCE = 20
STEPS = 12
"""Of a run at most: some end by themselves before their stop comes."""


class Recorder:
    """A file outside of the process: a line for the beginning of each effect, and one for its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(self, call_id: str, what: str) -> None:
        os.write(self._file, f"{call_id} {what}\n".encode())

    def read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self._path.read_text().splitlines():
            call_id, what = line.split()
            found.setdefault(call_id, []).append(what)
        return found

    def close(self) -> None:
        os.close(self._file)


def instant(recorder: Recorder, chance: random.Random) -> Scripted:
    """An agent of many steps with one to three calls at once, some of which yield to others half way."""

    async def effect(call_id: str, turns: int) -> Json:
        recorder.note(call_id, "begun")
        for _ in range(turns):
            await asyncio.sleep(0)
        recorder.note(call_id, "ended")
        return turns

    async def go(ctx: RunContext) -> Json:
        for _ in range(chance.randint(1, STEPS)):
            ids = await request(ctx, *(["t"] * chance.randint(1, 3)))
            turns = [chance.choice([0, 0, 1, 5]) for _ in ids]
            async with asyncio.TaskGroup() as calls:
                for call_id, some in zip(ids, turns, strict=True):
                    calls.create_task(ctx.run_tool(call_id, lambda _, c=call_id, n=some: effect(c, n)))
        return "done"

    return Scripted(go)


@asynccontextmanager
async def handles(kind: str, path: Path) -> AsyncGenerator[list[Store]]:
    """Three handles on one store, as of three processes: two workers', and the people's."""
    async with AsyncExitStack() as stack:
        found: list[Store] = []
        for _ in range(3):
            if kind == "redis":
                found.append(await stack.enter_async_context(redis_store(path)))
            else:
                store = await SqliteStore.open(path, synchronous="FULL")
                stack.push_async_callback(store.aclose)
                found.append(store)
        yield found


async def one_run(people: House, other: Commands, chance: random.Random) -> str:
    """Start a run and stop it at a random place, from one or two replicas at once; its id."""
    run_id = await people.start()
    place, turns = chance.randrange(1, STEPS * 6), chance.randrange(4)

    await reached(people.store, run_id, place)
    for _ in range(turns):
        await asyncio.sleep(0)
    mode: StopMode = chance.choice(["immediate", "immediate", "after_step"])
    async with asyncio.TaskGroup() as stops:
        stops.create_task(people.commands.stop(run_id, by="user:bo", mode=mode))
        if chance.random() < 0.3:
            stops.create_task(other.stop(run_id, by="user:cy"))
    await reached(people.store, run_id)
    return run_id


async def reached(store: Store, run_id: str, place: int | None = None) -> None:
    """Wait until the log has an entry at `place`, or is closed."""
    async with asyncio.timeout(60.0):
        while True:
            head = await store.head(run_id)
            if head.closed or (place is not None and head.last >= place):
                return
            with contextlib.suppress(RunClosed):
                await store.wait(run_id, head.last, 1.0)


async def check(people: House, run_id: str, effects: dict[str, list[str]]) -> str:
    """Nothing starts after the stop, and the log, its receipt and the recorder say the same."""
    events = await people.events(run_id)
    assert not any(isinstance(event, Unknown) for event in events)
    workflow = [(at, event) for at, event in enumerate(events) if isinstance(event, Workflow)]
    endings = [event for _, event in workflow if event.state in {"stopped", "completed", "failed"}]
    stops = [at for at, event in workflow if event.state == "stopping"]
    starts = {e.call_id: at for at, e in enumerate(events) if isinstance(e, Tool) and e.state == "started"}
    assert endings == [events[-1]]
    assert endings[0].state == ("stopped" if stops else "completed")
    assert not stops or max(starts.values(), default=0) < stops[0]
    state = await people.state(run_id)
    ours = {call_id: seen for call_id, seen in effects.items() if call_id.startswith(f"{run_id}.")}
    assert set(ours) <= set(starts)
    for call_id in state.calls:
        assert ours.get(call_id, []).count("begun") <= 1
    if state.receipt is not None:
        told = {entry.call_id: entry.outcome for entry in state.receipt.tools}
        assert set(told) == {call.call_id for call in state.calls.values() if call.step == state.step}
        for call_id, outcome in told.items():
            assert ours.get(call_id, []) in POSSIBLE[outcome], (call_id, outcome)
    for call in state.calls.values():
        if call.state == "finished":
            assert ours[call.call_id] == ["begun", "ended"]
    return endings[0].state


POSSIBLE: dict[str, list[list[str]]] = {
    "not_started": [[]],
    "cancelled": [["begun"], []],
    "finished_before_stop": [["begun", "ended"]],
    "killed": [],
    "unknown": [],
}
"""What the recorder may have of a call, by its outcome. A cancellation may come before its first line."""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_nothing_starts_after_a_stop_and_receipts_are_true(kind: str, tmp_path: Path) -> None:
    """G3, G4, G6: two hundred stops at random moments, some by two people, some racing the ending."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    recorder = Recorder(tmp_path / "effects")
    settings = load(stop_grace=60.0, limits={"steps": STEPS})
    try:
        async with handles(kind, tmp_path) as (one, two, three), AsyncExitStack() as stack:
            for name, store in (("w1", one), ("w2", two)):
                house = House(store=store, settings=settings)
                await stack.enter_async_context(house.worker(instant(recorder, chance), name))
            people, other = House(store=three, settings=settings), Commands(one)
            runs: list[str] = []

            async def client(share: int) -> None:
                for _ in range(share):
                    runs.append(await one_run(people, other, chance))  # noqa: PERF401

            async with asyncio.TaskGroup() as clients:
                for _ in range(AT_ONCE):
                    clients.create_task(client(STOPS // AT_ONCE))
            effects = recorder.read()
            endings = [await check(people, run_id, effects) for run_id in runs]
        assert len(endings) == STOPS
        assert set(endings) == {"stopped", "completed"}
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        recorder.close()
