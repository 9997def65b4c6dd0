from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from jackline.demo.scratch import Refused, Scratch, read_json
from jackline.demo.service import CACHE_LIMIT
from jackline.demo.services import MAX_SERVICES, Services
from tests.support.processes import eventually

if TYPE_CHECKING:
    from pathlib import Path


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_service_that_was_never_started_is_absent(services: Services) -> None:
    status = services.status("demo")
    assert (status["state"], status["pid"], status["starts"]) == ("absent", None, 0)


def test_a_started_service_runs_and_writes_its_log(services: Services, scratch: Scratch) -> None:
    started = services.start("demo")
    status = services.status("demo")
    assert (status["state"], status["pid"]) == ("running", started["pid"])
    assert status["cache_bytes"] > 0
    assert "demo[" in (scratch.services / "demo.log").read_text()
    assert psutil.Process(started["pid"]).ppid() != os.getpid()


def test_starting_a_running_service_does_nothing(services: Services) -> None:
    first = services.start("demo")
    again = services.start("demo")
    assert (again["pid"], again["already_running"]) == (first["pid"], True)


def test_a_restart_replaces_the_process_and_empties_the_cache(services: Services, scratch: Scratch) -> None:
    first = services.start("demo")
    with (scratch.services / "demo.cache").open("ab") as cache:
        cache.truncate(CACHE_LIMIT)
    assert services.status("demo")["state"] == "degraded"
    done = services.restart("demo")
    assert (done["old_pid"], done["freed_bytes"]) == (first["pid"], CACHE_LIMIT)
    status = services.status("demo")
    assert (status["state"], status["pid"], status["starts"]) == ("running", done["new_pid"], 2)
    assert gone(first["pid"])


def test_restarting_an_absent_service_starts_it(services: Services) -> None:
    done = services.restart("demo")
    assert (done["old_pid"], services.status("demo")["pid"]) == (None, done["new_pid"])


def test_a_stopped_service_is_stopped_once(services: Services) -> None:
    pid = services.start("demo")["pid"]
    assert services.stop("demo") == {"name": "demo", "was_running": True, "killed": False}
    assert gone(pid)
    assert services.status("demo")["state"] == "stopped"
    assert services.stop("demo")["was_running"] is False


def test_a_service_that_does_not_heed_sigterm_is_killed(services: Services) -> None:
    pid = services.start("demo")["pid"]
    os.kill(pid, signal.SIGSTOP)  # it cannot act on SIGTERM while it is stopped
    assert services.stop("demo") == {"name": "demo", "was_running": True, "killed": True}
    assert gone(pid)


def test_a_pid_that_is_somebody_elses_by_now_is_not_touched(services: Services, scratch: Scratch) -> None:
    pid = services.start("demo")["pid"]
    psutil.Process(pid).kill()
    eventually(lambda: gone(pid))
    state = scratch.services / "demo.json"
    state.write_text(state.read_text().replace(str(pid), str(os.getpid())))
    assert services.status("demo")["state"] == "stopped"
    assert services.stop("demo")["was_running"] is False


def test_two_starts_at_once_start_one_process(services: Services) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(services.start, ["demo", "demo"])
    assert first["pid"] == second["pid"]
    assert sorted([first["already_running"], second["already_running"]]) == [False, True]


def test_a_service_ends_when_its_directory_is_removed(services: Services, scratch: Scratch) -> None:
    pid = services.start("demo")["pid"]
    shutil.rmtree(scratch.path)
    eventually(lambda: gone(pid))


def test_a_service_ends_when_its_time_is_over(scratch: Scratch) -> None:
    command = [sys.executable, "-m", "jackline.demo.service", str(scratch.services), "brief", "1", "0.05"]
    subprocess.run(command, check=True)
    pid = int(str(read_json(scratch.services / "brief.json")["pid"]))
    eventually(lambda: gone(pid))
    assert "ended after" in (scratch.services / "brief.log").read_text()


def test_a_service_ends_when_another_takes_its_place(services: Services, scratch: Scratch) -> None:
    pid = services.start("demo")["pid"]
    state = scratch.services / "demo.json"
    state.write_text(state.read_text().replace(str(pid), "1"))
    eventually(lambda: gone(pid))


def test_a_service_that_cannot_start_is_told(tmp_path: Path, services: Services, scratch: Scratch) -> None:
    (scratch.services / "demo.cache").mkdir()
    with pytest.raises(Refused, match="did not start"):
        services.start("demo")


def test_more_services_than_the_limit_are_refused(services: Services, scratch: Scratch) -> None:
    for n in range(MAX_SERVICES):
        (scratch.services / f"s{n}.json").write_text('{"pid": 0, "created": 0, "starts": 1}')
    with pytest.raises(Refused, match="already"):
        services.start("one-more")
    for state in scratch.services.glob("*.json"):
        state.unlink()
