"""Probes that end their connection, from a real server: byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import uvloop

from tests.support.processes import HOST, PATIENCE, eventually_async
from tests.web.test_server import Served, serving

pytestmark = pytest.mark.anyio

STREAM = "/api/v1/probe/stream?id=one-name&plan=0:1,20:1"


@pytest.fixture(
    params=[
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Callable[[], object]]]:
    """Transports differ."""
    factory: Callable[[], object] = request.param
    return "asyncio", {"loop_factory": factory}


async def answered(served: Served, target: str, version: str = "1.1") -> bytes:
    """All that comes until the server ends the connection."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(f"GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            writer.close()


async def ended(served: Served) -> str:
    """How the server says that the probe ended."""
    said = await answered(served, "/api/v1/probe/report/one-name", "1.0")
    return str(json.loads(said.partition(b"\r\n\r\n")[2])["seen"][0]["ended"])


async def test_a_client_of_http_1_0_gets_a_stream_that_ends_with_its_connection() -> None:
    """NGINX's default before 1.29.7 is such a client; it knows no chunks."""
    async with serving(probes=True) as served:
        head, _, body = (await answered(served, STREAM, "1.0")).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"content-length" not in head
        events = [line for line in body.split(b"\n") if line.startswith(b"event: ")]
        assert events == [b"event: probe", b"event: probe", b"event: end"]
        assert await ended(served) == "done"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_stream_can_be_cut_in_the_middle(version: str) -> None:
    """What was written arrives, the last chunk does not, and no error is logged."""
    async with serving(probes=True) as served:
        said = await answered(served, STREAM + "&ending=cut", version)
        assert said.count(b"event: probe") == 2
        assert b"event: end" not in said
        assert not said.endswith(b"0\r\n\r\n")
        assert await ended(served) == "cut"


async def test_a_count_can_be_cut_before_its_answer() -> None:
    async with serving(probes=True) as served:
        assert await answered(served, "/api/v1/probe/count/one-name?mode=cut") == b""
        assert await ended(served) == "cut"


async def test_a_client_that_leaves_ends_its_stream() -> None:
    async with serving(probes=True) as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        target = "/api/v1/probe/stream?id=one-name&plan=0:1,1000000:1"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"event: probe\n")
        writer.transport.abort()

        async def gone() -> bool:
            return await ended(served) == "left"

        await eventually_async(gone)
