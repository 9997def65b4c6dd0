"""Redis is killed, cut short, frozen, full, cut off and failed over while runs go on (G8)."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.blackbox.api import ROOT, Api, Check, Watch, call, steps, watching
from tests.blackbox.conftest import AGENT, World, environment
from tests.blackbox.test_crash import crash
from tests.contract.redis_server import Aof, RedisServer, redis_server
from tests.support.forwarder import Forwarder, forwarder
from tests.support.processes import eventually, serve

JSON = {"Accept": "application/json"}


@dataclass(kw_only=True)
class Fire:
    """One web and one worker process that reach their Redis by a forwarder only."""

    world: World
    redis: RedisServer
    path: Forwarder

    @property
    def api(self) -> Api:
        return self.world.api

    def restart(self, written: int | None = None) -> None:
        """Kill Redis and start it anew, perhaps without what it wrote last."""
        self.redis.kill()
        if written is not None:
            self.redis.lose(written)
        self.redis.launch()

    def answers(self) -> bool:
        """Whether the server has its Redis back."""
        return self.api.http.get("/readyz").status_code == 200


@contextlib.contextmanager
def on_fire(path: Path, aof: Aof) -> Generator[Fire]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(path, aof=aof))
        way = stack.enter_context(forwarder(redis.port))
        url = redis.url.replace(str(redis.port), str(way.port))
        servers = [
            stack.enter_context(
                serve(path, agent=AGENT, redis=url, role=role, env=environment(path), name=role)
            )
            for role in ("worker", "web")
        ]
        world = World(servers=servers[::-1], path=path, store=redis)
        world.until_workers(1)
        try:
            yield Fire(world=world, redis=redis, path=way)
        finally:
            world.close()


@pytest.fixture(scope="module")
def everysec(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fire]:
    with on_fire(tmp_path_factory.mktemp("everysec"), "everysec") as made:
        yield made


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fire]:
    with on_fire(tmp_path_factory.mktemp("always"), "always") as made:
        yield made


def speaking(name: str) -> str:
    """A line written down, then much said at a steady pace, then another line once a gate is open."""
    return steps(
        call("note", text=f"{name} begins"),
        {"say": "tick ", "times": 150, "pace": 0.02, "gate": name, **call("note", text=f"{name} ends")},
    )


def assert_told_whole(fire: Fire, run_id: str, watch: Watch, name: str) -> None:
    """G1, G3, G6: one ending, one sequence, the watcher's and the log's the same, each effect once."""
    watch.until_over()
    log = fire.api.log(run_id)
    assert Check(log=log).endings[0]["state"] == "completed", log[-1]
    seen = watch.entries
    assert [frame.data for frame in seen] == log
    assert [frame.id for frame in seen] == [str(entry["seq"]) for entry in log]
    assert not watch.count("gap")
    assert [entry.get("text") for entry in log].count("tick ") == 150
    for line in ("begins", "ends"):
        assert fire.world.effects.count(f"note {name} {line}") == 1


@pytest.mark.parametrize("aof", ["everysec", "always"])
def test_a_run_goes_on_when_redis_is_killed_and_comes_back(aof: str, request: pytest.FixtureRequest) -> None:
    """G1, G8: the stream stays open and says so, commands get 503, and nothing is missing in the end."""
    fire: Fire = request.getfixturevalue(aof)
    name = f"killed-{aof}"
    run_id = fire.api.start(speaking(name))
    with watching(fire.api, run_id) as watch:
        watch.until("token", 20)
        fire.redis.kill()
        watch.until("heartbeat", store="away")
        refused: list[httpx2.Response] = [
            fire.api.stop(run_id),
            fire.api.http.post(
                f"{ROOT}/chat", json={"messages": [{"role": "user", "content": "x"}]}, headers=JSON
            ),
        ]
        for answer in refused:
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
        fire.redis.launch()
        fire.world.open_gate(name)
        assert_told_whole(fire, run_id, watch, name)


def test_what_redis_lost_is_put_back_by_the_worker(everysec: Fire) -> None:
    """G1, G8: the last second is missing from its disk; nobody who watches can tell."""
    run_id = everysec.api.start(speaking("short"))
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 5)
        written = everysec.redis.written
        watch.until("token", 60)
        everysec.restart(written)
        everysec.world.open_gate("short")
        assert_told_whole(everysec, run_id, watch, "short")


def test_a_client_that_saw_more_than_redis_has_waits_for_the_rest(everysec: Fire) -> None:
    """G1: its cursor is no error while the worker may still put back what it stands for."""
    run_id = everysec.api.start(speaking("ahead"))
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 5)
        written = everysec.redis.written
        watch.until("token", 60)
        seen = watch.entries[-1].data["seq"]
    with contextlib.ExitStack() as still, contextlib.ExitStack() as stack:
        for process in everysec.world.workers[0].children():
            process.suspend()
            still.callback(process.resume)
        everysec.restart(written)
        eventually(everysec.answers, what="the server has its Redis back")
        query = {"after": seen}
        page = everysec.api.http.get(f"{ROOT}/runs/{run_id}/events", params=query, headers=JSON)
        assert (page.status_code, page.headers["retry-after"]) == (503, "2")
        assert everysec.api.stop(run_id).status_code == 503
        watch = stack.enter_context(watching(everysec.api, run_id, after=seen))
        watch.until("heartbeat", store="doubt")
        still.close()
        everysec.world.open_gate("ahead")
        watch.until_over()
        log = everysec.api.log(run_id)
        assert [frame.data for frame in watch.entries] == log[seen:]
        assert Check(log=log).endings[0]["state"] == "completed"


def test_a_decision_that_is_lost_is_told_to_whoever_saw_it(everysec: Fire) -> None:
    """G1, G5: nobody holds a run that waits; whoever saw the answer gets a gap, and the question stands."""
    run_id = everysec.api.start(steps(call("delete", path="/lost"), {"tell": "returns"}))
    with watching(everysec.api, run_id) as watch, contextlib.ExitStack() as still:
        watch.until("approval", state="pending")
        watch.until("heartbeat", worker="none")
        for process in everysec.world.workers[0].children():
            process.suspend()
            still.callback(process.resume)
        written = everysec.redis.written
        assert everysec.api.decide(f"{run_id}.1", approve=True).status_code == 200
        watch.until("approval", state="granted")
        seen = watch.entries[-1].data["seq"]
        everysec.restart(written)
        watch.until("gap")
        told = next(frame for frame in watch.frames if frame.event == "gap").data
        assert (told["from"], told["to"], told["snapshot"]["state"]) == (seen, seen, "awaiting_approval")
        query = {"after": seen}
        page = everysec.api.http.get(f"{ROOT}/runs/{run_id}/events", params=query, headers=JSON).json()
        assert (page["gap"]["from"], page["next"]) == (seen, f"{seen - 1}.1")
        still.close()
        assert everysec.api.decide(f"{run_id}.1", approve=True).status_code == 200
        watch.until_over()
    assert Check(log=everysec.api.log(run_id)).endings[0]["state"] == "completed"
    assert everysec.world.effects.count("delete /lost") == 1


def test_a_frozen_redis_costs_time_and_nothing_else(everysec: Fire) -> None:
    """G1, G8: longer than its deadline and the lease, and the run goes on where it was."""
    run_id = everysec.api.start(speaking("frozen"))
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 20)
        everysec.redis.freeze()
        watch.until("heartbeat", 5, store="away")
        assert everysec.api.stop(run_id).status_code == 503
        everysec.redis.thaw()
        everysec.world.open_gate("frozen")
        assert_told_whole(everysec, run_id, watch, "frozen")


def test_a_full_redis_holds_the_run_back_until_there_is_room(everysec: Fire) -> None:
    """G8: the worker keeps what it cannot write; a new run is refused with what to do."""
    run_id = everysec.api.start(speaking("full"))
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 20)
        assert everysec.redis.do("CONFIG SET maxmemory 1") == "+OK\r\n"
        try:
            message = {"messages": [{"role": "user", "content": "x"}]}
            refused = everysec.api.http.post(f"{ROOT}/chat", json=message, headers=JSON)
            assert refused.status_code == 503
            watch.until("heartbeat", watch.count("heartbeat") + 3)
        finally:
            assert everysec.redis.do("CONFIG SET maxmemory 0") == "+OK\r\n"
        everysec.world.open_gate("full")
        assert_told_whole(everysec, run_id, watch, "full")


def test_connections_that_are_reset_lose_and_double_nothing(everysec: Fire) -> None:
    """G1, G6, G8: whether the answer or the command was lost, each entry stands there once."""
    run_id = everysec.api.start(speaking("reset"))
    with watching(everysec.api, run_id) as watch:
        for count in range(20, 140, 20):
            watch.until("token", count)
            everysec.path.cuts.append(b"ok")
        everysec.world.open_gate("reset")
        assert_told_whole(everysec, run_id, watch, "reset")
        eventually(lambda: len(everysec.path.made) >= 3, what="connections were reset")
    everysec.path.cuts.clear()


def test_a_failover_to_a_replica_that_is_behind_is_healed(tmp_path: Path, everysec: Fire) -> None:
    """G1, G7, G8: entries and perhaps the claim are missing on the new primary; the worker has them."""
    former = everysec.redis
    with redis_server(tmp_path, aof="everysec") as replica:
        replica.do(f"REPLICAOF 127.0.0.1 {former.port}")
        linked = lambda: "master_link_status:up" in replica.do("INFO replication")  # noqa: E731
        eventually(linked, what="the replica follows")
        run_id = everysec.api.start(speaking("failover"))
        with watching(everysec.api, run_id) as watch:
            watch.until("token", 20)
            replica.do("REPLICAOF NO ONE")
            watch.until("token", 60)
            everysec.path.upstream = replica.port
            former.kill()
            everysec.world.open_gate("failover")
            try:
                assert_told_whole(everysec, run_id, watch, "failover")
            finally:
                former.launch()
                everysec.path.upstream = former.port
                replica.kill()
                eventually(everysec.answers, what="back at the former primary")


def test_what_is_too_much_to_be_put_back_ends_the_run_and_says_so(everysec: Fire) -> None:
    """G1, G3, G8: it does not go on blind, and whoever saw more gets a gap with what is left."""
    prompt = steps(
        {"say": "little ", "times": 5, "gate": "little", **call("note", text="tail begins")},
        {"say": "x" * 8000, "times": 200, "gate": "tail", **call("note", text="tail ends")},
    )
    run_id = everysec.api.start(prompt)
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 5)
        written = everysec.redis.written
        everysec.world.open_gate("little")
        watch.until("token", 205)
        everysec.restart(written)
        watch.until("gap")
        watch.until_over()
        everysec.world.open_gate("tail")
        gap = next(frame for frame in watch.frames if frame.event == "gap")
        left = gap.data["from"] - 1
        assert 5 < left < 205
    log = everysec.api.log(run_id)
    error = log[-1]["error"]
    assert error["type"] == "log_lost"
    assert str(left + 1) in error["message"]
    # The ending may be in the snapshot already, or come after it.
    told = [gap.data["snapshot"]["error"], *(frame.data.get("error") for frame in watch.entries[-1:])]
    assert error in told
    assert Check(log=log).endings[0]["state"] == "failed"
    assert len(log) == left + 1
    assert [frame.id for frame in everysec.api.frames(run_id, compact=0) if frame.entry][
        -1
    ] == f"{left + 1}.1"
    assert "note tail ends" not in everysec.world.effects


def test_when_the_worker_dies_too_the_cut_is_told_and_another_goes_on(everysec: Fire) -> None:
    """G1, G3, G7: nobody is left who knows what was lost; a cursor from beyond the cut gets a gap."""
    run_id = everysec.api.start(speaking("both"))
    with watching(everysec.api, run_id) as watch:
        watch.until("token", 5)
        written = everysec.redis.written
        watch.until("token", 60)
        (supervisor,) = everysec.world.workers
        crash(supervisor)
        everysec.restart(written)
        everysec.world.mend()
        everysec.world.open_gate("both")
        watch.until_over()
        assert watch.count("gap") == 1
        cut = next(frame for frame in watch.frames if frame.event == "gap").data["from"] - 1
    log = everysec.api.log(run_id)
    assert Check(log=log).endings[0]["state"] == "completed"
    assert next(entry["reason"] for entry in log if entry.get("attempt") == 2) == "takeover"
    assert log[cut]["reason"] == "takeover"
    assert everysec.world.effects.count("note both ends") == 1
