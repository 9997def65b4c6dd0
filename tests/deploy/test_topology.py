"""The deployment of compose.yaml: what it promises of its containers, and rolling restarts under load."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from jackline.client import Client, Entry, FollowState
from tests.blackbox.api import Api, Check, call, steps
from tests.blackbox.conftest import AGENT, environment
from tests.deploy.topology import KEY, ROOT, Topology, services, topology
from tests.support.processes import PATIENCE, eventually

RUNS = 12
TICKS = 50


@pytest.fixture
def deployed(tmp_path: Path) -> Generator[Topology]:
    with topology(tmp_path, **environment(tmp_path), JACKLINE_AGENT=AGENT) as running:
        yield running


@dataclass(kw_only=True)
class Watched:
    """A run that is followed through NGINX, and what was seen of it."""

    prompt: str
    entries: list[Entry] = field(default_factory=list[Entry])
    phase: FollowState = "connecting"
    cuts: int = 0
    run_id: str = ""
    state: str | None = None

    async def watch(self, url: str) -> None:
        async with Client(url, KEY) as client:
            follow = client.chat(self.prompt, compact=False, on_state=self._told)
            async for frame in follow:
                self.run_id = follow.run_id or ""
                if isinstance(frame, Entry):
                    self.entries.append(frame)
            self.state = follow.state

    def _told(self, phase: FollowState, reason: str) -> None:
        del reason
        self.cuts += phase == "reconnecting" and self.phase != "reconnecting"
        self.phase = phase


@contextlib.contextmanager
def watching(url: str, watched: list[Watched]) -> Generator[list[Future[None]]]:
    """Follow all of them, in a thread of its own."""
    with start_blocking_portal() as portal:
        yield [portal.start_task_soon(each.watch, url) for each in watched]


def ticking(gate: str) -> str:
    """A run that speaks, calls a tool, and cannot end before the gate is open."""
    return steps(
        {"say": "tick ", "times": TICKS, "pace": 0.02, **call("note", text="in the middle")},
        {"say": "tock ", "times": TICKS, "pace": 0.02, "gate": gate},
    )


def test_one_after_the_other_is_replaced_under_load_and_nobody_is_lost(
    deployed: Topology, tmp_path: Path
) -> None:
    """G1, G2, G8: SIGTERM to each web and each worker process in turn, while runs speak: every viewer is
    back by itself on a process that lives, every run goes on, every entry is there once. What is started
    meanwhile is started once."""
    watched = [Watched(prompt=ticking("replaced")) for _ in range(RUNS)]
    with watching(deployed.url, watched) as ends:
        eventually(lambda: all(each.entries for each in watched), what="all runs are seen")
        for server in (*deployed.webs.values(), *deployed.workers.values()):
            server.kill(signal.SIGTERM)
            assert server.wait() == 0
            assert not any(end.done() for end in ends)
            if server.port is not None:
                eventually(lambda: all(each.phase == "live" for each in watched), what="all are back")
            server.launch()
        assert sum(each.cuts for each in watched) >= RUNS  # each hung on one of the two that went
        (tmp_path / "gate-replaced").touch()
        for end in ends:
            end.result(PATIENCE)
    api = Api(deployed.url, Authorization=f"Bearer {KEY}")
    with contextlib.closing(api.http):
        assert {each.state for each in watched} == {"completed"}
        assert len({each.run_id for each in watched}) == RUNS
        for each in watched:
            log = api.log(each.run_id)
            Check(log=log)
            assert [entry.data for entry in each.entries] == log
        assert len(api.http.get("/api/v1/agent/runs?limit=1000").json()["runs"]) == RUNS


def test_a_start_goes_through_while_a_process_is_being_replaced(deployed: Topology, tmp_path: Path) -> None:
    """G7: NGINX finds the one that lives; a chat is started once, whichever took it."""
    (tmp_path / "gate-open").touch()
    for server in deployed.webs.values():
        server.kill(signal.SIGTERM)
        watched = [Watched(prompt=ticking("open")) for _ in range(4)]
        with watching(deployed.url, watched) as ends:
            for end in ends:
                end.result(PATIENCE)
        assert server.wait() == 0
        server.launch()
        assert {each.state for each in watched} == {"completed"}
    api = Api(deployed.url, Authorization=f"Bearer {KEY}")
    with contextlib.closing(api.http):
        assert len(api.http.get("/api/v1/agent/runs?limit=1000").json()["runs"]) == 8


def test_every_container_of_jackline_has_no_rights_that_it_does_not_need() -> None:
    """Root file system read-only, no capabilities, no new privileges, time enough to drain."""
    ours = {name: service for name, service in services().items() if service.get("image") == "jackline"}
    assert sorted(ours) == ["web-1", "web-2", "worker-1", "worker-2"]
    for service in ours.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert grace > int(service["environment"]["JACKLINE_DRAIN"])


def test_the_image_runs_as_nobody_in_particular_and_installs_what_is_locked() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    last = dockerfile.rpartition("FROM ")[2]
    assert "\nUSER 10001\n" in last
    copied = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY src")}
    assert copied == {"src"}
    allowed = set((ROOT / ".dockerignore").read_text().split())
    for line in dockerfile.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert {f"!{name}" for name in line.split()[1:-1]} <= allowed, line
