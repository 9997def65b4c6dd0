"""One run, seen from everywhere: the entries are the same, byte for byte, whoever reads them and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from tests.blackbox.api import ROOT, Api, Check, Data, Frame, call, steps
from tests.blackbox.conftest import AGENTS, World, world

TICKS = 30


@dataclass(frozen=True, kw_only=True)
class Told:
    """A run that has ended, and what viewers saw of it while it went."""

    world: World
    run_id: str
    posted: list[Frame]
    elsewhere: list[Frame]
    from_the_middle: list[Frame]
    joined_after: int
    cut: list[Frame]

    @property
    def entries(self) -> list[Frame]:
        return [frame for frame in self.posted if frame.entry]


def prompt(name: str) -> str:
    return steps(
        {"say": "tick ", "times": TICKS, "pace": 0.01, **call("note", text=name)},
        {"gate": name, "say": "tock ", "times": TICKS, **call("delete", path=name)},
        {"say": "so ", "times": 3, **call("check", path=name)},
    )


def watched(api: Api, run_id: str, after: int = 0) -> list[Frame]:
    """A viewer from its coming to the end of the run."""
    return api.frames(run_id, compact=0, after=after)


def cut_after_every_entry(world: World, run_id: str) -> list[Frame]:
    """A viewer whose connection breaks after each entry, and who comes back elsewhere each time."""
    seen: list[Frame] = []
    for web in cycle(world.webs):
        api = world.client(web.url)
        back = {"Last-Event-ID": seen[-1].id or ""} if seen else {}
        with api.stream("GET", f"/runs/{run_id}/events", params={"compact": 0}, headers=back) as frames:
            frame = next(frame for frame in frames if frame.entry or frame.event == "end")
        api.http.close()
        if frame.event == "end":
            break
        seen.append(frame)
        if frame.data.get("state") in {"completed", "failed", "stopped"} and "attempt" in frame.data:
            break
    return seen


@pytest.fixture(scope="module")
def told(anywhere: World) -> Told:
    """Tokens, a tool, an approval, its execution, its verification; all told to five viewers."""
    name = f"sequence-{len(anywhere.servers)}"
    body = {"messages": [{"role": "user", "content": prompt(name)}]}
    api, other = anywhere.api, anywhere.other
    with ThreadPoolExecutor() as pool, api.stream("POST", "/chat?compact=0", json=body) as frames:
        posted = [next(frames), next(frames)]
        run_id = posted[0].data["run_id"]
        elsewhere = pool.submit(watched, anywhere.client(anywhere.webs[-1].url), run_id)
        cut = pool.submit(cut_after_every_entry, anywhere, run_id)
        posted += until(frames, lambda frame: frame.data.get("state") == "finished")
        middle = int(posted[-1].id or 0)
        from_the_middle = pool.submit(watched, anywhere.client(anywhere.webs[-1].url), run_id, middle)
        anywhere.open_gate(name)
        posted += until(frames, lambda frame: frame.data.get("state") == "awaiting_approval")
        assert other.decide(f"{run_id}.2", approve=True).status_code == 200
        posted += list(frames)
        return Told(
            world=anywhere,
            run_id=run_id,
            posted=posted,
            elsewhere=elsewhere.result(),
            from_the_middle=from_the_middle.result(),
            joined_after=middle,
            cut=cut.result(),
        )


def until(frames: Iterator[Frame], found: Callable[[Frame], bool]) -> list[Frame]:
    """Frames up to and with the first one that `found` likes."""
    seen: list[Frame] = []
    for frame in frames:
        seen.append(frame)
        if found(frame):
            return seen
    raise AssertionError(f"the stream ended: {seen[-1:]}")


def states(entries: list[Frame], kind: str) -> list[str]:
    return [entry.data["state"] for entry in entries if entry.event == kind]


def state_after(entries: list[Frame]) -> str:
    """Another web process may know a run only once its worker has begun: `queued` is not promised."""
    return states(entries, "workflow")[-1]


def test_a_chat_tells_everything_in_order(told: Told) -> None:
    """G1, G3, G9: `ready` first, then all that happens, as it happens, then `end`."""
    ready, end = told.posted[0], told.posted[-1]
    conversation_id = told.run_id.split(".")[0]
    assert (ready.event, ready.id) == ("ready", None)
    newest = ready.data["newest"]
    assert 1 <= newest <= len(told.entries)
    assert ready.data == {
        "run_id": told.run_id,
        "conversation_id": conversation_id,
        "state": state_after(told.entries[:newest]),
        "seq": 0,
        "newest": newest,
        "protocol": "jackline/1",
    }
    log = [entry.data for entry in told.entries]
    assert (end.event, end.id) == ("end", None)
    assert end.data == {"run_id": told.run_id, "state": "completed", "seq": len(log)}
    assert {frame.event for frame in told.posted[1:-1] if not frame.entry} <= {"heartbeat"}
    Check(log=log)
    workflow = [entry for entry in log if "attempt" in entry and "step" not in entry]
    assert [entry["state"] for entry in workflow] == [
        "queued",
        "executing",
        "awaiting_approval",
        "executing",
        "completed",
    ]
    assert log[0]["input"][0]["content"] == prompt(f"sequence-{len(told.world.servers)}")
    tools = [(entry["call_id"], entry["name"], entry["state"]) for entry in log if is_tool(entry)]
    note, delete, check = (f"{told.run_id}.{number}" for number in (1, 2, 3))
    assert tools == [
        (note, "note", "requested"),
        (note, "note", "started"),
        (note, "note", "finished"),
        (delete, "delete", "requested"),
        (delete, "delete", "started"),
        (delete, "delete", "finished"),
        (check, "check", "requested"),
        (check, "check", "started"),
        (check, "check", "finished"),
    ]
    assert states(told.entries, "approval") == ["pending", "granted"]
    assert {entry["verifies"] for entry in log if entry.get("call_id") == check} == {delete}
    steps_begun = [entry["step"] for entry in log if "step" in entry and "usage" not in entry]
    assert steps_begun == [1, 2, 3, 4]
    text = "".join(entry["text"] for entry in log if "text" in entry)
    assert text == "tick " * TICKS + "tock " * TICKS + "so " * 3 + "done"
    assert log[-1]["output"] == "done"


def is_tool(entry: Data) -> bool:
    return "call_id" in entry and "round" not in entry


def test_the_ids_count_without_holes(told: Told) -> None:
    """G1: `seq` is 1, 2, 3 …, and is what a client sends back."""
    assert [entry.data["seq"] for entry in told.entries] == list(range(1, len(told.entries) + 1))
    assert [entry.id for entry in told.entries] == [str(seq) for seq in range(1, len(told.entries) + 1)]
    assert {entry.data["run_id"] for entry in told.entries} == {told.run_id}


def test_a_question_comes_between_its_request_and_its_execution(told: Told) -> None:
    """G5, G6: requested, pending, awaiting, granted, executing, started, finished, in this order."""
    call_id = f"{told.run_id}.2"
    about = [
        (entry.event, entry.data["state"])
        for entry in told.entries
        if entry.data.get("call_id") == call_id
        or (entry.event == "workflow" and not entry.data.keys() & {"step", "usage"})
    ]
    assert about[2:] == [
        ("tool", "requested"),
        ("approval", "pending"),
        ("workflow", "awaiting_approval"),
        ("approval", "granted"),
        ("workflow", "executing"),
        ("tool", "started"),
        ("tool", "finished"),
        ("workflow", "completed"),
    ]


def test_a_viewer_on_another_replica_sees_the_same(told: Told) -> None:
    """G1: live, elsewhere, the same bytes, and the same ending."""
    assert [frame for frame in told.elsewhere if frame.entry] == told.entries
    assert told.elsewhere[0].event == "ready"
    assert told.elsewhere[-1] == told.posted[-1]


def test_a_viewer_that_comes_in_the_middle_sees_the_rest(told: Told) -> None:
    """G1: exactly the entries after its cursor."""
    assert told.from_the_middle[0].data["seq"] == told.joined_after
    assert [frame for frame in told.from_the_middle if frame.entry] == told.entries[told.joined_after :]


def test_a_viewer_that_is_cut_after_every_entry_misses_nothing(told: Told) -> None:
    """G1, G2: a live run, a new connection for each entry, another replica each time."""
    assert told.cut == told.entries


def test_every_cursor_gets_exactly_what_follows(told: Told) -> None:
    """G1: cut and resumed at each `seq`, on each replica; after the last one there is 204."""
    last = len(told.entries)
    for web in told.world.webs:
        api = told.world.client(web.url)
        for seq in range(last):
            frames = watched(api, told.run_id, seq)
            assert (frames[0].event, frames[0].data["seq"]) == ("ready", seq)
            assert [frame for frame in frames if frame.entry] == told.entries[seq:]
            assert frames[-1] == told.posted[-1]
        answer = api.http.get(f"{ROOT}/runs/{told.run_id}/events", headers={"Last-Event-ID": str(last)})
        assert (answer.status_code, answer.content) == (204, b"")


def test_the_header_wins_over_the_address(told: Told) -> None:
    """G1: EventSource cannot change its URL when it comes back."""
    api = told.world.api
    last = len(told.entries)
    with api.stream(
        "GET",
        f"/runs/{told.run_id}/events",
        params={"after": 1, "compact": 0},
        headers={"Last-Event-ID": str(last - 2)},
    ) as frames:
        assert [frame for frame in frames if frame.entry] == told.entries[-2:]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_have_the_same_bytes(told: Told, limit: int) -> None:
    """G1: the JSON page says what the stream says, whatever its size, on each replica."""
    for web in told.world.webs:
        api = told.world.client(web.url)
        after: int | None = 0
        seen: list[Frame] = []
        while after is not None:
            query = {"after": after, "limit": limit}
            accept = {"Accept": "application/json"}
            answer = api.http.get(f"{ROOT}/runs/{told.run_id}/events", params=query, headers=accept)
            page = answer.json()
            assert len(page["entries"]) <= limit
            for entry, raw in zip(page["entries"], raw_entries(answer.text), strict=True):
                seen.append(Frame(id=entry["id"], event=entry["type"], raw=raw))
            after = page["next"]
        assert seen == told.entries


def raw_entries(page: str) -> list[str]:
    """The bytes of each `data` of a page, as they stand there."""
    found: list[str] = []
    decoder = json.JSONDecoder()
    at = page.find('"data":')
    while at != -1:
        begin = at + len('"data":')
        _, end = decoder.raw_decode(page, begin)
        found.append(page[begin:end])
        at = page.find('"data":', end)
    return found


def text_of(frames: list[Frame]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for frame in frames:
        if frame.event == "token":
            message = frame.data["message_id"]
            texts[message] = texts.get(message, "") + frame.data["text"]
    return texts


def assert_merged(frames: list[Frame], entries: list[Frame], after: int) -> None:
    """A replay is lossless: nothing missing, nothing twice, nothing overtaken."""
    following = after + 1
    for frame in frames:
        assert frame.data.get("merged_from", frame.data["seq"]) == following
        assert frame.id == str(frame.data["seq"])
        following = frame.data["seq"] + 1
    assert following == len(entries) + 1
    assert text_of(frames) == text_of(entries[after:])
    assert [frame for frame in frames if frame.event != "token"] == [
        entry for entry in entries[after:] if entry.event != "token"
    ]
    for one, other in pairwise(frames):
        # What can be one frame is one.
        assert one.event != "token" or one.data["message_id"] != other.data.get("message_id")


def test_a_replay_is_merged_and_says_the_same(told: Told) -> None:
    """G1: by default consecutive tokens of a message come as one, from every cursor, on each replica."""
    for web in told.world.webs:
        api = told.world.client(web.url)
        for after in range(0, len(told.entries), 3):
            frames = [frame for frame in api.frames(told.run_id, after=after) if frame.entry]
            assert_merged(frames, told.entries, after)
    whole = told.world.api.frames(told.run_id)
    first = next(frame for frame in whole if frame.event == "token")
    assert first.data["text"] == "tick " * TICKS
    assert int(first.id or 0) - first.data["merged_from"] == TICKS - 1


def test_the_snapshot_says_the_same_on_every_replica(told: Told) -> None:
    """G1: the fold of the same entries."""
    snapshots = [told.world.client(web.url).snapshot(told.run_id) for web in told.world.webs]
    assert all(snapshot == snapshots[0] for snapshot in snapshots)
    snapshot = snapshots[0]
    assert (snapshot["state"], snapshot["seq"], snapshot["attempt"]) == ("completed", len(told.entries), 1)
    said = [message["text"] for message in snapshot["transcript"] if message["role"] == "assistant"]
    assert said == ["tick " * TICKS, "tock " * TICKS, "so " * 3, "done"]
    assert [tool["state"] for tool in snapshot["tools"]] == ["finished"] * 3
    assert snapshot["output"] == "done"


def test_the_headers_keep_proxies_from_holding_the_stream(told: Told) -> None:
    """G9: no store, no buffer, no transformation, and where to come back to."""
    api = told.world.api
    body = {"messages": [{"role": "user", "content": "hello"}]}
    with api.http.stream("POST", f"{ROOT}/chat", json=body) as answer:
        headers = answer.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store, no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["location"] == f"{ROOT}/runs/{headers['x-run-id']}/events"
        assert "content-encoding" not in headers
        assert "close" not in headers.get("connection", "")
        answer.read()


def test_an_agent_may_be_a_plain_function(tmp_path: Path) -> None:
    """G1: it says, calls and returns like any other."""
    with world(tmp_path, agent=f"{AGENTS}:function") as made:
        run_id = made.api.start("look")
        snapshot = made.api.ended(run_id)
        assert (snapshot["state"], snapshot["output"]) == ("completed", {"input": "look"})
        assert snapshot["transcript"][1]["text"] == "looking "
        Check(log=made.api.log(run_id))
        assert made.effects == ["note by a function"]
