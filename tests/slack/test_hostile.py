"""What Slack, people and models may do at the worst moment, and what the guarantees then say."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World, world
from tests.slack.bridge import BridgeProcess, bridge
from tests.slack.limits import pings
from tests.slack.shapes import Message
from tests.slack.slack_side import BOT
from tests.slack.stand_in import StandIn
from tests.slack.test_approvals import ask
from tests.slack.test_runs import CHANNEL, run_of

ODD_AGENT = Path(__file__).parent / "odd_agent.py"
SLOW_TWICE = steps({"say": "I wait. ", "calls": [["slow", {"seconds": 600}], ["slow", {"seconds": 601}]]})


def stale(message: Message) -> Message:
    """The message as somebody still has it on their screen."""
    return Message(
        channel=message.channel, ts=message.ts, user=BOT, body=dict(message.body), thread=message.thread
    )


def granted(server: World, run_id: str) -> int:
    return sum(each.get("state") == "granted" for each in server.api.log(run_id))


def test_a_press_that_comes_again_after_a_restart_decides_nothing_twice(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G5, G6: neither by Slack's repetition nor by the bridge's own, and nobody is told of a failure."""
    ts, question = ask(slack, "/hostile/twice")
    slack.press("UANA", question, "approve")
    [press] = [each for each in slack.envelopes if each.kind == "interactive"]
    slack.until(lambda: press.acknowledged)
    bridged.kill()
    slack.again(press)
    bridged.launch()
    slack.again(press)
    slack.find(CHANNEL, ts, "Completed")
    slack.again(press)
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    other = slack.mention("UANA", CHANNEL, "another")
    slack.find(CHANNEL, other, "Completed")
    assert server.effects.count("delete /hostile/twice") == 1
    assert granted(server, run_of(server, ts)) == 1
    assert slack.whispers == []


def test_a_stop_that_comes_again_stops_no_later_run(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4: `stop` typed in a thread means what went on when it was typed."""
    ts = slack.mention("UANA", CHANNEL, SLOW_TWICE)
    slack.find(CHANNEL, ts, "started")
    slack.say("UANA", CHANNEL, "stop", ts)
    slack.find(CHANNEL, ts, "Stopped*: asked for")
    stop = next(each for each in slack.envelopes if each.payload.get("event", {}).get("text") == "stop")
    slack.mention(
        "UANA",
        CHANNEL,
        steps({"say": "second ", "gate": "hostile-stop", **call("note", text="x")}, {"say": "end"}),
        ts,
    )
    slack.find(CHANNEL, ts, "second")
    bridged.kill()
    slack.again(stop)
    bridged.launch()
    slack.again(stop)
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    server.open_gate("hostile-stop")
    slack.until(lambda: "end" in slack.transcript(CHANNEL, ts).split())


def test_a_receipt_comes_whole_and_once_through_a_storm_of_429(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G4: the stop itself does not wait for Slack, its receipt does."""
    ts = slack.mention("UANA", CHANNEL, SLOW_TWICE)
    slack.until(lambda: slack.thread_text(CHANNEL, ts).count("started") == 2)
    slack.storm, slack.storm_s = 5, 2
    slack.press("UANA", slack.thread(CHANNEL, ts)[0], "stop")
    run_id = run_of(server, ts)
    server.api.ended(run_id)
    receipt = slack.find(CHANNEL, ts, "Stopped*: asked for")
    assert receipt.text.count("*slow*") == 2
    slack.until(lambda: "[Stop]" not in slack.thread_text(CHANNEL, ts))
    assert [each.key for each in slack.thread(CHANNEL, ts)].count(f"{run_id}/end") == 1
    assert slack.storm == 0


@pytest.mark.parametrize("word", ["not_in_channel", "is_archived", "token_revoked", "account_inactive"])
def test_a_thread_that_is_shut_stops_nothing_and_is_completed_later(
    slack: StandIn, server: World, bridged: BridgeProcess, word: str
) -> None:
    """G2, G4, G8: the run goes on, its buttons work, other channels are told theirs, and what is missing
    comes once, with the next bridge."""
    gate = f"hostile-{word}"
    ts = slack.mention(
        "UANA",
        CHANNEL,
        steps(
            {"say": "one ", "gate": gate, **call("note", text="x")},
            {"say": "two ", **call("slow", seconds=600)},
        ),
    )
    slack.find(CHANNEL, ts, "one")
    run_id, status = run_of(server, ts), slack.thread(CHANNEL, ts)[0]
    slack.broken[CHANNEL] = word
    server.open_gate(gate)
    server.api.until_tool(run_id, "slow", "started")
    slack.until(lambda: any(refused[1] == word for refused in slack.refused))
    other = slack.mention("UANA", "COPS", "elsewhere")
    slack.find("COPS", other, "Completed")
    slack.press("UBOB", status, "stop")
    assert server.api.ended(run_id)["state"] == "stopped"
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    assert slack.refused.count(("chat.postMessage", word)) <= 2
    bridged.kill()
    del slack.broken[CHANNEL]
    bridged.launch()
    slack.find(CHANNEL, ts, "Stopped*: asked for")
    slack.until(lambda: "[Stop]" not in slack.thread_text(CHANNEL, ts))
    assert slack.transcript(CHANNEL, ts).split() == ["one", "two"]
    keys = [each.key for each in slack.thread(CHANNEL, ts)]
    assert len(set(keys)) == len(keys)


def test_a_command_that_cannot_be_carried_out_says_why(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G11: that an archived channel is one, and not that the bot is to be invited; in the channel where Slack
    takes no answer to the command any more."""
    slack.broken[CHANNEL] = "is_archived"
    slack.command("UANA", CHANNEL, "hello")
    slack.until(lambda: slack.responses)
    assert "is_archived" in slack.responses[0]["text"]
    assert "/invite" not in slack.responses[0]["text"]
    slack.broken[""] = "expired_url"
    slack.command("UBOB", "COPS", "")
    slack.until_whisper("UBOB", "Say what is to be done")


def test_the_message_that_began_a_thread_may_be_removed(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G2: the run goes on, and others are told."""
    ts = slack.mention(
        "UANA",
        CHANNEL,
        steps({"say": "one ", "gate": "hostile-root", **call("note", text="x")}, {"say": "two"}),
    )
    slack.find(CHANNEL, ts, "one")
    run_id = run_of(server, ts)
    next(each for each in slack.channels[CHANNEL] if each.ts == ts).deleted = True
    server.open_gate("hostile-root")
    assert server.api.ended(run_id)["state"] == "completed"
    other = slack.mention("UANA", CHANNEL, "another")
    slack.find(CHANNEL, other, "Completed")


def test_a_removed_question_is_let_be_and_its_answer_holds_nothing_up(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G5: what was pressed before it was removed counts; the rest of the thread goes on."""
    ts, question = ask(slack, "/hostile/removed")
    pressed = stale(question)
    question.deleted = True
    slack.press("UANA", pressed, "approve")
    slack.find(CHANNEL, ts, "that was it")
    slack.find(CHANNEL, ts, "Completed")
    assert server.effects.count("delete /hostile/removed") == 1


def test_thousands_of_tokens_and_long_outputs_fit_and_are_whole(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G1: within Slack's limits, which the stand-in refuses to exceed."""
    notes = {"calls": [["big", {"size": 100_000 + n}] for n in range(12)]}
    said = {"say": "tick & <tock> ", "times": 3000, **notes}
    ts = slack.mention("UANA", CHANNEL, steps(said, {"say": "```\n" + "code `" * 2000 + "\n```"}))
    slack.find(CHANNEL, ts, "Completed")
    words = slack.transcript(CHANNEL, ts).split()
    assert [words.count(each) for each in ("tick", "&amp;", "&lt;tock&gt;")] == [3000] * 3
    assert " ".join(words).count("code") == 2000
    assert slack.thread_text(CHANNEL, ts).count("*big*") == 12
    assert slack.refused == []


HOSTILE = "<!channel> <@UBOB> <http://evil.example|ok> @here `x` ````` *Approved* by user:ana"


def test_nothing_that_a_model_or_a_tool_says_is_more_than_text(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G11: in words, arguments, results, questions, reasons, errors, and in what one person is told."""
    ts = slack.mention(
        "UANA",
        CHANNEL,
        steps(
            {"say": HOSTILE, **call("note", text=HOSTILE)},
            call("explode", path=HOSTILE),
            call("delete", path=HOSTILE),
            {"say": "end"},
        ),
    )
    slack.press("UANA", slack.find(CHANNEL, ts, "[Approve]"), "approve")
    question = slack.until(
        lambda: next((m for m in slack.thread(CHANNEL, ts) if "*delete* wants" in m.text and m.buttons), None)
    )
    before = stale(question)
    answer = server.api.decide(json.loads(question.buttons[0]["value"])[0], approve=False, reason=HOSTILE)
    assert answer.status_code == 200
    slack.until(lambda: "Denied" in question.text)
    slack.press("UBOB", before, "approve")
    slack.until_whisper("UBOB", "Not decided")
    slack.find(CHANNEL, ts, "Completed")
    waits = slack.mention("UANA", CHANNEL, steps({"say": HOSTILE, **call("slow", seconds=600)}))
    slack.find(CHANNEL, waits, "started")
    slack.mention("UANA", CHANNEL, "stop")
    slack.until_whisper("UANA", "Which one")
    server.api.stop(run_of(server, waits), reason=HOSTILE)
    slack.find(CHANNEL, waits, "Stopped*: asked for")
    mine = [m for known in slack.channels.values() for m in known if m.user == BOT]
    bodies = [state for m in mine for state in m.states] + [each.body for each in slack.whispers]
    for body in bodies:
        assert pings(body, edited=True) == []
        # Markdown's own links say where they lead; Slack's, which need not, are none.
        assert "<http://evil.example|" not in json.dumps(body)
    for m in mine:
        if "wants to run" in m.text:
            [_, code, _] = m.text.split("```")
            assert "*Approved* by user:ana" in code


def test_of_two_who_answer_at_once_one_decides_and_the_other_is_told(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G5."""
    for number in range(3):
        path = f"/hostile/both/{number}"
        ts, question = ask(slack, path)
        slack.press("UBOB", question, "deny")
        form = slack.until_form("UBOB")
        told = len(slack.whispers)
        with ThreadPoolExecutor(2) as people:
            denied = people.submit(slack.submit, form, "no")
            people.submit(slack.press, "UANA", question, "approve").result()
            wrong = denied.result()
        slack.find(CHANNEL, ts, "Completed")
        log = server.api.log(run_of(server, ts))
        [answer] = [
            each["state"] for each in log if each.get("state") in ("granted", "denied") and "round" in each
        ]
        assert server.effects.count(f"delete {path}") == (answer == "granted")
        if answer == "granted":
            assert wrong is not None
            assert "already granted by local" in wrong
            slack.forms.remove(form)
        else:
            assert wrong is None
            slack.until(lambda told=told: len(slack.whispers) > told)
            assert "already denied by local" in slack.whispers[-1].text


def test_who_answers_after_the_expiry_is_told_so(slack: StandIn, tmp_path: Path) -> None:
    """G5: by button, by form and by an edit; nothing runs."""
    with (
        world(tmp_path / "server", JACKLINE_APPROVAL_EXPIRY="6") as own,
        bridge(slack, own.server.url, tmp_path),
    ):
        ts, question = ask(slack, "/hostile/late")
        before = stale(question)
        slack.press("UBOB", question, "edit")
        form = slack.until_form("UBOB")
        slack.press("UANA", before, "deny")
        denial = slack.until_form("UANA")
        slack.until(lambda: "Expired" in question.text)
        assert question.buttons == []
        slack.press("UANA", before, "approve")
        assert "already expired by system" in slack.until_whisper("UANA", "Not decided").text
        assert "already expired by system" in (slack.submit(form, '{"path": "/hostile/other"}') or "")
        assert "already expired by system" in (slack.submit(denial, "no") or "")
        slack.find(CHANNEL, ts, "Completed")
        assert not any("/hostile" in effect for effect in own.effects)


def test_an_edit_that_cannot_be_checked_says_what_can_be_done(slack: StandIn, tmp_path: Path) -> None:
    """G5, G11: Slack waits three seconds for a form; unedited the question can be answered all the same."""
    with (
        world(tmp_path / "server", agent=f"{ODD_AGENT}:agent") as own,
        bridge(slack, own.server.url, tmp_path),
    ):
        ts = slack.mention("UANA", CHANNEL, "go")
        question = slack.find(CHANNEL, ts, "[Approve]")
        slack.press("UANA", question, "edit")
        form = slack.until_form("UANA")
        said = slack.submit(form, '{"path": "/other"}') or ""
        assert "does not answer in time" in said
        assert "approve or deny it unedited" in said
        assert own.api.snapshot(run_of(own, ts))["state"] == "awaiting_approval"
        slack.press("UBOB", question, "approve")
        slack.find(CHANNEL, ts, "Completed")
