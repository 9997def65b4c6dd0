"""What happens to the bridge, to Slack and to the server happens to no run, and nothing is said twice."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World, world
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.shapes import Message
from tests.slack.slack_side import TICKET
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of
from tests.support.processes import eventually

PROMPT = steps(
    *({"say": f"Part {number} is said. ", **call("note", text=f"slack {number}")} for number in range(8)),
    call("delete", path="/slack/restart"),
    *({"say": f"Part {number} is said. ", **call("note", text=f"slack {number}")} for number in range(8, 12)),
    {"say": "The end."},
)


def said(server: World, run_id: str) -> list[str]:
    """The words of a run's log."""
    return "".join(str(each["text"]) for each in server.api.log(run_id) if "text" in each).split()


def assert_told_once(slack: StandIn, server: World, ts: str) -> None:
    """G1: the thread holds the words of the log, in order, each message once."""
    server.api.ended(run_of(server, ts))
    words = said(server, run_of(server, ts))
    slack.until(lambda: slack.transcript(CHANNEL, ts).split() == words, "all words, once, in order")
    keys = [each.key for each in slack.thread(CHANNEL, ts)]
    assert len(set(keys)) == len(keys)
    calls = [each.text for each in slack.thread(CHANNEL, ts) if "/calls." in each.key]
    log = server.api.log(run_of(server, ts))
    requested = [each["name"] for each in log if each.get("state") == "requested"]
    assert sum(text.count(" · finished · ") for text in calls) == len(requested)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_bridge_says_nothing_twice(
    slack: StandIn, server: World, bridged: BridgeProcess, seed: int
) -> None:
    """G1: killed once Slack has a message and before the bridge knows, and while it decides."""
    chance = random.Random(seed)
    fatal = set(chance.sample(range(1, 20), 3))
    posted: list[Message] = []
    killed: list[int] = []

    def on_post(message: Message) -> None:
        posted.append(message)
        if len(posted) in fatal:
            bridged.process.kill(signal.SIGKILL)
            killed.append(len(posted))

    slack.on_post = on_post
    ts = slack.mention("UANA", CHANNEL, PROMPT)
    pressed: list[Message] = []

    def asks() -> bool:
        return not pressed and "[Approve]" in slack.thread_text(CHANNEL, ts)

    def over() -> bool:
        return "The end." in slack.transcript(CHANNEL, ts)

    while not over() or not bridged.process.running:
        eventually(lambda: not bridged.process.running or over() or asks(), what="something to do")
        if not bridged.process.running:
            bridged.launch(wait=False)
        elif asks():
            pressed.append(slack.find(CHANNEL, ts, "[Approve]"))
            slack.press("UANA", pressed[0], "approve")
            if chance.random() < 0.5:
                bridged.kill()
    assert_told_once(slack, server, ts)
    assert len(killed) == 3
    slack.find(CHANNEL, ts, "Completed")
    slack.until(lambda: "[Approve]" not in slack.thread_text(CHANNEL, ts))
    assert slack.refused == []


def test_what_a_dead_worker_had_begun_to_say_is_said_once(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G7: the thread is the transcript, in which superseded text is not."""
    ts = slack.mention("UANA", CHANNEL, steps({"say": "I begin. ", "gate": "slack-takeover"}))
    slack.find(CHANNEL, ts, "I begin.")
    run_id = run_of(server, ts)
    for worker in server.server.children():
        worker.kill()
    slack.find(CHANNEL, ts, "attempt 2, taken over")
    server.open_gate("slack-takeover")
    transcript = server.api.ended(run_id)["transcript"]
    words = " ".join(each["text"] for each in transcript if each["role"] == "assistant").split()
    slack.until(lambda: slack.transcript(CHANNEL, ts).split() == words)


@pytest.mark.parametrize("ahead_s", [0, -7200, 7200])
def test_a_message_whose_answer_was_lost_is_looked_for(
    slack: StandIn, server: World, bridged: BridgeProcess, ahead_s: float
) -> None:
    """Whatever Slack's clock says, or ours."""
    slack.clock_ahead_s = ahead_s
    slack.lose_answers = 3
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", **call("note", text="x")}, {"say": "two"}))
    assert_told_once(slack, server, ts)
    assert slack.lose_answers == 0


def test_a_storm_of_429_delays_and_loses_nothing(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """Slack's `Retry-After` is kept: no call of the method comes before it is over."""
    slack.storm = 4
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", **call("note", text="x")}, {"say": "two"}))
    assert_told_once(slack, server, ts)
    refused = [at for method, at in slack.limited if method == "chat.postMessage"]
    assert refused
    calls = [at for method, at in slack.calls if method == "chat.postMessage"]
    for at in refused:
        assert not [call for call in calls if at < call < at + 0.95]


def test_slack_may_be_away_for_a_whole_run(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "slack-away"}, {"say": "two"}))
    slack.find(CHANNEL, ts, "one")
    run_id = run_of(server, ts)
    slack.away = True
    slack.disconnect()
    server.open_gate("slack-away")
    server.api.ended(run_id)
    slack.until(lambda: "does not answer" in bridged.log(), "it is noticed")
    slack.away = False
    assert_told_once(slack, server, ts)
    slack.find(CHANNEL, ts, "Completed")
    again = slack.mention("UANA", CHANNEL, "are you there")
    slack.find(CHANNEL, again, "are you there")


def test_a_server_that_is_away_is_said_so(slack: StandIn, tmp_path: Path) -> None:
    """G8: honest under outage; the thread goes on where it was."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path):
        ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/x"), {"say": "two"}))
        question = slack.find(CHANNEL, ts, "[Approve]")
        status = slack.find(CHANNEL, ts, "Waiting for you")
        own.server.process.end()
        slack.until(lambda: "No connection to Jackline" in status.text)
        assert "[Stop]" in status.text
        other = slack.mention("UBOB", CHANNEL, "said while it was away")
        slack.until_whisper("UBOB", "kept")
        own.server.launch()
        slack.until(lambda: "Waiting for you" in status.text)
        slack.press("UANA", question, "approve")
        slack.find(CHANNEL, ts, "two")
        slack.until(lambda: slack.transcript(CHANNEL, other) == "said while it was away")
        assert own.api.snapshot(run_of(own, ts))["state"] == "completed"


def test_sigterm_ends_it_at_once_and_cleanly(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "term"}, {"say": "two"}))
    slack.find(CHANNEL, ts, "one")
    bridged.process.kill(signal.SIGTERM)
    assert bridged.process.wait() == 0
    for word in ("Traceback", "Unclosed", "never retrieved", "destroyed", "Warning"):
        assert word not in bridged.log()
    server.open_gate("term")
    bridged.launch()
    assert_told_once(slack, server, ts)


def test_a_second_bridge_on_the_same_file_is_refused(
    slack: StandIn, server: World, bridged: BridgeProcess, tmp_path: Path
) -> None:
    """G11."""
    bridged.log_path = tmp_path / "second.log"
    first = bridged.process
    bridged.launch(wait=False)
    assert bridged.process.wait() == 2
    assert "another jackline slack runs" in bridged.log()
    assert first.running


def test_a_ticket_to_connect_with_stands_in_no_log(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    slack.deaf = True
    slack.disconnect()
    eventually(lambda: "ticket=…" in bridged.log(), what="it could not connect")
    slack.deaf = False
    ts = slack.mention("UANA", CHANNEL, "back again")
    slack.find(CHANNEL, ts, "back again")
    assert TICKET not in bridged.log()


def test_a_message_that_was_removed_is_let_be(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """The others go on, and Slack is not asked for it again and again."""
    said = {"say": "tick ", "times": 200, "pace": 0.02}
    ts = slack.mention("UANA", CHANNEL, steps({**said, **call("note", text="x")}, {"say": "the end"}))
    slack.find(CHANNEL, ts, "tick tick").deleted = True
    slack.until(lambda: slack.transcript(CHANNEL, ts) == "the end")
    slack.find(CHANNEL, ts, "Completed")
    assert slack.refused == [("chat.update", "message_not_found")]


def test_a_request_that_is_too_old_is_not_carried_out(
    slack: StandIn, server: World, bridged: BridgeProcess, tmp_path: Path
) -> None:
    """Nobody expects it any more. And one that cannot be read holds nobody up."""
    before = server.api.run_ids()
    bridged.kill()
    asked = {"user": "UANA", "name": "ana", "channel": CHANNEL, "thread": None, "answer": None}
    rows: list[tuple[str, float, dict[str, object]]] = [
        ("old", time.time() - 7200, {"asked": asked, "text": "old"}),
        ("broken", time.time(), {}),
    ]
    with contextlib.closing(sqlite3.connect(tmp_path / "slack.db")) as db, db:
        for name, at, body in rows:
            put = "INSERT INTO inbox (id, kind, body, at) VALUES (?, 'mention', ?, ?)"
            db.execute(put, (name, json.dumps(body), at))
    bridged.launch()
    slack.until_whisper("UANA", "say it again")
    ts = slack.mention("UANA", CHANNEL, "a new one")
    slack.find(CHANNEL, ts, "a new one")
    assert len(server.api.run_ids() - before) == 1


def test_a_server_with_other_data_is_told_so_and_used(slack: StandIn, tmp_path: Path) -> None:
    """G8: threads of before say that their run is not there; new ones have all that they had."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path) as process:
        ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/x"), {"say": "two"}))
        status = slack.find(CHANNEL, ts, "Waiting for you")
        own.server.process.end()
        own.server.env = {**own.server.env, "JACKLINE_DATA_DIR": str(tmp_path / "other")}
        own.server.launch()
        slack.until(lambda: "Not there any more" in status.text and not status.buttons)
        slack.mention("UANA", CHANNEL, "go on", ts)
        slack.until_whisper("UANA", "or is deleted")
        new = slack.mention("UANA", CHANNEL, "a new one")
        slack.find(CHANNEL, new, "Completed")
        own.api.start("from the page", conversation_id=run_of(own, new).rsplit(".", 1)[0])
        slack.find(CHANNEL, new, "from the page")
        assert process.process.running


def test_what_was_started_elsewhere_while_the_bridge_was_away_goes_on_in_the_thread(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G1: the cursor of the feed is kept."""
    ts = slack.mention("UANA", CHANNEL, "from slack")
    slack.find(CHANNEL, ts, "Completed")
    conversation = run_of(server, ts).rsplit(".", 1)[0]
    told = "from slack"
    for number in range(2):
        bridged.kill()
        server.api.start(f"meanwhile {number}", conversation_id=conversation)
        bridged.launch()
        slack.find(CHANNEL, ts, f"meanwhile {number}")
        slack.until(lambda: "[Stop]" not in slack.thread_text(CHANNEL, ts))
        # What was asked stands there before what was said: killed in between, this comes after the next run.
        told += f"\nmeanwhile {number}"
        slack.until(lambda told=told: slack.transcript(CHANNEL, ts) == told)
    assert told == "from slack\nmeanwhile 0\nmeanwhile 1"
