"""Questions to a person: answered once, from anywhere, in any order, and carried out once."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2
import pytest

from tests.blackbox.api import ROOT, Api, Check, Data, Step, at_once, call, steps
from tests.blackbox.conftest import AGENT, World, environment
from tests.contract.redis_server import redis_server
from tests.support.processes import eventually, serve

ACCEPT = {"Accept": "application/json"}


def asking(api: Api, *what: Step, **more: object) -> str:
    """A run that has come to its question."""
    run_id = api.start(steps(*what), **more)
    api.until(run_id, "awaiting_approval")
    return run_id


def deletes(*paths: str) -> Step:
    """A step that asks for several."""
    return {"calls": [["delete", {"path": path}] for path in paths]}


def of_call(log: list[Data], call_id: str) -> list[tuple[str, str]]:
    return [
        ("approval" if "round" in entry else "tool", entry["state"])
        for entry in log
        if entry.get("call_id") == call_id
    ]


def problem(answer: httpx2.Response, status: int) -> Data:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return answer.json()


def decide_together(api: Api, *decisions: Data) -> httpx2.Response:
    return api.http.post(f"{ROOT}/approvals", json={"decisions": decisions}, headers=ACCEPT)


def test_the_stream_goes_on_after_the_answer(anywhere: World) -> None:
    """G5: the chat's own stream shows the decision, the execution and the verification; so does the
    decision's stream, from the decision on."""
    api, other = anywhere.api, anywhere.other
    path = f"/goes-on-{len(anywhere.servers)}"
    prompt = steps(call("delete", path=path), call("check", path=path), {"tell": "returns"})
    body = {"messages": [{"role": "user", "content": prompt}]}
    with api.stream("POST", "/chat?compact=0", json=body) as frames:
        entries = [next(frame for frame in frames if frame.entry)]
        run_id = entries[0].data["run_id"]
        for frame in frames:
            entries += [frame] if frame.entry else []
            if frame.data.get("state") == "awaiting_approval" and frame.entry:
                break
        decision = {"approve": True, "reason": "go"}
        path_of = f"/approvals/{run_id}.1?compact=0"
        with other.stream("POST", path_of, json=decision) as answers:
            decided = list(answers)
        entries += [frame for frame in frames if frame.entry]
    granted = next(entry for entry in entries if entry.data["state"] == "granted")
    assert (granted.data["by"], granted.data["reason"]) == ("local", "go")
    assert decided[0].data["seq"] == granted.data["seq"] - 1
    assert [frame for frame in decided if frame.entry] == entries[granted.data["seq"] - 1 :]
    assert decided[-1].event == "end"
    log = [entry.data for entry in entries]
    Check(log=log)
    delete, check = f"{run_id}.1", f"{run_id}.2"
    assert of_call(log, delete) == [
        ("tool", "requested"),
        ("approval", "pending"),
        ("approval", "granted"),
        ("tool", "started"),
        ("tool", "finished"),
    ]
    verified = [entry for entry in log if entry.get("call_id") == check]
    assert {entry["verifies"] for entry in verified} == {delete}
    assert verified[-1]["result"] == f"{path} is gone"
    assert anywhere.effects.count(f"delete {path}") == anywhere.effects.count(f"check {path}") == 1


def test_the_stream_shows_the_error_of_what_was_approved(anywhere: World) -> None:
    """G5: the call fails for all to see, the model is told, the run goes on."""
    run_id = asking(anywhere.api, call("explode", path="/bang"), {"tell": "returns"})
    with anywhere.other.stream("POST", f"/approvals/{run_id}.1", json={"approve": True}) as frames:
        seen = [frame.data for frame in frames]
    failed = next(entry for entry in seen if entry.get("state") == "failed")
    assert failed["error"] == {"type": "RuntimeError", "message": "no such thing: /bang"}
    assert failed["duration_ms"] >= 0
    said = "".join(entry["text"] for entry in seen if "text" in entry)
    assert "no such thing: /bang" in said
    assert seen[-1]["state"] == "completed"
    assert anywhere.effects.count("explode /bang") == 1


def test_the_same_answer_again_is_the_same_and_another_one_is_refused(anywhere: World) -> None:
    """G5: the first decision wins, while the run goes on and after it has ended."""
    run_id = asking(anywhere.api, call("delete", path="/again"))
    call_id = f"{run_id}.1"
    first = anywhere.api.decide(call_id, approve=True)
    assert first.status_code == 200
    assert first.json() == {"run_id": run_id, "call_id": call_id, "state": "granted", "by": "local"}
    for _ in range(2):
        again = anywhere.other.decide(call_id, approve=True)
        assert (again.status_code, again.json()) == (200, first.json())
        for decision in ({"approve": False}, {"approve": True, "args": {"path": "/else"}}):
            refused = problem(anywhere.other.decide(call_id, **decision), 409)
            granted = next(entry for entry in anywhere.api.log(run_id) if entry["state"] == "granted")
            assert (refused["state"], refused["by"], refused["at"]) == ("granted", "local", granted["ts"])
        anywhere.api.ended(run_id)
    assert anywhere.effects.count("delete /again") == 1
    Check(log=anywhere.api.log(run_id))


def test_two_answers_at_once_run_the_tool_once(anywhere: World) -> None:
    """G5: the same answer from many clients on all replicas."""
    path = f"/once-{len(anywhere.servers)}"
    run_id = asking(anywhere.api, call("delete", path=path))
    clients = [anywhere.client(web.url) for web in anywhere.webs * 4]
    answers = at_once(clients, lambda client: client.decide(f"{run_id}.1", approve=True))
    assert [answer.status_code for answer in answers] == [200] * len(clients)
    assert len({answer.text for answer in answers}) == 1
    assert anywhere.api.ended(run_id)["state"] == "completed"
    log = anywhere.api.log(run_id)
    Check(log=log)
    assert of_call(log, f"{run_id}.1").count(("approval", "granted")) == 1
    assert anywhere.effects.count(f"delete {path}") == 1


def test_of_two_different_answers_at_once_one_wins(anywhere: World) -> None:
    """G5: atomically; the other client learns who was first."""
    for attempt in range(5):
        one_wins(anywhere, f"/either-{len(anywhere.servers)}-{attempt}")


def one_wins(world: World, path: str) -> None:
    """Approve here and deny there, in the same moment."""
    api = world.api
    run_id = asking(api, call("delete", path=path))
    clients = [api, world.other]
    yes, no = at_once(clients, lambda client: client.decide(f"{run_id}.1", approve=client is api))
    assert sorted([yes.status_code, no.status_code]) == [200, 409]
    assert api.ended(run_id)["state"] == "completed"
    won = yes.status_code == 200
    assert world.effects.count(f"delete {path}") == (1 if won else 0)
    assert problem(no if won else yes, 409)["state"] == ("granted" if won else "denied")


def test_the_questions_of_a_step_are_all_asked_before_anything_runs(anywhere: World) -> None:
    """G5: answered in any order, one denied, one edited; each answer goes to its own call."""
    api = anywhere.api
    name = f"step-{len(anywhere.servers)}"
    run_id = asking(api, deletes(f"/a-{name}", f"/b-{name}", f"/c-{name}"), {"tell": "returns"})
    ids = [f"{run_id}.{number}" for number in (1, 2, 3)]
    states = [(entry.get("call_id"), entry["state"]) for entry in api.log(run_id)][-4:]
    assert states == [*((call_id, "pending") for call_id in ids), (None, "awaiting_approval")]
    asked = anywhere.other.http.get(f"{ROOT}/approvals", params={"state": "pending"}).json()["approvals"]
    assert [question["call_id"] for question in asked if question["run_id"] == run_id] == ids
    assert anywhere.other.decide(ids[2], approve=True, args={"path": f"/edited-{name}"}).status_code == 200
    assert api.decide(ids[0], approve=False, reason="keep it").status_code == 200
    snapshot = api.snapshot(run_id)
    assert (snapshot["state"], snapshot["seq"]) == ("awaiting_approval", len(api.log(run_id)))
    # Whoever looks again and again whether it may go on must have had the time to do so.
    eventually(lambda: heartbeats(api, run_id) >= 2)
    assert api.snapshot(run_id)["state"] == "awaiting_approval"
    assert not [line for line in anywhere.effects if line.endswith(name)]
    assert anywhere.other.decide(ids[1], approve=True).status_code == 200
    ended = api.ended(run_id)
    assert ended["state"] == "completed"
    effects = sorted(line for line in anywhere.effects if line.endswith(name))
    assert effects == [f"delete /b-{name}", f"delete /edited-{name}"]
    tools = {tool["call_id"]: (tool["state"], tool["args"], tool.get("result")) for tool in ended["tools"]}
    assert tools[ids[0]][:2] == ("denied", {"path": f"/a-{name}"})
    assert tools[ids[1]] == ("finished", {"path": f"/b-{name}"}, f"deleted /b-{name}")
    assert tools[ids[2]] == ("finished", {"path": f"/edited-{name}"}, f"deleted /edited-{name}")
    Check(log=api.log(run_id))
    said = ended["transcript"][1]["text"]
    assert "keep it" in said
    assert f"deleted /b-{name}" in said


def heartbeats(api: Api, run_id: str) -> int:
    """Watch for two heartbeats; how many there were."""
    seen = 0
    with api.stream("GET", f"/runs/{run_id}/events") as frames:
        for frame in frames:
            seen += frame.event == "heartbeat"
            if seen == 2:
                break
    return seen


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"path": 5}, "args.path"),
        ({}, "args.path"),
        ({"path": "/x", "more": 1}, "args"),
        ("text", "args"),
        ([], "args"),
    ],
)
def test_edited_arguments_are_checked_against_the_schema(anywhere: World, args: object, field: str) -> None:
    """G5, G11: 422 names the field, and nothing is written."""
    run_id = asking(anywhere.api, call("delete", path="/checked"))
    before = anywhere.api.log(run_id)
    refused = problem(anywhere.other.decide(f"{run_id}.1", approve=True, args=args), 422)
    assert [error["field"] for error in refused["errors"]] == [field]
    assert anywhere.api.log(run_id) == before
    assert anywhere.api.stop(run_id).status_code == 202


def test_what_runs_is_what_was_approved(anywhere: World) -> None:
    """G5: the edited arguments stand in the decision and in `started`, and the model is told."""
    api = anywhere.api
    run_id = asking(api, call("delete", path="/asked-for"), {"tell": "returns"})
    assert anywhere.other.decide(f"{run_id}.1", approve=True, args={"path": "/approved"}).status_code == 200
    ended = api.ended(run_id)
    assert ended["state"] == "completed"
    assert "changed the arguments" in ended["transcript"][1]["text"]
    log = api.log(run_id)
    args = {entry["state"]: entry["args"] for entry in log if "args" in entry}
    assert args == {
        "requested": {"path": "/asked-for"},
        "pending": {"path": "/asked-for"},
        "granted": {"path": "/approved"},
        "started": {"path": "/approved"},
    }
    assert "delete /approved" in anywhere.effects
    assert "delete /asked-for" not in anywhere.effects


def test_a_denied_call_is_not_executed_and_the_model_learns_why(anywhere: World) -> None:
    """G5: the reason reaches the model, and the run goes on."""
    api = anywhere.api
    after = call("note", text="after-denial")
    run_id = asking(api, call("delete", path="/denied"), {"tell": "returns", **after})
    decided = anywhere.other.decide(f"{run_id}.1", approve=False, reason="the backup is not done")
    assert (decided.status_code, decided.json()["state"]) == (200, "denied")
    ended = api.ended(run_id)
    assert ended["state"] == "completed"
    assert "the backup is not done" in ended["transcript"][1]["text"]
    assert of_call(api.log(run_id), f"{run_id}.1") == [
        ("tool", "requested"),
        ("approval", "pending"),
        ("approval", "denied"),
        ("tool", "denied"),
    ]
    assert "delete /denied" not in anywhere.effects
    assert "note after-denial" in anywhere.effects


def test_several_answers_are_taken_together_or_not_at_all(anywhere: World) -> None:
    """G5, G11: one bad answer, and none of them stands."""
    api = anywhere.api
    name = f"batch-{len(anywhere.servers)}"
    run_id = asking(api, deletes(f"/1-{name}", f"/2-{name}"))
    other_run = asking(api, call("delete", path=f"/3-{name}"))
    before = api.log(run_id)
    first, second = ({"call_id": f"{run_id}.{number}", "approve": True} for number in (1, 2))
    elsewhere = {"call_id": f"{other_run}.1", "approve": True}
    unknown = {"call_id": f"{run_id}.9", "approve": True}
    refused = problem(decide_together(api, first, {**second, "args": {"path": 1}}), 422)
    assert [error["field"] for error in refused["errors"]] == ["decisions.1.args.path"]
    problem(decide_together(api, first, unknown), 404)
    problem(decide_together(api, first, first), 422)
    problem(decide_together(api, first, elsewhere), 422)
    problem(decide_together(api, first, {**second, "approve": "yes"}), 422)
    problem(decide_together(api), 422)
    assert api.log(run_id) == before
    made = decide_together(anywhere.other, second, {**first, "approve": False})
    assert made.status_code == 200, made.text
    assert [item["state"] for item in made.json()["decisions"]] == ["granted", "denied"]
    assert problem(decide_together(api, first, second), 409)["state"] == "denied"
    assert decide_together(api, second, {**first, "approve": False}).json() == made.json()
    assert api.ended(run_id)["state"] == "completed"
    assert [line for line in anywhere.effects if line.endswith(name)] == [f"delete /2-{name}"]
    assert api.stop(other_run).status_code == 202


def test_the_answers_to_a_step_are_streamed_together(anywhere: World) -> None:
    """G5: the batch's stream begins with its first decision."""
    run_id = asking(anywhere.api, deletes("/s1", "/s2"))
    decisions = [{"call_id": f"{run_id}.{number}", "approve": True} for number in (1, 2)]
    with anywhere.other.stream("POST", "/approvals?compact=0", json={"decisions": decisions}) as frames:
        seen = [frame for frame in frames if frame.event != "heartbeat"]
    assert [(frame.data.get("call_id"), frame.data["state"]) for frame in seen[1:3]] == [
        (f"{run_id}.1", "granted"),
        (f"{run_id}.2", "granted"),
    ]
    assert (seen[-1].event, seen[-1].data["state"]) == ("end", "completed")


def test_a_stream_until_the_pause_ends_with_the_question(anywhere: World) -> None:
    """G9: on the chat, on a viewer, and on the decision that leads to the next question."""
    api, other = anywhere.api, anywhere.other
    prompt = steps({"say": "first ", **deletes("/p1")}, {"say": "second ", **deletes("/p2")})
    body = {"messages": [{"role": "user", "content": prompt}]}
    with api.stream("POST", "/chat?until=pause", json=body) as frames:
        asked = list(frames)
    run_id = asked[0].data["run_id"]
    paused = {"run_id": run_id, "state": "awaiting_approval", "seq": len(api.log(run_id))}
    assert (asked[-1].event, asked[-1].data) == ("end", paused)
    viewed = other.frames(run_id, until="pause", compact=0)
    assert (viewed[-1].event, viewed[-1].data) == ("end", paused)
    assert [frame.data for frame in viewed if frame.entry] == api.log(run_id)
    with other.stream("POST", f"/approvals/{run_id}.1?until=pause", json={"approve": True}) as frames:
        second = list(frames)
    assert [frame.data["state"] for frame in second if frame.event == "approval"] == ["granted", "pending"]
    assert second[-1].data == {"run_id": run_id, "state": "awaiting_approval", "seq": len(api.log(run_id))}
    after = second[-1].data["seq"]
    with api.stream("POST", f"/approvals/{run_id}.2?until=pause", json={"approve": True}) as frames:
        last = list(frames)
    assert last[0].data["seq"] == after
    assert last[-1].data["state"] == "completed"


def test_a_question_can_be_looked_up(anywhere: World) -> None:
    """G5: with the arguments, their schema, and later the answer."""
    api, other = anywhere.api, anywhere.other
    run_id = asking(api, call("delete", path="/looked-up"))
    asked = other.http.get(f"{ROOT}/approvals/{run_id}.1").json()
    assert (asked["state"], asked["kind"], asked["round"]) == ("pending", "call", 1)
    assert asked["args"] == {"path": "/looked-up"}
    assert asked["args_schema"]["properties"]["path"]["type"] == "string"
    api.decide(f"{run_id}.1", approve=False, reason="no")
    answered = other.http.get(f"{ROOT}/approvals/{run_id}.1").json()
    assert (answered["state"], answered["by"], answered["reason"]) == ("denied", "local", "no")
    waiting = other.http.get(f"{ROOT}/approvals", params={"state": "pending"}).json()["approvals"]
    assert run_id not in {question["run_id"] for question in waiting}
    assert problem(other.decide(f"{run_id}.7", approve=True), 404)["title"]


def test_a_question_expires_though_no_worker_lives(tmp_path: Path) -> None:
    """G5: the web process records what silence means, here yes; the call runs once, when a worker comes."""
    env = environment(tmp_path) | {
        "JACKLINE_APPROVAL_EXPIRY": "4",
        "JACKLINE_APPROVAL_EXPIRY_ACTION": "approve",
    }
    # What the question says counts, and not how the process that finds it late is set.
    plain = environment(tmp_path)
    with (
        redis_server(tmp_path, aof="always") as store,
        serve(tmp_path, agent=AGENT, redis=store.url, role="web", env=plain) as web,
    ):
        api = Api(web.url)
        with serve(tmp_path, agent=AGENT, redis=store.url, role="worker", env=env, name="w1") as worker:
            run_id = asking(api, call("delete", path="/silence"))
            worker.kill(signal.SIGKILL)
            worker.process.end()
        asked = api.http.get(f"{ROOT}/approvals/{run_id}.1").json()
        assert (asked["on_expiry"], asked["state"] in {"pending", "granted"}) == ("approve", True)

        def answered() -> Data | None:
            found = api.http.get(f"{ROOT}/approvals/{run_id}.1").json()
            return found if found["state"] != "pending" else None

        found = eventually(answered)
        assert (found["state"], found["by"]) == ("granted", "system")
        assert found["at"] >= found["expires_at"]
        assert problem(api.decide(f"{run_id}.1", approve=False), 409)["by"] == "system"
        assert not (tmp_path / "effects").read_text().count("delete /silence")
        with serve(tmp_path, agent=AGENT, redis=store.url, role="worker", env=plain, name="w2"):
            assert api.ended(run_id)["state"] == "completed"
        assert (tmp_path / "effects").read_text().splitlines().count("delete /silence") == 1
        Check(log=api.log(run_id))
        api.http.close()
