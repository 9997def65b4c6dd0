"""Webs and workers of neighbouring versions on one store: upgrades and rollbacks in the middle of runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jackline.commands import Commands, Decision
from jackline.context import CallRequest, RunContext
from jackline.errors import Conflict
from jackline.events import Entry, Json, Message, Tool, Unknown, Workflow, decode, frame_data
from jackline.log.base import Page, Store
from jackline.settings import Settings, load
from jackline.tools import ToolSpec
from jackline.web.app import create_app
from tests.contract.backends import BACKENDS
from tests.versions.neighbours import Version, bodies_of, of_version
from tests.web.harness import ANA, API, KEYS, Client
from tests.worker.house import Boss, House, Scripted

pytestmark = pytest.mark.anyio

ORDERS: list[tuple[Version, Version, Version]] = [
    ("former", "present", "present"),  # an upgrade to this version
    ("former", "present", "former"),  # and back
    ("present", "next", "present"),  # an upgrade from this version, and back
    ("next", "present", "next"),  # both at once
]


class Work:
    """Speaks and asks; makes its calls, the first of which hangs for whoever makes it first; speaks."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.done: list[str] = []

    async def __call__(self, ctx: RunContext) -> Json:
        look, delete = f"{ctx.run_id}.1", f"{ctx.run_id}.2"
        schema: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}
        specs = [
            ToolSpec(name="look", effect="idempotent", approval="allow"),
            ToolSpec(name="delete", schema=schema),
        ]
        calls = [
            CallRequest(call_id=i, args={"n": 1}, spec=s) for i, s in zip((look, delete), specs, strict=True)
        ]
        if ctx.checkpoint is None:
            message = ctx.new_message()
            for word in ("I ", "will ", "ask."):
                await ctx.say(word, message_id=message)
            await ctx.begin_step()
            ctx.new_calls(2)
            await ctx.request(calls)
            await ctx.ask(calls[1:], checkpoint=b"asked")
        assert ctx.checkpoint == b"asked"
        await ctx.run_tool(delete, self.delete)
        await ctx.run_tool(look, self.look)
        await ctx.say("Done.", message_id=ctx.new_message())
        return {"done": list(self.done)}

    async def delete(self, args: Json) -> Json:
        self.done.append(f"delete {json.dumps(args)}")
        return None

    async def look(self, _: Json) -> Json:
        if not self.began.is_set():
            self.began.set()
            await asyncio.get_running_loop().create_future()
        self.done.append("look")
        return None


@pytest.fixture(params=list(BACKENDS))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    async with BACKENDS[request.param](tmp_path) as opened:
        yield opened


def settings() -> Settings:
    return load(stop_grace=1.0, drain=0.2, lease=60.0)


def house(store: Store, version: Version) -> House:
    """A web and workers of a version."""
    return House(store=of_version(store, version), settings=settings(), boss=Boss())


@asynccontextmanager
async def web(store: Store, version: Version) -> AsyncGenerator[Client]:
    values = Settings.model_validate({"heartbeat": 30.0, "drain": 1.0, "keys": KEYS})
    own = of_version(store, version)

    async def default_agent() -> str:
        return "a"

    app = create_app(values, own, Commands(own), default_agent=default_agent)
    async with app.router.lifespan_context(app):
        yield Client(app=app, headers={"authorization": f"Bearer {ANA}"})


async def whole(store: Store, run_id: str) -> Page:
    page = await store.read(run_id, 0, 10_000)
    assert len(page.entries) == page.last
    return page


async def shown_as_written(client: Client, store: Store, run_id: str) -> None:
    """G1: every entry reaches a viewer with the bytes that stand in the log, unknown ones too, and
    merging loses nothing that is not known."""
    page = await whole(store, run_id)
    events = [event for event in await client.events(run_id, "?compact=0") if event.id is not None]
    expected = [(e.type, frame_data(run_id, seq, e.body).decode()) for seq, e in enumerate(page.entries, 1)]
    assert [(event.event, event.data) for event in events] == expected
    merged = [json.loads(event.data) for event in await client.events(run_id) if event.event == "token"]
    strange = bodies_of(page.entries, lambda body: "kind_of_words" in body)
    assert [body["text"] for body in merged if "kind_of_words" in body] == [body["text"] for body in strange]
    said = bodies_of(page.entries, lambda body: "message_id" in body)
    assert "".join(body["text"] for body in merged) == "".join(body["text"] for body in said)
    snapshot = (await client.get(f"{API}/runs/{run_id}")).json()
    assert (snapshot["state"], snapshot["seq"]) == ("completed", page.last)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_a_run_goes_from_version_to_version(
    store: Store, order: tuple[Version, Version, Version]
) -> None:
    """G1, G3, G5, G6, G7: begun by one, answered and driven on by another in the middle of a call, brought
    to its end by a third; nothing runs twice, and each version's viewers see all of it."""
    work = Work()
    first, second, third = (house(store, version) for version in order)
    async with first.worker(Scripted(work), "w1"):
        run = await first.start()
        await first.paused(run)
    edited = Decision(call_id=f"{run}.2", approve=True, args={"n": 2})
    (granted,) = await second.commands.decide([edited], by="user:bo")
    async with second.worker(Scripted(work), "w2"):
        await work.began.wait()
    before = (await whole(store, run)).entries
    async with third.worker(Scripted(work), "w3"):
        if "former" in order:
            # The version before does not say what a call is declared to do, so a person is asked.
            (question,) = (await third.paused(run)).pending
            assert (question.call_id, question.kind) == (f"{run}.1", "outcome")
            retry = Decision(call_id=f"{run}.1", outcome="retry")
            await first.commands.decide([retry], by="user:bo")
        state = await third.ended(run)
    after = (await whole(store, run)).entries
    assert after[: len(before)] == before
    assert (state.state, state.output) == ("completed", {"done": ['delete {"n": 2}', "look"]})
    assert state.attempt == 2
    endings = bodies_of(after, lambda body: body.get("state") in {"completed", "failed", "stopped"})
    assert len(endings) == 1
    for each in (first, second, third):
        assert await each.commands.decide([edited], by="user:cy") == [granted]
        with pytest.raises(Conflict) as refused:
            await each.commands.decide([Decision(call_id=f"{run}.2", approve=False)], by="user:cy")
        assert refused.value.members["by"] == "user:bo"
    for version in order:
        async with web(store, version) as client:
            await shown_as_written(client, store, run)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_a_stop_and_an_expiry_are_obeyed_by_neighbours(
    store: Store, order: tuple[Version, Version, Version]
) -> None:
    """G3, G4: accepted by one version, obeyed by another, told by a third."""
    work = Work()
    first, second, third = (house(store, version) for version in order)
    async with first.worker(Scripted(work), "w1"):
        parked = await first.start()
        await first.paused(parked)
        driven = await first.start()
        await first.paused(driven)
        await second.commands.decide([Decision(call_id=f"{driven}.2", approve=True)], by="user:bo")
        await work.began.wait()
        await second.commands.stop(driven, by="user:bo", reason="enough")
        state = await first.ended(driven)
    assert (state.state, state.stop is not None and state.stop.reason) == ("stopped", "enough")
    assert state.receipt is None or {call.outcome for call in state.receipt.tools} <= {
        "cancelled",
        "finished_before_stop",
    }
    assert (await third.commands.stop(parked, by="user:bo")).state == "stopping"
    for each in (first, second, third):
        assert (await each.commands.stop(parked, by="user:cy")).state == "stopped"
        assert (await each.commands.stop(driven, by="user:cy")).state == "stopped"
        assert await each.commands.sweep() == 0
        heads, _ = await each.store.runs()
        assert {head.closed for head in heads} == {True}
    for version in order:
        async with web(store, version) as client:
            listed = (await client.get(f"{API}/runs")).json()["runs"]
            assert {item["state"] for item in listed} == {"stopped"}
            for run_id in (parked, driven):
                events = [
                    event for event in await client.events(run_id, "?compact=0") if event.id is not None
                ]
                assert len(events) == (await store.head(run_id)).last
    assert work.done == ['delete {"n": 1}']


async def test_the_next_message_of_a_conversation_knows_what_neighbours_wrote(store: Store) -> None:
    """An earlier run of a later version is history as any other."""
    seen: list[Any] = []

    async def agent(ctx: RunContext) -> Json:
        seen.append([(run.state.state, run.state.copy_text(), run.checkpoint) for run in ctx.previous])
        await ctx.begin_step()
        await ctx.say("hello", message_id=ctx.new_message())
        await ctx.save(b"saved")
        return None

    talk = ""
    versions: list[Version] = ["next", "present", "former", "present"]
    for version in versions:
        h = house(store, version)
        async with h.worker(Scripted(agent)):
            started = await h.commands.start(
                by="user:ana",
                agent="a",
                messages=[Message(role="user", content="hi")],
                conversation_id=talk or None,
            )
            talk = started.conversation_id
            assert (await h.ended(started.run_id)).state == "completed"
    known = [("completed", "hello", b"saved")]
    assert seen == [[], known, known, known]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (
            "workflow",
            {"state": "stopped", "attempt": 1, "receipt": {"by": "a", "tools": [{"outcome": "beamed up"}]}},
            ("stopped", None),
        ),
        (
            "workflow",
            {"state": "stopping", "attempt": 1, "mode": "when the moon is full"},
            ("stopping", None),
        ),
        ("tool", {"call_id": "c", "name": "t", "state": "requested", "effect": "magic"}, ("requested", None)),
        ("workflow", {"state": "resting", "attempt": 1}, None),
        ("workflow", {"state": "queued", "attempt": 0, "input": [{"role": "oracle"}]}, None),
        ("workflow", {"state": "executing"}, None),
        ("approval", {"call_id": "c", "round": 1, "kind": "call", "name": "t", "state": "voted"}, None),
        (
            "approval",
            {
                "call_id": "c",
                "round": 1,
                "kind": "outcome",
                "name": "t",
                "state": "answered",
                "outcome": "shrug",
            },
            None,
        ),
        ("tool", [], None),
    ],
    ids=str,
)
def test_what_is_not_known_is_passed_over_and_what_is_known_counts(
    kind: str, body: Any, expected: tuple[str, object] | None
) -> None:
    """G3, G4: a stop and an ending are seen whatever else stands there; nothing is done by halves."""
    written = json.dumps({"ts": "2026-01-01T00:00:00.000Z"} | body if body else body)
    event = decode(Entry(kind, written.encode()))
    if expected is None:
        assert isinstance(event, Unknown)
        return
    assert isinstance(event, (Workflow, Tool))
    extra = event.receipt or event.mode if isinstance(event, Workflow) else event.effect
    assert (event.state, extra) == expected
