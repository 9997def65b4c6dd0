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
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL

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
    slack: StandIn, keyed: World, keyed_bridge: BridgeProcess
) -> None:
    """G12: what is not bob's is not found for bob, in Slack too."""
    ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/keyed"), {"say": "gone"}))
    question = slack.find(CHANNEL, ts, "[Approve]")
    slack.press("UBOB", question, "approve")
    assert "not yours" in slack.until_whisper("UBOB", "Not decided").text
    slack.press("UBOB", slack.thread(CHANNEL, ts)[0], "stop")
    assert "not yours" in slack.until_whisper("UBOB", "Not stopped").text
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
