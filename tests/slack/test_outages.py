"""What a thread says while the server cannot be asked, and what may be done from it meanwhile."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from jackline.client.api import Client
from jackline.slack.decisions import question_now
from tests.blackbox.api import call, steps
from tests.blackbox.conftest import World, world
from tests.slack.bridge import bridge
from tests.slack.stand_in import StandIn
from tests.slack.test_runs import CHANNEL, run_of
from tests.support.processes import HOST, eventually


@contextlib.contextmanager
def gateway(port: int) -> Generator[list[str]]:
    """What a gateway with nobody behind it answers, in the server's place; what it was asked for."""
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "21")
            self.end_headers()
            self.wfile.write(b"default backend - 404")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            pass

    with http.server.ThreadingHTTPServer((HOST, port), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_a_gateways_404_is_no_deletion(slack: StandIn, tmp_path: Path) -> None:
    """G8: only the server says what is gone. Stop stays, requests are kept, and the thread goes on."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path):
        ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/x"), {"say": "two"}))
        question = slack.find(CHANNEL, ts, "[Approve]")
        status = slack.find(CHANNEL, ts, "Waiting for you")
        own.server.process.end()
        with gateway(own.port) as asked:
            slack.until(lambda: sum("/events" in each for each in asked) > 1, "it is asked again")
            slack.until(lambda: "No connection to Jackline" in status.text)
            assert "[Stop]" in status.text
            slack.press("UANA", question, "approve")
            slack.until_whisper("UANA", "does not answer")
            other = slack.mention("UBOB", CHANNEL, "said to a gateway")
            slack.until_whisper("UBOB", "kept")
        own.server.launch()
        slack.until(lambda: "Waiting for you" in status.text)
        slack.press("UANA", question, "approve")
        slack.find(CHANNEL, ts, "two")
        slack.until(lambda: slack.transcript(CHANNEL, other) == "said to a gateway")
        assert not any("Not there" in str(state) for state in status.states)


def test_what_was_gone_is_looked_for_by_the_next_bridge(slack: StandIn, tmp_path: Path) -> None:
    """G8: a server that was started with other data by mistake ends no thread for good."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path) as process:
        ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/x"), {"say": "two"}))
        question = slack.find(CHANNEL, ts, "[Approve]")
        status = slack.find(CHANNEL, ts, "Waiting for you")
        right = own.server.env
        own.server.process.end()
        own.server.env = {**right, "JACKLINE_DATA_DIR": str(tmp_path / "other")}
        own.server.launch()
        slack.until(lambda: "Not there any more" in status.text)
        own.server.process.end()
        own.server.env = right
        own.server.launch()
        process.kill()
        process.launch()
        slack.until(lambda: "Waiting for you" in status.text and "[Stop]" in status.text)
        slack.press("UANA", question, "approve")
        slack.find(CHANNEL, ts, "two")
        assert own.api.ended(run_of(own, ts))["state"] == "completed"


def test_a_bridge_that_begins_during_an_outage_says_so(slack: StandIn, tmp_path: Path) -> None:
    """G8: it has read nothing, and touches nothing but the words of how the run stands."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path) as process:
        ts = slack.mention("UANA", CHANNEL, steps({"say": "one "} | call("delete", path="/x")))
        slack.find(CHANNEL, ts, "[Approve]")
        status = slack.find(CHANNEL, ts, "Waiting for you")
        process.kill()
        before = [each.text for each in slack.thread(CHANNEL, ts)]
        own.server.process.end()
        process.launch()
        slack.until(lambda: "No connection to Jackline" in status.text)
        assert "How the run stands is told when Jackline answers again" in status.text
        assert f"https://jackline.example/#/runs/{status.key.partition('/')[0]}" in status.text
        assert [each["action_id"] for each in status.buttons] == ["stop"]
        assert [each.text for each in slack.thread(CHANNEL, ts)][1:] == before[1:]
        own.server.launch()
        slack.until(lambda: [each.text for each in slack.thread(CHANNEL, ts)] == before)


def test_forms_open_for_a_bridge_that_has_read_nothing_yet(slack: StandIn, tmp_path: Path) -> None:
    """G5: what is not known is not answered. A denial needs no server until it is sent; arguments do."""
    with world(tmp_path / "server") as own, bridge(slack, own.server.url, tmp_path) as process:
        ts = slack.mention("UANA", CHANNEL, steps(call("delete", path="/unread"), {"say": "two"}))
        question = slack.find(CHANNEL, ts, "[Approve]")
        process.kill()
        own.server.process.end()
        process.launch()
        slack.press("UANA", question, "edit")
        slack.until_whisper("UANA", "has not been read yet")
        slack.press("UANA", question, "deny")
        form = slack.until_form("UANA")
        assert "does not answer" in (slack.submit(form, "no") or "")
        own.server.launch()
        assert slack.submit(form, "no") is None
        slack.until(lambda: "Denied" in question.text and "ana in Slack: no" in question.text)
        assert "delete /unread" not in own.effects


@pytest.mark.anyio
async def test_a_form_asks_the_server_for_what_its_thread_has_not_read(server: World) -> None:
    """G5: the arguments of a pending question, and that another is over."""
    prompt = steps({"calls": [["delete", {"path": "/ask"}]]}, {"say": "two"})
    run_id = server.api.start(prompt)
    call_id = eventually(lambda: [each["call_id"] for each in server.api.snapshot(run_id)["approvals"]])[0]
    async with Client(server.server.url) as client:
        found = await question_now(client, call_id)
        assert found is not None
        assert (found.pending, found.round, found.args) == (True, 1, {"path": "/ask"})
        server.api.decide(call_id, approve=False)
        found = await question_now(client, call_id)
        assert found is not None
        assert not found.pending
