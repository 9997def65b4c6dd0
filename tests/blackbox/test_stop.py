"""Stop, from a second client, on another replica where there is one, at every moment of a run."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

import psutil
import pytest

from tests.blackbox.api import ROOT, Api, Check, Step, at_once, call, steps
from tests.blackbox.conftest import World
from tests.support.processes import eventually

T = TypeVar("T")

GRACE = 6


def stopped(world: World, run_id: str) -> Check:
    """Stop from another client, wait for the receipt, and check what must always hold."""
    answer = world.other.stop(run_id, reason="enough")
    assert answer.status_code == 202
    assert answer.json() == {"run_id": run_id, "state": "stopping"}
    waited = world.other.stop(run_id, wait=30)
    assert waited.status_code == 200, waited.text
    assert waited.json()["state"] == "stopped"
    check = Check(log=world.api.log(run_id))
    check.no_start_after_stop()
    assert check.endings[0]["receipt"] == waited.json()["receipt"]
    assert check.endings[0]["receipt"]["quiet_ms"] < GRACE * 1000
    again = world.api.stop(run_id)
    assert (again.status_code, again.json()["state"]) == (200, "stopped")
    conversation = run_id.partition(".")[0]
    following = world.api.start("hello", conversation_id=conversation)
    assert world.api.ended(following)["state"] == "completed"
    return check


def begun(world: World, run_id: str, tool: str, before: int) -> None:
    """Wait until a call of the tool runs; `before`: how many had begun. It stands in the log as started a
    moment earlier, and a stop that comes in between keeps it from being begun at all."""
    world.api.until_tool(run_id, tool, "started")
    eventually(lambda: world.effects.count(f"{tool} begins") > before, what=f"{tool} begins")


def outcomes(check: Check) -> dict[str, str]:
    return {tool["name"]: tool["outcome"] for tool in check.endings[0]["receipt"]["tools"]}


def test_a_token_stream_is_stopped(anywhere: World) -> None:
    """G4: mid-token; the model's stream is closed."""
    api = anywhere.api
    run_id = api.start(steps({"say": "tick ", "times": 100000, "pace": 0.01}, call("note", text="late")))
    with api.stream("GET", f"/runs/{run_id}/events") as frames:
        next(frame for frame in frames if frame.event == "token")
        check = stopped(anywhere, run_id)
        assert [frame.event for frame in frames][-1] == "end"
    assert check.endings[0]["receipt"]["model"] == "closed"
    assert "note late" not in anywhere.effects


def test_a_silent_model_is_stopped(anywhere: World) -> None:
    """G4: nothing has to arrive for a stop to be seen."""
    run_id = anywhere.api.start(steps({"silent": 1000}))
    eventually(lambda: [e for e in anywhere.api.log(run_id) if e.get("step") == 1])
    assert stopped(anywhere, run_id).endings[0]["receipt"]["model"] == "closed"


def test_an_async_tool_is_cancelled(anywhere: World) -> None:
    """G4: a tool that lets go is `cancelled`, its sibling that ended before is told apart."""
    before, ended = anywhere.effects.count("slow begins"), anywhere.effects.count("slow ends")
    run_id = anywhere.api.start(steps({"calls": [["note", {"text": "first"}], ["slow", {"seconds": 1000}]]}))
    anywhere.api.until_tool(run_id, "note", "finished")
    begun(anywhere, run_id, "slow", before)
    check = stopped(anywhere, run_id)
    assert outcomes(check) == {"note": "finished_before_stop", "slow": "cancelled"}
    assert anywhere.effects.count("slow ends") == ended


def test_a_run_between_two_tools_is_stopped(anywhere: World) -> None:
    """G4: whatever was recorded as started has run, but for what the receipt says never began; nothing
    else has."""
    api = anywhere.api
    run_id = api.start(steps(*[call("note", text=f"between-{at}") for at in range(150)]))
    eventually(lambda: len(api.snapshot(run_id)["tools"]) > 3)
    check = stopped(anywhere, run_id)
    made = [line for line in anywhere.effects if line.startswith("note between-")]
    receipt = check.endings[0]["receipt"]["tools"]
    never = {call["call_id"] for call in receipt if call["outcome"] == "not_started"}
    started = {entry["call_id"] for entry in check.log if entry.get("state") == "started"}
    assert len(made) == len(started - never)
    assert 3 <= len(made) < 150


def test_a_pause_before_a_retry_is_cut_short(anywhere: World) -> None:
    """G4: a model that fails is asked again after a while; the stop does not wait for that."""
    api = anywhere.api
    run_id = api.start(steps({"fail": 503}))
    eventually(lambda: [entry for entry in api.log(run_id) if "retry" in entry])
    check = stopped(anywhere, run_id)
    assert check.endings[0]["receipt"]["model"] == "none"


def test_a_short_thread_is_waited_for(anywhere: World) -> None:
    """G4: a thread cannot be cancelled; its end, seen within the grace, is told as it was."""
    before = anywhere.effects.count("thread begins")
    run_id = anywhere.api.start(steps(call("thread", seconds=0.5), call("note", text="after-thread")))
    begun(anywhere, run_id, "thread", before)
    check = stopped(anywhere, run_id)
    assert outcomes(check) == {"thread": "finished_before_stop"}
    assert "note after-thread" not in anywhere.effects


@pytest.mark.parametrize("tool", ["thread", "block", "stubborn"])
def test_a_tool_that_does_not_let_go_is_killed_with_its_worker(anywhere: World, tool: str) -> None:
    """G4: quiet within the grace whatever the tool does; the call's outcome is `unknown`."""
    before = anywhere.effects.count(f"{tool} begins")
    run_id = anywhere.api.start(steps(call(tool, seconds=1000), call("note", text=f"after-{tool}")))
    begun(anywhere, run_id, tool, before)
    check = stopped(anywhere, run_id)
    assert outcomes(check) == {tool: "unknown"}
    assert check.tools("unknown") == [tool]
    assert f"note after-{tool}" not in anywhere.effects


def pids(world: World) -> list[list[int]]:
    """Shells and their children, as they came."""
    found = [line.split()[1:] for line in world.effects if re.fullmatch(r"child \d+ \d+", line)]
    return [[int(pid) for pid in each] for each in found]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("own_session", [False, True])
@pytest.mark.parametrize("tool", ["child", "child_in_thread"])
def test_the_processes_of_a_stopped_tool_are_killed(anywhere: World, tool: str, own_session: bool) -> None:
    """G4: with all that they have started, and the worker lives; the tool gets no further."""
    before = len(pids(anywhere))
    run_id = anywhere.api.start(steps(call("where"), call(tool, own_session=own_session)))
    eventually(lambda: len(pids(anywhere)) > before)
    check = stopped(anywhere, run_id)
    assert outcomes(check) == {tool: "killed"}
    assert check.tools("cancelled") == [tool]
    assert all(gone(pid) for pid in pids(anywhere)[before])
    assert not gone(anywhere.api.until_tool(run_id, "where", "finished")["result"])
    assert "second" not in anywhere.effects


def test_nothing_of_a_killed_worker_lives_on(anywhere: World) -> None:
    """G4: not even what its tools have put into sessions of their own."""
    before, stubborn = len(pids(anywhere)), anywhere.effects.count("stubborn begins")
    run_id = anywhere.api.start(steps(call("stray"), call("stubborn", seconds=1000)))
    begun(anywhere, run_id, "stubborn", stubborn)
    eventually(lambda: len(pids(anywhere)) > before)
    assert outcomes(stopped(anywhere, run_id)) == {"stubborn": "unknown"}
    eventually(lambda: all(gone(pid) for pid in pids(anywhere)[before]))


def test_other_runs_of_a_killed_worker_are_taken_over(anywhere: World) -> None:
    """G4, G7: what the kill of a worker cut off goes on."""
    api = anywhere.api
    before = anywhere.effects.count("stubborn begins")
    stuck = api.start(steps(call("where"), call("stubborn", seconds=1000)))
    begun(anywhere, stuck, "stubborn", before)
    gate = f"beside-{stuck}"
    other = beside(anywhere, stuck, {"say": "tick ", "times": 5, "gate": gate, **call("note", text=gate)})
    with api.stream("GET", f"/runs/{other}/events") as frames:
        next(frame for frame in frames if frame.event == "token")
        stopped(anywhere, stuck)
        anywhere.open_gate(gate)
        seen = [frame.data for frame in frames if frame.entry]
    takeover = next(entry for entry in seen if entry.get("reason") == "takeover")
    assert takeover["attempt"] == 2
    assert takeover["supersedes"]
    assert seen[-1]["state"] == "completed"
    Check(log=api.log(other))
    assert anywhere.effects.count(f"note {gate}") == 1


def beside(world: World, stuck: str, step: Step) -> str:
    """A run with `step` on the worker that `stuck` is on."""
    pid = world.api.until_tool(stuck, "where", "finished")["result"]

    def one_of_several() -> str | None:
        runs = [world.api.start(steps(call("where"), step)) for _ in range(4)]
        pids = {run_id: world.api.until_tool(run_id, "where", "finished")["result"] for run_id in runs}
        chosen = next((run_id for run_id in runs if pids[run_id] == pid), None)
        for run_id in runs:
            if run_id != chosen:
                world.api.stop(run_id)
        return chosen

    return eventually(one_of_several, what=f"a run on process {pid}")


def test_a_run_that_waits_for_a_person_is_stopped(anywhere: World) -> None:
    """G4, G5: the question is withdrawn, and an answer that comes later is refused."""
    run_id = anywhere.api.start(steps(call("delete", path="/stopped")))
    anywhere.api.until(run_id, "awaiting_approval")
    check = stopped(anywhere, run_id)
    assert outcomes(check) == {"delete": "not_started"}
    late = anywhere.api.decide(f"{run_id}.1", approve=True)
    assert (late.status_code, late.json()["state"]) == (409, "withdrawn")
    assert "delete /stopped" not in anywhere.effects


def test_a_run_that_is_queued_behind_another_is_stopped(anywhere: World) -> None:
    """G4: before the start; the run before it is not touched."""
    api = anywhere.api
    first = api.start(steps(call("slow", seconds=1000)))
    conversation = first.split(".")[0]
    queued = api.start("never", conversation_id=conversation, on_busy="queue")
    answer = api.stop(queued, wait=10)
    assert (answer.status_code, answer.json()["state"]) == (200, "stopped")
    assert [entry["state"] for entry in api.log(queued)] == ["queued", "stopping", "stopped"]
    api.until_tool(first, "slow", "started")
    assert api.snapshot(first)["state"] == "executing"
    stopped(anywhere, first)


def test_a_stop_by_conversation_finds_the_active_run(anywhere: World) -> None:
    """G4: from any client, which need not know the run."""
    api = anywhere.api
    run_id = api.start(steps({"silent": 1000}))
    answer = api.http.post("/api/v1/agent/stop", json={"conversation_id": run_id.split(".")[0]})
    assert (answer.status_code, answer.json()["run_id"]) == (202, run_id)
    assert api.ended(run_id)["state"] == "stopped"


def test_after_step_lets_started_calls_end_and_starts_no_other(anywhere: World) -> None:
    """G4: the gentle mode, and an immediate stop may follow it."""
    api = anywhere.api
    run_id = api.start(
        steps(
            {"calls": [["slow", {"seconds": 2}], ["note", {"text": "beside"}]]}, call("note", text="gentle")
        )
    )
    api.until_tool(run_id, "slow", "started")
    assert api.stop(run_id, mode="after_step").status_code == 202
    snapshot = api.ended(run_id)
    assert snapshot["state"] == "stopped"
    check = Check(log=api.log(run_id))
    check.no_start_after_stop()
    assert outcomes(check)["slow"] == "finished_before_stop"
    assert "note gentle" not in anywhere.effects
    second = api.start(steps(call("slow", seconds=1000)))
    api.until_tool(second, "slow", "started")
    api.stop(second, mode="after_step")
    assert api.stop(second, wait=20).json()["state"] == "stopped"


def both(world: World, one: Callable[[Api], T], two: Callable[[Api], T]) -> tuple[T, T]:
    """What two people get who act in the same moment, on two replicas where there are two."""
    acts = {id(world.api): one, id(world.other): two}
    barrier = threading.Barrier(2)

    def act(client: Api) -> T:
        barrier.wait(60)
        return acts[id(client)](client)

    first, second = at_once([world.api, world.other], act)
    return first, second


@pytest.mark.parametrize("at", range(6))
def test_a_stop_that_races_the_runs_own_end_is_true_or_late(anywhere: World, at: int) -> None:
    """G3, G4: accepted, and the run is stopped; or told how it had ended. Never both."""
    run_id = anywhere.api.start(steps({"gate": f"race-{at}", "say": "done"}))
    eventually(lambda: [entry for entry in anywhere.api.log(run_id) if entry.get("step") == 1])

    def finish(_: Api) -> None:
        anywhere.open_gate(f"race-{at}")

    def stop(client: Api) -> str:
        if at % 2:  # as late as can be: its last word has been said
            with client.stream("GET", f"/runs/{run_id}/events") as frames:
                next(frame for frame in frames if frame.event == "token")
        answer = client.stop(run_id)
        return {200: answer.json()["state"], 202: "stopped"}[answer.status_code]

    _, told = both(anywhere, finish, stop)
    state = anywhere.api.ended(run_id)["state"]
    assert told == state
    check = Check(log=anywhere.api.log(run_id))
    assert [entry.get("state") for entry in check.log].count("stopping") == (state == "stopped")


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_a_stop_that_races_an_approval_leaves_one_truth(anywhere: World, at: int, edited: bool) -> None:
    """G4, G5: the run is stopped in any case; what was granted runs once or not at all, as the receipt
    says, and what was withdrawn never runs, nor later."""
    path = f"/race-{at}-{edited}"
    run_id = anywhere.api.start(steps(call("delete", path=path)))
    anywhere.api.until(run_id, "awaiting_approval")
    more = {"args": {"path": f"{path}-edited"}} if edited else {}
    approved, accepted = both(
        anywhere,
        lambda client: client.decide(f"{run_id}.1", approve=True, **more).status_code,
        lambda client: client.stop(run_id).status_code,
    )
    state = anywhere.api.ended(run_id)["state"]
    # A stop that comes once the approved run has completed is told so.
    assert (accepted, state) in {(202, "stopped"), (200, "completed"), (200, "stopped")}
    check = Check(log=anywhere.api.log(run_id))
    ran = anywhere.effects.count(f"delete {path}{'-edited' if edited else ''}")
    assert ran <= 1
    if state == "stopped":
        check.no_start_after_stop()
        told = outcomes(check).get("delete")
        if told is None:  # it had finished, and the run was in its next step: the log says so
            assert (ran, check.tools("finished")) == (1, ["delete"])
        else:
            assert told in ({"finished_before_stop", "cancelled"} if ran else {"not_started"})
    if approved == 409:
        assert (state, ran) == ("stopped", 0)
    again = anywhere.other.decide(f"{run_id}.1", approve=True, **more)
    assert again.status_code == approved
    following = anywhere.api.start("hello", conversation_id=run_id.split(".")[0])
    assert anywhere.api.ended(following)["tools"] == []
    assert anywhere.effects.count(f"delete {path}{'-edited' if edited else ''}") == ran


def test_a_run_whose_workers_are_all_dead_is_stopped(replicas: World) -> None:
    """G4: by whoever holds the store, once the lease has run out; the call in flight is `unknown`."""
    run_id = replicas.api.start(steps(call("slow", seconds=1000)))
    replicas.api.until_tool(run_id, "slow", "started")
    try:
        for host in replicas.workers:
            for process in (host.process.children(), [psutil.Process(host.pid)]):
                for each in process:
                    each.kill()
        answer = replicas.other.stop(run_id, wait=30)
        assert (answer.status_code, answer.json()["state"]) == (200, "stopped")
        check = Check(log=replicas.api.log(run_id))
        check.no_start_after_stop()
        assert outcomes(check) == {"slow": "unknown"}
    finally:
        replicas.mend()


def test_the_stop_of_a_conversation_lets_nothing_begin(anywhere: World) -> None:
    """G4: what waits in it is stopped with what is active."""
    run_id = anywhere.api.start(steps(call("slow", seconds=1000)))
    conversation = run_id.split(".")[0]
    behind = anywhere.api.start(
        steps(call("note", text=f"behind-{run_id}")), conversation_id=conversation, on_busy="queue"
    )
    anywhere.api.until_tool(run_id, "slow", "started")
    answer = anywhere.other.http.post(f"{ROOT}/stop?wait=30", json={"conversation_id": conversation})
    assert (answer.status_code, answer.json()["run_id"], answer.json()["state"]) == (200, run_id, "stopped")
    assert [entry["state"] for entry in anywhere.api.log(behind)] == ["queued", "stopping", "stopped"]
    assert f"note behind-{run_id}" not in anywhere.effects


def test_many_stops_at_once_are_one(anywhere: World) -> None:
    """G4: idempotent, from all replicas."""
    run_id = anywhere.api.start(steps({"silent": 1000}))
    clients = [anywhere.client(web.url) for web in anywhere.webs * 4]
    answers = at_once(clients, lambda client: client.stop(run_id))
    assert {answer.status_code for answer in answers} <= {202, 200}
    anywhere.api.ended(run_id)
    log = anywhere.api.log(run_id)
    Check(log=log)
    assert [entry["state"] for entry in log].count("stopping") == 1
