"""The app called as a server would call it, and a worker played by appends to the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette

from jackline.commands import Commands, read_state
from jackline.edited import EditedArguments
from jackline.errors import StoreUnavailable
from jackline.events import Approval, Event, Token, Tool, Workflow, encode
from jackline.log.base import Appended, Head, Page, Store
from jackline.log.feed import FeedPage
from jackline.log.memory import MemoryStore
from jackline.pressure import Pressure
from jackline.run import RunState
from jackline.settings import ApiKey, Settings
from jackline.sse import Decoder, ServerSentEvent
from jackline.summary import summarise
from jackline.web.app import create_app, site_of
from jackline.web.ring import RING_BYTES
from jackline.web.site import Site
from jackline.web.tails import LINGER_SECONDS

API = "/api/v1/agent"
DEADLINE_SECONDS = 20.0
TS = "2026-11-22T12:00:00.000Z"
ANA, BOB = "key-of-ana", "key-of-bob"
JSON = {"accept": "application/json"}


def api_key(name: str, key: str) -> ApiKey:
    return ApiKey(principal=f"user:{name}", sha256=hashlib.sha256(key.encode()).hexdigest())


KEYS = [api_key("ana", ANA), api_key("bob", BOB)]


class FlakyStore(MemoryStore):
    """A memory store that can be away, or lose entries."""

    away = False
    reads = 0
    heads = 0
    cuts: tuple[int, ...] = ()
    poll = 5.0
    """Seconds after which a wait ends although nothing was appended."""
    trimmed = 0
    """How many of the first entries are no longer held."""

    async def read(self, run_id: str, after: int = 0, limit: int = 1000, max_bytes: int = 1 << 20) -> Page:
        self._check()
        self.reads += 1
        page = await super().read(run_id, max(after, self.trimmed), limit, max_bytes)
        return replace(page, cuts=self.cuts)

    def lose(self, run_id: str, keep: int) -> None:
        """Come back shorter than before, for good."""
        run = self._runs[run_id]
        run.entries = list(run.entries[:keep])
        self.cuts += (keep,)
        self._ring()

    async def wait(self, run_id: str, after: int, timeout: float) -> None:
        self._check()
        await super().wait(run_id, after, min(timeout, self.poll))

    async def head(self, run_id: str) -> Head:
        self._check()
        self.heads += 1
        return await super().head(run_id)

    async def append(self, *args: Any, **options: Any) -> Appended:
        self._check()
        return await super().append(*args, **options)

    feed_reads = 0

    async def read_feed(self, cursor: str = "", limit: int = 256) -> FeedPage:
        self._check()
        self.feed_reads += 1
        return await super().read_feed(cursor, limit)

    async def feed_end(self) -> str:
        self._check()
        return await super().feed_end()

    async def ping(self) -> None:
        self._check()

    full: float | None = None

    async def fullness(self) -> float | None:
        self._check()
        return self.full

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int) -> Any:
        """The problem document, which it must be."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json", self.headers
        document = self.json()
        assert document["status"] == status
        assert document["title"]
        assert document["detail"]
        return document

    def fields(self, status: int) -> list[str]:
        """The fields that the problem names."""
        return [error["field"] for error in self.problem(status)["errors"]]

    def events(self) -> list[ServerSentEvent]:
        return Decoder().feed(self.body)


@dataclass(kw_only=True)
class Client:
    """Requests to an app, without a server between."""

    app: Starlette
    headers: dict[str, str] = field(default_factory=dict[str, str])

    async def call(
        self,
        method: str,
        path: str,
        *,
        json_body: object = ...,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; the client stays until the answer is whole."""
        async with self.open(method, path, json_body=json_body, body=body, headers=headers) as exchange:
            return await exchange.whole()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=_names(headers))

    async def post(self, path: str, json_body: object = ..., **headers: str) -> Answer:
        return await self.call("POST", path, json_body=json_body, headers={**JSON, **_names(headers)})

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        json_body: object = ...,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        reading: bool = True,
    ) -> AsyncGenerator[Exchange, None]:
        """A request whose answer is read while it comes; the client leaves at the end."""
        sent = {"host": "localhost", **self.headers}
        if json_body is not ...:
            body = json.dumps(json_body).encode()
            sent["content-type"] = "application/json"
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        sent = {name: value for name, value in sent.items() if value}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "server": ("127.0.0.1", 8787),
            "client": ("127.0.0.1", 50000),
        }
        exchange = Exchange(body, reading=reading)
        task = asyncio.create_task(self.app(scope, exchange.receive, exchange.send))
        task.add_done_callback(exchange.finished)
        try:
            yield exchange
        finally:
            exchange.leave()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await task

    async def chat(self, text: str = "hello", **members: object) -> str:
        """A run's id."""
        messages = [{"role": "user", "content": text}]
        answer = await self.post(f"{API}/chat", {"messages": messages, **members})
        assert answer.status == 202, answer.body
        return str(answer.json()["run_id"])

    async def events(self, run_id: str, query: str = "", **headers: str) -> list[ServerSentEvent]:
        """The whole stream of a run that has ended."""
        answer = await self.get(f"{API}/runs/{run_id}/events{query}", **headers)
        assert answer.status == 200, answer.body
        return answer.events()


class Exchange:
    """One request and its answer, seen from the client's side."""

    def __init__(self, body: bytes, *, reading: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.written = 0
        self.reading = asyncio.Event()
        if reading:
            self.reading.set()
        self._requests: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        self._gone = asyncio.Event()
        self._over = asyncio.Event()
        self._news = asyncio.Event()
        self._body = bytearray()
        self._decoder = Decoder()
        self._events: list[ServerSentEvent] = []
        self._error: BaseException | None = None

    async def receive(self) -> dict[str, Any]:
        if self._requests:
            return self._requests.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            await self._readable()
            chunk = message.get("body", b"")
            self.written += len(chunk)
            self._body += chunk
            self._events += self._decoder.feed(chunk)
            if not message.get("more_body", False):
                self._over.set()
        self._news.set()

    async def _readable(self) -> None:
        """Where a server waits while its transport's buffer is full."""
        await self.reading.wait()

    def leave(self) -> None:
        """The client's connection is lost; a server then waits for it no longer."""
        self._gone.set()
        self.reading.set()

    def finished(self, task: asyncio.Task[None]) -> None:
        self._error = None if task.cancelled() else task.exception()
        self._over.set()
        self._news.set()

    async def started(self) -> None:
        """Wait for the answer's headers."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.status and not self._over.is_set():
                self._news.clear()
                await self._news.wait()

    async def whole(self) -> Answer:
        """Wait for the whole answer."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._over.wait()
        if self._error is not None and not self.status:
            raise self._error
        return Answer(status=self.status, headers=self.headers, body=bytes(self._body))

    async def until(self, name: str, *, count: int = 1, **members: object) -> list[ServerSentEvent]:
        """All events up to and with the next one of that name (and members), taken away."""
        taken: list[ServerSentEvent] = []
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                while self._events:
                    taken.append(self._events.pop(0))
                    if taken[-1].event == name and members.items() <= data_of(taken[-1]).items():
                        count -= 1
                        if not count:
                            return taken
                assert not self._over.is_set(), f"the stream ended before {name}: {taken}"
                self._news.clear()
                await self._news.wait()

    async def next(self) -> ServerSentEvent:
        """The next event."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._events:
                assert not self._over.is_set(), "the stream ended"
                self._news.clear()
                await self._news.wait()
        return self._events.pop(0)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()


def data_of(event: ServerSentEvent) -> dict[str, Any]:
    return json.loads(event.data)


def entries_of(events: Sequence[ServerSentEvent]) -> list[tuple[str | None, str, str]]:
    """Id, type and data of the entries among the events."""
    return [(event.id, event.event, event.data) for event in events if event.id is not None]


@dataclass(kw_only=True)
class Worker:
    """A worker for one run: what it appends is what a real one would."""

    store: Store
    run_id: str

    async def append(self, *events: Event, close: bool = False) -> None:
        state = await self.state()
        summary = summarise(state, events)
        for seq, event in enumerate(events, state.seq + 1):
            state.apply(seq, event)  # only what is legal may stand in a test
        await self.store.append(
            self.run_id, [encode(event) for event in events], summary=summary, due="never", close=close
        )

    async def state(self) -> RunState:
        return await read_state(self.store, self.run_id)

    async def execute(self) -> None:
        await self.append(Workflow(ts=TS, state="executing", attempt=1, step=1))

    async def say(self, *texts: str, message_id: str = "m1") -> None:
        await self.append(*(Token(ts=TS, text=text, kind="text", message_id=message_id) for text in texts))

    async def ask(self, number: int = 1, name: str = "restart", **options: Any) -> str:
        """A call that waits for a person; its id."""
        call_id = f"{self.run_id}.{number}"
        args = {"service": "web"}
        schema = {"type": "object", "properties": {"service": {"type": "string"}}}
        await self.append(
            Tool(ts=TS, call_id=call_id, name=name, state="requested", args=args, effect="writes"),
            Approval(
                ts=TS,
                call_id=call_id,
                round=1,
                kind="call",
                name=name,
                state="pending",
                args=args,
                args_schema=schema,
                **options,
            ),
            Workflow(ts=TS, state="awaiting_approval", attempt=1),
        )
        return call_id

    async def run_tool(self, number: int = 1, name: str = "restart", result: object = "ok") -> None:
        call_id = f"{self.run_id}.{number}"
        await self.append(
            Workflow(ts=TS, state="executing", attempt=1),
            Tool(ts=TS, call_id=call_id, name=name, state="started", args={"service": "web"}),
            Tool(ts=TS, call_id=call_id, name=name, state="finished", result=str(result), duration_ms=3),
        )

    async def complete(self, output: str = "done") -> None:
        await self.append(Workflow(ts=TS, state="completed", attempt=1, output=output), close=True)


@dataclass(kw_only=True)
class Setup:
    """An app that runs, and what is behind it."""

    app: Starlette
    site: Site
    store: FlakyStore
    client: Client

    def worker(self, run_id: str) -> Worker:
        return Worker(store=self.store, run_id=run_id)

    async def whole_run(self, *texts: str) -> str:
        """A run that has ended: two messages of tokens with a tool call between them."""
        run_id = await self.client.chat()
        worker = self.worker(run_id)
        await worker.execute()
        await worker.say(*(texts or ("a", "b", "c")))
        await worker.ask()
        await self.client.post(f"{API}/approvals/{run_id}.1", {"approve": True})
        await worker.run_tool()
        await worker.say("d", "e", message_id="m2")
        await worker.complete()
        return run_id

    async def entry_count(self) -> int:
        """Entries in the whole store: to see that nothing was written."""
        heads, _ = await self.store.runs(limit=1000)
        return sum(head.last for head in heads)


def settings(**values: Any) -> Settings:
    return Settings.model_validate({"heartbeat": 30.0, "drain": 1.0, **values})


@asynccontextmanager
async def running(
    *,
    store: FlakyStore | None = None,
    needs_worker: bool = False,
    default: str | None = "demo",
    ring_bytes: int = RING_BYTES,
    linger: float = LINGER_SECONDS,
    edited: EditedArguments | None = None,
    **values: Any,
) -> AsyncGenerator[Setup, None]:
    """An app on a store of its own."""
    store = store or FlakyStore()

    async def default_agent() -> str:
        assert default is not None
        return default

    chosen = settings(**values)
    pressure = Pressure(store, chosen.store_full)
    app = create_app(
        chosen,
        store,
        Commands(store, pressure, edited),
        default_agent=default_agent if default is not None else None,
        needs_worker=needs_worker,
        ring_bytes=ring_bytes,
        linger=linger,
        pressure=pressure,
    )
    async with app.router.lifespan_context(app):
        yield Setup(app=app, site=site_of(app), store=store, client=Client(app=app))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 (nothing tells when)
            await asyncio.sleep(0.001)


def as_user(setup: Setup, key: str) -> Client:
    return Client(app=setup.app, headers={"authorization": f"Bearer {key}"})


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
