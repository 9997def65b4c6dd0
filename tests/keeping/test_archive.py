"""What goes into an archive, and when it counts as safe."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jackline.archive import CommandArchive, FolderArchive, archive_of, export_lines
from jackline.commands import Commands
from jackline.errors import ArchiveFailed, UnknownRun
from jackline.events import Entry, Json, Message, Tool, Workflow, encode
from jackline.ids import conversation_of
from jackline.log.base import Artifact
from jackline.log.memory import MemoryStore

pytestmark = pytest.mark.anyio

TS = "2026-11-22T12:00:00.000Z"


async def lines(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def names(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def program(source: str) -> list[str]:
    return [sys.executable, "-c", source, "{conversation_id}"]


async def test_a_folder_gets_one_compressed_file_per_conversation(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "archive"
    archive = FolderArchive(folder)
    await archive.keep("talk", lines(b"one\n", b"two\n"))
    await archive.keep("talk", lines(b"one\n", b"two\n", b"three\n"))
    (path,) = names(folder)
    assert path.name == "talk.jsonl.gz"
    assert gzip.decompress(path.read_bytes()) == b"one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveFailed, match="cannot write"):
        await FolderArchive(tmp_path / "file").keep("talk", lines(b"x"))


async def test_an_export_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one\n"
        raise UnknownRun("talk.1")

    with pytest.raises(UnknownRun):
        await FolderArchive(tmp_path).keep("talk", broken())
    assert names(tmp_path) == []


async def test_a_command_reads_all_of_it_from_its_stdin(tmp_path: Path) -> None:
    path = tmp_path / "got"
    source = f"import sys; open({str(path)!r}, 'wb').write(sys.argv[1].encode() + sys.stdin.buffer.read())"
    large = b"x" * 300_000 + b"\n"
    await CommandArchive(program(source)).keep("talk", lines(b"one\n", large, large))
    assert path.read_bytes() == b"talkone\n" + large + large


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.stdin.read(); sys.exit('no such bucket')", "exit code 1: no such bucket"),
        ("import os; os.close(0)", "it did not read to the end"),
    ],
)
async def test_a_command_that_fails_is_said_with_its_own_words(source: str, said: str) -> None:
    with pytest.raises(ArchiveFailed, match=said):
        await CommandArchive(program(source)).keep("talk", lines(*[b"x" * 300_000] * 10))


async def test_a_command_that_is_not_there_or_hangs_is_said() -> None:
    with pytest.raises(ArchiveFailed, match="cannot run /nowhere/archive"):
        await CommandArchive(["/nowhere/archive"]).keep("talk", lines(b"x"))
    hanging = CommandArchive(program("import signal; signal.pause()"), seconds=0.1)
    with pytest.raises(ArchiveFailed, match=r"longer than 0\.1 s"):
        await hanging.keep("talk", lines(b"x"))


def test_the_setting_is_a_folder_or_a_command(tmp_path: Path) -> None:
    assert isinstance(archive_of("archive", tmp_path), FolderArchive)
    assert isinstance(archive_of(["cp", "/dev/stdin", "x"], tmp_path), CommandArchive)


def _progress(run: str, artifact_id: str) -> Entry:
    progress: Json = {"deep": [{"artifact": artifact_id, "bytes": 6, "preview": "gr"}]}
    return encode(Tool(ts=TS, call_id=f"{run}.1", name="t", state="progress", progress=progress))


async def test_an_export_has_every_run_entry_and_artifact_and_says_where_it_ends() -> None:
    store = MemoryStore()
    commands = Commands(store)
    started = await commands.start(by="user:ana", agent="a", messages=[Message(role="user", content="größe")])
    run, talk = started.run_id, started.conversation_id
    for artifact_id, media_type, data in (
        ("1-result", "text/plain; charset=utf-8", "größe".encode()),
        ("2-result", "text/plain", b"\xff\xfe"),
    ):
        await store.put_artifact(run, artifact_id, Artifact(media_type=media_type, data=data))
    await store.append(
        run,
        [
            encode(Workflow(ts=TS, state="executing", attempt=1, step=1)),
            encode(Tool(ts=TS, call_id=f"{run}.1", name="t", state="requested")),
            encode(Tool(ts=TS, call_id=f"{run}.1", name="t", state="started")),
            *(_progress(run, name) for name in ("1-result", "2-result", "none")),
        ],
    )
    await commands.stop(run, by="user:ana")
    other = await commands.start(
        by="user:ana", agent="a", messages=[Message(role="user", content="more")], conversation_id=talk
    )
    assert conversation_of(other.run_id) == talk
    found: list[dict[str, Any]] = [json.loads(line) async for line in export_lines(store, talk)]
    first, *_ = found
    assert first["run"] | {"open": False, "state": "stopped", "by": "user:ana", "seq": 10} == first["run"]
    entries = [line for line in found if "id" in line]
    assert [line["id"] for line in entries] == [*map(str, range(1, 11)), "1"]
    assert entries[0]["data"]["input"] == [{"role": "user", "content": "größe"}]
    assert entries[0]["data"]["run_id"] == run
    texts = {line["artifact"]: line for line in found if "artifact" in line}
    assert texts["1-result"]["text"] == "größe"
    assert base64.b64decode(texts["2-result"]["base64"]) == b"\xff\xfe"
    assert [line["run"]["open"] for line in found if "run" in line] == [False, True]
    assert found[-1] == {"end": {"runs": 2, "entries": 11, "artifacts": 2}}


async def test_the_export_of_what_is_gone_is_refused() -> None:
    with pytest.raises(UnknownRun):
        _ = [line async for line in export_lines(MemoryStore(), "aaaaaaaaaaaaaaaaaaaa")]
