"""A run's journal on a server that comes back with less than was seen of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from jackline.commands import Commands, read_state
from jackline.errors import Fenced, StoreUnavailable
from jackline.events import Entry, Message, Token, Workflow
from jackline.journal import ASIDE_BYTES, Journal
from jackline.log.base import KEEP, Appended, Artifact, Due, Nobody, Serves
from jackline.log.redis import RedisStore
from tests.contract.helpers import DEADLINE, LONG, until
from tests.contract.redis_server import RedisServer, redis_server
from tests.log_redis.behind import answers

pytestmark = pytest.mark.anyio

TS = "2026-01-01T00:00:00.000Z"


class Interrupted(RedisStore):
    """The answer to the next append is lost, and `meanwhile` happens before that is noticed."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def append(
        self,
        run_id: str,
        entries: Sequence[Entry],
        *,
        fence: int | Nobody | None = None,
        expect: int | None = None,
        once: Sequence[str] = (),
        checkpoint: bytes | None = None,
        summary: bytes | None = None,
        due: Due = KEEP,
        close: bool = False,
        lazy: bool = False,
    ) -> Appended:
        appended = await super().append(
            run_id,
            entries,
            fence=fence,
            expect=expect,
            once=once,
            checkpoint=checkpoint,
            summary=summary,
            due=due,
            close=close,
            lazy=lazy,
        )
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
            raise StoreUnavailable("the answer was lost")
        return appended


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RedisServer]:
    """One that writes to its disk each second."""
    with redis_server(tmp_path, aof="everysec") as made:
        yield made


@pytest.fixture
async def store(server: RedisServer) -> AsyncGenerator[Interrupted]:
    made = await Interrupted.open(server.url)
    try:
        yield made
    finally:
        await made.aclose()


@contextlib.asynccontextmanager
async def journal(store: RedisStore) -> AsyncGenerator[Journal]:
    """A journal of a run that has just begun to execute."""
    started = await Commands(store).start(
        by="user:ana", agent="a", messages=[Message(role="user", content="do it")]
    )
    lease = await store.claim("w1", LONG, [Serves(name="a", revision="1")])
    assert lease is not None
    assert lease.run_id == started.run_id
    made = Journal(store, lease, await read_state(store, lease.run_id), ttl=LONG)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(made.run()), group.create_task(made.watch())]
        await made.commit([Workflow(ts=TS, state="executing", attempt=1)], expect=True)
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()


def lost_after(server: RedisServer, store: Interrupted, made: Journal, seq: int) -> None:
    """The next append reaches the server, and is read here; then the server forgets it."""
    written = server.written

    async def read() -> bool:
        return made.state.seq >= seq

    async def meanwhile() -> None:
        await until(read)
        server.kill()
        server.lose(written)
        server.launch()

    store.meanwhile = meanwhile


async def test_an_ending_that_was_lost_closes_the_log_again(server: RedisServer, store: Interrupted) -> None:
    """G3: it was seen, so it is put back; the log must be closed by it, and its conversation be free."""
    async with journal(store) as made:
        run = made.lease.run_id
        lost_after(server, store, made, made.state.seq + 1)
        await made.commit([Workflow(ts=TS, state="completed", attempt=1)], expect=True, close=True)
    page = await store.read(run)
    assert page.closed
    assert (await read_state(store, run)).state == "completed"
    assert page.last == 3
    assert (await store.conversation(run.split(".")[0])).active is None


async def test_a_checkpoint_that_was_lost_with_its_entries_is_put_back(
    server: RedisServer, store: Interrupted
) -> None:
    """G7, G8: entries without their checkpoint would have the next worker do again what they tell."""
    async with journal(store) as made:
        lost_after(server, store, made, made.state.seq + 1)
        step = Workflow(ts=TS, state="executing", attempt=1, step=1)
        await made.commit([step], expect=True, checkpoint=b"new")
        assert (await store.read(made.lease.run_id)).last == 3
        assert await store.checkpoint(made.lease.run_id) == b"new"
        assert made.checkpoint == b"new"


async def test_a_supervisor_cannot_vouch_for_what_its_dead_worker_saw(
    server: RedisServer, store: Interrupted
) -> None:
    """G1: it has read nothing; who saw more must be told by the cut."""
    async with journal(store) as made:
        run, lease = made.lease.run_id, made.lease
        written = server.written
        made.put(Token(ts=TS, text="seen", kind="text", message_id="m1"))
        await made.commit([])
    server.kill()
    server.lose(written)
    server.launch()
    await until(lambda: answers(store))
    last = (await store.head(run)).last
    assert last == 2
    with pytest.raises(StoreUnavailable):
        await store.release(lease, "now", expect=last)
    assert (await store.read(run)).doubt


async def test_a_writer_whose_lease_was_given_up_is_told_so_after_a_restart(
    server: RedisServer, store: Interrupted
) -> None:
    """G7: it must not wait for ever to be believed."""
    async with journal(store) as made:
        await store.release(made.lease, "now", expect=made.state.seq)
        server.kill()
        server.launch()
        await until(lambda: answers(store))
        with pytest.raises(Fenced):
            await asyncio.wait_for(made.commit([Workflow(ts=TS, state="executing", attempt=1)]), DEADLINE)


@pytest.mark.parametrize("told", [True, False], ids=["with its entry", "before its entry"])
async def test_what_was_stored_aside_and_lost_is_put_back(
    server: RedisServer, store: Interrupted, *, told: bool
) -> None:
    """G1, G8: an entry never names what the store no longer has."""
    async with journal(store) as made:
        run, written = made.lease.run_id, server.written
        large = Artifact(media_type="text/plain", data=b"x" * 100_000)
        await made.store_aside("large", large)
        if told:
            made.put(Token(ts=TS, text="see large", kind="text", message_id="m1"))
            await made.commit([])
        server.kill()
        server.lose(written)
        server.launch()
        await made.commit([Workflow(ts=TS, state="executing", attempt=1, step=1)], expect=True)
        assert await store.artifact(run, "large") == large
        assert (await store.read(run)).last == (4 if told else 3)


async def test_what_is_kept_to_be_put_back_is_bounded(server: RedisServer, store: Interrupted) -> None:
    """G8: the newest few MiB; who waits for an entry after that waits until it is on disk."""
    async with journal(store) as made:
        run, written = made.lease.run_id, server.written
        one = Artifact(media_type="text/plain", data=b"x" * (ASIDE_BYTES // 2))
        for name in ("a", "b", "c"):
            await made.store_aside(name, one)
        server.kill()
        server.lose(written)
        server.launch()
        await made.commit([Workflow(ts=TS, state="executing", attempt=1, step=1)], expect=True)
        assert [await store.artifact(run, name) is not None for name in ("a", "b", "c")] == [
            False,
            True,
            True,
        ]
