"""What a newcomer sees: nothing set, no key, no model, and yet real tools on the real host."""

from __future__ import annotations

import socket
from typing import Any

import psutil

from tests.blackbox.api import ROOT, Api, Check, Data
from tests.blackbox.conftest import World
from tests.blackbox.transcript import said
from tests.support.processes import eventually


def results(log: list[Data]) -> dict[str, Any]:
    """What each tool gave, by its name; the last one's where it was called twice."""
    return {entry["name"]: entry["result"] for entry in log if "result" in entry and "call_id" in entry}


def text(log: list[Data]) -> str:
    return "\n".join(said([entry for entry in log if "message_id" in entry]).values())


def asked(api: Api, run_id: str, name: str) -> str:
    """The call that waits for a person; it must be the tool `name`."""
    (question,) = api.until(run_id, "awaiting_approval")["approvals"]
    assert (question["name"], question["state"]) == (name, "pending")
    return question["call_id"]


def offered(api: Api, title: str) -> str:
    """The prompt of one of the tasks that the server offers."""
    (agent,) = api.http.get(f"{ROOT}/agents").json()["agents"]
    return {task["title"]: task["prompt"] for task in agent["tasks"]}[title]


def test_it_offers_three_tasks_one_of_which_asks(demo: World) -> None:
    """What a newcomer is shown first; the tests below do each of them."""
    (agent,) = demo.api.http.get(f"{ROOT}/agents").json()["agents"]
    assert [(task["title"], task["asks"]) for task in agent["tasks"]] == [
        ("Check this host", False),
        ("Restart a service", True),
        ("Watch the load", False),
    ]
    assert all(task["description"] for task in agent["tasks"])


def test_a_watch_that_is_stopped_tells_what_became_of_its_call(demo: World) -> None:
    """G4: the receipt of the offered task that is there to be stopped."""
    api = demo.api
    run_id = api.start(offered(api, "Watch the load"))
    looked = lambda: [e for e in api.log(run_id) if e.get("state") == "progress"]  # noqa: E731
    assert eventually(looked)[0]["progress"]["total"] == 30
    stopped = demo.other.stop(run_id, wait=30, reason="seen enough").json()
    assert stopped["state"] == "stopped"
    Check(log=api.log(run_id))
    outcomes = {tool["name"]: tool["outcome"] for tool in stopped["receipt"]["tools"]}
    assert outcomes == {"watch_load": "cancelled"}


def test_a_check_of_the_disk_tells_this_hosts_numbers(demo: World) -> None:
    """Reading tools run at once, together, and what they tell is true."""
    run_id = demo.api.start(offered(demo.api, "Check this host"))
    snapshot = demo.api.ended(run_id)
    assert snapshot["state"] == "completed"
    assert snapshot["approvals"] == []
    check = Check(log=demo.api.log(run_id))
    assert check.tools("finished")[-1] == "top_processes"
    assert set(check.tools("finished")) == {"host_overview", "disk_usage", "top_processes"}
    found = results(check.log)
    assert found["host_overview"]["hostname"] == socket.gethostname()
    assert found["host_overview"]["memory_total"] == psutil.virtual_memory().total
    assert found["host_overview"]["cpus"] == psutil.cpu_count()
    for system in found["disk_usage"]["file_systems"]:
        assert system["total"] == psutil.disk_usage(system["mount"]).total
    assert found["disk_usage"]["file_systems"][0]["mount"] in text(check.log)
    assert socket.gethostname() in text(check.log)
    assert snapshot["output"] in text(check.log)


def test_it_says_that_it_is_scripted(demo: World) -> None:
    """In the run itself, in the list of agents, and when the server starts."""
    run_id = demo.api.start("tell me a joke")
    demo.api.ended(run_id)
    assert "fixed script, with no language model behind it" in text(demo.api.log(run_id))
    (agent,) = demo.api.http.get(f"{ROOT}/agents").json()["agents"]
    assert "scripted" in agent["model"]
    assert "scripted" in demo.server.log()


def test_a_restart_is_approved_executed_and_verified(demo: World) -> None:
    """G5: one run's log shows the question, the answer, the execution and the check of its effect."""
    api = demo.api
    run_id = api.start(offered(api, "Restart a service"))
    call_id = asked(api, run_id, "restart_scratch_service")
    assert api.snapshot(run_id)["tools"][0]["name"] == "service_status"
    assert api.snapshot(run_id)["approvals"][0]["args"] == {"name": "demo", "minutes": 15}
    decided = demo.other.decide(call_id, approve=True, args={"name": "demo", "minutes": 5})
    assert (decided.status_code, decided.json()["state"]) == (200, "granted")
    assert api.ended(run_id)["state"] == "completed"
    check = Check(log=api.log(run_id))
    names = ["service_status", "restart_scratch_service", "service_status"]
    assert check.tools("started") == check.tools("finished") == names
    found = results(check.log)
    assert psutil.pid_exists(found["restart_scratch_service"]["new_pid"])
    assert found["service_status"]["pid"] == found["restart_scratch_service"]["new_pid"]
    last = [entry for entry in check.log if entry.get("name") == "service_status"][-1]
    assert last["verifies"] == call_id
    assert "Verified" in text(check.log)
    assert 240 < found["service_status"]["ends_in_seconds"] <= 300


def test_a_denied_restart_does_nothing(demo: World) -> None:
    """G5: not executed, said so, and the run ends in order."""
    api = demo.api
    run_id = api.start("restart the service named untouched")
    call_id = asked(api, run_id, "restart_scratch_service")
    decided = api.decide(call_id, approve=False, reason="not today")
    assert (decided.status_code, decided.json()["state"]) == (200, "denied")
    assert api.ended(run_id)["state"] == "completed"
    check = Check(log=api.log(run_id))
    assert check.tools("started") == ["service_status"]
    assert check.tools("denied") == ["restart_scratch_service"]
    assert "not today" in text(check.log)
    assert results(check.log)["service_status"]["state"] == "absent"
    assert list((demo.path / "scratch").rglob("untouched*")) == []


def test_arguments_that_a_person_edited_are_what_is_executed(demo: World) -> None:
    """G5: `started` carries what really ran, and the script goes on from that."""
    api = demo.api
    run_id = api.start("clean the scratch files")
    make = asked(api, run_id, "make_scratch_files")
    api.decide(make, approve=True, args={"count": 2, "megabytes": 1})
    api.until_tool(run_id, "clean_scratch_files", "requested")
    files = list((demo.path / "scratch").rglob("*"))
    assert sum(path.stat().st_size == 1 << 20 for path in files if path.is_file()) == 2
    clean = asked_again(api, run_id)
    api.decide(clean, approve=True)
    assert api.ended(run_id)["state"] == "completed"
    log = api.log(run_id)
    started = [entry["args"] for entry in log if entry.get("state") == "started"]
    assert started[0] == {"count": 2, "megabytes": 1}
    assert len(results(log)["clean_scratch_files"]["deleted"]) == 2
    assert not any(path.stat().st_size == 1 << 20 for path in (demo.path / "scratch").rglob("*"))


def asked_again(api: Api, run_id: str) -> str:
    questions = api.until(run_id, "awaiting_approval")["approvals"]
    (pending,) = [question for question in questions if question["state"] == "pending"]
    return pending["call_id"]
