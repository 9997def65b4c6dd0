"""Whatever people, workers, viewers and faults do, in whatever order."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import hypothesis
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
from structlog.testing import capture_logs

from jackline.events import Tool, Workflow, decode, frame_data
from tests.contract.redis_server import RedisServer
from tests.machine.people import Viewer
from tests.machine.world import LEASE, Told, World, until

plans = st.lists(
    st.lists(st.sampled_from(["wipe", "write", "look"]), min_size=1, max_size=2), min_size=1, max_size=3
)
either = st.integers(0, 1)
some = st.integers(0, 5)
"""Which of those that there are. Nothing that is drawn may hang on what the world happened to do, or
Hypothesis could not draw it again."""
prefixes = itertools.count()


class WorkerMachine(RuleBasedStateMachine):
    """Real workers and web replicas on a real Redis. `redis` is given by a subclass."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.redis, f"m{next(prefixes)}")
        self.story: list[str] = []
        self.done: Counter[str] = Counter()
        self.keys = itertools.count(1)

    def tell(self, *words: object) -> None:
        self.done[str(words[0]).split()[0]] += 1
        self.story.append(" ".join(map(str, words)))

    def may(self, word: str, times: int) -> bool:
        """Whether something may be done once more: a fault that always strikes lets nothing happen."""
        return self.done[word] < times

    def one_of(self, these: Mapping[str, Told], which: int) -> str:
        return list(these)[which % len(these)]

    # People

    @initialize(plan=plans, turns=st.integers(0, 6))
    def first(self, plan: list[list[str]], turns: int) -> None:
        self.chat(plan, 0, "reject", None)
        self._go_on(turns)

    @rule(
        plan=plans,
        web=either,
        on_busy=st.sampled_from(["reject", "queue", "stop"]),
        again=st.none() | st.integers(0, 3),
    )
    @precondition(lambda self: self.may("chat", 4))
    def chat(self, plan: list[list[str]], web: int, on_busy: str, again: int | None) -> None:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": json.dumps(plan)}],
            "on_busy": on_busy,
        }
        known = list(self.world.runs)
        if again is not None and known:
            body["conversation_id"] = known[again % len(known)].split(".")[0]
        self.tell("chat", plan, "web", web, on_busy, body.get("conversation_id", "new"))
        self.world.run(self.world.chat(self.world.webs[web], body, f"key-{next(self.keys)}"))

    @rule(which=some, web=either, yes=st.booleans(), both=st.booleans())
    def decide(self, which: int, web: int, yes: bool, both: bool) -> None:
        """G5: sometimes two people at once, at two replicas, who do not agree."""
        world = self.world
        pending = [question for told in world.runs.values() for question in told.state.pending]
        if not pending:
            return
        question = pending[which % len(pending)]
        if question.kind == "call":
            bodies: list[dict[str, Any]] = [{"approve": yes}, {"approve": not yes}]
        else:
            bodies = [{"outcome": "retry" if yes else "done"}, {"outcome": "done" if yes else "retry"}]
        self.tell("decide", question.call_id, question.round, bodies[: 1 + both], "web", web)

        async def decide() -> None:
            deciding = [
                world.decide(world.webs[(web + at) % 2], question.call_id, question.round, body)
                for at, body in enumerate(bodies[: 1 + both])
            ]
            await asyncio.gather(*deciding)
            await world.settle()

        world.run(decide())

    @precondition(lambda self: self.may("stop", 3))
    @rule(which=some, web=either, mode=st.sampled_from(["immediate", "after_step"]))
    def stop(self, which: int, web: int, mode: str) -> None:
        run_id = self.one_of(self.world.runs, which)
        self.tell("stop", run_id, mode, "web", web)
        self.world.run(self.world.stop(self.world.webs[web], run_id, mode))

    # Viewers

    @precondition(lambda self: len(self.world.viewers) < 3)
    @rule(which=some, web=either)
    def viewer_comes(self, which: int, web: int) -> None:
        viewer = Viewer(self.one_of(self.world.runs, which))
        self.tell("viewer of", viewer.run_id, "web", web)
        self.world.viewers.append(viewer)
        self.world.run(viewer.come(self.world.webs[web]))

    @precondition(lambda self: self.world.viewers)
    @rule(which=some, web=either)
    def viewer_comes_back(self, which: int, web: int) -> None:
        viewer = self.world.viewers[which % len(self.world.viewers)]
        self.tell("viewer of", viewer.run_id, "comes back after", viewer.cursor, "web", web)
        self.world.run(viewer.come(self.world.webs[web]))

    # Time

    @rule(turns=st.integers(1, 4))
    def go_on(self, turns: int) -> None:
        self._go_on(turns)

    @rule(turns=st.integers(3, 9))
    def go_far(self, turns: int) -> None:
        """A second rule, so that it is chosen more often: without it faults would meet idle runs."""
        self._go_on(turns)

    def _go_on(self, turns: int) -> None:
        self.tell("go on", turns)

        async def go_on() -> None:
            for _ in range(turns):
                self.world.turns.one()
                await self.world.settle()

        self.world.run(go_on())

    @rule()
    @precondition(lambda self: self.may("leases", 2) and self.done["freeze"])
    def leases_lapse(self) -> None:
        self.tell("leases lapse")
        self.world.run(until(lambda: False, LEASE * 1.3))

    # Faults

    @precondition(lambda self: self.may("kill", 4))
    @rule(which=either, with_supervisor=st.booleans())
    def kill_worker(self, which: int, with_supervisor: bool) -> None:
        life = self.world.lives[which]
        self.tell("kill", life.name, sorted(life.driving), "with its supervisor" if with_supervisor else "")
        self.world.run(self.world.kill(life, with_supervisor=with_supervisor))

    @precondition(lambda self: self.may("freeze", 2))
    @rule(which=either)
    def freeze_worker(self, which: int) -> None:
        self.tell("freeze", self.world.lives[which].name)
        self.world.lives[which].freeze()

    @rule(which=either)
    @precondition(lambda self: self.done["freeze"])
    def thaw_worker(self, which: int) -> None:
        self.tell("thaw", self.world.lives[which].name)
        self.world.lives[which].thaw()
        self.world.run(self.world.settle())

    @precondition(lambda self: self.may("bad", 2))
    @rule(which=either, seed=st.integers(0, 1000))
    def bad_line(self, which: int, seed: int) -> None:
        self.tell("bad line", self.world.lives[which].name, seed)
        self.world.bad_line(self.world.lives[which], seed)

    @rule()
    @precondition(lambda self: self.may("cut", 1))
    def cut_connections(self) -> None:
        self.tell("cut all connections to Redis")
        self.world.cut_connections()
        self.world.run(self.world.settle())

    @precondition(lambda self: self.may("pause", 2))
    @rule(seconds=st.sampled_from([0.02, 0.1]))
    def pause_redis(self, seconds: float) -> None:
        self.tell("pause", "Redis for", seconds)
        self.world.run(self.world.pause_redis(seconds))

    @rule()
    @precondition(lambda self: self.may("restart", 1))
    def restart_redis(self) -> None:
        self.tell("restart", "Redis, killed with -9")
        self.world.restart_redis()

    # What must hold

    @invariant()
    def the_logs_are_legal(self) -> None:
        """G1, G3: entries are only added, each may follow those before it, and nothing follows an ending."""
        self.world.run(self.world.look())

    def teardown(self) -> None:
        try:
            self.world.run(self.world.let_end())
            for told in self.world.runs.values():
                self._check(told, self.world.run(self.world.whole_log(told.run_id)))
            for viewer in self.world.viewers:
                self._check_viewer(viewer)
        except BaseException as error:
            error.add_note("\n".join(["what happened:", *self.story, "and then all was well", *self._told()]))
            raise
        finally:
            self.world.close()

    def _told(self) -> list[str]:
        lines: list[str] = []
        for told in self.world.runs.values():
            lines += [f"log of {told.run_id}:", *(entry.body.decode() for entry in told.entries)]
        return lines

    def _check(self, told: Told, whole: list[Any]) -> None:
        assert whole == told.entries, "G1: the log is not what was read of it before"
        state = told.state
        events = [decode(entry) for entry in told.entries]
        endings = [
            e for e in events if isinstance(e, Workflow) and e.state in {"stopped", "completed", "failed"}
        ]
        assert endings == events[-1:], "G3: one ending, and it is the last entry"
        assert state.state != "failed", f"nothing went wrong that a run could not survive: {state.error}"
        assert not told.stopped or state.state == "stopped", "G4: a stop was accepted"
        assert told.final in {"", state.state}, "G3: somebody was told of another ending"
        for (call_id, turn), answer in told.decided.items():
            assert state.questions[call_id, turn].state == answer, (
                "G5: a decision was taken, and is another now"
            )
        started = {event.call_id for event in events if isinstance(event, Tool) and event.state == "started"}
        for call in state.calls.values():
            retries = sum(q.outcome == "retry" for q in state.questions.values() if q.call_id == call.call_id)
            times = self.world.effects.counts[call.call_id]
            assert call.call_id in started or not times, "G6: an effect of a call that was never started"
            assert call.effect == "read_only" or times <= 1 + retries, "G6: an effect twice"
            assert call.state != "denied" or not times, "G5: a denied call ran"
            assert call.state != "finished" or times or _said_done(told, call.call_id), "it never ran"

    def _check_viewer(self, viewer: Viewer) -> None:
        told = self.world.runs[viewer.run_id]
        wanted = [
            (entry.type, frame_data(told.run_id, seq, entry.body).decode())
            for seq, entry in enumerate(told.entries, 1)
        ]
        assert viewer.gaps == [], "G1: nothing was lost, so there is no gap"
        assert [(event.event, event.data) for event in viewer.seen] == wanted, "G1: not the log's sequence"


def _said_done(told: Told, call_id: str) -> bool:
    return any(q.outcome == "done" for q in told.state.questions.values() if q.call_id == call_id)


def explore(redis: RedisServer, seed: int, examples: int) -> None:
    """Run so many histories; the same ones for the same seed, as far as the machine's speed allows."""
    sys.stdout.write(f"seed {seed}\n")
    with capture_logs():
        run_state_machine_as_test(
            hypothesis.seed(seed)(type("Machine", (WorkerMachine,), {"redis": redis})),
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                # Real processes are never quite the same twice, so that shrinking leads astray.
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
