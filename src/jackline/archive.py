"""Where a conversation goes before retention deletes it: a folder, or a command that reads it.

At least once: whoever dies between the archive and the deletion archives it again. The name is the
conversation's, so a second time writes the same file.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from jackline.errors import ArchiveFailed, UnknownRun
from jackline.events import frame_data
from jackline.export import Count, artifact_ids, artifact_line, end_line, entry_line, gap_line, run_line
from jackline.settings import environment
from jackline.summary import read_summary

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from jackline.log.base import Head, Store

COMMAND_SECONDS: Final = 300.0
"""How long a command may take for one conversation."""
_SAID: Final = 500
"""Bytes of what a failed command said that go into the error."""
_BATCH_BYTES: Final = 256 * 1024
"""Lines written at once: one by one each would cost a turn of a thread."""


class Archive(Protocol):
    """Takes a conversation's export."""

    async def keep(self, conversation_id: str, lines: AsyncIterator[bytes]) -> None:
        """Return once it is safe. Raises `ArchiveFailed`; what `lines` raises comes through."""
        ...


def archive_of(setting: str | Sequence[str], folder: Path) -> Archive:
    """The archive that a setting names: a folder (relative to `folder`) or a command line."""
    return FolderArchive(folder / setting) if isinstance(setting, str) else CommandArchive(setting)


class FolderArchive:
    """`FOLDER/{conversation_id}.jsonl.gz`, each complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, conversation_id: str, lines: AsyncIterator[bytes]) -> None:
        """See `Archive.keep`. On disk when it returns."""
        path = self._folder / f"{conversation_id}.jsonl.gz"
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True, mode=0o700)
            try:
                await self._write(part, lines)
                await asyncio.to_thread(part.replace, path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveFailed(f"cannot write {path}: {error.strerror or error}") from error

    async def _write(self, part: Path, lines: AsyncIterator[bytes]) -> None:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                async for batch in _batched(lines):
                    await asyncio.to_thread(packed.write, batch)
            raw.flush()
            await asyncio.to_thread(os.fsync, raw.fileno())


class CommandArchive:
    """A program that reads the export from its stdin and exits with 0 once it has it safe.

    `{conversation_id}` in an argument is replaced. No shell is asked.
    """

    def __init__(self, command: Sequence[str], *, seconds: float = COMMAND_SECONDS) -> None:
        self._command = command
        self._seconds = seconds

    async def keep(self, conversation_id: str, lines: AsyncIterator[bytes]) -> None:
        """See `Archive.keep`."""
        command = [part.replace("{conversation_id}", conversation_id) for part in self._command]
        # What it complains of goes to a file: a pipe would need somebody to read it meanwhile.
        with tempfile.TemporaryFile() as complaint:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=complaint,
                    start_new_session=True,
                    env=environment(),
                )
            except OSError as error:
                raise ArchiveFailed(f"cannot run {command[0]}: {error.strerror or error}") from error
            try:
                async with asyncio.timeout(self._seconds):
                    whole = await _feed(process, lines)
                    code = await process.wait()
            except TimeoutError:
                raise ArchiveFailed(f"{command[0]} took longer than {self._seconds:g} s") from None
            finally:
                await _end(process)
            if code != 0 or not whole:
                complaint.seek(0)
                said = complaint.read(_SAID).decode(errors="replace").strip()
                how = f"exit code {code}" if code else "it did not read to the end"
                raise ArchiveFailed(f"{command[0]}: {how}{': ' + said if said else ''}")


async def _feed(process: Process, lines: AsyncIterator[bytes]) -> bool:
    """Whether the program took all of it."""
    assert process.stdin is not None
    try:
        async for batch in _batched(lines):
            process.stdin.write(batch)
            await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _batched(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered = bytearray()
    async for line in lines:
        gathered += line
        if len(gathered) >= _BATCH_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def export_lines(store: Store, conversation_id: str) -> AsyncIterator[bytes]:
    """A conversation as the lines of an export. Raises `UnknownRun` when it is gone."""
    count = Count()
    for run_id in (await store.conversation(conversation_id)).run_ids:
        with contextlib.suppress(UnknownRun):  # deleted since
            async for line in _run_lines(store, await store.head(run_id), count):
                yield line
    yield end_line(count)


async def _run_lines(store: Store, head: Head, count: Count) -> AsyncIterator[bytes]:
    summary = read_summary(head.summary)
    yield run_line(
        {
            "run_id": head.run_id,
            "conversation_id": summary.conversation_id,
            "state": summary.state,
            "agent": head.agent,
            "by": head.owner,
            "attempt": summary.attempt,
            "seq": head.last,
            "created_at": summary.created_at,
            "updated_at": summary.updated_at,
        }
    )
    count.runs += 1
    after, named = 0, dict[str, None]()
    while after < head.last:
        page = await store.read(head.run_id, after)
        if page.first > after + 1:
            yield gap_line(after + 1, page.first - 1)
        if not page.entries:
            break
        for seq, entry in enumerate(page.entries, page.first):
            cursor = f"{seq}.{page.epoch}" if page.epoch else str(seq)
            yield entry_line(cursor, entry.type, frame_data(head.run_id, seq, entry.body))
            count.entries += 1
            if b'"artifact"' in entry.body:
                named |= dict.fromkeys(artifact_ids(msgspec.json.decode(entry.body)))
            after = seq
    for artifact_id in named:
        found = await store.artifact(head.run_id, artifact_id)
        if found is not None:  # a tool may give what only looks like one
            yield artifact_line(head.run_id, artifact_id, found.media_type, found.data)
            count.artifacts += 1
