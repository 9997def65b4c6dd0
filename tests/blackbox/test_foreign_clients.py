"""Clients nobody here wrote, each reading a whole run over two cuts, one of them within a frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import httpx_sse
import pytest

from tests.blackbox.api import ROOT, call, steps
from tests.blackbox.conftest import World
from tests.blackbox.transcript import (
    BEHIND_A_TOKEN,
    PROMPT,
    WITHIN_A_TOKEN,
    WITHIN_THE_QUESTION,
    Seen,
    assert_same_text,
    assert_whole,
    last_id,
)
from tests.support.forwarder import forwarder
from tests.support.node import Reader, follow
from tests.support.processes import PATIENCE, eventually

STOPPED_TRYING = 3
"""Exit code of the Node clients where the stream was closed for good without an `end`."""


def seen_by_node(reader: Reader, *, sticky: bool) -> list[Seen]:
    """`sticky`: a frame without an id shows the last one before it, as in browsers."""
    entries = {"token", "workflow", "tool", "approval"}
    return [
        Seen(
            id=frame.id if frame.event in entries or not sticky else None, event=frame.event, data=frame.data
        )
        for frame in reader.frames()
    ]


def httpx_sse_reads(url: str, on_frame: Callable[[Seen], None]) -> list[Seen]:
    """httpx-sse leaves it to its user to come back."""
    seen: list[Seen] = []
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        while not seen or seen[-1].event != "end":
            try:
                headers = {"Last-Event-ID": last_id(seen)}
                with httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
                    for event in source.iter_sse():
                        # It shows the last id for frames that have none, as the specification says.
                        seen.append(Seen(id=event.id or None, event=event.event, data=event.json()))
                        on_frame(seen[-1])
            except (httpx.ReadError, httpx.RemoteProtocolError):
                continue
    return seen


def test_httpx_sse_reads_a_run_over_three_cuts(embedded: World) -> None:
    """G1: as curl does, with a library's own parser."""
    api, other = embedded.api, embedded.other
    run_id = api.start(PROMPT)
    cuts = [BEHIND_A_TOKEN, WITHIN_A_TOKEN, WITHIN_THE_QUESTION]
    with forwarder(embedded.port, *cuts) as way:
        url = api.events_url(run_id).replace(api.url, way.url)

        def approve(frame: Seen) -> None:
            if frame.event == "approval" and frame.data["state"] == "pending":
                other.decide(frame.data["call_id"], approve=True)

        seen = httpx_sse_reads(url, approve)
        assert way.made == cuts
    assert_whole(api, run_id, seen)


@pytest.mark.parametrize("library", ["eventsource", "eventsource-client"])
def test_node_reads_a_run_over_two_cuts(
    embedded: World, tmp_path: Path, library: Literal["eventsource", "eventsource-client"]
) -> None:
    """G1: it comes back by itself, with the last id it has read a whole entry of."""
    api = embedded.api
    run_id = api.start(PROMPT)
    with (
        forwarder(embedded.port, WITHIN_A_TOKEN, WITHIN_THE_QUESTION) as way,
        follow(api.events_url(run_id).replace(api.url, way.url), tmp_path / "log", library=library) as reader,
    ):
        asked = eventually(lambda: [frame for frame in reader.frames() if frame.event == "approval"])
        assert api.decide(str(asked[0].data["call_id"]), approve=True).status_code == 200
        reader.finish()
        assert way.made == [WITHIN_A_TOKEN, WITHIN_THE_QUESTION]
        assert_whole(api, run_id, seen_by_node(reader, sticky=library == "eventsource"))


def test_eventsource_stops_for_good_at_the_end(embedded: World, tmp_path: Path) -> None:
    """G1: who does not know `end` comes back once more, gets 204, and never asks again."""
    api = embedded.api
    run_id = api.start("short")
    with (
        forwarder(embedded.port) as way,
        follow(
            api.events_url(run_id, compact=1).replace(api.url, way.url),
            tmp_path / "log",
            headers={},
            stay=True,
        ) as reader,
    ):
        assert reader.process.wait() == STOPPED_TRYING
        seen = seen_by_node(reader, sticky=True)
        assert [each.event for each in seen].count("end") == 1
        assert_same_text(api, run_id, seen)
        assert way.connections <= len(("the run", "the 204"))


def test_eventsource_client_posts_a_chat_and_reads_it(embedded: World, tmp_path: Path) -> None:
    """G1: a client that can POST needs one request for a whole run."""
    body = {"messages": [{"role": "user", "content": steps(call("note", text="posted"))}]}
    with follow(
        f"{embedded.server.url}{ROOT}/chat?compact=0",
        tmp_path / "log",
        library="eventsource-client",
        headers={"Idempotency-Key": "posted-once"},
        body=body,
    ) as reader:
        seen = reader.finish()
    run_id = str(seen[0].data["run_id"])
    assert_whole(embedded.api, run_id, seen_by_node(reader, sticky=False))
    assert embedded.effects.count("note posted") == 1


def test_a_post_that_is_cut_and_sent_again_is_the_same_run(embedded: World, tmp_path: Path) -> None:
    """G10: the library repeats the POST with its key; nothing is started twice."""
    api = embedded.api
    before = api.run_ids()
    body: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": steps({"say": "b ", "times": 9, **call("note", text="cut")})}
        ]
    }
    with (
        forwarder(embedded.port, WITHIN_A_TOKEN) as way,
        follow(
            f"{way.url}{ROOT}/chat?compact=0",
            tmp_path / "log",
            library="eventsource-client",
            headers={"Idempotency-Key": "cut-once"},
            body=body,
        ) as reader,
    ):
        seen = reader.finish()
        assert way.made
    run_id = str(seen[0].data["run_id"])
    assert_whole(api, run_id, seen_by_node(reader, sticky=False))
    assert embedded.effects.count("note cut") == 1
    assert api.run_ids() - before == {run_id}
