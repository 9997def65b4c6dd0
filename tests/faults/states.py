"""Runs brought into each state that there is, and on from there to their ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.blackbox.api import ROOT, Api, Data, Step, call, steps
from tests.blackbox.conftest import World
from tests.support.processes import Server, eventually


@dataclass(kw_only=True)
class Case:
    """A run in a state. `tag` is in everything that it does; `first` is the run that it is queued behind."""

    world: World
    tag: str
    run_id: str
    first: str | None = None

    @property
    def call_id(self) -> str:
        return f"{self.run_id}.1"

    @property
    def conversation_id(self) -> str:
        return self.run_id.partition(".")[0]

    def effects(self, what: str) -> int:
        """How often a tool has taken effect."""
        return self.world.effects.count(f"{what} {self.tag}")

    def finish(self) -> Data:
        """Do whatever is left to be done by others, until the run has ended; its snapshot."""
        self.world.open_gate(self.tag)
        if self.first is not None:
            end(self.world.api, self.first)
        return end(self.world.api, self.run_id)


def end(api: Api, run_id: str) -> Data:
    """Answer what is asked until the run has ended."""
    while True:
        snapshot = api.until(run_id, "awaiting_approval", "completed", "failed", "stopped")
        if snapshot["state"] != "awaiting_approval":
            return snapshot
        for question in snapshot["approvals"]:
            if question["state"] == "pending":
                answer = {"approve": True} if question["kind"] == "call" else {"outcome": "done", "result": 1}
                assert api.decide(question["call_id"], **answer).status_code == 200


def _prompt(tag: str, first: Step) -> str:
    """A first step, and what follows it if nobody stops the run."""
    return steps(first, call("note", text=f"after {tag}"))


def queued(world: World, tag: str) -> Case:
    first = world.api.start(steps(call("delete", path=f"first-{tag}")))
    world.api.until(first, "awaiting_approval")
    prompt = _prompt(tag, {"say": "tick "} | call("delete", path=tag))
    run_id = world.api.start(prompt, conversation_id=first.partition(".")[0], on_busy="queue")
    return Case(world=world, tag=tag, run_id=run_id, first=first)


def speaking(world: World, tag: str) -> Case:
    run_id = world.api.start(_prompt(tag, {"say": "tick ", "gate": tag} | call("delete", path=tag)))
    eventually(lambda: [e for e in world.api.log(run_id) if e.get("text") == "tick "], what="tokens")
    return Case(world=world, tag=tag, run_id=run_id)


def retrying(world: World, tag: str) -> Case:
    run_id = world.api.start(_prompt(tag, {"fail": 503, "until": tag} | call("delete", path=tag)))
    eventually(lambda: [e for e in world.api.log(run_id) if "retry" in e], what="a retry")
    return Case(world=world, tag=tag, run_id=run_id)


def calling(world: World, tag: str, tool: str = "held") -> Case:
    run_id = world.api.start(_prompt(tag, call(tool, name=tag)))
    world.api.until(run_id, "awaiting_approval")
    assert world.api.decide(f"{run_id}.1", approve=True).status_code == 200
    case = Case(world=world, tag=tag, run_id=run_id)
    eventually(lambda: case.effects("held"), what=f"held {tag}")
    return case


def calling_in_a_thread(world: World, tag: str) -> Case:
    return calling(world, tag, "held_thread")


def awaiting_approval(world: World, tag: str) -> Case:
    run_id = world.api.start(_prompt(tag, call("delete", path=tag)))
    world.api.until(run_id, "awaiting_approval")
    return Case(world=world, tag=tag, run_id=run_id)


def cut_off(world: World, tag: str) -> Case:
    """In a call that never ends, so that its worker can be killed: `awaiting_outcome` then."""
    run_id = world.api.start(_prompt(tag, call("write", name=tag)))
    case = Case(world=world, tag=tag, run_id=run_id)
    eventually(lambda: case.effects("write"), what=f"write {tag}")
    return case


def stopping(world: World, tag: str) -> Case:
    case = calling_in_a_thread(world, tag)
    assert world.api.stop(case.run_id).status_code == 202
    return case


def stopped(world: World, tag: str) -> Case:
    case = awaiting_approval(world, tag)
    assert world.api.stop(case.run_id).status_code == 202
    world.api.until(case.run_id, "stopped")
    return case


def completed(world: World, tag: str) -> Case:
    case = awaiting_approval(world, tag)
    assert end(world.api, case.run_id)["state"] == "completed"
    return case


def failed(world: World, tag: str) -> Case:
    run_id = world.api.start(steps(call("delete", path=tag), {"fail": 400}))
    assert end(world.api, run_id)["state"] == "failed"
    return Case(world=world, tag=tag, run_id=run_id)


Make = Callable[[World, str], Case]
OUTCOME = "awaiting_approval: of an outcome"
STATES: dict[str, Make] = {
    "queued": queued,
    "executing: the model speaks": speaking,
    "executing: it waits to ask the model again": retrying,
    "executing: an approved call": calling,
    "executing: an approved call, in a thread": calling_in_a_thread,
    "awaiting_approval": awaiting_approval,
    "stopping": stopping,
    "stopped": stopped,
    "completed": completed,
    "failed": failed,
}
"""By their names in the table; runs in the state `OUTCOME` are made by `awaiting_outcomes`."""


def awaiting_outcomes(world: World, tags: Sequence[str]) -> dict[str, Case]:
    """Runs whose calls were cut off by the death of their worker, by their tags."""
    cases = {tag: cut_off(world, tag) for tag in tags}
    kill_workers(world)
    for case in cases.values():
        world.api.until(case.run_id, "awaiting_approval")
    return cases


def kill_workers(world: World) -> None:
    """Every worker process; their supervisors start others."""
    for server in world.workers or world.servers:
        for process in worker_processes(server):
            process.kill()


def worker_processes(server: Server) -> list[psutil.Process]:
    """The worker of a server, without what its tools may have started."""
    return [child for child in server.children() if child.ppid() == server.pid]


Table = dict[str, dict[str, str]]


def table() -> Table:
    """What `docs/protocol.md` says: by state, then by command."""
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
    lines = text[text.index("| the run is |") :].split("\n\n", 1)[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def newest(api: Api, conversation_id: str) -> str:
    """The newest run of a conversation."""
    runs = api.http.get(f"{ROOT}/runs", params={"conversation_id": conversation_id}).json()["runs"]
    return runs[0]["run_id"]
