"""What the scripted model says follows from the tools' results alone."""

from __future__ import annotations

import pytest

from jackline.agents.demo_script import SCRIPTED, Outcome, Result, Turn, choose, next_turn
from jackline.agents.demo_tasks import DEMO_TASKS
from jackline.agents.demo_words import span

HOST = {
    "hostname": "box-7",
    "uptime_seconds": 7200,
    "cpus": 4,
    "cpu_percent": 10.0,
    "load_1": 1.25,
    "load_5": 1.0,
    "memory_total": 8 << 30,
    "memory_available": 3 << 30,
    "memory_percent": 62.5,
}
DISKS = {"file_systems": [{"mount": "/data", "percent": 93.5, "free": 1 << 30}], "unreadable": []}
TOP = {"by": "memory", "processes": [{"name": "db", "pid": 77, "cpu_percent": 3.0, "memory_bytes": 1 << 30}]}


def ok(tool: str, content: object) -> Result:
    return Result(tool=tool, args={}, outcome="ok", content=content)


def names(turn: Turn) -> list[str]:
    return [call.tool for call in turn.calls]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 seconds"), (1.1, "1 second"), (2.0, "2 seconds"), (119.4, "119 seconds"), (120.0, "2 minutes")],
)
def test_a_length_of_time_is_told_in_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    "request_text", ["check the disk", "restart the service", "hello", "", "watch", "tail"]
)
def test_the_first_sentence_says_that_it_is_scripted(request_text: str) -> None:
    text = next_turn(request_text, []).text
    assert text.startswith(SCRIPTED)
    assert "no language model" in text.split(", but")[0]


def test_a_check_asks_for_host_and_disks_at_once_then_for_processes() -> None:
    first = next_turn("Please check the disk", [])
    assert names(first) == ["host_overview", "disk_usage"]
    steps = [[ok("host_overview", HOST), ok("disk_usage", DISKS)]]
    second = next_turn("Please check the disk", steps)
    assert [(call.tool, call.args) for call in second.calls] == [
        ("top_processes", {"by": "memory", "limit": 5})
    ]
    for fact in (
        "box-7",
        "2 hours",
        "1.25 on 4 processors",
        "3 GiB of 8 GiB",
        "| `/data` | 93.5 % | 1 GiB |",
    ):
        assert fact in second.text
    last = next_turn("Please check the disk", [*steps, [ok("top_processes", TOP)]])
    assert last.calls == ()
    assert "| `db` | 77 | 3 % | 1 GiB |" in last.text
    assert "/data is nearly full" in last.text


def test_an_unknown_request_is_told_what_is_known_and_gets_the_check() -> None:
    turn = next_turn("make me a sandwich", [])
    assert "restart the service" in turn.text
    assert names(turn) == ["host_overview", "disk_usage"]
    assert "I know these requests" not in next_turn("check the host", []).text


STATUS = {
    "name": "demo",
    "state": "degraded",
    "reason": "its cache is full",
    "pid": 10,
    "uptime_seconds": 300.0,
    "cache_bytes": 16 << 20,
}
RESTARTED = {"name": "demo", "old_pid": 10, "new_pid": 11, "freed_bytes": 16 << 20}


@pytest.mark.parametrize("request_text", ["restart the service", "fix it!", "the service is slow"])
def test_a_restart_is_proposed_then_verified(request_text: str) -> None:
    looked = [[ok("service_status", STATUS)]]
    done = [*looked, [ok("restart_scratch_service", RESTARTED)]]
    assert names(next_turn(request_text, [])) == ["service_status"]
    assert names(next_turn(request_text, looked)) == ["restart_scratch_service"]
    assert "its cache is full" in next_turn(request_text, looked).text
    assert "Its cache holds 16 MiB" in next_turn(request_text, looked).text
    assert names(next_turn(request_text, done)) == ["service_status"]
    after = STATUS | {"state": "running", "reason": None, "pid": 11, "ends_in_seconds": 300}
    verified = next_turn(request_text, [*done, [ok("service_status", after)]])
    assert verified.calls == ()
    assert verified.text.startswith("Verified")
    assert "ends by itself in 5 minutes" in verified.text


@pytest.mark.parametrize("state", ["absent", "stopped"])
def test_a_service_that_does_not_run_is_proposed_to_be_started(state: str) -> None:
    turn = next_turn("restart", [[ok("service_status", {"name": "demo", "state": state})]])
    assert [(call.tool, call.args) for call in turn.calls] == [
        ("restart_scratch_service", {"name": "demo", "minutes": 15})
    ]
    assert "A restart starts it" in turn.text


@pytest.mark.parametrize(
    "after",
    [
        {"state": "stopped", "name": "demo"},
        {"state": "running", "pid": 10, "name": "demo", "reason": None, "uptime_seconds": 1.0},
        {"state": "degraded", "pid": 11, "name": "demo", "reason": "x", "uptime_seconds": 1.0},
    ],
)
def test_a_restart_that_did_not_help_is_not_called_verified(after: dict[str, object]) -> None:
    steps = [
        [ok("service_status", STATUS)],
        [ok("restart_scratch_service", RESTARTED)],
        [ok("service_status", after)],
    ]
    assert next_turn("restart", steps).text.startswith("Not verified")


def test_another_service_may_be_named_and_edited_arguments_are_followed() -> None:
    turn = next_turn("restart the service named api", [])
    assert turn.calls[0].args == {"name": "api"}
    steps = [
        [ok("service_status", STATUS)],
        [ok("restart_scratch_service", RESTARTED | {"name": "edited", "old_pid": None})],
    ]
    turn = next_turn("restart the service", steps)
    assert turn.calls[0].args == {"name": "edited"}
    assert "it was not running" in turn.text


@pytest.mark.parametrize(("outcome", "said"), [("denied", "was denied"), ("failed", "failed: too late")])
def test_after_a_denial_or_an_error_it_says_so_and_stops(outcome: Outcome, said: str) -> None:
    refused = Result(tool="restart_scratch_service", args={}, outcome=outcome, content="too late")
    turn = next_turn("restart", [[ok("service_status", STATUS)], [refused]])
    assert turn.calls == ()
    assert said in turn.text
    assert "too late" in turn.text


def test_cleaning_makes_files_first_and_tells_what_was_freed() -> None:
    made = {"files": ["a", "b", "c"], "bytes": 3 << 20, "directory": "/tmp/x"}
    cleaned = {"deleted": ["a", "b"], "freed_bytes": 2 << 20, "kept": 1}
    steps = [[ok("make_scratch_files", made)], [ok("clean_scratch_files", cleaned)]]
    assert names(next_turn("clean up", [])) == ["make_scratch_files"]
    assert names(next_turn("clean up", steps[:1])) == ["clean_scratch_files"]
    last = next_turn("clean up", steps)
    assert last.calls == ()
    assert "Deleted 2 files, which freed 2 MiB; 1 are kept" in last.text


def test_a_watch_has_as_many_looks_as_asked_for() -> None:
    looks = [[ok("host_overview", HOST | {"load_1": load})] for load in (0.5, 2.0, 1.0)]
    for done in range(3):
        assert names(next_turn("watch the load 3 times", looks[:done])) == ["host_overview"]
    last = next_turn("watch the load 3 times", looks)
    assert last.calls == ()
    assert "between 0.5 and 2" in last.text
    assert "20 times" in next_turn("do something long", []).text
    assert "500 times" in next_turn("watch 99999", []).text


@pytest.mark.parametrize(
    ("request_text", "seconds"),
    [
        ("watch the load for 30 seconds", 30),
        ("watch for half a minute", 30),
        ("watch it for a minute", 60),
        ("watch the load for 2 minutes", 120),
        ("watch the load 5s", 5),
        ("watch for 9999 minutes", 600),
        ("watch for 0 seconds", 1),
    ],
)
def test_a_watch_lasts_as_long_as_the_request_says(request_text: str, seconds: int) -> None:
    assert names(next_turn(request_text, [])) == ["host_overview"]
    turn = next_turn(request_text, [[ok("host_overview", HOST)]])
    assert [(call.tool, call.args) for call in turn.calls] == [("watch_load", {"seconds": seconds})]


def test_a_watch_tells_some_of_its_looks_and_what_they_come_to() -> None:
    looks = [
        {"at_seconds": at, "load_1": 1 + at / 10, "cpu_percent": 10.0 * at, "memory_percent": 40.0}
        for at in range(10)
    ]
    steps = [[ok("host_overview", HOST)], [ok("watch_load", {"cpus": 4, "looks": looks})]]
    turn = next_turn("watch the load for 10 seconds", steps)
    assert turn.calls == ()
    for fact in ("| 9 s | 1.9 | 90 % | 40 % |", "10 looks", "between 1 and 1.9", "45 % busy on average"):
        assert fact in turn.text
    few = [*steps[:1], [ok("watch_load", {"cpus": 4, "looks": looks * 5})]]
    assert next_turn("watch the load for 50 seconds", few).text.count("\n| ") < 12


def test_the_largest_files_of_a_directory_are_listed_with_what_was_left_out() -> None:
    assert next_turn("largest files in /srv/data?", []).calls[0].args["directory"] == "/srv/data"
    found = {
        "directory": "/srv",
        "files": [{"path": "/srv/a", "bytes": 5 << 20}],
        "entries": 9,
        "complete": False,
        "stopped_by": "10 seconds",
        "unreadable": 2,
    }
    text = next_turn("largest files in /srv", [[ok("largest_files", found)]]).text
    for fact in ("| `/srv/a` | 5 MiB |", "stopped after 10 seconds", "2 could not be read"):
        assert fact in text


def test_a_log_is_tailed_and_without_a_path_asked_for() -> None:
    assert next_turn("tail /var/log/x.log", []).calls[0].args["path"] == "/var/log/x.log"
    assert next_turn("show the log ./a.log please", []).calls[0].args["path"] == "./a.log"
    assert next_turn("tail", []).calls == ()
    found = {"path": "/var/log/x.log", "lines": ["one", "two"]}
    assert "```\none\ntwo\n```" in next_turn("tail /var/log/x.log", [[ok("tail_log", found)]]).text
    found = {"path": "/var/log/x.log", "lines": ["```", "two"]}
    assert "````\n```\ntwo\n````" in next_turn("tail /var/log/x.log", [[ok("tail_log", found)]]).text


def test_what_a_host_calls_things_stays_text() -> None:
    process = {"name": "a|b`*\n*c", "pid": 1, "cpu_percent": 0.0, "memory_bytes": 1024}
    steps = [
        [ok("host_overview", HOST), ok("disk_usage", DISKS)],
        [ok("top_processes", TOP | {"processes": [process]})],
    ]
    assert "| `a\\|b'* *c` | 1 | 0 % | 1 KiB |" in next_turn("check", steps).text


def test_the_offered_tasks_are_ones_that_the_script_knows() -> None:
    scripts = {task.title: choose(task.prompt) for task in DEMO_TASKS}
    assert all(known for _, known in scripts.values())
    assert len({script for script, _ in scripts.values()}) == 3
    assert [task.asks for task in DEMO_TASKS] == [False, True, False]


@pytest.mark.parametrize("content", [None, "done by hand", {}, {"name": "demo"}, ["x"], 3])
def test_a_result_that_makes_no_sense_is_told_not_guessed(content: object) -> None:
    turn = next_turn("restart", [[ok("service_status", content)]])
    assert turn.calls == ()
    assert "cannot make sense" in turn.text
