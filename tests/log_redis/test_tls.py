"""`rediss://`: the store through TLS, which the test's server gets from a front of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jackline.errors import ConfigError, StoreUnavailable
from jackline.log.redis import RedisStore
from tests.contract.helpers import begin_run, entries, texts_of
from tests.contract.redis_server import shared_url
from tests.support.certificate import certify
from tests.support.processes import HOST

pytestmark = pytest.mark.anyio


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, signed by itself."""
    return certify(tmp_path / "both.pem")


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def front(certificate: Path) -> AsyncGenerator[str]:
    """The URL of the shared server behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    served: list[asyncio.Task[object] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        back_reader, back_writer = await asyncio.open_connection(HOST, urlsplit(shared_url()).port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, back_writer))
            group.create_task(pump(back_reader, writer))

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    async with server:
        yield f"rediss://{HOST}:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*(task for task in served if task is not None))


async def test_the_store_works_through_tls(front: str, certificate: Path, prefix: str) -> None:
    store = await RedisStore.open(f"{front}?ssl_ca_certs={certificate}", prefix=prefix)
    try:
        run = await begin_run(store)
        waiting = asyncio.create_task(store.wait(run, 1, 600.0))
        await store.append(run, entries("x" * 60_000))
        await waiting
        assert len(await texts_of(store, run)) == 2
    finally:
        await store.aclose()


async def test_a_certificate_that_nobody_vouches_for_is_refused(front: str) -> None:
    """G12: closed by default."""
    with pytest.raises(StoreUnavailable, match="certificate"):
        await RedisStore.open(front)


async def test_certificates_that_cannot_be_read_are_told(front: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certificates"):
        await RedisStore.open(f"{front}?ssl_ca_certs={tmp_path / 'none.pem'}")
