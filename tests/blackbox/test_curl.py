"""curl, which knows nothing of event streams, reads a run over two cuts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.blackbox.api import ROOT
from tests.blackbox.conftest import World
from tests.blackbox.transcript import PROMPT, assert_whole, decoded, last_id
from tests.support.processes import PATIENCE, eventually, start

CUT_BY_ITS_OWN_CLOCK = 28


def curl(*args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-sSN", *args], capture_output=True, check=False, timeout=PATIENCE)


def test_curl_reads_a_run_over_two_cuts(embedded: World, tmp_path: Path) -> None:
    """G1, G2: cut by its own clock, then killed, then to the end; the run notices nothing."""
    api = embedded.api
    run_id = api.start(PROMPT)
    url = api.events_url(run_id)
    first = curl(url, "--max-time", "1")
    assert first.returncode == CUT_BY_ITS_OWN_CLOCK, first.stderr
    seen = decoded(first.stdout)
    output = tmp_path / "second"
    resume = ["-H", f"Last-Event-ID: {last_id(seen)}"]
    with start(["curl", "-sSN", url, *resume, "-o", output], log_path=tmp_path / "curl.log") as second:
        api.until(run_id, "awaiting_approval")
        eventually(lambda: output.exists() and b"event: heartbeat" in output.read_bytes())
        second.kill()
        second.wait()
    seen += decoded(output.read_bytes())
    assert api.decide(f"{run_id}.2", approve=True).status_code == 200
    third = curl(url, "-H", f"Last-Event-ID: {last_id(seen)}")
    assert third.returncode == 0, third.stderr
    assert_whole(api, run_id, seen + decoded(third.stdout))


def test_curl_sees_the_headers_of_a_stream(embedded: World) -> None:
    """G9: what proxies must be told stands in every stream's head."""
    api = embedded.api
    body = '{"messages":[{"role":"user","content":"hello"}]}'
    url = f"{api.url}{ROOT}/chat"
    done = curl("-D", "-", url, "-H", "Content-Type: application/json", "-d", body)
    assert done.returncode == 0, done.stderr
    head, _, stream = done.stdout.decode().partition("\r\n\r\n")
    status, *lines = head.lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "http/1.1 200 ok"
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store, no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    run_id = decoded(stream.encode())[0].data["run_id"]
    assert headers["x-run-id"] == run_id.lower()
    assert headers["location"] == f"{ROOT}/runs/{run_id}/events".lower()
    assert not {"connection", "content-encoding", "content-length"} & headers.keys()
    assert api.frames(run_id)[-1].event == "end"
