"""What only the SQLite store promises: its file, other processes on it, its end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jackline.errors import ConfigError, StoreUnavailable
from jackline.ids import new_conversation_id
from jackline.log.base import FORMAT, Reservation
from jackline.log.memory import MemoryStore
from jackline.log.sqlite import SqliteStore
from tests.contract.helpers import (
    DEADLINE,
    LONG,
    begin_run,
    claim,
    entries,
    entry,
    must_claim,
    texts_of,
    until,
)

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator

    from jackline.log.base import Store

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
DAY = 24 * 3600.0


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[SqliteStore]:
    """A store, closed at the end."""
    store = await SqliteStore.open(folder)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def writer(how: str, folder: Path, run: str) -> AsyncGenerator[Process]:
    """A process of its own that writes; see `sqlite_writer`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.sqlite_writer", how, str(folder), run),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    """The next line that the process tells."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        return (await process.stdout.readline()).decode().rstrip()


def mode_of(path: Path) -> int:
    """Who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_its_owner_can_read_the_store(tmp_path: Path) -> None:
    """G12: closed by default."""
    folder = tmp_path / "new" / "data"
    async with opened(folder) as store:
        await begin_run(store)
        assert mode_of(folder) == 0o700
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == ["jackline.db", "jackline.db-shm", "jackline.db-wal"]
        for file in files:
            assert mode_of(file) == 0o600
        assert store.describe() == f"SQLite {folder}/jackline.db"


async def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o750)
    async with opened(tmp_path):
        assert mode_of(tmp_path) == 0o750


async def test_all_is_still_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        lease = await must_claim(store, ttl=LONG)
        await store.append(run, entries("x"), once=["start"], checkpoint=b"state", summary=b"sum")
        before = await store.read(run), await store.conversation(run.split(".")[0])
    async with opened(tmp_path) as store:
        assert (await store.read(run), await store.conversation(run.split(".")[0])) == before
        assert await store.checkpoint(run) == b"state"
        assert (await store.append(run, entries("y"), once=["start"])).repeated
        assert await claim(store) is None
        assert (await store.append(run, entries("y"), fence=lease.generation)).last == 3


def set_format(folder: Path, found: str) -> None:
    """As a version of another format would have left it."""
    with closing(sqlite3.connect(folder / "jackline.db")) as sql:
        sql.execute("UPDATE meta SET value = ? WHERE key = 'format'", (found,))
        sql.commit()


async def test_a_file_of_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
    for found in (str(FORMAT + 2), "soon"):
        set_format(tmp_path, found)
        with pytest.raises(ConfigError, match=r"Install the version that wrote it"):
            await SqliteStore.open(tmp_path)
    set_format(tmp_path, str(FORMAT + 1))
    async with opened(tmp_path) as store:
        assert (await store.read(run)).last == 1


@pytest.mark.parametrize("found", [FORMAT - 1, FORMAT + 1], ids=["former", "next"])
async def test_a_file_of_a_neighbouring_version_is_served_and_left_as_it_is(
    tmp_path: Path, found: int
) -> None:
    """More columns, tables and indexes than are known here do no harm, and what stands in them stays."""
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        await store.append(run, entries("a"), checkpoint=b"c")
    set_format(tmp_path, str(found))
    if found > FORMAT:
        with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
            sql.execute("ALTER TABLE entries ADD COLUMN mood TEXT NOT NULL DEFAULT 'fine'")
            sql.execute("ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 7")
            sql.execute("CREATE TABLE later (run_id TEXT PRIMARY KEY)")
            sql.execute("CREATE INDEX runs_by_priority ON runs (priority, n)")
            sql.execute("UPDATE entries SET mood = 'bad'")
            sql.commit()
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        lease = await must_claim(store)
        await store.append(run, entries("b"), fence=lease.generation, expect=2, once=["n"])
        assert await texts_of(other, run) == [entry(text).body for text in ("hello", "a", "b")]
        assert await other.checkpoint(run) == b"c"
        await store.append(run, entries("end"), fence=lease.generation, close=True)
        assert (await other.head(run)).closed
        await begin_run(other)
    with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
        assert sql.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == (str(found),)
        if found > FORMAT:
            moods = [mood for (mood,) in sql.execute("SELECT mood FROM entries ORDER BY run_id, seq")]
            assert sorted(moods) == ["bad", "bad", "fine", "fine", "fine"]


async def test_a_place_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"Set the data directory"):
        await SqliteStore.open(tmp_path / "file")
    (tmp_path / "jackline.db").write_text("no SQLite file, though it is long enough to look at " * 100)
    with pytest.raises(ConfigError, match=r"is damaged or no SQLite file.*set another data directory"):
        await SqliteStore.open(tmp_path)


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        pending = asyncio.ensure_future(store.append(run, entries("asked before the end")))
        waiting = asyncio.ensure_future(store.wait(run, 9, 100))
        await asyncio.sleep(0)
        await store.aclose()
        assert (await pending).last == 2
        async with asyncio.timeout(DEADLINE):
            await waiting
        for late in (store.append(run, entries("x")), store.read(run), store.ping(), store.wait(run, 1, 1)):
            with pytest.raises(StoreUnavailable, match=r"was closed"):
                await late
    async with opened(tmp_path) as store:
        assert (await store.read(run)).last == 2


async def test_several_processes_can_make_the_file_at_once(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        opening = [tasks.create_task(SqliteStore.open(tmp_path)) for _ in range(6)]
    stores = [one.result() for one in opening]
    run = await begin_run(stores[0])
    for store in stores:
        assert (await store.read(run)).last == 1
        await store.aclose()


async def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """G8: acknowledged is on the disk."""
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        acknowledged: list[str] = []
        for enough in (1, 7, 40, 200):
            async with writer("many", tmp_path, run) as first, writer("many", tmp_path, run) as second:
                both = first, second
                for process in both:
                    acknowledged += [await line_of(process) for _ in range(enough)]
                for process in both:
                    os.kill(process.pid, signal.SIGKILL)
                for process in both:
                    assert process.stdout is not None
                    *whole, _cut = (await process.stdout.read()).decode().split("\n")
                    acknowledged += whole
            # What the dead held is free at once.
            await store.append(run, entries("alive"))
    async with opened(tmp_path) as store:
        held = await everything(store, run)
        for line in acknowledged:
            seq, text = line.split(" ")
            assert held[int(seq) - 1] == entry(text).body
        assert len(acknowledged) >= 2 * (1 + 7 + 40 + 200)
        assert len(set(held)) == len(held) - 3  # "alive" stands there four times, all else once
    with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def everything(store: Store, run: str) -> list[bytes]:
    """All bodies, page by page."""
    bodies: list[bytes] = []
    while (page := await store.read(run, len(bodies))).entries:
        bodies += [found.body for found in page.entries]
    assert len(bodies) == page.last
    return bodies


async def test_a_full_disk_is_said_in_words_and_harms_nothing(tmp_path: Path) -> None:
    """G8: nothing pretends."""
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        async with writer("full", tmp_path, run) as process:
            done, words = (await line_of(process)).split(" ", 1)
            assert "full" in words
            assert str(tmp_path) in words
            assert await line_of(process) == str(int(done) + 2)
        assert (await store.append(run, entries("x"))).last == int(done) + 3


async def test_a_ping_fails_while_nothing_can_be_written(tmp_path: Path) -> None:
    """G8: readiness is told by it."""
    async with opened(tmp_path) as store:
        await store.ping()
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(StoreUnavailable, match="full"):
                await store.ping()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.ping()


async def test_another_process_is_woken_and_wakes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        async with writer("one", tmp_path, run) as process:
            assert await line_of(process) == "ready"
            assert process.stdin is not None
            for seq in range(1, 6):
                async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
                    tasks.create_task(store.wait(run, seq, 100))
                    process.stdin.write(b"from there\n")
                assert (await store.read(run, seq)).entries == (entry("from there"),)
            process.stdin.close()
            assert await process.wait() == 0


async def test_lost_hints_cost_time_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        run = await begin_run(store)
        lease = await must_claim(store)
        assert await claim(other) is None
        with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
            sql.execute("DELETE FROM listeners")
            sql.commit()
        for seq in range(1, 3):
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
                tasks.create_task(other.wait(run, seq, 100))
                await asyncio.sleep(0)
                await store.append(run, entries("x"))
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            tasks.create_task(other.wait_due(100))
            await asyncio.sleep(0)
            await store.release(lease, "now", expect=3)


async def test_a_dead_process_is_told_nothing_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        async with writer("one", tmp_path, run) as process:
            assert await line_of(process) == "ready"
            assert len(listeners(tmp_path)) == 2
            process.kill()
            await process.wait()
        async with opened(tmp_path):
            assert listeners(tmp_path) == [os.getpid(), os.getpid()]
        assert listeners(tmp_path) == [os.getpid()]


def listeners(folder: Path) -> list[int]:
    """The processes registered for hints."""
    with closing(sqlite3.connect(folder / "jackline.db")) as sql:
        return [pid for (pid,) in sql.execute("SELECT pid FROM listeners")]


async def test_an_append_waits_for_another_processs_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        with closing(sqlite3.connect(tmp_path / "jackline.db", isolation_level=None)) as sql:
            sql.execute("BEGIN IMMEDIATE")
            pending = asyncio.ensure_future(store.append(run, entries("x")))
            assert (await store.read(run)).last == 1
            assert not pending.done()
            sql.execute("COMMIT")
            assert (await pending).last == 2


async def test_forged_hints_do_no_harm(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        run = await begin_run(store)
        with closing(sqlite3.connect(tmp_path / "jackline.db")) as sql:
            ((port,),) = sql.execute("SELECT port FROM listeners")
        loop = asyncio.get_running_loop()
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
        )
        for forged in (b"", b"x", b"\0" * 8, b"\0" * 8000, os.urandom(1001)):
            sender.sendto(forged)
        sender.close()
        await store.wait_due(0.01)
        assert (await store.append(run, entries("x"))).last == 2


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_reservation_is_kept_a_day_and_while_its_run_is_open(tmp_path: Path, kind: str) -> None:
    clock = Clock()
    store: Store = MemoryStore(clock) if kind == "memory" else await SqliteStore.open(tmp_path, clock=clock)
    talk = new_conversation_id()
    run = await begin_run(store, talk)
    kept = Reservation(digest="kept", target=run)
    gone = Reservation(digest="gone", target=new_conversation_id())
    later = Reservation(digest="later", target=run)
    await store.reserve("open", kept)
    await store.reserve("none", gone)
    clock.seconds += DAY - 1
    assert await store.reserve("none", later) == gone
    clock.seconds += 2
    assert await store.reserve("none", later) == later
    assert await store.reserve("open", later) == kept
    await store.append(run, entries("end"), close=True)
    assert await store.reserve("open", later) == later
    await store.aclose()


async def test_a_lease_goes_by_the_stores_clock(tmp_path: Path) -> None:
    clock = Clock()
    store = await SqliteStore.open(tmp_path, clock=clock)
    run = await begin_run(store)
    await must_claim(store, ttl=15)
    clock.seconds += 14.9
    assert (await store.head(run)).worker == "alive"
    assert await claim(store) is None
    clock.seconds += 0.1
    assert (await store.head(run)).worker == "lost"
    assert (await until(lambda: claim(store))).lapsed
    await store.aclose()
