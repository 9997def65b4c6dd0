"""One server over HTTP: requests that are tried again, and what an answer means. No frames here."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from random import random
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlsplit

import anyio
import httpx2

from jackline.client.errors import ProtocolViolation, Refused, Unreachable
from jackline.client.pace import Backoff, Pace, retry_after
from jackline.client.shape import members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

Method = Literal["GET", "POST", "DELETE"]

# What a proxy, a full server or one that starts anew answers. A 4xx not named here, and 501 and 505,
# would say the same the next time.
_TRY_AGAIN: Final = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
_STREAM: Final = "text/event-stream"


class Failed(Exception):  # noqa: N818
    """A try that failed in a way that another may not: `reason`, how long the server asked to wait,
    whether there was a connection at all, and whether nothing came on it in time."""

    def __init__(
        self, reason: str, at_least_s: float = 0.0, *, connected: bool = True, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_least_s = at_least_s
        self.connected = connected
        self.silent = silent


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request as it is sent, also the second time. `key` is its Idempotency-Key; every POST has one."""

    method: Method
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    body: bytes | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Server:
    """A Jackline at `url`. `clock` is the wall clock in POSIX seconds, `chance` gives 0 to 1."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        pace: Pace | None = None,
        trust_env: bool = False,
        verify: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random,
    ) -> None:
        self.url = check_url(url)
        self.pace = pace or Pace()
        self.holds_back = False
        """Whether something on the way to it was seen to hold streams back."""
        self.answered = False
        """Whether it has done anything that it was asked for: the address and the key are right."""
        self.clock = clock
        self.chance = chance
        headers = {"User-Agent": "jackline"}
        if token:
            if not (token.isascii() and token.isprintable() and token == token.strip()):
                raise ValueError("the token (--token, JACKLINE_TOKEN) has characters that no header takes")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.AsyncClient(
            headers=headers,
            trust_env=trust_env,
            verify=verify or _tls(self.url),
            timeout=httpx2.Timeout(self.pace.request_s, connect=self.pace.connect_s, read=None, pool=None),
            # Every followed stream holds a connection; a limit would make the next one wait for ever.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=10),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def request(
        self,
        call: Call,
        *,
        accept: str = "application/json",
        wait_s: float = 0,
        first_s: float | None = None,
    ) -> httpx2.Response:
        """The whole answer. Tries again within the pace's first budget; raises `Refused`, `Unreachable`.

        `wait_s`: how much longer than usual the server may be silent, because it was asked to wait;
        `first_s`: how long usual is for the first try, doubled for each one after it up to `request_s`.
        """
        silence_s = self.pace.request_s if first_s is None else min(first_s, self.pace.request_s)
        backoff = Backoff(self.pace, self.chance)
        since = self.clock()
        while True:
            try:
                return await self.once(call, silence_s + wait_s, accept=accept)
            except Failed as error:
                failed = error
            silence_s = min(2 * silence_s, self.pace.request_s)
            budget = self.pace.first_budget(failed.connected)
            await anyio.sleep(self.wait_s(failed, backoff, since, budget, call))

    async def open(self, call: Call, patience_s: float) -> httpx2.Response:
        """One try to open a stream: the answer with its headers read, and its body not.

        The caller closes it. Raises `Failed` where another try may help (also after `patience_s`
        without headers), `Refused`, and `ProtocolViolation` for an answer that is no stream.
        """
        try:
            with anyio.fail_after(patience_s):
                response = await self._send(call, _STREAM)
        except TimeoutError:
            raise Failed(f"no answer within {patience_s:g} s", silent=True) from None
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != HTTPStatus.NO_CONTENT and media_type != _STREAM:
            await response.aclose()
            raise ProtocolViolation(
                f"{self.url} answers {media_type or 'no media type'}, not an event stream"
            )
        return response

    async def once(
        self, call: Call, patience_s: float, *, accept: str = "application/json"
    ) -> httpx2.Response:
        """One try for a whole answer, however long that takes. Raises `Failed`, also once nothing came for
        `patience_s`, and `Refused`."""
        response = None
        try:
            with anyio.fail_after(patience_s) as scope:
                response = await self._send(call, accept)
                await whole(response, scope, patience_s)
        except TimeoutError:
            how = "no answer within" if response is None else "silent for"
            raise Failed(f"{how} {patience_s:g} s", silent=True) from None
        return response

    def wait_s(self, failed: Failed, backoff: Backoff, since: float, budget_s: float, call: Call) -> float:
        """How long to wait before `call` is tried again. Raises `Unreachable` when the tries since `since`
        have used up the budget, or would while waiting for as long as the server asked."""
        tried = max(0.0, self.clock() - since)
        left = budget_s - tried
        if left <= 0 or failed.at_least_s > left:
            raise Unreachable(self.url, failed.reason, tried) from failed
        return min(backoff.next(failed.at_least_s, command=call.method != "GET"), left)

    async def _send(self, call: Call, accept: str) -> httpx2.Response:
        headers = {"Accept": accept, **call.headers}
        if accept == _STREAM:
            # A proxy that compresses a stream holds it back until its buffer is full.
            headers["Accept-Encoding"] = "identity"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        request = self._http.build_request(
            call.method, self.url + call.path, params=dict(call.params), content=call.body, headers=headers
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx2.TransportError as error:
            connected = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise Failed(_why(error), connected=connected) from error
        if response.is_success:
            self.answered = True
            return response
        raise await self._refusal(response)

    async def _refusal(self, response: httpx2.Response) -> Failed | Refused:
        wait = retry_after(response.headers.get("retry-after"), self.clock())
        try:
            await _read(response)
        except Failed:
            problem: dict[str, Any] = {"title": response.reason_phrase}
        else:
            problem = _problem(response)
        refused = Refused(response.status_code, problem, wait)
        if response.status_code in _TRY_AGAIN:
            return Failed(f"it answers {refused}", wait or 0.0)
        return refused


class _Listened(httpx2.AsyncByteStream):
    """A body that calls `heard` with each part of it."""

    def __init__(self, body: httpx2.AsyncByteStream, heard: Callable[[], None]) -> None:
        self._body = body
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            self._heard()
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


async def whole(response: httpx2.Response, scope: anyio.CancelScope, patience_s: float) -> None:
    """Read the body. `scope` ends once nothing of it came for `patience_s`: what is large, or comes slowly,
    may take longer altogether. Raises `Failed`."""

    def heard() -> None:
        scope.deadline = anyio.current_time() + patience_s

    heard()
    body = response.stream
    assert isinstance(body, httpx2.AsyncByteStream)
    response.stream = _Listened(body, heard)
    await _read(response)


async def _read(response: httpx2.Response) -> None:
    try:
        await response.aread()
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise Failed(f"the answer was cut: {_why(error)}") from error
    finally:
        await response.aclose()


def check_url(url: str) -> str:
    """The address without its last slash. Raises `ValueError` for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and " " not in url
        _ = httpx2.URL(url)  # it takes less than the standard library does
    except (ValueError, httpx2.InvalidURL):
        usable = False
    if not usable:
        raise ValueError(f"{url!r} is not an address like http://127.0.0.1:8787")
    return url.rstrip("/")


def segment(name: str) -> str:
    """An id as one segment of a path. Raises `ValueError` for what could name another path."""
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not an id")
    return quote(name, safe="")


def read_json(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises `ProtocolViolation`."""
    try:
        data = members(json.loads(response.content))
    except ValueError as error:
        raise ProtocolViolation(f"{response.request.url} answers what is not JSON") from error
    if data is None:
        raise ProtocolViolation(f"{response.request.url} answers JSON that is not an object")
    return data


def _problem(response: httpx2.Response) -> dict[str, Any]:
    fallback: dict[str, Any] = {"title": response.reason_phrase, "status": response.status_code}
    if response.is_redirect:
        return fallback | {
            "detail": f"redirects to {response.headers.get('location', 'nowhere')}; use that address"
        }
    try:
        return fallback | (members(json.loads(response.content)) or {})
    except ValueError:
        return fallback


def _why(error: Exception) -> str:
    match error:
        case httpx2.ConnectTimeout():
            return "no connection in time"
        case httpx2.ConnectError():
            return str(error) or "connection refused"
        case _:
            return str(error) or type(error).__name__


def _tls(url: str) -> ssl.SSLContext:
    if url.startswith("https:"):
        return ssl.create_default_context()
    # Never used, since redirects are not followed. An empty context trusts nobody, and making it takes
    # no time, where loading the system's certificates takes a tenth of a second.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
