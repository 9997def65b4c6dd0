"""Single probes, each seen from both sides."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from jackline.client.errors import ProtocolViolation, Refused, Unreachable
from jackline.client.shape import items, members
from jackline.doctor.http1 import Reader
from jackline.doctor.record import Arrival, Count, Echo, Seen, Stream
from jackline.doctor.wire import Answer, Call, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from jackline.doctor.record import Method
    from jackline.sse import ServerSentEvent

PROBE: Final = "/api/v1/probe"
GRANT: Final = "jlp1."
"""What a token of `jackline doctor --grant` begins with."""
ASK_S: Final = 10.0
PATIENCE_S: Final = 10.0
"""How long after its planned end a stream may still come."""

_PAD: Final = 60
_COUNT_S: Final = 8.0
_TRIES: Final = 12
_PAUSE_S: Final = 0.25
_STALE: Final = 3
"""So many answers in a row from servers that have answered before: there are no others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A stream to ask for. `plan`: when its events are due, in ms. `pad`: padding of each, `first` of the
    first one. `gzip`: offer to take it compressed. `shared`: an id, to share its address with other streams.
    `seconds`: how long to wait for all of it. `query`: what else the server is told."""

    name: str
    plan: Sequence[int]
    method: Method = "GET"
    gzip: bool = False
    pad: int = _PAD
    first: int = _PAD
    shared: str | None = None
    seconds: float | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])

    def call(self, probe_id: str, nonce: str, headers: Mapping[str, str]) -> Call:
        """The request."""
        steps = [f"{at}:{self.pad if n else self.first}" for n, at in enumerate(self.plan)]
        params = {"id": probe_id, "plan": ",".join(steps), **self.query}
        own = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "gzip" if self.gzip else "identity",
            "X-Probe-Nonce": nonce,
        }
        return Call(
            method=self.method,
            target=f"{PROBE}/stream?" + urlencode(params, safe=":,"),
            headers={**own, **headers},
            body=b"{}" if self.method == "POST" else None,
        )


class Off(ProtocolViolation):
    """The server is a Jackline whose probes are off. `detail` is its own advice; `headers` of its answer."""

    def __init__(self, url: str, detail: str, headers: list[tuple[str, str]]) -> None:
        super().__init__(f"{url}: {detail}")
        self.detail = detail
        self.headers = headers


class _Heard:
    """What arrived of a stream."""

    def __init__(self) -> None:
        self.events: list[Arrival] = []
        self.beats: list[float] = []
        self.last_frame = False

    def on_event(self, at: float, event: ServerSentEvent) -> None:
        """An event arrived."""
        data = _data(event)
        match event.event:
            case "probe":
                emitted = _number(data, "at")
                self.events.append(Arrival(at=emitted, arrived=at, nonce=str(data.get("nonce"))))
            case "heartbeat":
                self.beats.append(at)
            case "end":
                self.last_frame = True
            case _:
                pass


class Prober:
    """Probes one address. `token`: of `--grant`, of an origin, or an API key. Raises `ValueError` for a bad
    URL or token."""

    def __init__(self, url: str, token: str | None) -> None:
        self.endpoint = Endpoint(url)
        self._headers: dict[str, str] = {}
        if token:
            if not (token.isascii() and token.isprintable()):
                raise ValueError("the token has characters that no header takes")
            is_grant = token.startswith(GRANT)
            # A cache takes an Authorization for a reason to stay away, which would hide what it does else.
            self._headers = {"X-Probe-Token": token} if is_grant else {"Authorization": f"Bearer {token}"}

    async def echo(self) -> Echo:
        """How a request arrives. Raises `Refused`, `Off`, `ProtocolViolation`."""
        query = "after=12.1&text=a%20b%2Fc+d&empty=&twice=1&twice=2"
        body = b'{"probe":"\xc3\xa9"}'
        sent = {
            "Accept": "text/event-stream",
            "Last-Event-ID": "12.1",
            "Idempotency-Key": secrets.token_hex(8),
            "Content-Type": "application/json",
            **self._headers,
        }
        if "Authorization" not in sent and self._headers:
            sent["Authorization"] = f"Bearer {self._headers['X-Probe-Token']}"
        call = Call(method="POST", target=f"{PROBE}/echo?{query}", headers=sent, body=body)
        answer = await self.endpoint.request(call, seconds=ASK_S)
        self._check(answer)
        rtt = answer.ended_ms
        for _ in range(3):
            call_again = Call(method="GET", target=f"{PROBE}/echo", headers=self._headers)
            again = await self.endpoint.request(call_again, seconds=ASK_S)
            rtt = min(rtt, again.ended_ms)
        return _echo(answer, call, self.endpoint.host, rtt)

    async def stream(self, ask: Ask) -> Stream:
        """One stream, as both sides saw it."""
        probe_id, nonce = ask.shared or secrets.token_hex(8), secrets.token_hex(8)
        heard = _Heard()
        seconds = ask.seconds or ask.plan[-1] / 1000 + PATIENCE_S
        call = ask.call(probe_id, nonce, self._headers)
        try:
            answer = await self.endpoint.follow(call, seconds=seconds, on_event=heard.on_event)
        except Unreachable as error:
            answer = Answer(reader=Reader(), error=error.reason)
        reader = answer.reader
        return Stream(
            name=ask.name,
            method=ask.method,
            gzip=ask.gzip,
            without=ask.query["without"].split(",") if "without" in ask.query else [],
            identity="identity" in ask.query,
            plan=list(ask.plan),
            nonce=nonce,
            status=reader.status,
            headers=reader.headers,
            headers_ms=answer.headers_ms,
            framing=reader.framing,
            sizes=reader.sizes,
            events=heard.events,
            beats=heard.beats,
            last_frame=heard.last_frame,
            ended=answer.ended,
            ended_ms=answer.ended_ms,
            error=answer.error,
            server=await self._seen(probe_id),
        )

    async def count(
        self, method: Method, mode: Literal["503", "slow", "cut"], *, delay_s: float = 0.0
    ) -> Count:
        """How often a request is executed that was sent once. Raises `Refused` where there are too many."""
        name = secrets.token_hex(8)
        query = f"?mode={mode}" + (f"&delay={int(delay_s * 1000)}" if delay_s else "")
        call = Call(
            method=method,
            target=f"{PROBE}/count/{name}{query}",
            headers=self._headers,
            body=b"{}" if method == "POST" else None,
        )
        answer = await self._asked(call, delay_s + _COUNT_S)
        if answer.reader.status == HTTPStatus.TOO_MANY_REQUESTS and _is_problem(answer):
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, answer.json())
        seen = await self._seen(name, thorough=True)
        return Count(
            method=method,
            mode=mode,
            status=answer.reader.status,
            executions=seen.executions,
            read=seen.read,
        )

    async def _seen(self, name: str, *, thorough: bool = False) -> Seen:
        """What the servers know of a probe. Each has a memory of its own, so several are asked: until the
        probe is known, or with `thorough` until no new one answers."""
        found: dict[str, Seen] = {}
        stale = 0
        for _ in range(_TRIES):
            call = Call(method="GET", target=f"{PROBE}/report/{name}", headers=self._headers)
            answer = await self._asked(call, ASK_S)
            document = answer.json()
            server = document.get("server")
            if answer.reader.status != HTTPStatus.OK or not isinstance(server, str):
                await asyncio.sleep(_PAUSE_S * (1 + len(found)))  # it may have been taken for dead
                continue
            stale = stale + 1 if server in found else 0
            found[server] = _report(document)
            if found[server].executions and not thorough:
                break
            if stale >= _STALE:
                break
        return Seen(
            executions=sum(seen.executions for seen in found.values()),
            read=bool(found),
            seen=[execution for seen in found.values() for execution in seen.seen],
        )

    async def _asked(self, call: Call, seconds: float) -> Answer:
        """The answer, which may be that nobody is there just now."""
        try:
            return await self.endpoint.request(call, seconds=seconds)
        except Unreachable as error:
            return Answer(reader=Reader(), error=error.reason)

    def _check(self, answer: Answer) -> None:
        """Raises what an answer to the first echo means that is none."""
        document = answer.json()
        status = answer.reader.status
        if status == HTTPStatus.OK and "target" in document:
            return
        detail = str(document.get("detail", ""))
        if status == HTTPStatus.NOT_FOUND and "probes" in detail:
            raise Off(self.endpoint.url, detail, answer.reader.headers)
        if status is not None and _is_problem(answer):
            raise Refused(status, document)
        what = f"answers {status}" if status is not None else (answer.error or "does not answer")
        raise ProtocolViolation(
            f"{self.endpoint.url} {what}: no probes are there; put `jackline doctor --origin` behind it"
        )


def _echo(answer: Answer, call: Call, host: str, rtt_ms: float) -> Echo:
    document = answer.json()
    arrived = [members(item) or {} for item in items(document.get("headers"))]
    digests = {str(item.get("name")): str(item.get("sha256")) for item in arrived}
    path, _, query = str(document.get("target")).partition("?")
    sent_path, _, sent_query = call.target.partition("?")
    changed = [
        name
        for name, same in (
            ("path", path == sent_path or path.endswith(sent_path)),
            ("query", query == sent_query),
            ("body", document.get("body_sha256") == hashlib.sha256(call.body or b"").hexdigest()),
        )
        if not same
    ]
    changed += [name for name, value in call.headers.items() if digests.get(name.lower()) != _digest(value)]
    return Echo(
        http=str(document.get("http")),
        peer=str(document.get("peer")),
        rtt_ms=round(rtt_ms, 3),
        headers=answer.reader.headers,
        arrived=[(str(item.get("name")), str(item.get("value", ""))) for item in arrived],
        changed=changed,
        host_changed=digests.get("host") != _digest(host),
    )


def _is_problem(answer: Answer) -> bool:
    return answer.reader.header("content-type").startswith("application/problem+json")


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("latin-1")).hexdigest()[:16]


def _report(document: dict[str, object]) -> Seen:
    try:
        return msgspec.convert(document, Seen)
    except msgspec.ValidationError:
        return Seen()


def _data(event: ServerSentEvent) -> dict[str, object]:
    try:
        return members(json.loads(event.data)) or {}
    except ValueError:
        return {}


def _number(data: dict[str, object], name: str) -> float:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
