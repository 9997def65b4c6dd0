"""The feed of all runs: what their logs say of states and questions, whoever wrote it and whoever died."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.blackbox.api import ROOT, Api, Data, Frame, call, steps
from tests.blackbox.conftest import World, world
from tests.blackbox.test_crash import crash, ticking, until_ticking
from tests.support.processes import PATIENCE, eventually
from tests.support.processes import start as start_process

FEED = f"{ROOT}/feed"
TYPES = {"workflow", "approval"}
Place = tuple[str, int]


@dataclass(kw_only=True)
class Follower:
    """Reads the feed in a thread of its own, over any number of connections."""

    cursor: str = "now"
    frames: list[Frame] = field(default_factory=list[Frame])
    left: bool = False

    def entries(self) -> dict[Place, Data]:
        """What came, each once."""
        found: dict[Place, Data] = {}
        for frame in list(self.frames):
            if frame.entry:
                assert frame.event in TYPES
                found[frame.data["run_id"], frame.data["seq"]] = frame.data
        return found

    def read(self, api: Api) -> None:
        """Until it is cut, or is to leave."""
        with (
            contextlib.suppress(httpx2.HTTPError, httpx2.StreamError),
            api.stream("GET", "/feed", params={"after": self.cursor}) as frames,
        ):
            for frame in frames:
                self.cursor = frame.id or frame.data.get("cursor") or self.cursor
                self.frames.append(frame)
                if self.left:
                    return


@contextlib.contextmanager
def following(api: Api, cursor: str = "now") -> Generator[Follower]:
    follower = Follower(cursor=cursor)
    own = Api(api.url)
    with contextlib.closing(own.http), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(follower.read, own)
        try:
            eventually(lambda: follower.frames, what="the feed's first frame")
            yield follower
        finally:
            follower.left = True
            reading.result(PATIENCE)


def wanted(api: Api, runs: Iterable[str]) -> dict[Place, Data]:
    """What the logs of these runs have for it."""
    entries = [entry for run_id in runs for entry in api.page(run_id)["entries"]]
    return {(e["data"]["run_id"], e["data"]["seq"]): e["data"] for e in entries if e["type"] in TYPES}


def assert_whole(follower: Follower, api: Api, runs: Iterable[str]) -> None:
    """It has all of these runs, as their logs have it, and of each in order."""
    entries = wanted(api, runs)
    eventually(lambda: entries.keys() <= follower.entries().keys(), what="all entries in the feed")
    of_runs = {place: data for place, data in follower.entries().items() if place[0] in set(runs)}
    assert of_runs == entries
    for run_id in runs:
        assert [seq for of, seq in of_runs if of == run_id] == [seq for of, seq in entries if of == run_id]


def test_it_has_all_that_happens_whoever_writes_it(anywhere: World) -> None:
    """Chats, turns, questions, answers, stops of runs with and without a worker, takeovers."""
    api, other = anywhere.api, anywhere.other
    kind = f"feed-{len(anywhere.servers)}"
    with following(api) as here, following(other) as there:
        runs = {"plain": api.start(steps({"say": "tick "}, call("note", text=kind)))}
        runs["asking"] = other.start(
            steps({"calls": [["delete", {"path": kind}], ["delete", {"path": kind}]]})
        )
        conversation = runs["asking"].split(".")[0]
        for name in ("queued", "never"):
            runs[name] = api.start("say it", conversation_id=conversation, on_busy="queue")
        runs["hanging"] = api.start(steps(call("slow", seconds=1000)))
        runs["writing"] = api.start(steps(call("write", name=kind)))
        runs["speaking"] = other.start(ticking(kind))
        eventually(lambda: f"write {kind}" in anywhere.effects)
        os.kill(until_ticking(api, runs["speaking"]), signal.SIGKILL)
        anywhere.open_gate(kind)
        api.until(runs["asking"], "awaiting_approval")
        assert other.stop(runs["never"], reason="not any more").is_success
        for number, answer in ((1, True), (2, False)):
            assert api.decide(f"{runs['asking']}.{number}", approve=answer).status_code == 200
        api.until(runs["hanging"], "executing", "awaiting_approval")  # the latter if its worker was killed
        other.stop(runs["hanging"])
        for name in ("plain", "asking", "queued", "never", "hanging", "speaking"):
            api.ended(runs[name])
        # Its worker was killed, and it asks a person now; or it was another worker's, and goes on.
        api.stop(runs["writing"])
        api.ended(runs["writing"])
        for follower in (here, there):
            assert_whole(follower, api, runs.values())
    page = api.http.get(FEED, params={"limit": 1000}, headers={"Accept": "application/json"}).json()
    seen = {(entry["data"]["run_id"], entry["data"]["seq"]): entry["data"] for entry in page["entries"]}
    assert wanted(api, runs.values()).items() <= seen.items()


def test_a_question_that_expires_without_a_worker_is_in_it(tmp_path: Path) -> None:
    with world(tmp_path / "server", JACKLINE_APPROVAL_EXPIRY="0.5") as made, following(made.api) as follower:
        run_id = made.api.start(steps(call("delete", path="/late")))
        made.api.ended(run_id)
        assert_whole(follower, made.api, [run_id])
        states = [data["state"] for data in follower.entries().values()]
        assert "expired" in states


def test_it_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    """A cursor of before is good after, and what was appended meanwhile comes."""
    with world(tmp_path / "server") as made:
        api = made.api
        with following(api) as follower:
            first = api.start(steps(call("delete", path="/here")))
            api.until(first, "awaiting_approval")
            assert_whole(follower, api, [first])
            crash(made.server)
        made.server.launch()
        made.until_workers(1)
        second = api.start("hello")
        api.decide(f"{first}.1", approve=True)
        for run_id in (first, second):
            api.ended(run_id)
        with following(api, follower.cursor) as resumed:
            entries = wanted(api, [first, second])
            known = follower.entries()
            eventually(lambda: entries.keys() <= known.keys() | resumed.entries().keys(), what="the rest")
            assert not known.keys() & resumed.entries().keys()


@pytest.mark.parametrize("held", ["nothing", "everything"])
def test_a_replica_goes_on_where_the_other_was(replicas: World, held: str) -> None:
    with following(replicas.api) as follower:
        first = replicas.api.start("one")
        replicas.api.ended(first)
        assert_whole(follower, replicas.api, [first])
    second = replicas.other.start("two")
    replicas.other.ended(second)
    with following(replicas.other, "" if held == "everything" else follower.cursor) as resumed:
        assert_whole(resumed, replicas.other, [second, first] if held == "everything" else [second])


def test_curl_reads_it(embedded: World, tmp_path: Path) -> None:
    """G9: the first frame at once, then whatever comes, then heartbeats."""
    output = tmp_path / "feed"
    url = f"{embedded.api.url}{FEED}?after=now"
    with start_process(["curl", "-sSN", url, "-o", output], log_path=tmp_path / "curl.log") as curl:
        eventually(lambda: output.exists() and b"event: ready" in output.read_bytes())
        run_id = embedded.api.start("hello")
        wanted_text = f'"run_id":"{run_id}"'.encode()
        eventually(lambda: wanted_text in output.read_bytes() and b"event: heartbeat" in output.read_bytes())
        curl.kill()
        curl.wait()
    done = subprocess.run(
        ["curl", "-sSI", url, "--max-time", "20"], capture_output=True, check=True, timeout=PATIENCE
    )
    assert b"text/event-stream" in done.stdout
