"""Requests over connections of their own, with the time of every arrival."""

from __future__ import annotations

import asyncio
import json
import ssl
import zlib
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jackline.client.errors import Unreachable
from jackline.client.http import check_url
from jackline.client.shape import members
from jackline.doctor.http1 import BadAnswer, Reader
from jackline.sse import Decoder, EventTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from jackline.doctor.record import Ended
    from jackline.sse import ServerSentEvent

_CONNECT_S: Final = 10.0
_READ: Final = 65536
_BODY_BYTES: Final = 1 << 20
_GZIP_OR_DEFLATE: Final = 47
"""zlib's `wbits` that takes either by its first bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request. `target`: path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


@dataclass(kw_only=True, slots=True)
class Answer:
    """What came back. Times are ms since the request left. `ended` is `open` when the time was over."""

    reader: Reader
    headers_ms: float | None = None
    ended: Ended = "failed"
    ended_ms: float = 0.0
    body: bytes = b""
    error: str = ""

    def json(self) -> dict[str, object]:
        """The JSON object that it is; empty for anything else."""
        try:
            return members(json.loads(self.body)) or {}
        except ValueError:
            return {}


class Untrusted(Unreachable):
    """The server's certificate is signed by nobody who is known here. OpenSSL takes others' from the file
    that SSL_CERT_FILE names."""


class Endpoint:
    """A server's address. Each request has a connection of its own, because what a connection has been used
    for before changes what proxies do. Raises `ValueError` for what is no http(s) address."""

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        parts = urlsplit(self.url)
        self._host = parts.hostname or ""
        self._tls = _tls() if parts.scheme == "https" else None
        self._port = parts.port if parts.port is not None else 443 if self._tls else 80
        self.host = parts.netloc
        self.prefix = parts.path

    async def request(self, call: Call, *, seconds: float) -> Answer:
        """The whole answer, or what came of it within `seconds`. Raises `Unreachable`."""
        body = bytearray()

        def keep(at: float, part: bytes) -> None:
            del at
            body.extend(part)
            if len(body) > _BODY_BYTES:
                raise BadAnswer("a larger answer than any probe has")

        answer = await self.exchange(call, seconds=seconds, on_part=keep)
        answer.body = bytes(body)
        return answer

    async def follow(
        self, call: Call, *, seconds: float, on_event: Callable[[float, ServerSentEvent], None]
    ) -> Answer:
        """A stream, whose events are told with their times. Raises `Unreachable`."""
        decoder = Decoder(limit=_BODY_BYTES)
        reader = Reader()
        inflater = zlib.decompressobj(_GZIP_OR_DEFLATE)

        def read(at: float, part: bytes) -> None:
            try:
                if reader.header("content-encoding").lower() in ("gzip", "deflate"):
                    part = inflater.decompress(part)
                events = decoder.feed(part)
            except (zlib.error, EventTooLarge) as error:
                raise BadAnswer(str(error)) from error
            for event in events:
                on_event(at, event)

        return await self.exchange(call, seconds=seconds, on_part=read, reader=reader)

    async def exchange(
        self,
        call: Call,
        *,
        seconds: float,
        on_part: Callable[[float, bytes], None],
        reader: Reader | None = None,
    ) -> Answer:
        """One request, until its answer ends, or for `seconds`. `on_part` gets the parts of the body with
        their times, and may raise `BadAnswer`. Raises `Unreachable`."""
        answer = Answer(reader=reader or Reader())
        clock = asyncio.get_running_loop().time
        async with self._connected() as (source, sink):
            began = clock()
            sink.write(self._head(call) + (call.body or b""))
            try:
                async with asyncio.timeout(seconds):
                    while not answer.reader.complete:
                        data = await source.read(_READ)
                        at = (clock() - began) * 1000
                        if not data:
                            answer.reader.eof()
                            break
                        part = answer.reader.feed(data)
                        if answer.headers_ms is None and answer.reader.status is not None:
                            answer.headers_ms = at
                        if part:
                            on_part(at, part)
            except TimeoutError:
                answer.ended = "open"
            except (BadAnswer, OSError) as error:
                answer.ended, answer.error = "cut", str(error) or type(error).__name__
            else:
                answer.ended = "clean" if answer.reader.complete else "cut"
            answer.ended_ms = (clock() - began) * 1000
        if answer.reader.status is None and answer.ended == "cut":
            answer.ended = "failed"
        return answer

    async def raw(self, data: bytes, *, seconds: float) -> bytes:
        """What answers these very bytes. Raises `Unreachable`."""
        got = b""
        async with self._connected() as (reader, writer):
            writer.write(data)
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(seconds):
                    while len(got) < _READ and (part := await reader.read(_READ)):
                        got += part
        return got

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except TimeoutError as error:
            raise Unreachable(self.url, "no connection in time", _CONNECT_S) from error
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(self.url, error.verify_message, 0.0) from error
        except OSError as error:
            raise Unreachable(self.url, error.strerror or str(error), 0.0) from error
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _head(self, call: Call) -> bytes:
        headers = {"Host": self.host, "User-Agent": "jackline-doctor", **call.headers}
        if call.body is not None:
            headers["Content-Length"] = str(len(call.body))
        lines = [f"{call.method} {self.prefix}{call.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _checked(url: str) -> str:
    """The address. Raises `ValueError`, without its secrets, for one that is no server's."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("URL has a name or a password in it: give --token")
    if "?" in url or "#" in url:
        raise ValueError("URL has a query or a fragment: give a server's address, like http://127.0.0.1:8787")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("URL has characters that must be written in ASCII (xn--…, %…)")
    if parts.port == 0:
        raise ValueError("URL has port 0, where nothing listens")
    return check_url(url)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
