"""What the black-box tests say to a server: plain HTTP, nothing of the product but its SSE codec."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

from jackline.sse import Decoder
from tests.support.processes import PATIENCE, eventually

ROOT = "/api/v1/agent"
T = TypeVar("T")
Data = dict[str, Any]
Step = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame as it came over the wire."""

    id: str | None
    event: str
    raw: str

    @property
    def data(self) -> Data:
        return json.loads(self.raw)

    @property
    def entry(self) -> bool:
        return self.event in {"token", "workflow", "tool", "approval"}


def steps(*what: Step) -> str:
    """A prompt for the scripted model of `agents.py`."""
    return json.dumps(list(what))


def call(name: str, /, **args: object) -> Step:
    """A step that calls one tool."""
    return {"calls": [[name, args]]}


class Api:
    """One server, or one of several on the same store."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=PATIENCE, trust_env=False, headers=headers)

    def start(self, prompt: str, **more: object) -> str:
        """Start a run and return its id."""
        body = {"messages": [{"role": "user", "content": prompt}], **more}
        answer = self.http.post(f"{ROOT}/chat", json=body, headers={"Accept": "application/json"})
        assert answer.status_code == 202, answer.text
        return answer.json()["run_id"]

    @contextlib.contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Generator[Iterator[Frame]]:
        """The frames of a stream as they come; leaving the block cuts it."""
        with self.http.stream(method, f"{ROOT}{path}", **options) as answer:
            assert answer.status_code == 200, answer.read().decode()
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield _frames(answer.iter_raw())

    def frames(self, run_id: str, **query: object) -> list[Frame]:
        """All frames of a run's stream, to its end."""
        with self.stream("GET", f"/runs/{run_id}/events", params=query) as frames:
            return list(frames)

    def entries(self, run_id: str, **query: object) -> list[Frame]:
        """The entries of a run's stream, to its end, none merged."""
        return [frame for frame in self.frames(run_id, **{"compact": 0, **query}) if frame.entry]

    def page(self, run_id: str, after: int = 0, limit: int = 1000) -> Data:
        """One JSON page."""
        query = {"after": after, "limit": limit}
        answer = self.http.get(
            f"{ROOT}/runs/{run_id}/events", params=query, headers={"Accept": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run_ids(self) -> set[str]:
        """All runs there are."""
        found: set[str] = set()
        query: dict[str, str | int] = {"limit": 1000}
        while True:
            page = self.http.get(f"{ROOT}/runs", params=query).json()
            found |= {run["run_id"] for run in page["runs"]}
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    def events_url(self, run_id: str, compact: int = 0) -> str:
        """Where a client of somebody else's reads a run."""
        return f"{self.url}{ROOT}/runs/{run_id}/events?compact={compact}"

    def log(self, run_id: str) -> list[Data]:
        """The entries that stand in the log now."""
        return [entry["data"] for entry in self.page(run_id)["entries"]]

    def snapshot(self, run_id: str) -> Data:
        answer = self.http.get(f"{ROOT}/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, run_id: str, *states: str) -> Data:
        """Wait until the run has one of `states`; its snapshot."""

        def reached() -> Data | None:
            snapshot = self.snapshot(run_id)
            return snapshot if snapshot["state"] in states else None

        return eventually(reached, what=f"{run_id} {states}")

    def until_tool(self, run_id: str, name: str, state: str) -> Data:
        """Wait until a call of the tool `name` has `state`; the call."""

        def reached() -> Data | None:
            tools = self.snapshot(run_id)["tools"]
            return next((tool for tool in tools if tool["name"] == name and tool["state"] == state), None)

        return eventually(reached, what=f"{run_id}: {name} {state}")

    def decide(self, call_id: str, **decision: object) -> httpx2.Response:
        accept = {"Accept": "application/json"}
        return self.http.post(f"{ROOT}/approvals/{call_id}", json=decision, headers=accept)

    def stop(self, run_id: str, wait: float | None = None, **body: object) -> httpx2.Response:
        query = {} if wait is None else {"wait": wait}
        return self.http.post(f"{ROOT}/runs/{run_id}/stop", json=body, params=query)

    def ended(self, run_id: str) -> Data:
        return self.until(run_id, "completed", "failed", "stopped")


@dataclass(kw_only=True)
class Watch:
    """A viewer in a thread of its own. `frames` grows while it watches."""

    frames: list[Frame] = field(default_factory=list[Frame])
    over: bool = False
    left: bool = False
    """Set to leave at the next frame; there is one with each heartbeat."""

    @property
    def entries(self) -> list[Frame]:
        return [frame for frame in list(self.frames) if frame.entry]

    def count(self, event: str, **members: object) -> int:
        """Frames of the event so far whose data has these members."""
        frames = [frame.data for frame in list(self.frames) if frame.event == event]
        return sum(members.items() <= data.items() for data in frames)

    def until(self, event: str, count: int = 1, **members: object) -> None:
        """Wait until there are so many of these."""
        eventually(lambda: self.count(event, **members) >= count, what=f"{count} {event} {members}")

    def until_over(self) -> None:
        """Wait until the stream has said its last frame."""
        eventually(lambda: self.over, what="the stream's last frame")


@contextlib.contextmanager
def watching(api: Api, run_id: str, **query: object) -> Generator[Watch]:
    """A viewer of a run for the length of the block, on a connection of its own."""
    watch = Watch()
    own = Api(api.url)

    def read() -> None:
        with contextlib.suppress(httpx2.HTTPError, httpx2.StreamError):
            with own.stream("GET", f"/runs/{run_id}/events", params={"compact": 0, **query}) as frames:
                for frame in frames:
                    watch.frames.append(frame)
                    if watch.left:
                        return
            watch.over = True

    with contextlib.closing(own.http), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            yield watch
        finally:
            watch.left = True
            reading.result(PATIENCE)


def at_once(clients: Sequence[Api], do: Callable[[Api], T]) -> list[T]:
    """What `do` gives for each client, all of them in the same moment."""
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(do, clients))


def _frames(chunks: Iterator[bytes]) -> Iterator[Frame]:
    decoder = Decoder()
    for chunk in chunks:
        for event in decoder.feed(chunk):
            yield Frame(id=event.id, event=event.event, raw=event.data)


@dataclass(kw_only=True)
class Check:
    """What every run must satisfy, whatever happened to it."""

    log: list[Data]
    endings: list[Data] = field(init=False)

    def __post_init__(self) -> None:
        """G1, G3: `seq` without holes, exactly one ending, last; no call left open."""
        assert [entry["seq"] for entry in self.log] == list(range(1, len(self.log) + 1))
        final = {"completed", "failed", "stopped"}
        self.endings = [entry for entry in self.log if "attempt" in entry and entry["state"] in final]
        assert len(self.endings) == 1
        assert self.endings[0] is self.log[-1]
        last = {
            entry["call_id"]: entry["state"]
            for entry in self.log
            if "call_id" in entry and "round" not in entry
        }
        assert set(last.values()) <= {"finished", "failed", "denied", "cancelled", "unknown"}
        asked = {(entry["call_id"], entry["round"]): entry["state"] for entry in self.log if "round" in entry}
        assert "pending" not in asked.values()

    def tools(self, state: str) -> list[str]:
        """Names of the tools of the entries with `state`, in order."""
        return [
            entry["name"]
            for entry in self.log
            if "name" in entry and "round" not in entry and entry["state"] == state
        ]

    def no_start_after_stop(self) -> None:
        """G4: once `stopping` stands, nothing starts."""
        stop = next(at for at, entry in enumerate(self.log) if entry.get("state") == "stopping")
        assert not [entry for entry in self.log[stop:] if entry.get("state") == "started"]
