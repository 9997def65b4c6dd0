"""What is found out about a way to Jackline: a proxy with its configuration, or none.

Each question has an answer in a few fixed words, which stand in docs/proxies/matrix.md.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.blackbox.api import ROOT, Api, Check, call, steps
from tests.blackbox.conftest import World
from tests.proxies.origin import Fault
from tests.proxies.viewer import Arrival, Ending, Viewer, watch
from tests.support.processes import HOST, PATIENCE, clean_environment, eventually

ROUNDS: Final = 15
BEFORE: Final = 10
LATE: Final = 3.0
"""How much longer than by the direct path an entry may take. A round takes about 20 ms on the direct path, so
that a proxy may add 40 ms, and the usual faults add 200."""
HELD_HEARTBEATS: Final = 10
"""So many on the direct path after an entry, and it is held back."""

HEARTBEAT: Final = 0.3
LOOKS: Final = 3
SEVERITIES: Final = ("dangerous", "broken", "degraded")

IDLE: Final = 2
"""Seconds that the scaled configurations allow a stream to be silent: they take whole ones only."""
SILENCE: Final = 2 * IDLE


@dataclass(kw_only=True)
class Place:
    """A way to Jackline: through the proxy that listens on `port`. `restart` ends the proxy and starts it."""

    world: World
    port: int
    restart: Callable[[], None]

    @property
    def direct(self) -> int:
        return self.world.port

    @property
    def api(self) -> Api:
        """The direct path."""
        return self.world.api

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a POST through the proxy; status 0 where no answer came."""
        text = json.dumps(body)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Host": f"{HOST}:{self.port}", "Content-Length": str(len(text))}
        given |= {"Content-Type": "application/json", "Accept": "application/json"}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        with socket.create_connection((HOST, self.port), timeout=PATIENCE) as sock:
            # In one piece: a proxy that has passed on a head without its body cannot send it again.
            sock.sendall(f"POST {ROOT}{path} HTTP/1.1\r\n{head}\r\n{text}".encode())
            try:
                with contextlib.closing(http.client.HTTPResponse(sock, method="POST")) as answer:
                    answer.begin()
                    said = answer.read()
            except (OSError, http.client.HTTPException):
                return 0, {}
        return answer.status, json.loads(said) if answer.status < 300 else {}


def chat(prompt: str) -> dict[str, Any]:
    """The body that starts a run."""
    return {"messages": [{"role": "user", "content": prompt}]}


def events(run_id: str) -> str:
    """The path of a run's stream, nothing merged."""
    return f"{ROOT}/runs/{run_id}/events?compact=0"


def name() -> str:
    """A name that no other gate has."""
    return secrets.token_hex(8)


def live(place: Place) -> str:
    """Whether entries arrive as they are made: each is made only when the test has seen the one before.

    Something stands in the log before, and comes to the front in one write, since nobody else watches yet:
    some proxies go by the size of what comes first.
    """
    gate = name()
    before = {"say": "so far ", "times": BEFORE, **call("note", text=gate)}
    run_id = place.api.start(steps(before, {"paced": gate, "times": ROUNDS}))
    eventually(lambda: len(place.api.log(run_id)) > BEFORE, what="what stands before")
    near: list[float] = []
    far: list[float] = []
    with contextlib.ExitStack() as stack:
        front = stack.enter_context(watch(place.port, events(run_id)))
        front.waits(lambda: front.entries, HEARTBEAT * HELD_HEARTBEATS)
        direct = stack.enter_context(watch(place.direct, events(run_id)))
        direct.need(lambda: direct.count("heartbeat"))
        for number in range(ROUNDS):
            opened = time.monotonic()
            place.world.open_gate(f"{gate}-{number}")
            near.append(_token(direct, number).at - opened)
            beats = direct.count("heartbeat")
            if not _seen_within(front, direct, number, beats + HELD_HEARTBEATS):
                break
            far.append(_token(front, number).at - opened)
        for number in range(ROUNDS):
            place.world.open_gate(f"{gate}-{number}")
        place.api.ended(run_id)
        if front.until_over() != "end":
            return "no: cut"
    if len(far) < ROUNDS:
        return "no: held back"
    return "yes" if statistics.median(far) <= LATE * statistics.median(near) else "late"


def _tokens(viewer: Viewer) -> list[Arrival]:
    """Those that were paced."""
    return [
        arrival
        for arrival in list(viewer.arrivals)
        if arrival.frame.event == "token" and arrival.frame.data["text"].strip().isdecimal()
    ]


def _token(viewer: Viewer, number: int) -> Arrival:
    viewer.need(lambda: len(_tokens(viewer)) > number)
    return _tokens(viewer)[number]


def _seen_within(front: Viewer, direct: Viewer, number: int, beats: int) -> bool:
    """Whether the front gets the token before the direct path has so many heartbeats."""
    seen: Callable[[], object] = lambda: len(_tokens(front)) > number or front.ending  # noqa: E731
    while not front.waits(seen, HEARTBEAT):
        if direct.count("heartbeat") >= beats:
            return False
    return len(_tokens(front)) > number


def idle(place: Place) -> str:
    """Whether a stream lives through a silence that is longer than the proxy allows."""
    gate = name()
    body = chat(steps({"say": "hush ", "gate": gate}))
    with watch(place.port, f"{ROOT}/chat", body=body) as front:
        front.waits(lambda: front.ending, SILENCE)
        place.world.open_gate(gate)
        return _kept(front.until_over(), front.status)


def _kept(ending: Ending, status: int | None) -> str:
    if ending == "end":
        return "yes"
    if status is not None and status != 200:
        return f"no: {status}"
    return "no: cut" if ending == "cut" else "no: ends as if whole"


def resume(place: Place) -> str:
    """Whether a viewer comes back over a restart of the proxy to exactly what it has not seen."""
    gate = name()
    first_step = {"say": "tick ", "times": 5, **call("note", text=gate)}
    run_id = place.api.start(steps(first_step, {"say": "tick ", "times": 5, "gate": gate}))
    eventually(lambda: len(place.api.log(run_id)) > 5, what="the first entries")
    with watch(place.port, events(run_id)) as first:
        first.waits(lambda: first.entries, HEARTBEAT * HELD_HEARTBEATS)
        place.restart()
        if first.until_over() == "end":
            return "no: was not cut"
    place.world.open_gate(gate)
    with watch(place.port, events(run_id), headers={"Last-Event-ID": first.last_id}) as second:
        if second.until_over() != "end":
            return "no: cut"
    log = place.api.log(run_id)
    Check(log=log)
    got = [frame.data for frame in first.entries + second.entries]
    return "yes" if got == log else "no"


def duplicates(place: Place) -> str:
    """How often a POST is carried out whose answer is lost, or which is answered with a 503."""
    most = 0
    faults: tuple[Fault, ...] = ("reset", "503")
    for fault in faults:
        before = place.api.run_ids()
        status, _ = place.post("/chat", chat("once"), x_fault=fault)
        assert status in {0, 500, 502, 503, 504}, status
        most = max(most, len(place.api.run_ids() - before))
    assert most
    return "none" if most == 1 else "POST is run again"


def doctor(place: Place, expected: str, *, seconds: int = 0) -> str:
    """What the doctor says: its verdict and its findings. `seconds`: how long it looks for time limits.

    It goes by times. On a busy machine it may find more than there is; what is there it finds each time.
    """
    found = _diagnosis(place, seconds)
    for _ in range(LOOKS - 1):
        if not found.keys() > set(_codes(expected)):
            break
        again = _diagnosis(place, seconds)
        found = {code: severity for code, severity in found.items() if code in again}
    verdict = next((each for each in SEVERITIES if each in found.values()), "good")
    return f"{verdict}: {', '.join(sorted(found))}" if found else verdict


def _codes(said: str) -> list[str]:
    return said.partition(": ")[2].split(", ") if ": " in said else []


def _diagnosis(place: Place, seconds: int) -> dict[str, str]:
    """What it finds, and how bad that is."""
    args = [sys.executable, "-m", "jackline", "doctor", f"http://{HOST}:{place.port}", "--json"]
    args += ["--long", "--seconds", str(seconds)] if seconds else []
    said = subprocess.run(
        args, capture_output=True, text=True, check=False, timeout=2 * PATIENCE, env=clean_environment()
    )
    assert said.stdout, said.stderr
    diagnosis = json.loads(said.stdout)
    found = {finding["code"]: finding["severity"] for finding in diagnosis["findings"]}
    assert diagnosis["verdict"] == next((each for each in SEVERITIES if each in found.values()), "good")
    return found


def acts(place: Place) -> str:
    """Whether a person can answer and stop a run whose stream goes through the proxy, and sees it."""
    return "yes" if _approval(place) and _stop(place) else "no: held back"


def _approval(place: Place) -> bool:
    """Whether the question comes. Then the run goes on in the same stream after the answer."""
    prompt = steps({"say": "well ", **call("delete", path="/proxy")}, {"say": "so "})
    with watch(place.port, f"{ROOT}/chat", body=chat(prompt)) as front:
        if not front.waits(lambda: _asked(front), HELD_HEARTBEATS * HEARTBEAT):
            return False
        status, answer = place.post(f"/approvals/{_asked(front)[0]}", {"approve": True})
        assert (status, answer["state"]) == (200, "granted")
        assert front.until_over() == "end"
    log = place.api.log(front.run_id)
    assert Check(log=log).tools("started") == ["delete"]
    assert [frame.data for frame in front.entries] == log
    return True


def _asked(viewer: Viewer) -> list[str]:
    """Calls about which there is a question."""
    data = [frame.data for frame in viewer.entries if frame.event == "approval"]
    return [each["call_id"] for each in data if each["state"] == "pending"]


def _stop(place: Place) -> bool:
    """Whether what the run says comes. Then a stop ends a silent model, and the stream tells."""
    with watch(place.port, f"{ROOT}/chat", body=chat(steps({"say": "hm ", "gate": name()}))) as front:
        if not front.waits(lambda: front.count("token"), HELD_HEARTBEATS * HEARTBEAT):
            return False
        status, answer = place.post(f"/runs/{front.run_id}/stop?wait=30", {})
        assert (status, answer["state"], answer["receipt"]["model"]) == (200, "stopped", "closed")
        assert front.until_over() == "end"
    Check(log=place.api.log(front.run_id)).no_start_after_stop()
    assert front.frames[-1].data["state"] == "stopped"
    return True
