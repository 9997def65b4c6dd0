"""Runs in threads: what a thread tells, and that it is what the run's log says."""

from __future__ import annotations

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.slack.bridge import BridgeProcess
from tests.slack.shapes import shown
from tests.slack.stand_in import StandIn
from tests.support.processes import eventually

CHANNEL = "CGENERAL"


def run_of(server: World, thread: str) -> str:
    """The newest run that was started from a thread, once there is one."""

    def found() -> str | None:
        for run in server.api.http.get("/api/v1/agent/runs").json()["runs"]:
            queued = server.api.log(run["run_id"])[0]
            if queued.get("metadata", {}).get("slack", {}).get("thread") == thread:
                return run["run_id"]
        return None

    return eventually(found, what=f"a run for {thread}")


def test_a_mention_starts_a_run_whose_thread_tells_all_of_it(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G1: what the thread says is what the run's log says, in its order."""
    prompt = steps({"say": "I look **first**. ", **call("note", text="a line")}, {"say": "All is well."})
    ts = slack.mention("UANA", CHANNEL, prompt)
    slack.find(CHANNEL, ts, "Completed")
    slack.find(CHANNEL, ts, "All is well.")
    status, first, tool, last = slack.thread(CHANNEL, ts)
    run_id = run_of(server, ts)
    assert f"https://jackline.example/#/runs/{run_id}" in status.text
    assert status.buttons == [], "there is nothing to stop any more"
    assert any("[Stop]" in state for state in map(shown, status.states))
    assert first.text == "I look *first*."
    assert "*note*" in tool.text
    assert "noted a line" in tool.text
    assert last.text == "All is well."
    assert server.api.log(run_id)[0]["metadata"] == {
        "slack": {"user": "UANA", "channel": CHANNEL, "thread": ts}
    }
    assert bridged.process.running


def test_an_event_that_comes_again_starts_nothing_twice(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    slack.deliver_twice = True
    before = server.api.run_ids()
    ts = slack.mention("UANA", CHANNEL, "once only")
    slack.find(CHANNEL, ts, "Completed")
    bridged.kill()
    for envelope in list(slack.envelopes):
        slack.again(envelope)
    bridged.launch()
    slack.until(lambda: all(each.acknowledged for each in slack.envelopes), "all is acknowledged")
    other = slack.mention("UANA", CHANNEL, "another")
    slack.find(CHANNEL, other, "another")
    assert len(server.api.run_ids() - before) == 2
    assert slack.transcript(CHANNEL, ts) == "once only"


def test_a_mention_in_the_thread_goes_on_with_the_conversation(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    ts = slack.mention("UANA", CHANNEL, "the first question")
    slack.find(CHANNEL, ts, "Completed")
    slack.mention("UANA", CHANNEL, steps({"tell": "prompts"}), ts)
    slack.find(CHANNEL, ts, '["the first question"]')
    first, second = (each for each in slack.thread(CHANNEL, ts) if "run " in each.text)
    assert first.key.split("/")[0].rsplit(".", 1)[0] == second.key.split("/")[0].rsplit(".", 1)[0]


def test_a_busy_thread_asks_whether_to_wait(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "busy-wait"}))
    slack.find(CHANNEL, ts, "one")
    slack.mention("UANA", CHANNEL, "the second", ts)
    whisper = slack.until_whisper("UANA", "still going")
    slack.press("UANA", whisper, "queue")
    slack.find(CHANNEL, ts, "Queued")
    server.open_gate("busy-wait")
    slack.until(lambda: slack.thread_text(CHANNEL, ts).count("Completed") == 2)
    slack.until(lambda: slack.transcript(CHANNEL, ts) == "one\nthe second")


def test_a_busy_thread_asks_however_often_slack_asks_to_wait(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """Without the question the request would be lost. Nothing else waits for it meanwhile."""
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "busy-429"}))
    slack.find(CHANNEL, ts, "one")
    slack.hush = 2
    slack.mention("UANA", CHANNEL, "the second", ts)
    slack.until(lambda: slack.hush < 2)
    other = slack.mention("UANA", CHANNEL, "another thread")
    slack.find(CHANNEL, other, "another thread")
    whisper = slack.until_whisper("UANA", "still going")
    assert slack.hush == 0
    slack.press("UANA", whisper, "queue")
    server.open_gate("busy-429")
    slack.until(lambda: slack.transcript(CHANNEL, ts) == "one\nthe second")


def test_the_other_answer_of_a_busy_thread_is_told_that_it_is_late(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "busy-both"}))
    slack.find(CHANNEL, ts, "one")
    slack.mention("UANA", CHANNEL, "the second", ts)
    whisper = slack.until_whisper("UANA", "still going")
    slack.press("UANA", whisper, "queue")
    slack.find(CHANNEL, ts, "Queued")
    slack.press("UANA", whisper, "stop_first")
    slack.until_whisper("UANA", "answered that already")
    assert [each.text for each in slack.whispers if "Not started" in each.text] == []
    server.open_gate("busy-both")
    slack.until(lambda: slack.transcript(CHANNEL, ts) == "one\nthe second")


def test_a_busy_thread_may_be_stopped_first(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts = slack.mention("UANA", CHANNEL, steps({"say": "one ", "gate": "busy-never"}))
    slack.find(CHANNEL, ts, "one")
    slack.mention("UANA", CHANNEL, "the second", ts)
    slack.press("UANA", slack.until_whisper("UANA", "still going"), "stop_first")
    slack.find(CHANNEL, ts, "the second")
    slack.find(CHANNEL, ts, "Completed")
    assert "Stopped" in slack.thread_text(CHANNEL, ts)


def test_runs_of_the_conversation_that_were_started_elsewhere_go_on_in_the_thread(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    ts = slack.mention("UANA", CHANNEL, "from slack")
    slack.find(CHANNEL, ts, "Completed")
    conversation = run_of(server, ts).rsplit(".", 1)[0]
    server.api.start("from the page", conversation_id=conversation)
    slack.find(CHANNEL, ts, "from the page")


def test_a_command_begins_a_thread_of_its_own(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    slack.command("UANA", CHANNEL, "say <!channel> & go")
    root = slack.until(
        lambda: next((each for each in slack.channels[CHANNEL] if each.key.endswith("/root")), None)
    )
    assert "*ana* asks" in root.text
    slack.until(lambda: slack.transcript(CHANNEL, root.ts) == "say &lt;!channel&gt; &amp; go")


def test_a_command_waits_for_a_slack_that_asks_to(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """One message and one run, though the first tries are refused and the answer to the next is lost."""
    before = server.api.run_ids()
    slack.storm, slack.lose_answers = 2, 1
    slack.command("UANA", CHANNEL, "patience")
    root = slack.until(
        lambda: next((each for each in slack.channels[CHANNEL] if each.key.endswith("/root")), None)
    )
    slack.until(lambda: slack.transcript(CHANNEL, root.ts) == "patience")
    assert [each.key.endswith("/root") for each in slack.channels[CHANNEL]].count(True) == 1
    assert len(server.api.run_ids() - before) == 1


def test_a_command_where_the_bot_is_no_member_says_what_to_do(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G11."""
    before = server.api.run_ids()
    slack.channels["CAWAY"] = []
    slack.command("UANA", "CAWAY", "hello")
    slack.until(lambda: slack.responses)
    assert "/invite" in slack.responses[0]["text"]
    assert server.api.run_ids() == before


def test_a_long_text_goes_on_in_the_next_message(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G1: nothing is lost, and nothing is said twice."""
    paragraphs = [f"Paragraph {n} " + "with words " * 20 for n in range(60)]
    said = "\n\n".join(paragraphs)
    ts = slack.mention("UANA", CHANNEL, steps({"say": said}))
    slack.until(lambda: slack.transcript(CHANNEL, ts).split() == said.split(), "all of it, once")
    parts = [each for each in slack.thread(CHANNEL, ts) if "/say." in each.key]
    assert len(parts) > 4
    assert all(part.text.startswith("Paragraph") for part in parts), "cut between paragraphs"


def test_narration_comes_by_edits_within_the_rate(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G9: it is to be read while it is said; one message is edited, and Slack never has to say 429."""
    ts = slack.mention(
        "UANA", CHANNEL, steps({"say": "tick ", "times": 100, "pace": 0.02, **call("wait_for", name="edits")})
    )
    slack.find(CHANNEL, ts, "wait_for")
    server.open_gate("edits")
    slack.find(CHANNEL, ts, "Completed")
    says = [each for each in slack.thread(CHANNEL, ts) if "/say." in each.key]
    assert says[0].text.split() == ["tick"] * 100
    assert 2 < len(says[0].states) < 60, "edited, but not for each token"
    assert slack.limited == []


def test_an_agents_words_ping_nobody_and_lie_about_no_link(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """The stand-in notes whom Slack would ping; the fixture looks at the end that it was nobody."""
    words = (
        "<!channel> <!here> <@UBOB> <#CGENERAL> @channel @here [click](!channel) [x](<@UBOB>) "
        "[https://bank.example](https://evil.example) `<!everyone>`\n\n```\n<!channel>\n```"
    )
    ts = slack.mention(
        "UANA", CHANNEL, steps({"say": words, **call("note", text="<!channel> @here")}, {"say": "x"})
    )
    slack.until(lambda: slack.transcript(CHANNEL, ts).endswith("\nx"))
    text = slack.transcript(CHANNEL, ts)
    assert "&lt;!channel&gt;" in text
    assert "<https://evil.example>" in text
    assert "|https://bank.example" not in text
    assert slack.pinged == []


def test_a_large_result_is_cut_and_its_page_named(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    ts = slack.mention("UANA", CHANNEL, steps(call("big", size=200_000), {"say": "so big"}))
    slack.find(CHANNEL, ts, "Completed")
    text = slack.thread_text(CHANNEL, ts)
    assert "all of it" in text
    assert "0123456789" in text
    assert slack.refused == []


def test_a_direct_message_is_as_a_mention(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    ts = slack.say("UANA", "DANA", "just between us")
    slack.find("DANA", ts, "Completed")
    assert slack.transcript("DANA", ts) == "just between us"
    slack.say("UANA", "DANA", "and on", ts)
    slack.until(lambda: slack.transcript("DANA", ts) == "just between us\nand on")
    slack.say("UEVE", "DANA", "let me in")
    slack.until_whisper("UEVE", "slack_users")


def test_a_direct_message_with_a_file_is_heard_too(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    ts = slack.say("UANA", "DANA", "look at this", subtype="file_share")
    slack.find("DANA", ts, "Completed")
    assert slack.transcript("DANA", ts) == "look at this"


def test_what_one_person_is_told_they_see(slack: StandIn, server: World, bridged: BridgeProcess) -> None:
    """G11: a thread without a reply shows it to nobody, so it goes to the channel."""
    slack.mention("UEVE", CHANNEL, "let me in")
    assert slack.until_whisper("UEVE", "slack_users").thread is None
    slack.mention("UANA", CHANNEL, "")
    assert "<@UBOT>" in slack.until_whisper("UANA", "Say what is to be done").text
    slack.command("UEVE", CHANNEL, "hello", "/ops")
    slack.until(lambda: slack.responses)
    slack.command("UANA", CHANNEL, "", "/ops")
    slack.until(lambda: "`/ops is" in str(slack.responses[-1]["text"]))
    ts = slack.mention("UANA", CHANNEL, "hello")
    slack.find(CHANNEL, ts, "Completed")
    slack.mention("UEVE", CHANNEL, "me too", ts)
    slack.until(lambda: [each.thread for each in slack.whispers if each.user == "UEVE"] == [None, ts])
