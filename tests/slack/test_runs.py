"""A run in a thread: the whole of it, from the mention to its end."""

from __future__ import annotations

from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World
from tests.slack.bridge import BridgeProcess
from tests.slack.stand_in import StandIn


def test_a_mention_starts_a_run_whose_thread_tells_all_of_it(
    slack: StandIn, server: World, bridged: BridgeProcess
) -> None:
    """G1: what the thread says is what the run's log says."""
    prompt = steps({"say": "I look **first**. ", **call("note", text="a line")}, {"say": "All is well."})
    ts = slack.mention("UANA", "CGENERAL", prompt)
    slack.find("CGENERAL", ts, "Completed")
    messages = slack.thread("CGENERAL", ts)
    assert "Completed" in messages[0].text
    assert [each.text for each in messages[1:]][0] == "I look *first*."
    assert "*note*" in messages[2].text and "noted a line" in messages[2].text
    assert messages[3].text == "All is well."
    assert len(messages) == 4
    assert bridged.process.running
