"""A result that is too large for an entry."""

from __future__ import annotations

import pytest

from tests.blackbox.api import ROOT, Check, call, steps
from tests.blackbox.conftest import World

SIZE = 5_000_000
ENTRY = 64 * 1024


@pytest.fixture(scope="module")
def run_id(anywhere: World) -> str:
    """A run whose tool gave five megabytes."""
    made = anywhere.api.start(steps(call("big", size=SIZE), {"say": "seen", **call("note", text="big")}))
    assert anywhere.api.ended(made)["state"] == "completed"
    return made


def test_a_huge_result_is_stored_aside(anywhere: World, run_id: str) -> None:
    """G1: the entry says where it is, how large, and how it begins; every entry stays small."""
    entries = anywhere.other.entries(run_id)
    assert max(len(entry.raw.encode()) for entry in entries) < ENTRY
    log = [entry.data for entry in entries]
    Check(log=log)
    assert log == anywhere.api.log(run_id)
    finished = next(entry for entry in log if entry.get("state") == "finished")
    assert finished["result"].keys() == {"artifact", "bytes", "preview"}
    assert finished["result"]["bytes"] == SIZE
    assert finished["result"]["preview"].startswith("0123456789")


def test_all_of_it_can_be_fetched_from_every_replica(anywhere: World, run_id: str) -> None:
    """G1: no byte is missing, and no browser takes it for a page."""
    artifact = anywhere.api.snapshot(run_id)["tools"][0]["result"]["artifact"]
    for web in anywhere.webs:
        answer = anywhere.client(web.url).http.get(f"{ROOT}/runs/{run_id}/artifacts/{artifact}")
        assert answer.status_code == 200
        assert answer.content == b"0123456789" * (SIZE // 10)
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["content-disposition"].startswith("attachment")
    gone = anywhere.api.http.get(f"{ROOT}/runs/{run_id}/artifacts/nothing")
    assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")


def test_the_snapshot_and_the_list_stay_small(anywhere: World, run_id: str) -> None:
    """G10: whoever looks at the run does not pay for its result."""
    snapshot = anywhere.other.http.get(f"{ROOT}/runs/{run_id}")
    assert len(snapshot.content) < ENTRY
    assert [message["text"] for message in snapshot.json()["transcript"][1:]] == ["seen", "done"]
    assert len(anywhere.other.http.get(f"{ROOT}/runs").content) < 1 << 20
