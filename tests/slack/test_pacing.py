"""Slack's rates and the order of what is sent, without Slack and without waiting."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import anyio
import anyio.lowlevel
import pytest

from jackline.errors import ConfigError
from jackline.slack.drawing import Drawn, button, buttons, section
from jackline.slack.gates import Gates, Method
from jackline.slack.ledger import Ledger, Thread
from jackline.slack.speaker import Mouth, Place, Speaker
from jackline.slack.web import SlackRefused, SlackWeb


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def calls(gates: Gates, clock: Clock, method: Method, channel: str, count: int) -> list[float]:
    """When so many calls were let through."""
    found: list[float] = []
    for _ in range(count):
        await gates.enter(method, channel)
        found.append(clock.now - 1000)
    return found


@pytest.mark.anyio
async def test_posts_are_one_a_second_in_each_channel_after_a_burst() -> None:
    clock = Clock()
    gates = Gates(1.0, clock, clock.sleep)
    times = await calls(gates, clock, "post", "C1", 10)
    assert times[:3] == [0, 0, 0]
    assert all(1 <= after - before < 1.01 for before, after in pairwise(times[2:]))
    begun = clock.now
    await calls(gates, clock, "post", "C2", 3)
    assert clock.now == begun, "another channel has a rate of its own"


@pytest.mark.anyio
async def test_edits_share_fifty_a_minute_among_all_channels() -> None:
    clock = Clock()
    gates = Gates(1.0, clock, clock.sleep)
    for number in range(53):
        await gates.enter("edit", f"C{number}")
    assert 60 <= clock.now - 1000 < 61


@pytest.mark.anyio
async def test_what_slack_asks_to_wait_is_waited() -> None:
    clock = Clock()
    gates = Gates(1.0, clock, clock.sleep)
    await gates.enter("post", "C1")
    gates.hold("post", "C1", 30)
    [at] = await calls(gates, clock, "post", "C1", 1)
    assert at >= 30
    [other] = await calls(gates, clock, "post", "C2", 1)
    assert other == at


@pytest.mark.anyio
async def test_a_smaller_share_is_slower() -> None:
    clock = Clock()
    times = await calls(Gates(0.5, clock, clock.sleep), clock, "post", "C1", 5)
    assert 4 <= times[-1] < 4.01


class Said:
    """Takes what is posted and edited, in order."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def post(self, _channel: str, _thread: str, _key: str, text: str, _blocks: object) -> str:
        self.texts.append(text)
        return f"{len(self.texts)}.0"

    async def edit(self, _channel: str, _ts: str, _key: str, text: str, _blocks: object) -> None:
        self.texts.append(text)


@asynccontextmanager
async def speaking(
    path: Path,
    said: Said,
    draw: Callable[[], list[Drawn]],
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> AsyncGenerator[Speaker]:
    """A speaker that runs, with a ledger of its own at `path`."""
    clock, ledger = Clock(), Ledger(path)
    mouth = Mouth(cast("SlackWeb", said), Gates(1.0, clock, clock.sleep), ledger)
    speaker = Speaker(mouth, Place(channel="C1", thread="1.0"), "c.1", draw, sleep)
    async with anyio.create_task_group() as group:
        group.start_soon(speaker.run)
        yield speaker
        group.cancel_scope.cancel()
    ledger.close()


@pytest.mark.anyio
async def test_an_ending_is_told_when_all_before_it_stands(tmp_path: Path) -> None:
    """G9: who reads that a run is completed has all of it before them."""
    said = Said()
    shown = [Drawn(key="status", text="working"), Drawn(key="say.0", text="half")]
    async with speaking(tmp_path / "slack.db", said, lambda: shown) as speaker:
        await speaker.settled()
        shown[:] = [
            Drawn(key="status", text="completed", last=True),
            replace(shown[1], text="whole"),
            Drawn(key="calls.1", text="done"),
        ]
        await speaker.settled()
    assert said.texts == ["working", "half", "whole", "done", "completed"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("follows", "texts"),
    [
        ([Drawn(key="say.0", text="whole")], ["ended", "whole", "completed"]),
        ([Drawn(key="say.0", gone=True)], ["completed"]),
        ([], ["completed"]),
    ],
)
async def test_a_run_that_ended_before_its_first_message_is_told_so_too(
    tmp_path: Path, follows: list[Drawn], texts: list[str]
) -> None:
    """G9: the first message comes before what was said, and its ending after."""
    said = Said()
    meanwhile = Drawn(key="status", text="ended")
    shown = [Drawn(key="status", text="completed", last=True, meanwhile=meanwhile), *follows]
    async with speaking(tmp_path / "slack.db", said, lambda: shown) as speaker:
        await speaker.settled()
    assert said.texts == texts


class Refusing(Said):
    """Refuses blocks that take more than `most`, with `word`, until that is None."""

    def __init__(self, word: str, most: int = 0) -> None:
        super().__init__()
        self.word: str | None = word
        self.most = most
        self.refused = 0

    async def post(self, channel: str, thread: str, key: str, text: str, blocks: object) -> str:
        if self.word is not None and len(str(blocks)) > self.most:
            self.refused += 1
            raise SlackRefused("chat.postMessage", self.word)
        return await super().post(channel, thread, key, text, blocks)


@pytest.mark.anyio
async def test_a_question_that_slack_does_not_take_is_told_in_short(tmp_path: Path) -> None:
    """G5: one that nobody sees would hold up its run. It has no buttons: nobody decides on what they cannot
    read. And what cannot be said in short either does not hold up the rest."""
    for most, said_then in ((400, ["a: waits", "rest"]), (2, ["rest"])):
        path = tmp_path / f"{most}.db"
        said = Refusing("invalid_blocks", most)
        long = [section("x" * 1000), buttons(button("approve", "Approve", "v"))]
        shown = [Drawn(key="ask.1", text="a: waits", blocks=long), Drawn(key="say.2", text="rest")]
        async with speaking(path, said, lambda shown=shown: shown) as speaker:
            await speaker.settled()
        assert said.texts == said_then


@pytest.mark.anyio
async def test_a_thread_in_which_nothing_can_be_said_is_tried_again(tmp_path: Path) -> None:
    """G8: the bot was removed, and is invited again later: what is missing comes then, and not before it is
    asked for too often."""
    said = Refusing("not_in_channel", -1)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            said.word = None
        await anyio.lowlevel.checkpoint()

    shown = [Drawn(key="status", text="working")]
    async with speaking(tmp_path / "slack.db", said, lambda: shown, sleep) as speaker:
        with anyio.fail_after(30):
            while not said.texts:
                await speaker.settled()
    assert (said.texts, waits, said.refused) == (["working"], [60, 300, 1800, 1800], 4)
    assert not speaker.lost


class Stubborn(Said):
    """Refuses an edit, for a reason that nobody knows."""

    async def edit(self, channel: str, ts: str, key: str, text: str, blocks: object) -> None:
        if text == "odd":
            raise SlackRefused("chat.update", "update_failed")
        await super().edit(channel, ts, key, text, blocks)


@pytest.mark.anyio
async def test_an_edit_that_is_refused_keeps_no_question_from_its_thread(tmp_path: Path) -> None:
    """G5: what nobody sees, nobody answers."""
    said = Stubborn()

    async def sleep(seconds: float) -> None:
        del seconds
        await anyio.lowlevel.checkpoint()

    shown = [Drawn(key="status", text="working")]
    async with speaking(tmp_path / "slack.db", said, lambda: shown, sleep) as speaker:
        await speaker.settled()
        shown = [
            Drawn(key="status", text="odd"),
            Drawn(key="say.1", text="half"),
            Drawn(key="ask.2", text="?"),
        ]
        for _ in range(5):
            await speaker.settled()
    assert said.texts == ["working", "half", "?"]


def test_what_came_once_is_taken_once_also_by_the_next_bridge(tmp_path: Path) -> None:
    path = tmp_path / "slack.db"
    ledger = Ledger(path)
    assert ledger.take("Ev1", "mention", {"text": "x"}) is not None
    assert ledger.take("Ev1", "mention", {"text": "x"}) is None
    ledger.intend("c.1", "status")
    ledger.begin(Thread(conversation_id="c", channel="C1", ts="1.0", user="U1"), "c.1")
    ledger.close()
    again = Ledger(path)
    assert [each.id for each in again.waiting()] == ["Ev1"]
    again.done("Ev1")
    assert again.waiting() == []
    assert again.take("Ev1", "mention", {"text": "x"}) is None
    assert again.messages("c.1")["status"].ts is None
    [(run_id, thread)] = again.open_runs()
    assert (run_id, thread.ts) == ("c.1", "1.0")
    again.told("c.1")
    assert again.open_runs() == []
    assert again.knows("c.1")
    kept = [each for each in tmp_path.iterdir() if "lock" not in each.name]
    assert [each.stat().st_mode & 0o077 for each in kept] == [0, 0, 0], "nobody else may read it"
    again.close()


def test_what_nothing_needs_any_more_is_forgotten(tmp_path: Path) -> None:
    """A run is forgotten with its thread only: found once more it would be told once more. What is not told
    to its end is kept, however old it is."""
    path, day = tmp_path / "slack.db", 86400.0
    ledger = Ledger(path)
    for name in ("old", "open", "late", "gone"):
        thread = Thread(conversation_id=name, channel="C1", ts=name, user="U1")
        for number in (1, 2):
            ledger.begin(thread, f"{name}.{number}")
            ledger.posted(f"{name}.{number}", "status", "1.0", "")
            ledger.told(f"{name}.{number}")
    ledger.gone("gone.2")
    for id_ in ("Ev1", "Ev2"):
        ledger.take(id_, "mention", {})
    ledger.done("Ev1")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        now = time.time()
        db.execute("UPDATE runs SET at = ?", (now - 200 * day,))
        db.execute("UPDATE runs SET at = ? WHERE run_id = 'late.2'", (now - 100 * day,))
        db.execute("UPDATE runs SET at = ? WHERE run_id = 'gone.2'", (now - 10 * day,))
        db.execute("UPDATE runs SET done = 0 WHERE run_id = 'open.2'")
        db.execute("UPDATE inbox SET at = ?", (now - 40 * day,))
    ledger.prune()
    kept = {name: ledger.thread_of(name) is not None for name in ("old", "open", "late", "gone")}
    assert kept == {"old": False, "open": True, "late": True, "gone": True}
    assert [ledger.knows(f"{name}.1") for name in kept] == list(kept.values())
    assert [run_id for run_id, _ in ledger.open_runs()] == ["open.2", "gone.2"]
    assert [name for name in kept if ledger.messages(f"{name}.2")] == ["open", "gone"]
    assert (ledger.taken("Ev1"), [each.id for each in ledger.waiting()]) == (None, ["Ev2"])
    ledger.close()


def test_one_file_belongs_to_one_bridge(tmp_path: Path) -> None:
    """G11."""
    ledger = Ledger(tmp_path / "deep" / "slack.db")
    with pytest.raises(ConfigError, match="another jackline slack runs"):
        Ledger(tmp_path / "deep" / "slack.db")
    ledger.close()
    Ledger(tmp_path / "deep" / "slack.db").close()
