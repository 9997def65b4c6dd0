"""Random histories: whatever is asked of a store, it answers as the memory model does."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jackline.errors import JacklineError, UnknownRun
from jackline.log.base import KEEP, NEVER, NOBODY, NOW, Artifact, Reservation, Serves, Start
from jackline.log.memory import MemoryStore
from tests.contract.backends import BACKENDS
from tests.contract.helpers import LONG, entries, must_lapse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from jackline.log.base import Begun, Due, Head, Lease, Nobody, Store
    from tests.contract.backends import Backend

T = TypeVar("T")

TALKS = ("talkaaaaaaaaaaaaaaaa", "talkbbbbbbbbbbbbbbbb")
TOKENS = ("t1", "t2", "t3", "t4", "t5")
NAMES = ("start", "stop:immediate", "stop:after_step", "approval:1:1")
NOWHERE = f"{TALKS[0]}.99"
HOUR = 3_600_000

DueName = Literal["keep", "now", "never", "past", "later"]


class Clock:
    """Goes on a little whenever it is looked at, and further when told."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        self.seconds += 0.001
        return self.seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """The same lease as the store and as the model gave it: generations may be counted otherwise."""

    real: Lease
    model: Lease


class Host:
    """A store in an event loop of its own, opened and closed by one task."""

    def __init__(self, backend: Backend) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="jackline-contract-"))
        self._runner = asyncio.Runner()
        self._end = asyncio.Event()
        self.store, self._task = self.run(self._open(backend))

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run in the store's loop."""
        # Not Runner.run: it writes out the task with all that it answered, to look at a signal's handler.
        return self._runner.get_loop().run_until_complete(work)

    async def _open(self, backend: Backend) -> tuple[Store, asyncio.Task[None]]:
        opened: asyncio.Future[Store] = asyncio.get_running_loop().create_future()

        async def keep_open() -> None:
            async with backend(self._folder) as store:
                opened.set_result(store)
                await self._end.wait()

        task = asyncio.get_running_loop().create_task(keep_open())
        await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return opened.result(), task

    async def _close(self) -> None:
        self._end.set()
        await self._task

    def close(self) -> None:
        """Close the store and its loop, and remove what it left."""
        self.run(self._close())
        self._runner.close()
        shutil.rmtree(self._folder)


class StoreMachine(RuleBasedStateMachine):
    """Asks the store and the model the same, and compares what they say."""

    backend = ""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host(BACKENDS[self.backend])
        self.clock = Clock()
        self.model = MemoryStore(self.clock)
        self.runs: dict[str, str] = {}  # each one's agent, of deleted ones too
        self.leases: list[Pair] = []
        self.artifacts = 0

    def teardown(self) -> None:
        self.host.close()

    def both(self, ask: Callable[[Store], Awaitable[T]]) -> tuple[T, T] | None:
        """What each answers; None when both refuse, for the same reason."""
        return self.both_apart(ask, ask)

    def both_apart(
        self, ask: Callable[[Store], Awaitable[T]], ask_model: Callable[[Store], Awaitable[T]]
    ) -> tuple[T, T] | None:
        async def answers() -> tuple[T | JacklineError, T | JacklineError]:
            return await _outcome(ask(self.host.store)), await _outcome(ask_model(self.model))

        real, model = self.host.run(answers())
        if isinstance(real, JacklineError) or isinstance(model, JacklineError):
            assert (type(real), str(real)) == (type(model), str(model))
            return None
        return real, model

    def same(self, ask: Callable[[Store], Awaitable[T]]) -> None:
        """Both answer the same."""
        answers = self.both(ask)
        if answers is not None:
            assert answers[0] == answers[1]

    def some_run(self, data: st.DataObject) -> str:
        """Mostly one that was begun."""
        return data.draw(st.sampled_from([*self.runs, *self.runs, NOWHERE]))

    async def due(self, store: Store, name: DueName) -> Due:
        match name:
            case "keep":
                return KEEP
            case "now":
                return NOW
            case "never":
                return NEVER
            case "past":
                return await store.now_ms() - HOUR
            case "later":
                return await store.now_ms() + HOUR

    dues = st.sampled_from(["keep", "keep", "now", "never", "past", "later"])

    @initialize()
    def some_talks(self) -> None:
        for i, token in enumerate(TOKENS[:3]):
            self.begin(TALKS[0], token, True, True, i)
        self.begin(TALKS[1], TOKENS[0], True, False, 1)

    @rule(
        talk=st.sampled_from(TALKS),
        token=st.sampled_from(TOKENS),
        new=st.booleans(),
        queue=st.booleans(),
        count=st.integers(0, 3),
    )
    def begin(self, talk: str, token: str, new: bool, queue: bool, count: int) -> None:
        agent = f"{talk}-{token}"  # an agent each, so that what a claim gets does not hang on times
        start = Start(
            conversation_id=talk,
            new_conversation=new,
            token=token,
            agent=agent,
            owner="user:ana",
            entries=entries(*(f"begin{i}" for i in range(count))),
            summary=b"begun",
            queue=queue,
        )
        answers: tuple[Begun, Begun] | None = self.both(lambda store: store.begin(start))
        if answers is not None:
            assert answers[0] == answers[1]
            self.runs[answers[0].run_id] = agent

    @rule(
        data=st.data(),
        count=st.integers(0, 4),
        names=st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
        fence=st.sampled_from(["none", "none", "nobody", "lease"]),
        expect=st.sampled_from([None, None, None, 0, 0, 1]),
        state=st.sampled_from([None, None, b"state a", b"state b"]),
        due=dues,
        close=st.sampled_from([False, False, True]),
    )
    def append(
        self,
        *,
        data: st.DataObject,
        count: int,
        names: list[str],
        fence: str,
        expect: int | None,
        state: bytes | None,
        due: DueName,
        close: bool,
    ) -> None:
        run = self.some_run(data)
        pair = data.draw(st.sampled_from(self.leases[-3:])) if fence == "lease" and self.leases else None
        if pair is not None:
            run = pair.real.run_id

        async def ask(store: Store) -> tuple[object, ...]:
            fences: int | Nobody | None = None
            if fence == "nobody":
                fences = NOBODY
            elif pair is not None:
                fences = (pair.model if store is self.model else pair.real).generation
            last = await _last(store, run)
            done = await store.append(
                run,
                entries(*(f"{last}-{i}" for i in range(count))),
                fence=fences,
                expect=None if expect is None else max(0, last - expect),
                once=names[:count],
                checkpoint=state,
                summary=state,
                due=await self.due(store, due),
                close=close,
            )
            if done.repeated:
                return (done.repeated, done.taken)
            return (done.first if count else 0, done.last)

        self.same(ask)

    @rule(data=st.data(), revision=st.sampled_from(["r1", "r1", "r2"]), lapses=st.booleans())
    def claim(self, data: st.DataObject, revision: str, lapses: bool) -> None:
        run = self.some_run(data)
        serves = [Serves(name=self.runs.get(run, "nobody"), revision=revision)]
        answers = self.both(lambda store: store.claim("w1", 0.001 if lapses else LONG * 60, serves))
        assert answers is not None
        real, model = answers
        assert (real is None) == (model is None)
        if real is None or model is None:
            return
        assert (real.run_id, real.worker, real.agent, real.revision, real.last, real.lapsed) == (
            (model.run_id, model.worker, model.agent, model.revision, model.last, model.lapsed)
        )
        for former in self.leases:
            if former.real.run_id == real.run_id:
                assert real.generation > former.real.generation
        self.leases.append(Pair(real, model))
        if lapses:
            self.clock.seconds += 1
            self.host.run(must_lapse(self.host.store, real.run_id))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.leases[-3:]))
        self.both_apart(
            lambda store: store.renew(pair.real, LONG * 60), lambda store: store.renew(pair.model, LONG * 60)
        )

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), due=dues, expect=st.sampled_from([0, 0, 0, 1]))
    def release(self, data: st.DataObject, due: DueName, expect: int) -> None:
        pair = data.draw(st.sampled_from(self.leases[-3:]))

        async def ask(store: Store) -> None:
            lease = pair.model if store is self.model else pair.real
            last = await _last(store, lease.run_id)
            await store.release(lease, await self.due(store, due), expect=max(0, last - expect))

        self.both(ask)

    @invariant()
    def both_hold_the_same(self) -> None:
        async def everything(store: Store) -> dict[str, object]:
            found: dict[str, object] = {}
            for run in self.runs:
                with contextlib.suppress(UnknownRun):
                    page = await store.read(run)
                    found[run] = (list(page.entries), page.first, page.last, page.closed)
                    found[run + " head"] = _timeless(await store.head(run))
                    found[run + " state"] = await store.checkpoint(run)
            conversations, _ = await store.conversations()
            found["talks"] = [
                (one.conversation_id, one.owner, one.run_ids, one.active) for one in conversations
            ]
            found["overdue"] = {head.run_id for head in await store.overdue()}
            return found

        self.same(everything)

    @rule(data=st.data(), after=st.integers(0, 12), limit=st.integers(1, 5))
    def read(self, data: st.DataObject, after: int, limit: int) -> None:
        run = self.some_run(data)
        answers = self.both(lambda store: store.read(run, after, limit))
        if answers is not None:
            real, model = answers
            assert list(real.entries) == list(model.entries)
            assert (real.first, real.last, real.closed) == (model.first, model.last, model.closed)

    @rule(talk=st.sampled_from(["", *TALKS]), open_only=st.booleans(), limit=st.integers(1, 4))
    def lists(self, talk: str, open_only: bool, limit: int) -> None:
        async def runs(store: Store) -> list[tuple[object, ...]]:
            found: list[tuple[object, ...]] = []
            cursor = None
            while cursor != "":
                page, cursor = await store.runs(
                    cursor=cursor or "", limit=limit, open_only=open_only, conversation_id=talk
                )
                found += map(_timeless, page)
            return found

        self.same(runs)

    @rule(data=st.data(), whole=st.sampled_from([False, False, False, True]))
    def delete(self, data: st.DataObject, whole: bool) -> None:
        run = self.some_run(data)
        doomed = run.split(".")[0] if whole else run
        if self.both(lambda store: store.delete(doomed)) is not None:
            # A name that comes again starts anew; in life a conversation's never does.
            self.leases = [pair for pair in self.leases if not pair.real.run_id.startswith(doomed)]

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        run = self.some_run(data)
        self.same(lambda store: store.compact(run))

    @rule(talk=st.sampled_from(TALKS), old=st.booleans())
    def forget(self, talk: str, old: bool) -> None:
        async def ask(store: Store) -> object:
            later = await store.now_ms() + (HOUR if old else -HOUR)
            rest = set(await store.ended(later, 10)), set(await store.loose(later, 10))
            return await store.forget(talk, later), rest

        self.same(ask)

    @rule(data=st.data(), name=st.sampled_from(["1", "2"]), talk=st.sampled_from(TALKS))
    def keep_aside(self, data: st.DataObject, name: str, talk: str) -> None:
        run = self.some_run(data)
        self.artifacts += 1
        value = Artifact(media_type="text/plain", data=b"%d" % self.artifacts)
        self.same(lambda store: store.artifact(run, name))
        self.same(lambda store: store.put_artifact(run, name, value))
        wanted = Reservation(digest=f"d{self.artifacts}", target=f"{talk}.1")
        self.same(lambda store: store.reserve(name, wanted))


async def _outcome(asked: Awaitable[T]) -> T | JacklineError:
    try:
        return await asked
    except JacklineError as error:
        return error


async def _last(store: Store, run: str) -> int:
    with contextlib.suppress(JacklineError):
        return (await store.head(run)).last
    return 0


def _timeless(head: Head) -> tuple[object, ...]:
    """A head without what may differ: times, and how generations are counted."""
    parked = head.due_ms is None and not head.waiting
    return (
        *(head.run_id, head.agent, head.revision, head.owner, head.last, head.closed, head.summary),
        *(parked, head.waiting, head.worker, head.worker_id),
    )


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_history_is_answered_as_the_model_does(backend: str) -> None:
    """G1, G3, G5, G7: whatever the order in which people and workers act."""
    machine = type("Machine", (StoreMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
            # Without the one that explains: it takes longer than a test may.
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
        ),
    )
