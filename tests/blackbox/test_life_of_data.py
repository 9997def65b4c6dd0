"""Export, delete, retention, compaction and the archive, as an operator meets them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.api import ROOT, Check, call, steps
from tests.blackbox.conftest import World, world
from tests.cli.terminal import jackline, terminal
from tests.support.processes import eventually

pytestmark = pytest.mark.anyio

Line = dict[str, Any]


def parsed(text: str) -> list[Line]:
    return [json.loads(line) for line in text.splitlines()]


def conversation_of(run: str) -> str:
    return run.rpartition(".")[0]


async def test_an_export_is_the_log_with_what_was_stored_aside(anywhere: World, tmp_path: Path) -> None:
    """G1: every entry, in order, from any replica; the artifact whole."""
    run = anywhere.api.start(steps(call("big", size=300_000), {"say": "a b c"}))
    anywhere.api.ended(run)
    second = anywhere.api.start(steps({"say": "more"}), conversation_id=conversation_of(run))
    anywhere.api.ended(second)
    url = anywhere.other.url
    done = await jackline("export", conversation_of(run), "-o", str(tmp_path / "talk"), "--url", url)
    assert (done.code, done.out, done.err) == (0, "", "")
    lines = parsed((tmp_path / "talk").read_text())
    assert [line["run"]["run_id"] for line in lines if "run" in line] == [run, second]
    assert not any(line["run"]["open"] for line in lines if "run" in line)
    entries = [line["data"] for line in lines if "id" in line]
    assert entries == [*anywhere.api.log(run), *anywhere.api.log(second)]
    (artifact,) = [line for line in lines if "artifact" in line]
    assert artifact["text"] == "0123456789" * 30_000
    assert lines[-1]["end"] == {"runs": 2, "entries": len(entries), "artifacts": 1}
    alone = await jackline("export", second, "--url", url)
    assert [line["data"] for line in parsed(alone.out) if "id" in line] == anywhere.api.log(second)
    assert not (tmp_path / ".talk.part").exists()


async def test_an_open_run_is_exported_as_far_as_it_is_and_cannot_be_deleted(embedded: World) -> None:
    run = embedded.api.start(steps({"say": "x", **call("delete", path="/life")}))
    embedded.api.until(run, "awaiting_approval")
    url = embedded.server.url
    done = await jackline("export", run, "--url", url)
    assert done.code == 0
    assert f"run {run} is awaiting_approval: this is all up to entry" in done.err
    head, *rest = parsed(done.out)
    assert head["run"]["open"] is True
    assert [line["data"] for line in rest if "id" in line] == embedded.api.log(run)
    for name in (run, conversation_of(run)):
        refused = await jackline("delete", name, "--yes", "--url", url)
        assert refused.code == 1
        assert f"run {run} has not finished; stop it first: jackline stop {run}" in refused.err
    stopped = await jackline("stop", run, "--wait", "20", "--url", url)
    assert stopped.code == 0
    deleted = await jackline("delete", conversation_of(run), "--url", url)
    assert (deleted.code, deleted.out) == (0, f"conversation {conversation_of(run)} is gone\n")
    assert embedded.api.http.get(f"{ROOT}/runs/{run}").status_code == 404
    for command in ("export", "delete"):
        for name in (run, conversation_of(run)):
            assert "not found" in (await jackline(command, name, "--url", url)).err


async def test_at_a_terminal_a_deletion_is_asked_about(embedded: World) -> None:
    run = embedded.api.start(steps({"say": "x"}))
    embedded.api.ended(run)
    async with terminal("delete", run, "--url", embedded.server.url) as screen:
        await screen.until("for ever? [y/N]")
        screen.type("\n")
        assert await screen.end() == 1
    assert embedded.api.snapshot(run)["state"] == "completed"
    async with terminal("delete", run, "--url", embedded.server.url) as screen:
        await screen.until("for ever? [y/N]")
        screen.type("y\n")
        assert await screen.end() == 0
    assert embedded.api.http.get(f"{ROOT}/runs/{run}").status_code == 404


async def test_a_finished_run_is_compacted_and_nobody_notices(tmp_path: Path) -> None:
    """G1: the same bytes, from every cursor."""
    with world(tmp_path, JACKLINE_COMPACT_AFTER="none") as made:
        run = made.api.start(steps({"say": "one two three ", "times": 30}))
        made.api.ended(run)
        frames = [frame.raw for frame in made.api.entries(run)]
        begin_again(made, JACKLINE_COMPACT_AFTER="0.2")
        eventually(lambda: loose_entries(made) == 0, what="the run compacted")
        entries = made.api.entries(run)
        assert [frame.raw for frame in entries] == frames
        Check(log=[frame.data for frame in entries])
        for after in (0, 1, 7, len(frames) - 1):
            assert [frame.raw for frame in made.api.entries(run, after=after)] == frames[after:]


def begin_again(made: World, **env: str) -> None:
    """The same server with other settings."""
    made.server.env = {**made.server.env, **env}
    made.server.restart()


def loose_entries(made: World) -> int:
    """Entries that lie in the file one by one."""
    with closing(sqlite3.connect(made.server.data_dir / "jackline.db")) as file:
        return file.execute("SELECT count(*) FROM entries").fetchone()[0]


async def test_retention_archives_a_conversation_and_then_deletes_it(tmp_path: Path) -> None:
    with world(tmp_path, JACKLINE_ARCHIVE="kept") as made:
        waiting = made.api.start(steps(call("delete", path="/wait")))
        run = made.api.start(steps({"say": "short-lived"}))
        made.api.ended(run)
        made.api.until(waiting, "awaiting_approval")
        done = await jackline("export", conversation_of(run), "--url", made.server.url)
        begin_again(made, JACKLINE_RETENTION="0.5")
        gone = lambda: made.api.http.get(f"{ROOT}/runs/{run}").status_code == 404  # noqa: E731
        eventually(gone, what="the end of its time")
        path = made.server.data_dir / "kept" / f"{conversation_of(run)}.jsonl.gz"
        assert parsed(gzip.decompress(path.read_bytes()).decode()) == parsed(done.out)
        assert made.api.snapshot(waiting)["state"] == "awaiting_approval"
