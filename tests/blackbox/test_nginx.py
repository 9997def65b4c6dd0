"""A real NGINX before the servers, with nothing set that its defaults do not set."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from jackline.client import Client, Decision, Entry, FollowState, Pace
from jackline.sse import Decoder
from tests.blackbox.api import ROOT, Api, Check, call, steps
from tests.blackbox.conftest import World
from tests.blackbox.transcript import Seen, assert_whole
from tests.support.nginx import nginx, proxy
from tests.support.processes import HOST, PATIENCE, free_port

HTTP_1_1 = 'proxy_http_version 1.1; proxy_set_header Connection "";'


@pytest.fixture(scope="module", params=["proxy_http_version 1.0;", HTTP_1_1], ids=["http1.0", "http1.1"])
def front(
    request: pytest.FixtureRequest, embedded: World, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """A client of NGINX before the embedded server."""
    port = free_port()
    config = proxy(port, embedded.server.url, str(request.param))
    with nginx(tmp_path_factory.mktemp("nginx"), config, port):
        yield embedded.client(f"http://{HOST}:{port}")


def test_frames_come_before_the_run_does_anything(front: Api, embedded: World, tmp_path: Path) -> None:
    """G9: a model that says nothing until the test has seen the first frames. A proxy that held them
    back would hold the test for ever."""
    gate = f"nginx-{tmp_path.name}"
    body = {"messages": [{"role": "user", "content": steps({"gate": gate, "say": ""})}]}
    with front.stream("POST", "/chat", json=body) as frames:
        first = [next(frames) for _ in range(2)]
        assert [frame.event for frame in first] == ["ready", "workflow"]
        assert first[1].data["state"] == "queued"
        next(frame for frame in frames if frame.event == "heartbeat")
        assert embedded.api.snapshot(first[1].data["run_id"])["state"] in {"queued", "executing"}
        embedded.open_gate(gate)
        assert [frame.event for frame in frames][-1] == "end"


def test_a_stream_passes_whole_with_its_headers(front: Api, embedded: World) -> None:
    """G1: the same entries as without a proxy; what is for the proxy alone stays with it."""
    run_id = embedded.api.start(steps({"say": "tick ", "times": 50, "calls": [["note", {"text": "n"}]]}))
    with front.http.stream("GET", f"{ROOT}/runs/{run_id}/events?compact=0") as answer:
        headers = answer.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store, no-cache, no-transform"
        assert headers["x-run-id"] == run_id
        assert "x-accel-buffering" not in headers
        assert "content-encoding" not in headers
        assert headers["server"].startswith("nginx")
    frames = front.frames(run_id, compact=0)
    seen = [Seen(id=frame.id, event=frame.event, data=frame.data) for frame in frames]
    assert_whole(embedded.api, run_id, seen)
    last = str(frames[-1].data["seq"])
    assert front.http.get(f"{ROOT}/runs/{run_id}/events", params={"after": last}).status_code == 204


def test_problems_and_pages_pass(front: Api) -> None:
    """G11: NGINX's own error pages take the place of none of ours."""
    missing = front.http.get(f"{ROOT}/runs/none")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    wrong = front.http.put(f"{ROOT}/runs")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
    assert front.http.get("/readyz").json()["state"] == "ready"


def pool(port: int, *servers: str) -> str:
    """Replicas behind one address. Old workers end, and cut what they carry, soon after a reload."""
    upstream = "".join(f"server {server.removeprefix('http://')};" for server in servers)
    config = proxy(port, "http://replicas", HTTP_1_1).replace(
        "http {\n", f"http {{\nupstream replicas {{ {upstream} }}\n"
    )
    return f"worker_shutdown_timeout 100ms;\n{config}"


@pytest.mark.anyio
async def test_a_reload_in_the_middle_loses_nothing(replicas: World, tmp_path: Path) -> None:
    """G1, G2: two replicas behind one address, reloaded twice while a run is watched: the client
    comes back by itself, to whichever replica, and has every entry once."""
    port = free_port()
    webs = [server.url for server in replicas.servers if server.port is not None]
    assert len(webs) == 2
    gates = [f"reload-{number}-{tmp_path.name}" for number in range(2)]
    prompt = steps(
        *({"say": "tick ", "times": 5, "gate": gate, "calls": [["note", {"text": gate}]]} for gate in gates)
    )
    cuts: list[str] = []

    def on_state(state: FollowState, reason: str) -> None:
        if state == "reconnecting":
            cuts.append(reason)
            replicas.open_gate(gates[min(len(cuts), len(gates)) - 1])

    seen: list[Entry] = []
    with nginx(tmp_path / "nginx", pool(port, *webs), port) as process:
        async with Client(f"http://{HOST}:{port}") as client:
            follow = client.chat(prompt, compact=False, on_state=on_state)
            async for frame in follow:
                if isinstance(frame, Entry):
                    seen.append(frame)
                    ticks = [entry.type for entry in seen].count("token")
                    if frame.type == "token" and ticks in {5, 10}:
                        process.kill(signal.SIGHUP)
    run_id = follow.run_id
    assert run_id is not None
    assert len(cuts) >= len(gates)
    log = replicas.api.log(run_id)
    Check(log=log)
    assert [entry.data for entry in seen] == log


HOLDS_BACK = (
    "proxy_http_version 1.0; proxy_buffering on; proxy_buffer_size 64k; proxy_buffers 8 64k;"
    "proxy_busy_buffers_size 128k; proxy_ignore_headers X-Accel-Buffering;"
)
"""What holds a stream back to its end, whatever its headers say."""

EAGER = Pace(ready_s=0.5, tick_s=0.05)


@pytest.fixture
def dam(embedded: World, tmp_path: Path) -> Generator[str]:
    """The address of an NGINX that holds streams back."""
    port = free_port()
    with nginx(tmp_path / "nginx", proxy(port, embedded.server.url, HOLDS_BACK), port):
        yield f"http://{HOST}:{port}"


@pytest.mark.anyio
async def test_where_streams_are_held_back_the_client_polls_and_misses_nothing(
    dam: str, embedded: World, tmp_path: Path
) -> None:
    """G1, G9: the run goes on only when the test has seen what came before, and the approval is given on
    the way: a client that waited for the stream would wait for ever."""
    gates = [f"dam-{number}-{tmp_path.name}" for number in range(2)]
    prompt = steps(
        {"say": "first ", "times": 3, "gate": gates[0], **call("note", text="x")},
        {"say": "second ", "times": 3, "gate": gates[1], **call("delete", path="x")},
        {"say": "third "},
    )
    told: list[tuple[FollowState, str]] = []
    seen: list[Entry] = []
    async with Client(dam, pace=EAGER) as client, asyncio.timeout(PATIENCE):
        follow = client.chat(prompt, compact=False, on_state=lambda phase, why: told.append((phase, why)))
        async for frame in follow:
            if isinstance(frame, Entry):
                seen.append(frame)
                texts = [entry.data["text"] for entry in seen if entry.type == "token"]
                if frame.type == "token" and len(texts) in {3, 6}:
                    embedded.open_gate(gates[len(texts) // 3 - 1])
                if frame.type == "approval" and frame.data["state"] == "pending":
                    decided = client.decide_and_follow(Decision(call_id=frame.data["call_id"], approve=True))
                    first = await anext(entry async for entry in decided if isinstance(entry, Entry))
                    assert (first.type, first.data["state"]) == ("approval", "granted")
    assert follow.run_id is not None
    assert [entry.data for entry in seen] == embedded.api.log(follow.run_id)
    assert any(phase == "live" and "polling" in why for phase, why in told)


def test_an_eventsource_polls_where_streams_are_held_back(dam: str, embedded: World, tmp_path: Path) -> None:
    """G9: with `?poll=1` each answer is whole as soon as there is something in it."""
    gate = f"dam-{tmp_path.name}"
    front = embedded.client(dam)
    run_id = embedded.api.start(steps({"gate": gate, "say": "late"}))
    last, seen = "0", 0
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        answer = front.http.get(f"{ROOT}/runs/{run_id}/events?poll=1&compact=0", headers=headers)
        events = Decoder().feed(answer.content)
        ids = [event.id for event in events if event.id is not None]
        last, seen = (ids or [last])[-1], seen + len(ids)
        if events[-1].event == "end":
            break
        assert events[-1].event == "shutdown"
        embedded.open_gate(gate)
    assert seen == len(embedded.api.log(run_id))
