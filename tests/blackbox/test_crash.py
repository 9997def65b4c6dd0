"""Processes die: killed with -9, or told to go, at the worst moments of a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from tests.blackbox.api import ROOT, Api, Check, Data, Frame, call, steps
from tests.blackbox.conftest import World, world
from tests.support.processes import Server, eventually

TICKS = 20


def ticking(gate: str) -> str:
    """Says something, then waits in the middle of it for a gate; then writes a line down."""
    return steps(call("where"), {"say": "tick ", "times": TICKS, "gate": gate, **call("note", text=gate)})


def until_ticking(api: Api, run_id: str) -> int:
    """Wait until the run is in the middle of what it says; the process that drives it."""

    def said() -> bool:
        return [entry.get("text") for entry in api.log(run_id)].count("tick ") == TICKS

    eventually(said, what=f"{run_id} speaks")
    return api.until_tool(run_id, "where", "finished")["result"]


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def crash(*servers: Server) -> None:
    """Kill with -9 and wait until nothing of them is left: a worker does not outlive its supervisor."""
    children = [child for server in servers for child in server.children()]
    for server in servers:
        server.kill()
    for server in servers:
        server.wait()
    for child in children:
        eventually(lambda child=child: gone(child), what=f"{child} is gone")


def assert_said_once(snapshot: Data) -> None:
    """What the dead attempt had begun to say is dropped from the transcript."""
    said = [message["text"] for message in snapshot["transcript"] if message["role"] == "assistant"]
    assert said.count("tick " * TICKS) == 1
    assert "".join(said).count("tick ") == TICKS


def takeovers(log: list[Data]) -> list[Data]:
    return [entry for entry in log if entry.get("reason") == "takeover"]


# A server killed with -9 in the middle of everything, and started again


@dataclass(kw_only=True)
class Crashed:
    """An embedded server with runs in all sorts of states, after it was killed and came back."""

    world: World
    runs: dict[str, str] = field(default_factory=dict[str, str])
    before: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def api(self) -> Api:
        return self.world.api


def served(api: Api, run_id: str) -> dict[str, Any]:
    """Everything that can be asked about a finished run."""
    conversation = run_id.partition(".")[0]
    artifact = api.snapshot(run_id)["tools"][-1]["result"]["artifact"]
    paths = [
        f"/runs/{run_id}",
        f"/runs?conversation_id={conversation}",
        f"/conversations/{conversation}",
        f"/runs/{run_id}/artifacts/{artifact}",
        f"/approvals/{run_id}.1",
    ]
    told: dict[str, Any] = {path: api.http.get(f"{ROOT}{path}").content for path in paths}
    told["stream"] = api.frames(run_id, compact=0)
    told["merged"] = api.frames(run_id)
    told["page"] = api.page(run_id)
    return told


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Crashed]:
    """Killed while runs were finished, speaking, writing, reading, waiting, queued and being stopped."""
    with world(tmp_path_factory.mktemp("crashed")) as made:
        before = Crashed(world=made)
        begin(before)
        crash(made.server)
        made.server.launch()
        yield before


def begin(crashed: Crashed) -> None:
    api, runs = crashed.api, crashed.runs
    key = {"Idempotency-Key": "finished", "Accept": "application/json"}
    prompt = steps(call("delete", path="/finished"), {"say": "now ", "times": 5, **call("big", size=100_000)})
    body = {"messages": [{"role": "user", "content": prompt}]}
    runs["finished"] = api.http.post(f"{ROOT}/chat", json=body, headers=key).json()["run_id"]
    api.until(runs["finished"], "awaiting_approval")
    api.decide(f"{runs['finished']}.1", approve=True)
    api.ended(runs["finished"])
    for name in ("retry", "done", "abort"):
        sibling = ["note", {"text": f"beside {name}"}]
        hanging = {"calls": [sibling, ["write", {"name": name}]]}
        runs[name] = api.start(steps(hanging, {"tell": "returns", **call("note", text=f"after {name}")}))
    runs["wiping"] = api.start(steps(call("wipe", name="wiping")))
    api.until(runs["wiping"], "awaiting_approval")
    assert api.decide(f"{runs['wiping']}.1", approve=True).status_code == 200
    runs["reading"] = api.start(steps(call("look", name="reading"), {"tell": "returns"}))
    runs["speaking"] = api.start(ticking("speaking"))
    runs["waiting"] = api.start(steps(call("delete", path="/waiting")))
    conversation = runs["waiting"].split(".")[0]
    runs["queued"] = api.start(
        steps(call("note", text="queued")), conversation_id=conversation, on_busy="queue"
    )
    runs["stopping"] = api.start(steps(call("stubborn", seconds=1000)))
    for name in ("retry", "done", "abort"):
        api.until_tool(runs[name], "note", "finished")
        eventually(lambda name=name: f"write {name}" in crashed.world.effects)
    eventually(lambda: {"look reading", "wipe wiping"} <= set(crashed.world.effects))
    until_ticking(api, runs["speaking"])
    api.until(runs["waiting"], "awaiting_approval")
    crashed.before = served(api, runs["finished"])
    api.until_tool(runs["stopping"], "stubborn", "started")
    assert api.stop(runs["stopping"], reason="too late").status_code == 202


def test_what_was_finished_is_served_as_before(crashed: Crashed) -> None:
    """G1, G3: byte for byte: streams, pages, snapshot, lists, artifact, question; and its key."""
    run_id = crashed.runs["finished"]
    assert served(crashed.api, run_id) == crashed.before
    last = crashed.before["stream"][-1].data["seq"]
    answer = crashed.api.http.get(f"{ROOT}/runs/{run_id}/events", headers={"Last-Event-ID": str(last)})
    assert answer.status_code == 204
    prompt = crashed.api.log(run_id)[0]["input"][0]["content"]
    body = {"messages": [{"role": "user", "content": prompt}]}
    key = {"Idempotency-Key": "finished", "Accept": "application/json"}
    assert crashed.api.http.post(f"{ROOT}/chat", json=body, headers=key).json()["run_id"] == run_id
    assert crashed.world.effects.count("delete /finished") == 1


def test_what_was_being_said_is_said_again(crashed: Crashed) -> None:
    """G7: the boundary stands in the log, and clients know what to drop."""
    run_id = crashed.runs["speaking"]
    crashed.world.open_gate("speaking")
    ended = crashed.api.ended(run_id)
    assert ended["state"] == "completed"
    log = crashed.api.log(run_id)
    Check(log=log)
    (takeover,) = takeovers(log)
    spoken = [entry["message_id"] for entry in log if entry.get("text") == "tick "]
    assert takeover["attempt"] == 2
    assert takeover["supersedes"] == [spoken[0]]
    assert spoken.count(spoken[0]) == spoken.count(spoken[-1]) == TICKS
    assert spoken[-1] not in takeover["supersedes"]
    assert_said_once(ended)
    assert crashed.world.effects.count("note speaking") == 1


def asked_about(crashed: Crashed, name: str) -> str:
    """The call whose outcome nobody saw; a person is asked about it."""
    run_id = crashed.runs[name]
    snapshot = crashed.api.until(run_id, "awaiting_approval", "completed", "failed", "stopped")
    assert snapshot["state"] == "awaiting_approval"
    assert snapshot["attempt"] == 2
    (question,) = snapshot["approvals"]
    assert (question["kind"], question["round"], question["state"]) == ("outcome", 1, "pending")
    assert question["choices"] == ["retry", "done", "abort"]
    assert question["args"] == {"name": name}
    assert {tool["name"]: tool["state"] for tool in snapshot["tools"]} == {
        "note": "finished",
        "write": "unknown",
    }
    assert crashed.world.effects.count(f"write {name}") == 1
    return question["call_id"]


def test_a_call_of_unknown_outcome_runs_again_when_a_person_says_so(crashed: Crashed) -> None:
    """G6: and only then; the answer of another kind, or to another question, is refused."""
    call_id = asked_about(crashed, "retry")
    assert crashed.api.decide(call_id, approve=True).status_code == 422
    assert crashed.api.decide(call_id, outcome="retry").status_code == 200
    ended = crashed.api.ended(crashed.runs["retry"])
    assert ended["state"] == "completed"
    assert crashed.api.decide(call_id, outcome="retry").json()["state"] == "answered"
    assert crashed.api.decide(call_id, outcome="done").status_code == 409
    check = Check(log=crashed.api.log(crashed.runs["retry"]))
    assert check.tools("unknown") == ["write"]
    assert check.tools("started").count("write") == 2
    assert crashed.world.effects.count("write retry") == 2
    assert_siblings_ran_once(crashed, "retry")


def test_a_call_of_unknown_outcome_is_done_when_a_person_says_so(crashed: Crashed) -> None:
    """G6: with the result that the person gives, which the model gets; it does not run again."""
    call_id = asked_about(crashed, "done")
    assert crashed.api.decide(call_id, outcome="done", result="written by hand").status_code == 200
    ended = crashed.api.ended(crashed.runs["done"])
    assert ended["state"] == "completed"
    assert "written by hand" in ended["transcript"][1]["text"]
    Check(log=crashed.api.log(crashed.runs["done"]))
    assert crashed.world.effects.count("write done") == 1
    assert_siblings_ran_once(crashed, "done")


def test_a_run_is_given_up_when_a_person_says_so(crashed: Crashed) -> None:
    """G3, G6: it fails, and says why."""
    call_id = asked_about(crashed, "abort")
    answer = crashed.api.decide(call_id, outcome="abort", reason="start over")
    assert answer.status_code == 200
    ended = crashed.api.ended(crashed.runs["abort"])
    assert (ended["state"], ended["error"]["type"]) == ("failed", "aborted")
    Check(log=crashed.api.log(crashed.runs["abort"]))
    assert crashed.world.effects.count("write abort") == 1
    assert "note after abort" not in crashed.world.effects


def test_an_old_approval_never_means_to_run_again(crashed: Crashed) -> None:
    """G5, G6: the question about the outcome is another one; the old answer sent again is the old answer."""
    run_id = crashed.runs["wiping"]
    call_id = f"{run_id}.1"
    approved, asked = crashed.api.until(run_id, "awaiting_approval")["approvals"]
    assert (approved["kind"], approved["round"], approved["state"]) == ("call", 1, "granted")
    assert (asked["kind"], asked["round"], asked["state"]) == ("outcome", 2, "pending")
    again = crashed.api.decide(call_id, approve=True)
    assert (again.status_code, again.json()["state"]) == (200, "granted")
    assert crashed.api.decide(call_id, approve=False).status_code == 409
    assert crashed.api.snapshot(run_id)["approvals"][1]["state"] == "pending"
    assert crashed.world.effects.count("wipe wiping") == 1
    assert crashed.api.decide(call_id, outcome="retry").status_code == 200
    assert crashed.api.ended(run_id)["state"] == "completed"
    assert crashed.world.effects.count("wipe wiping") == 2
    Check(log=crashed.api.log(run_id))


def assert_siblings_ran_once(crashed: Crashed, name: str) -> None:
    """What had ended before the crash is not done again, what follows is done once."""
    assert crashed.world.effects.count(f"note beside {name}") == 1
    assert crashed.world.effects.count(f"note after {name}") == 1


def test_a_call_that_changes_nothing_runs_again_by_itself(crashed: Crashed) -> None:
    """G6: declared read-only, so nobody has to be asked."""
    run_id = crashed.runs["reading"]
    ended = crashed.api.ended(run_id)
    assert ended["state"] == "completed"
    assert ended["approvals"] == []
    check = Check(log=crashed.api.log(run_id))
    assert check.tools("started") == ["look", "look"]
    assert check.tools("requested") == check.tools("finished") == ["look"]
    assert crashed.world.effects.count("look reading") == 2


def test_a_question_outlives_the_crash_and_the_queue_behind_it_too(crashed: Crashed) -> None:
    """G5: the answer counts, the tool runs once, the next run of the conversation follows."""
    run_id, queued = crashed.runs["waiting"], crashed.runs["queued"]
    snapshot = crashed.api.snapshot(run_id)
    assert (snapshot["state"], snapshot["attempt"]) == ("awaiting_approval", 1)
    assert crashed.api.snapshot(queued)["state"] == "queued"
    assert crashed.api.decide(f"{run_id}.1", approve=True).status_code == 200
    assert crashed.api.ended(run_id)["state"] == "completed"
    assert crashed.api.ended(queued)["state"] == "completed"
    for log in (crashed.api.log(run_id), crashed.api.log(queued)):
        Check(log=log)
        assert takeovers(log) == []
    assert crashed.world.effects.count("delete /waiting") == 1
    assert crashed.world.effects.count("note queued") == 1


def test_an_accepted_stop_outlives_the_crash(crashed: Crashed) -> None:
    """G4, G8: what was acknowledged holds; nobody saw the call's end, and the receipt says so."""
    run_id = crashed.runs["stopping"]
    ended = crashed.api.ended(run_id)
    assert ended["state"] == "stopped"
    assert [tool["outcome"] for tool in ended["receipt"]["tools"]] == ["unknown"]
    check = Check(log=crashed.api.log(run_id))
    check.no_start_after_stop()
    assert check.endings[0]["reason"] == "too late"
    assert "stubborn ends" not in crashed.world.effects


# A worker alone


def test_all_viewers_may_leave(anywhere: World) -> None:
    """G2: nobody watches any more, and the run does all that it would have done."""
    gate = f"unwatched-{len(anywhere.servers)}"
    prompt = steps({"say": "tick ", "times": TICKS, "gate": gate, **call("note", text=gate)}, {"say": "end"})
    body = {"messages": [{"role": "user", "content": prompt}]}
    with anywhere.api.stream("POST", "/chat", json=body) as frames:
        run_id = next(frames).data["run_id"]
        with anywhere.other.stream("GET", f"/runs/{run_id}/events") as others:
            next(frame for frame in others if frame.event == "token")
        next(frame for frame in frames if frame.event == "token")
    anywhere.open_gate(gate)
    assert anywhere.api.ended(run_id)["state"] == "completed"
    log = anywhere.api.log(run_id)
    Check(log=log)
    assert [entry.get("text") for entry in log].count("tick ") == TICKS
    assert [entry.get("text") for entry in log].count("end") == 1
    assert anywhere.effects.count(f"note {gate}") == 1


def test_a_killed_worker_is_replaced_under_the_same_stream(embedded: World) -> None:
    """G2, G6, G7: the stream stays, shows the takeover, and the question about what was cut off."""
    api = embedded.api
    writing = api.start(steps(call("write", name="worker-died")))
    eventually(lambda: "write worker-died" in embedded.effects)
    speaking = api.start(ticking("worker-died"))
    pid = until_ticking(api, speaking)
    with api.stream("GET", f"/runs/{speaking}/events", params={"compact": 0}) as frames:
        seen = [next(frames)]
        os.kill(pid, signal.SIGKILL)
        seen += [next(frame for frame in frames if frame.data.get("reason") == "takeover")]
        embedded.open_gate("worker-died")
        seen += list(frames)
    assert seen[-1].data["state"] == "completed"
    assert_said_once(api.snapshot(speaking))
    Check(log=api.log(speaking))
    assert embedded.effects.count("note worker-died") == 1
    (question,) = api.until(writing, "awaiting_approval")["approvals"]
    assert question["kind"] == "outcome"
    assert api.decide(question["call_id"], outcome="done", result=None).status_code == 200
    assert api.ended(writing)["state"] == "completed"
    assert embedded.effects.count("write worker-died") == 1


# Replicas


@pytest.fixture
def mended(replicas: World) -> Generator[World]:
    """The replicas; what a test kills of them is started again."""
    try:
        yield replicas
    finally:
        replicas.mend()


def host_of(world: World, pid: int) -> Server:
    """The server whose worker is the process `pid`."""
    return next(server for server in world.workers if pid in {child.pid for child in server.children()})


def test_another_host_takes_over_when_one_is_lost(mended: World) -> None:
    """G6, G7: worker and supervisor are killed at once; nobody gives the lease up, it runs out."""
    api = mended.other
    speaking = api.start(ticking("host-lost"))
    pid = until_ticking(api, speaking)
    host = host_of(mended, pid)
    writing = [api.start(steps(call("where"), call("write", name=f"host-lost-{at}"))) for at in range(6)]
    for at, run_id in enumerate(writing):
        eventually(lambda at=at: f"write host-lost-{at}" in mended.effects)
        api.until_tool(run_id, "write", "started")
    lost = [run_id for run_id in writing if api.until_tool(run_id, "where", "finished")["result"] == pid]
    with api.stream("GET", f"/runs/{speaking}/events") as frames:
        crash(host)
        takeover = next(frame for frame in frames if frame.data.get("reason") == "takeover")
        mended.open_gate("host-lost")
        rest = list(frames)
    assert takeover.data["attempt"] == 2
    assert rest[-1].data["state"] == "completed"
    assert_said_once(api.snapshot(speaking))
    Check(log=api.log(speaking))
    assert mended.effects.count("note host-lost") == 1
    for run_id in lost:
        (question,) = mended.api.until(run_id, "awaiting_approval")["approvals"]
        assert question["kind"] == "outcome"
    for at, run_id in enumerate(writing):
        if run_id not in lost:
            assert mended.api.snapshot(run_id)["attempt"] == 1
        assert mended.api.stop(run_id, wait=30).json()["state"] == "stopped"
        assert mended.effects.count(f"write host-lost-{at}") == 1


def test_a_worker_that_is_told_to_go_hands_its_runs_back(mended: World) -> None:
    """G7: what it says is said anew elsewhere, the call that runs is given the time to end."""
    api = mended.api
    speaking = api.start(ticking("told-to-go"))
    host = host_of(mended, until_ticking(api, speaking))
    calling = one_on(mended, host, "told-to-go")
    host.kill(signal.SIGTERM)
    handed = eventually(lambda: [e for e in api.log(speaking) if e.get("reason") == "handed back"])
    mended.open_gate("told-to-go")
    for run_id in (speaking, calling):
        ended = api.ended(run_id)
        assert ended["state"] == "completed"
        assert ended["approvals"] == []
        log = api.log(run_id)
        Check(log=log)
        assert [entry["attempt"] for entry in takeovers(log)] == [2]
    assert len(handed) == 1
    assert_said_once(api.snapshot(speaking))
    check = Check(log=api.log(calling))
    assert check.tools("started") == check.tools("finished") == ["where", "wait_for", "note"]
    assert mended.effects.count("note told-to-go") == 1
    assert mended.effects.count("note called told-to-go") == 1
    assert host.wait() == 0


def one_on(world: World, host: Server, gate: str) -> str:
    """A run on `host` that is in a call which ends when the gate is opened."""
    api = world.api

    def one_of_several() -> str | None:
        prompt = steps(call("where"), call("wait_for", name=gate), call("note", text=f"called {gate}"))
        runs = [api.start(prompt) for _ in range(4)]
        chosen: str | None = None
        for run_id in runs:
            pid = api.until_tool(run_id, "where", "finished")["result"]
            api.until_tool(run_id, "wait_for", "started")
            if chosen is None and host_of(world, pid) is host:
                chosen = run_id
            else:
                assert api.stop(run_id, wait=30).json()["state"] == "stopped"
        return chosen

    return eventually(one_of_several, what="a run on the worker")


def test_a_web_process_that_is_told_to_go_says_so_to_its_viewers(mended: World) -> None:
    """G1, G9: `shutdown` is their last frame, and on the other replica they miss nothing."""
    web = mended.webs[-1]
    leaving = mended.client(web.url)
    body = {"messages": [{"role": "user", "content": ticking("web-goes")}]}
    with leaving.stream("POST", "/chat?compact=0", json=body) as frames:
        seen = [next(frame for frame in frames if frame.entry)]
        run_id = seen[0].data["run_id"]
        until_ticking(mended.api, run_id)
        with mended.client(web.url).stream("GET", f"/runs/{run_id}/events") as others:
            web.kill(signal.SIGTERM)
            rest = list(frames)
            last_of_other = list(others)[-1]
    assert (rest[-1].event, rest[-1].id) == ("shutdown", None)
    assert rest[-1].data["retry_ms"] > 0
    assert last_of_other.event == "shutdown"
    assert web.wait() == 0
    seen += [frame for frame in rest if frame.entry]
    back = {"Last-Event-ID": str(seen[-1].id)}
    with mended.api.stream("GET", f"/runs/{run_id}/events", params={"compact": 0}, headers=back) as frames:
        mended.open_gate("web-goes")
        seen += [frame for frame in frames if frame.entry]
    assert seen == mended.api.entries(run_id)
    Check(log=[frame.data for frame in seen])
    assert takeovers([frame.data for frame in seen]) == []


def test_a_question_outlives_a_crash_of_everything(mended: World) -> None:
    """G5, G8: webs, workers and the store itself are killed with -9; what was acknowledged is there."""
    run_id = mended.api.start(steps(call("delete", path="/all-died"), call("check", path="/all-died")))
    mended.api.until(run_id, "awaiting_approval")
    decided = mended.api.start(steps(call("write", name="all-died")))
    eventually(lambda: "write all-died" in mended.effects)
    before: list[Frame] = mended.api.entries(run_id, until="pause")
    crash(*mended.servers)
    assert mended.store is not None
    mended.store.kill()
    mended.store.launch()
    mended.mend()
    assert mended.other.entries(run_id, until="pause") == before
    with mended.other.stream("POST", f"/approvals/{run_id}.1", json={"approve": True}) as frames:
        assert list(frames)[-1].data["state"] == "completed"
    Check(log=mended.api.log(run_id))
    assert mended.effects.count("delete /all-died") == mended.effects.count("check /all-died") == 1
    (question,) = mended.api.until(decided, "awaiting_approval")["approvals"]
    assert mended.other.decide(question["call_id"], outcome="retry").status_code == 200
    assert mended.api.ended(decided)["state"] == "completed"
    assert mended.effects.count("write all-died") == 2
