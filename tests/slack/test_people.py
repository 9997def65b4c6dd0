"""Slack's users are principals: each acts with a key of its own, and only there where it may."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World, world
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.slack_side import APP_TOKEN, BOT_TOKEN
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of

KEYS = {"UANA": "key-of-ana", "UBOB": "key-of-bob"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """A server where ana and bob have keys."""
    keys = [
        {"principal": f"user:{user[1:].lower()}", "sha256": hashlib.sha256(key.encode()).hexdigest()}
        for user, key in KEYS.items()
    ]
    with world(tmp_path_factory.mktemp("keyed"), JACKLINE_KEYS=json.dumps(keys)) as made:
        yield made


@pytest.fixture
def keyed_bridge(slack: StandIn, keyed: World, tmp_path: Path) -> Generator[BridgeProcess]:
    users = {**KEYS, "UOLD": "a key that was taken back"}
    with bridge(slack, keyed.server.url, tmp_path, users=users, JACKLINE_SLACK_CHANNELS=CHANNEL) as made:
        yield made


def test_the_log_names_the_person_and_not_the_bridge(
    slack: StandIn, keyed: World, keyed_bridge: BridgeProcess, tmp_path: Path
) -> None:
    """G12: what is not bob's is not found for bob, in Slack too."""
    ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/keyed"), {"say": "gone"}))
    question = slack.find(CHANNEL, ts, "[Approve]")
    slack.press("UBOB", question, "approve")
    assert "not yours" in slack.until_whisper("UBOB", "Not decided").text
    slack.press("UBOB", slack.thread(CHANNEL, ts)[0], "stop")
    assert "not yours" in slack.until_whisper("UBOB", "Not stopped").text
    slack.mention("UBOB", CHANNEL, "stop")
    slack.until_whisper("UBOB", "Nothing goes on here that you could stop")
    slack.mention("UBOB", CHANNEL, "may I", ts)
    slack.until_whisper("UBOB", "belongs to somebody else")
    slack.press("UANA", question, "approve")
    slack.find(CHANNEL, ts, "gone")
    slack.until(lambda: "by user:ana" in question.text)
    ana = keyed.client(Authorization="Bearer key-of-ana")
    [run_id] = ana.run_ids()
    log = ana.log(run_id)
    assert log[0]["by"] == "user:ana"
    assert [each["by"] for each in log if each.get("state") == "granted"] == ["user:ana"]
    assert keyed.effects.count("delete /keyed") == 1
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"bridge.log", "slack.db", "slack.db-wal"} <= set(files)
    secrets = [*KEYS.values(), BOT_TOKEN, APP_TOKEN]
    assert [name for name, kept in files.items() for each in secrets if each.encode() in kept] == []
    assert not any(each in part for each in secrets for part in keyed_bridge.args)


def test_a_key_that_is_not_taken_is_told(slack: StandIn, keyed: World, keyed_bridge: BridgeProcess) -> None:
    """G11."""
    slack.mention("UOLD", CHANNEL, "hello")
    slack.until_whisper("UOLD", "does not take your key")


def test_other_channels_are_not_listened_to(
    slack: StandIn, keyed: World, keyed_bridge: BridgeProcess
) -> None:
    """G12."""
    slack.mention("UANA", "COPS", "hello")
    ts = slack.mention("UBOB", CHANNEL, "and here")
    slack.find(CHANNEL, ts, "and here")
    heard = [each for each in slack.envelopes if each.payload["event"].get("channel") == "COPS"]
    slack.until(lambda: all(each.acknowledged for each in heard), "it is acknowledged")
    assert [each.text for each in slack.channels["COPS"] if each.user == "UBOT"] == []


def test_another_workspace_with_the_same_user_ids_is_not_listened_to(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G12: Slack's ids of users say who somebody is within a workspace only."""
    before = server.api.run_ids()
    slack.say("UANA", CHANNEL, "from elsewhere", mentions=True, team="T0OTHER")
    ts = slack.mention("UANA", CHANNEL, "from here")
    slack.find(CHANNEL, ts, "Completed")
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    assert len(server.api.run_ids() - before) == 1


def test_a_guest_in_a_shared_channel_is_nobody_that_is_mapped(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G12: a channel may be shared with another organization, whose people have ids of their own."""
    before = server.api.run_ids()
    slack.say("UANA", CHANNEL, "from a guest", mentions=True, guest_of="T0OTHER")
    ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/shared"), {"say": "gone"}))
    question = slack.find(CHANNEL, ts, "[Approve]")
    slack.say("UANA", CHANNEL, "stop", ts, guest_of="T0OTHER")
    slack.press("UANA", question, "approve", guest_of="T0OTHER")
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    slack.press("UBOB", question, "deny")
    slack.submit(slack.until_form("UBOB"), "not today")
    slack.find(CHANNEL, ts, "Completed")
    [run_id] = server.api.run_ids() - before
    [asked] = [each for each in server.api.snapshot(run_id)["approvals"] if each["call_id"]]
    assert (asked["state"], "bob" in asked["reason"]) == ("denied", True)


def test_who_is_taken_out_of_the_mapping_may_not_press_any_more(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G12; and the thread of somebody who has left goes on for those who are there."""
    ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/left"), {"say": "gone"}))
    question = slack.find(CHANNEL, ts, "[Approve]")
    bridged.kill()
    bridged.env["JACKLINE_SLACK_USERS"] = json.dumps({"UBOB": ""})
    bridged.launch()
    for press in ("approve", "deny"):
        slack.press("UANA", question, press)
    slack.press("UANA", slack.thread(CHANNEL, ts)[0], "stop")
    slack.until(lambda: sum("slack_users" in each.text for each in slack.whispers) == 3)
    assert "delete /left" not in server.effects
    slack.say("UBOB", CHANNEL, "stop", ts)
    slack.until(lambda: server.api.snapshot(run_of(server, ts))["state"] == "stopped")
    slack.mention("UBOB", CHANNEL, steps({"say": "bob goes on"}), ts)
    slack.find(CHANNEL, ts, "bob goes on")
    slack.until(lambda: "Withdrawn" in question.text)
