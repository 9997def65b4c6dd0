"""What happens to the bridge, to Slack and to the server happens to no run, and nothing is said twice."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World, world
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.shapes import Message
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


def test_a_message_whose_answer_was_lost_is_looked_for(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
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
