"""A server whose memory is used up: people can still decide and stop, and runs can still end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jackline.commands import Commands
from jackline.errors import ConfigError, StoreUnavailable
from jackline.events import Entry, Message
from jackline.log.base import Artifact, Lease, Reservation
from jackline.log.redis import RedisStore
from tests.contract.helpers import LONG, begin_run, entries, must_claim, texts_of
from tests.contract.redis_server import RedisServer, redis_server
from tests.log_redis.behind import behind

pytestmark = pytest.mark.anyio

SMALL = "32mb"


@pytest.fixture
def small(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path, aof="always", options=("--maxmemory", SMALL)) as server:
        yield server


@pytest.fixture
async def tight(small: RedisServer) -> AsyncGenerator[RedisStore]:
    store = await RedisStore.open(small.url)
    try:
        yield store
    finally:
        await store.aclose()


async def limit(server: RedisServer, maxmemory: str) -> None:
    async with behind(server.url) as client:
        await client.do("CONFIG", "SET", "maxmemory", maxmemory)


async def fill(server: RedisServer) -> None:
    """Leave it with more in its memory than it may have."""
    await limit(server, "1mb")


async def running(store: RedisStore) -> tuple[str, Lease]:
    run = await begin_run(store)
    return run, await must_claim(store)


async def test_fullness_is_told_before_it_is_too_late(small: RedisServer, tight: RedisStore) -> None:
    before = await tight.fullness()
    assert before is not None
    assert 0 < before < 0.5
    await fill(small)
    after = await tight.fullness()
    assert after is not None
    assert after > 1


async def test_a_server_without_a_limit_has_no_fullness(store: RedisStore) -> None:
    assert await store.fullness() is None


async def test_without_memory_nothing_starts_and_no_progress_is_written(
    small: RedisServer, tight: RedisStore
) -> None:
    """G8: refused, not half done."""
    run, lease = await running(tight)
    await fill(small)
    for refused in (
        begin_run(tight),
        tight.append(run, entries("more"), fence=lease.generation),
        tight.put_artifact(run, "big", Artifact(media_type="text/plain", data=b"x")),
    ):
        with pytest.raises(StoreUnavailable, match="no memory left"):
            await refused
    assert await texts_of(tight, run) == [b'{"text":"hello"}']
    await limit(small, SMALL)
    await tight.append(run, entries("more"), fence=lease.generation)


async def test_without_memory_leases_are_kept_and_given_back(small: RedisServer, tight: RedisStore) -> None:
    """G7: a full store does not look like dead workers."""
    run, lease = await running(tight)
    await fill(small)
    await tight.renew(lease, LONG)
    await tight.beat("w1", LONG, idle_ms=0, catalogue=b"c")
    assert (await tight.head(run)).worker == "alive"
    await tight.release(lease, "never", expect=1)


async def test_without_memory_a_stopped_run_says_how_it_ended(small: RedisServer, tight: RedisStore) -> None:
    """G3, G4: the command, what its worker still has to say, and the ending."""
    run, lease = await running(tight)
    await fill(small)
    assert (await tight.reserve("key", Reservation(digest="d", target=run))).target == run
    await tight.append(run, entries("stopping"), once=["stop:immediate"], due="now")
    await tight.append(run, entries("said before", "cancelled"), fence=lease.generation, checkpoint=b"c")
    await tight.append(run, entries("stopped"), fence=lease.generation, expect=4, close=True)
    assert len(await texts_of(tight, run)) == 5
    assert (await tight.head(run)).closed


async def test_without_memory_a_decision_is_taken_and_answered_the_same_again(
    small: RedisServer, tight: RedisStore
) -> None:
    """G5."""
    run, _ = await running(tight)
    await fill(small)
    first = await tight.append(run, entries("granted"), once=["approval:1"])
    again = await tight.append(run, entries("denied"), once=["approval:1"])
    assert (first.first, again.repeated, again.taken["approval:1"].entry) == (2, True, entries("granted")[0])


async def test_what_a_command_allows_is_bounded(small: RedisServer, tight: RedisStore) -> None:
    """A decision must not open a full store to all that its run has to say."""
    run, lease = await running(tight)
    await fill(small)
    await tight.append(run, entries("granted"), once=["approval:1"])
    large, written = [Entry("token", b"x" * 60_000)], 0
    with contextlib.suppress(StoreUnavailable):
        while written < 1000:
            await tight.append(run, large, fence=lease.generation)
            written += 1
    assert 20 < written < 60
    await tight.append(run, entries("end"), fence=lease.generation, close=True)


async def test_without_memory_an_unattended_run_is_stopped_by_the_command(
    small: RedisServer, tight: RedisStore
) -> None:
    """G4: queued, no worker, no memory."""
    commands = Commands(tight)
    started = await commands.start(by="local", agent="a", messages=[Message(role="user", content="hi")])
    await fill(small)
    assert (await commands.stop(started.run_id, by="local")).state == "stopping"
    assert (await commands.stop(started.run_id, by="local")).state == "stopped"
    assert not [head for head in await tight.overdue() if head.run_id == started.run_id]


async def test_without_memory_data_can_be_forgotten(small: RedisServer, tight: RedisStore) -> None:
    run, lease = await running(tight)
    await tight.append(run, entries("end"), fence=lease.generation, close=True)
    await fill(small)
    before = await tight.now_ms() + 1000
    talk = run.split(".", maxsplit=1)[0]
    assert await tight.ended(before, 10) == [talk]
    assert await tight.hold("archive", "me", LONG)
    assert await tight.forget(talk, before)


@pytest.mark.parametrize("policy", ["volatile-lru", "allkeys-lru"])
async def test_a_server_that_could_throw_keys_away_is_warned_of(tmp_path: Path, policy: str) -> None:
    with redis_server(tmp_path, options=("--maxmemory-policy", policy)) as server, capture_logs() as logs:
        store = await RedisStore.open(server.url)
        await store.aclose()
    (warning,) = [line for line in logs if line["log_level"] == "warning"]
    assert policy in warning["advice"]
    assert "noeviction" in warning["advice"]


async def test_a_server_that_will_throw_keys_away_is_refused(tmp_path: Path) -> None:
    options = ("--maxmemory", SMALL, "--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path, options=options) as server, pytest.raises(ConfigError, match="noeviction"):
        await RedisStore.open(server.url)
