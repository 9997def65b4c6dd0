"""Questions as buttons: who may press, what becomes of them, and who else answered."""

from __future__ import annotations

import json

from tests.blackbox.api import Api, call, steps
from tests.blackbox.conftest import World
from tests.slack.bridge import BridgeProcess
from tests.slack.shapes import Message, buttons_of
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of


def ask(slack: StandIn, *paths: str) -> tuple[str, Message]:
    """A run that asks; its thread, and the message with the buttons."""
    calls = {"calls": [["delete", {"path": path}] for path in paths]}
    ts = slack.mention("UANA", CHANNEL, steps(calls, {"say": "that was it"}))
    return ts, slack.find(CHANNEL, ts, "[Approve]")


def test_a_press_approves_and_the_message_says_who(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G5; an approval in Slack is seen by every other viewer."""
    ts, question = ask(slack, "/slack/a")
    assert "/slack/a" in question.text
    slack.find(CHANNEL, ts, "Waiting for you")
    slack.press("UBOB", question, "approve")
    slack.find(CHANNEL, ts, "that was it")
    done = slack.until(lambda: "Approved" in question.text and question.text)
    assert question.buttons == []
    assert "by local" in done
    assert "bob in Slack" in done
    granted = [each for each in server.api.log(run_of(server, ts)) if each.get("state") == "granted"]
    assert [(each["by"], each["reason"]) for each in granted] == [("local", "bob in Slack")]
    assert server.effects.count("delete /slack/a") == 1


def test_a_denial_asks_for_the_reason(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts, question = ask(slack, "/slack/b")
    slack.press("UANA", question, "deny")
    form = slack.until_form("UANA")
    assert slack.submit(form, "not today") is None
    slack.until(lambda: "Denied" in question.text)
    assert "ana in Slack: not today" in question.text
    slack.find(CHANNEL, ts, "Completed")
    assert "delete /slack/b" not in server.effects


def test_edited_arguments_are_checked_by_the_server(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G11: what is wrong stands in the form, which stays open."""
    ts, question = ask(slack, "/slack/c")
    slack.press("UANA", question, "edit")
    form = slack.until_form("UANA")
    assert json.loads(form.view["blocks"][0]["element"]["initial_value"]) == {"path": "/slack/c"}
    assert "Not JSON" in (slack.submit(form, "{") or "")
    assert "object" in (slack.submit(form, "[1]") or "")
    assert "path" in (slack.submit(form, '{"path": 7}') or "")
    assert slack.submit(form, '{"path": "/slack/other"}') is None
    slack.find(CHANNEL, ts, "Completed")
    slack.until(lambda: "with other arguments" in question.text)
    assert "delete /slack/other" in server.effects
    assert "delete /slack/c" not in server.effects


def test_arguments_that_are_stored_aside_are_not_edited(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """What stands in their place is no arguments; sent back, it would be taken for some."""
    ts, question = ask(slack, "/slack/" + "x" * 40_000)
    slack.press("UANA", question, "edit")
    slack.until_whisper("UANA", "too large to be edited here")
    assert slack.forms == []
    slack.press("UANA", slack.thread(CHANNEL, ts)[0], "stop")
    slack.until(lambda: "Withdrawn" in question.text)


def test_all_of_a_step_may_be_approved_at_once(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts, question = ask(slack, "/slack/d1", "/slack/d2", "/slack/d3")
    slack.until(lambda: "[Approve all 3]" in question.text)
    slack.press("UANA", question, "approve_all")
    slack.find(CHANNEL, ts, "Completed")
    slack.until(lambda: question.text.count("Approved") == 3)
    assert sorted(line for line in server.effects if "/slack/d" in line) == [
        "delete /slack/d1",
        "delete /slack/d2",
        "delete /slack/d3",
    ]


def test_who_answered_elsewhere_is_named(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G5: and who presses too late is told so."""
    ts, question = ask(slack, "/slack/e")
    before = dict(question.body)
    call_id = json.loads(question.buttons[0]["value"])[0]
    answer = server.api.decide(call_id, approve=False, reason="by the page")
    assert answer.status_code == 200
    slack.until(lambda: "Denied" in question.text and "by the page" in question.text)
    stale = Message(channel=question.channel, ts=question.ts, user="", body=before, thread=ts, states=[])
    slack.press("UBOB", stale, "approve")
    assert "already denied by local" in slack.until_whisper("UBOB", "Not decided").text
    assert question.buttons == []


def test_a_stop_withdraws_what_was_asked(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G4."""
    ts, question = ask(slack, "/slack/f")
    slack.press("UANA", slack.thread(CHANNEL, ts)[0], "stop")
    slack.until(lambda: "Withdrawn" in question.text)
    assert question.buttons == []
    slack.find(CHANNEL, ts, "Stopped*: asked for by local")


def test_a_stranger_is_refused_and_told_what_to_do(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G12: closed by default."""
    ts, question = ask(slack, "/slack/g")
    slack.press("UEVE", question, "approve")
    slack.press("UEVE", question, "deny")
    slack.press("UEVE", slack.thread(CHANNEL, ts)[0], "stop")
    slack.mention("UEVE", CHANNEL, "let me in")
    slack.until(lambda: sum(each.user == "UEVE" for each in slack.whispers) == 4)
    assert all("slack_users" in each.text for each in slack.whispers)
    assert slack.forms == []
    assert server.api.snapshot(run_of(server, ts))["state"] == "awaiting_approval"
    slack.press("UANA", question, "approve")
    slack.find(CHANNEL, ts, "Completed")


def test_an_unknown_outcome_is_asked_about(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G6: a person says what became of a call whose worker died."""
    ts = slack.mention("UANA", CHANNEL, steps(call("write", name="slack-w"), {"say": "written"}))
    slack.find(CHANNEL, ts, "started")
    Api.until_tool(server.api, run_of(server, ts), "write", "started")
    for worker in server.server.children():
        worker.kill()
    question = slack.find(CHANNEL, ts, "[Run it again]")
    slack.press("UANA", question, "done")
    assert slack.submit(slack.until_form("UANA"), '"it is there"') is None
    slack.find(CHANNEL, ts, "Completed")
    slack.until(lambda: "Answered" in question.text)
    assert server.effects.count("write slack-w") == 1


def test_a_button_of_another_question_about_a_call_answers_none(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G6: a late second press on "run it again", say, is no answer to a question that nobody has read."""
    ts, question = ask(slack, "/slack/round")
    body = json.loads(json.dumps(question.body))
    for button in buttons_of(body):
        button["value"] = json.dumps([json.loads(button["value"])[0], 7])
    other = Message(channel=CHANNEL, ts=question.ts, user="", body=body, thread=ts)
    slack.press("UANA", other, "approve")
    slack.until_whisper("UANA", "That question is answered")
    assert "delete /slack/round" not in server.effects
    slack.press("UANA", question, "approve")
    slack.find(CHANNEL, ts, "Completed")
