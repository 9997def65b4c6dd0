"""The connection: order under cancellation, deadlines, what is refused at the door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from jackline.errors import ConfigError, StoreUnavailable
from jackline.log.redis import RedisStore
from jackline.log.redis_address import parse
from jackline.log.redis_connection import Connection
from tests.contract.helpers import begin_run, entries, texts_of, until
from tests.contract.redis_server import RedisServer, redis_server, shared_url
from tests.log_redis.behind import answers

pytestmark = pytest.mark.anyio


async def test_no_cancellation_is_lost_and_no_reply_goes_astray(prefix: str) -> None:
    """G4: a task that awaits Redis can be stopped, always."""
    connection = Connection(parse(shared_url()), 5.0)
    await connection.start()

    async def echo(text: bytes) -> bytes:
        (reply,) = await connection.call([("ECHO", text)])
        assert reply == text, "somebody else's reply"
        return text

    async def ask_for_ever(name: int) -> None:
        number = 0
        while True:
            await echo(b"%d:%d:%b" % (name, number, prefix.encode()))
            number += 1

    try:
        for _ in range(10):
            tasks = [asyncio.create_task(ask_for_ever(name)) for name in range(100)]
            for number in range(20):  # some replies are on their way, in every state there is
                await echo(b"turn %d" % number)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
            await echo(b"still in order")
    finally:
        await connection.aclose()


async def test_a_cancelled_append_leaves_the_others_in_order(store: RedisStore) -> None:
    run = await begin_run(store)
    for number in range(50):
        doomed = asyncio.create_task(store.append(run, entries(f"doomed {number}")))
        kept = asyncio.create_task(store.append(run, entries(f"kept {number}")))
        if number % 2:
            await asyncio.sleep(0)
        doomed.cancel()
        await kept
        with pytest.raises(asyncio.CancelledError):
            await doomed
    bodies = await texts_of(store, run)
    assert [body for body in bodies if b"kept" in body] == [b'{"text":"kept %d"}' % n for n in range(50)]


async def test_a_frozen_server_is_given_up_after_the_deadline(always: RedisServer) -> None:
    """G8: a command is refused, it never hangs."""
    store = await RedisStore.open(always.url, deadline=0.3)
    try:
        run = await begin_run(store)
        always.freeze()
        tries = [store.append(run, entries("x"), expect=1) for _ in range(20)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes), outcomes
        always.thaw()
        await until(lambda: answers(store))
        assert (await store.read(run)).entries[0].body == b'{"text":"hello"}'
    finally:
        await store.aclose()


async def test_a_closed_store_refuses(store: RedisStore) -> None:
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await begin_run(store)


async def test_nobody_there_is_said_at_once(always: RedisServer) -> None:
    always.kill()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await RedisStore.open(always.url)


async def test_a_node_of_a_cluster_is_refused(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path, options=("--cluster-enabled", "yes")) as server,
        pytest.raises(ConfigError, match="Cluster"),
    ):
        await RedisStore.open(server.url)


async def test_a_server_that_throws_runs_away_is_refused(tmp_path: Path) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with (
        redis_server(tmp_path, options=options) as server,
        pytest.raises(ConfigError, match="noeviction"),
    ):
        await RedisStore.open(server.url)


async def test_the_password_comes_from_the_url_and_is_never_shown(tmp_path: Path) -> None:
    with redis_server(tmp_path, options=("--requirepass", "s3cret/:@")) as server:
        for wrong in (server.url, server.url.replace("//", "//:not-it@")):
            with pytest.raises(ConfigError, match="password") as caught:
                await RedisStore.open(wrong)
            assert "not-it" not in str(caught.value)
        store = await RedisStore.open(server.url.replace("//", "//:s3cret%2F%3A%40@"))
        try:
            await begin_run(store)
            assert "s3cret" not in store.describe()
            assert str(server.port) in store.describe()
        finally:
            await store.aclose()


async def test_databases_and_sockets_of_the_url_are_used(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    with redis_server(tmp_path, options=("--unixsocket", str(socket))) as server:
        urls = (f"unix://{socket}?db=3", server.url.replace("/0", "/3"), server.url)
        stores = [await RedisStore.open(url) for url in urls]
        try:
            run = await begin_run(stores[0])
            assert (await stores[1].head(run)).run_id == run
            assert await stores[2].runs() == ([], "")
        finally:
            for store in stores:
                await store.aclose()


async def test_prefixes_share_nothing(prefix: str) -> None:
    stores = [await RedisStore.open(shared_url(), prefix=f"{prefix}{name}") for name in "ab"]
    try:
        await begin_run(stores[0])
        assert await stores[1].runs() == ([], "")
        assert await stores[1].overdue() == []
    finally:
        for store in stores:
            await store.aclose()


class Speaker(asyncio.Protocol):
    """Says its words to whoever has said something, whatever that was."""

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(self._words)


@contextlib.asynccontextmanager
async def server_that_says(words: bytes) -> AsyncGenerator[str]:
    """The URL of a server with a few words of its own."""
    server = await asyncio.get_running_loop().create_server(lambda: Speaker(words), "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def greeting(info: bytes) -> bytes:
    """What Redis answers to a greeting when it tells `info` of itself."""
    return b"%%0\r\n$%d\r\n%b\r\n%%0\r\n" % (len(info), info)


async def test_an_old_server_is_refused_with_its_version() -> None:
    async with server_that_says(greeting(b"redis_version:6.2.14\r\n")) as url:
        with pytest.raises(ConfigError, match=r"6\.2\.14.*Redis 7"):
            await RedisStore.open(url)


@pytest.mark.parametrize(
    ("info", "words"), [(b"loading:1", "loading"), (b"role:slave", "replica")], ids=["loading", "replica"]
)
async def test_a_server_that_cannot_be_it_now_is_unavailable(info: bytes, words: str) -> None:
    async with server_that_says(greeting(b"redis_version:8.0.0\r\n" + info + b"\r\n")) as url:
        with pytest.raises(StoreUnavailable, match=words):
            await RedisStore.open(url)


async def test_something_else_than_redis_is_told_so() -> None:
    async with server_that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(StoreUnavailable, match="Redis protocol"):
            await RedisStore.open(url)


@pytest.mark.parametrize(
    "url", ["http://host", "redis://host:port", "redis://host/db", "redis://host?timeout=3", "host:6379", ""]
)
async def test_a_url_that_cannot_be_meant_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await RedisStore.open(url.replace("host", "user:s3cret@host"))
    assert "s3cret" not in str(caught.value)
