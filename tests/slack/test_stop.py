"""Stop is always there, and what it did is told."""

from __future__ import annotations

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.slack.bridge import BridgeProcess
from tests.slack.shapes import Whisper
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of

SLOW = steps({"say": "I wait. ", **call("slow", seconds=600)})


def test_the_button_stops_and_the_receipt_follows(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4."""
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    status = slack.thread(CHANNEL, ts)[0]
    slack.press("UBOB", status, "stop")
    receipt = slack.find(CHANNEL, ts, "was cancelled")
    assert "*slow* was cancelled" in receipt.text
    slack.until(lambda: "Stopped" in status.text)
    assert status.buttons == []
    stopping = next(each for each in server.api.log(run_of(server, ts)) if each.get("state") == "stopping")
    assert stopping["reason"] == "bob in Slack"
    assert "asked for by local (bob in Slack)" in receipt.text
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    slack.say("UBOB", CHANNEL, "stop", ts)
    assert "asked for by local (bob in Slack)" in slack.find(CHANNEL, ts, "was cancelled").text
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    slack.say("UANA", CHANNEL, "stop", ts)
    assert "asked for by local (UANA in Slack)" in slack.find(CHANNEL, ts, "was cancelled").text


def test_stop_may_be_typed(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G4: with a mention or without, in the thread; elsewhere it is a word like any other."""
    for typed in (False, True):
        ts = slack.mention("UANA", CHANNEL, SLOW)
        slack.find(CHANNEL, ts, "started")
        slack.say("UANA", CHANNEL, "stop")
        slack.say("UANA", CHANNEL, "do not stop", ts)
        if typed:
            slack.mention("UANA", CHANNEL, "Stop!", ts)
        else:
            slack.say("UANA", CHANNEL, "stop", ts)
        slack.find(CHANNEL, ts, "was cancelled")


def test_stop_may_be_sent_to_the_channel_too(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G4: Slack's "also send to channel" is one of the ways to write in a thread."""
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    slack.say("UANA", CHANNEL, "stop", ts, subtype="thread_broadcast")
    slack.find(CHANNEL, ts, "was cancelled")


def test_stop_outside_of_a_thread_means_the_one_run_of_a_direct_message(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4: where several go on, the person chooses; where none does, that is said."""
    slack.say("UANA", "DANA", "stop")
    assert slack.until_whisper("UANA", "Nothing goes on here").thread is None
    ts = slack.say("UANA", "DANA", SLOW)
    slack.find("DANA", ts, "started")
    slack.say("UANA", "DANA", "Stop!")
    slack.find("DANA", ts, "was cancelled")
    slack.until_whisper("UANA", "Stopping run")
    both = [slack.say("UANA", "DANA", SLOW) for _ in range(2)]
    for each in both:
        slack.find("DANA", each, "started")
    slack.say("UANA", "DANA", "stop")
    choice = slack.until_whisper("UANA", "Which one")
    for number in range(len(both)):  # which of them began first, nobody has promised
        slack.press("UANA", choice, "stop", number)
    for each in both:
        slack.find("DANA", each, "was cancelled")


def test_stop_outside_of_a_thread_of_a_channel_lets_the_person_choose(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4: the only run that goes on may be somebody else's; nothing is stopped by accident."""
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    slack.mention("UBOB", CHANNEL, "stop")
    choice = slack.until_whisper("UBOB", "Which one")
    assert run_of(server, ts) in choice.text
    assert server.api.snapshot(run_of(server, ts))["state"] == "executing"
    slack.press("UBOB", choice, "stop")
    slack.find(CHANNEL, ts, "was cancelled")


def test_the_command_stops_too_and_starts_no_run_of_that_name(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4: whoever is in a hurry types what is nearest."""
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    before, told = server.api.run_ids(), len(slack.responses)
    slack.command("UBOB", CHANNEL, "Stop!")
    [answer] = slack.until(lambda: slack.responses[told:], "an answer")
    assert run_of(server, ts) in str(answer["blocks"])
    choice = Whisper(channel=CHANNEL, user="UBOB", thread=None, body=answer, ts="1.000001")
    slack.press("UBOB", choice, "stop")
    slack.find(CHANNEL, ts, "was cancelled")
    assert server.api.run_ids() == before


def test_a_stop_by_the_api_is_seen_in_slack(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G4."""
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    server.api.stop(run_of(server, ts), reason="by the page")
    slack.find(CHANNEL, ts, "was cancelled")
    slack.until(lambda: "[Stop]" not in slack.thread_text(CHANNEL, ts))


def test_a_failure_is_told_in_words(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G11."""
    ts = slack.mention("UANA", CHANNEL, steps({"fail": 401}))
    slack.find(CHANNEL, ts, "*Failed*: ")
    assert "401" in slack.thread_text(CHANNEL, ts)


def test_a_stop_that_comes_too_late_is_told_so(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G4."""
    ts = slack.mention("UANA", CHANNEL, "done at once")
    slack.find(CHANNEL, ts, "Completed")
    slack.say("UANA", CHANNEL, "stop", ts)
    slack.until_whisper("UANA", "completed already")
    ts = slack.mention("UANA", CHANNEL, SLOW)
    slack.find(CHANNEL, ts, "started")
    slack.say("UANA", CHANNEL, "stop", ts)
    slack.find(CHANNEL, ts, "was cancelled")
    slack.say("UANA", CHANNEL, "stop", ts)
    slack.until_whisper("UANA", "stopped already")
