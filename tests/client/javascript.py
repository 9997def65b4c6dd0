"""jackline.js behind the Python client's methods, so that both meet the same cases."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.async_api import Browser, Route

import jackline.web
from jackline.client import (
    Artifact,
    Decided,
    Decision,
    End,
    Entry,
    FeedFrame,
    FeedGap,
    FeedHeartbeat,
    FeedReady,
    Frame,
    Gap,
    Heartbeat,
    Pace,
    Page,
    ProtocolViolation,
    Ready,
    Refused,
    Shutdown,
    Started,
    Stopped,
    Unreachable,
)
from tests.support.chromium import chromium
from tests.support.node import FOLDER, NODE

MODULE = Path(jackline.web.__file__).parent / "static" / "jackline.js"
HERE = Path(__file__).parent
Data = dict[str, Any]


class SleepyClock:
    """A wall clock that stands still until it is set; or goes by `stride` whenever it is looked at."""

    def __init__(self, now: float = 1_000_000.0, stride: float = 0) -> None:
        self._now = now
        self.stride = stride
        self.on_change: Callable[[float], None] = lambda _: None

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now
        self.on_change(now)

    def __call__(self) -> float:
        self._now += self.stride
        return self._now


class Driver(ABC):
    """Where jackline.js runs: see driver.mjs."""

    @abstractmethod
    async def send(self, op: str, command: Data) -> Data:
        """One command's answer: `value`, or `error`."""

    async def run(self, op: str, **command: Any) -> Any:
        """What it comes to. Raises what the Python client would."""
        answer = await self.send(op, command)
        if "error" in answer:
            raise as_error(answer["error"])
        return answer.get("value")


@dataclass(kw_only=True)
class NodeDriver(Driver):
    process: asyncio.subprocess.Process
    waiting: dict[int, asyncio.Future[Data]] = field(default_factory=dict[int, asyncio.Future[Data]])
    ids: itertools.count[int] = field(default_factory=itertools.count)

    async def send(self, op: str, command: Data) -> Data:
        number = next(self.ids)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, "op": op, **command}).encode() + b"\n")
        return await answer

    async def read(self) -> None:
        """Hand out the answers."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            answer = json.loads(line)
            self.waiting.pop(answer["id"]).set_result(answer)
        for answer in self.waiting.values():
            answer.set_exception(AssertionError("Node ended"))


@asynccontextmanager
async def node() -> AsyncGenerator[Driver]:
    """A Node of its own."""
    library = FOLDER / "node_modules/eventsource/dist/index.js"
    process = await asyncio.create_subprocess_exec(
        NODE,
        HERE / "node_driver.mjs",
        MODULE,
        library,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    driver = NodeDriver(process=process)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(driver.read())
            try:
                yield driver
            finally:
                reading.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        transport: Any = getattr(process, "_transport")  # noqa: B009
        transport.close()


@dataclass(kw_only=True)
class PageDriver(Driver):
    """A page, in a browser that lives in a thread of its own."""

    page: Any
    portal: BlockingPortal

    async def evaluate(self, script: str, argument: object = None) -> Any:
        """What a script comes to in the page."""
        future = self.portal.start_task_soon(self.page.evaluate, script, argument)
        return await asyncio.wrap_future(future)

    async def send(self, op: str, command: Data) -> Data:
        return await self.evaluate("command => driver.run(command)", {"op": op, **command})


@contextmanager
def browsing() -> Generator[tuple[BlockingPortal, Browser]]:
    """A Chromium for many tests, each of which has an event loop of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(chromium()) as browser:
        yield portal, browser


async def _open_page(browser: Browser, url: str, served: bool) -> Any:
    context = await browser.new_context()
    page = await context.new_page()
    files = {"driver.mjs": HERE / "driver.mjs"} | ({} if served else {"jackline.js": MODULE})

    async def answer(route: Route) -> None:
        path = files.get(urlsplit(route.request.url).path[1:])
        if path is not None:
            await route.fulfill(content_type="text/javascript", body=path.read_text())
        else:
            await route.fulfill(content_type="text/html", body="<!doctype html><title>x</title>")

    for name in (*files, "page", "favicon.ico"):
        await page.route(f"{url}/{name}", answer)
    await page.goto(f"{url}/page")
    await page.evaluate(
        """async () => {
            const [module, {Driver}] = await Promise.all([import('/jackline.js'), import('/driver.mjs')])
            window.driver = new Driver(module)
        }"""
    )
    return page


@asynccontextmanager
async def page(
    browser: tuple[BlockingPortal, Browser], url: str, *, served: bool = False
) -> AsyncGenerator[PageDriver]:
    """A page of the origin of `url`. Unless `served`, jackline.js does not come from there."""
    portal, program = browser
    origin = "://".join(urlsplit(url)[:2])
    opening = portal.start_task_soon(_open_page, program, origin, served)
    opened = await asyncio.wrap_future(opening)
    try:
        yield PageDriver(page=opened, portal=portal)
    finally:
        await asyncio.wrap_future(portal.start_task_soon(opened.context.close))


def as_error(error: Data) -> Exception:
    """The Python client's error for the JavaScript one."""
    message: str = error["message"]
    match error["name"]:
        case "Refused":
            return Refused(error["status"], error["problem"])
        case "Unreachable":
            url = message.partition(" is not reachable")[0]
            return Unreachable(url, error["reason"], error["triedMs"] / 1000)
        case "ProtocolViolation":
            return ProtocolViolation(message)
        case "TypeError":
            return ValueError(message)
        case name:
            return AssertionError(f"{name}: {message}")


def as_frame(frame: Data) -> Frame:
    """The Python client's frame for the JavaScript one."""
    data = frame["data"]
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    both: Data = {"data": data, "raw": raw}

    def members(*names: str) -> Data:
        return {name: data.get(name) for name in names} | both

    match frame["kind"]:
        case "entry":
            return Entry(raw=raw, **{name: frame[name] for name in ("type", "seq", "first", "id", "data")})
        case "ready":
            return Ready(**members("run_id", "conversation_id", "state", "seq"))
        case "heartbeat":
            return Heartbeat(**members("run_id", "state", "seq", "worker", "idle_ms"))
        case "gap":
            snapshot: Data = data.get("snapshot") or {}
            return Gap(first=data["from"], last=data["to"], snapshot=snapshot, id=frame["id"], **both)
        case "end":
            return End(**members("run_id", "state", "seq"))
        case "shutdown":
            return Shutdown(**members("retry_ms"))
        case kind:
            raise AssertionError(kind)


def as_feed_frame(frame: Data) -> FeedFrame:
    """The same of the feed's."""
    data = frame["data"]
    both: Data = {"data": data, "raw": json.dumps(data, separators=(",", ":"), ensure_ascii=False)}
    match frame["kind"]:
        case "entry":
            assert frame["runId"] == data["run_id"]
            return Entry(first=frame["seq"], **{name: frame[name] for name in ("type", "seq", "id")}, **both)
        case "ready":
            return FeedReady(cursor=data["cursor"], newest=data["newest"], **both)
        case "heartbeat":
            return FeedHeartbeat(cursor=data.get("cursor"), **both)
        case "gap":
            return FeedGap(cursor=frame["id"], **both)
        case "shutdown":
            return Shutdown(retry_ms=data["retry_ms"], **both)
        case kind:
            raise AssertionError(kind)


class JsFollow:
    """As `jackline.client.Follow` and `Feed`. `states`: all that was told, with the wait."""

    def __init__(
        self,
        driver: Driver,
        command: Data,
        on_state: Callable[[Any, str], None] | None,
        read: Callable[[Data], Any] = as_frame,
    ) -> None:
        self._as_frame = read
        self.run_id: str | None = None
        self.conversation_id: str | None = None
        self.state: str | None = None
        self.cursor: str | None = None
        self.phase = "connecting"
        self.heartbeat_ms: float | None = None
        self.states: list[tuple[str, str, float | None]] = []
        self._driver = driver
        self._command = command
        self._on_state = on_state
        self._handle: int | None = None
        self._pending: asyncio.Future[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._handle is not None:
            await self._driver.run("close", handle=self._handle)

    async def abort(self, reason: str) -> None:
        """By the AbortSignal."""
        await self._driver.run("abort", handle=self._handle, reason=reason)

    async def __anext__(self) -> Any:
        if self._handle is None:
            self._handle = await self._driver.run("follow", **self._command)
        # A next that nobody waits for any more is not lost: the following one takes its frame.
        self._pending = self._pending or asyncio.ensure_future(self._driver.run("next", handle=self._handle))
        told = await asyncio.shield(self._pending)
        self._pending = None
        self.run_id, self.conversation_id = told.get("runId"), told.get("conversationId")
        self.state, self.cursor, self.phase = told.get("state"), told["cursor"], told["phase"]
        self.heartbeat_ms = told["heartbeatMs"]
        for phase, reason, retry in told["states"]:
            self.states.append((phase, reason, retry))
            if self._on_state is not None:
                self._on_state(phase, reason)
        if "error" in told:
            raise as_error(told["error"])
        if told["done"]:
            raise StopAsyncIteration
        return self._as_frame(told["frame"])


def _camel(options: Mapping[str, Any]) -> Data:
    """Options as JavaScript names them, without what was not given."""

    def name(snake: str) -> str:
        first, *others = snake.split("_")
        return first + "".join(word.capitalize() for word in others)

    return {name(key): value for key, value in options.items() if value is not None}


class JsClient:
    """As `jackline.client.Client`, for as long as its driver lives."""

    def __init__(self, driver: Driver, url: str) -> None:
        self.driver = driver
        self.url = url
        self.via: str | None = None
        self.hurry = False

    async def call(self, method: str, *args: object) -> Any:
        return await self.driver.run("call", method=method, args=args)

    # -- following

    def _follow(self, method: str, args: Sequence[object], options: Data) -> JsFollow:
        on_state = options.pop("on_state", None)
        options = _camel({"via": self.via} | options)
        command: Data = {"method": method, "args": args, "options": options, "hurry": self.hurry}
        return JsFollow(self.driver, command, on_state, as_feed_frame if method == "feed" else as_frame)

    def follow(self, run_id: str, **options: Any) -> JsFollow:
        return self._follow("follow", [run_id], options)

    def feed(self, after: str | None = None, **options: Any) -> JsFollow:
        return self._follow("feed", [], {"after": after} | options)

    def chat(self, messages: object, **options: Any) -> JsFollow:
        return self._follow("chat", [messages], options)

    def decide_and_follow(self, decision: Decision, **options: Any) -> JsFollow:
        return self._follow("decideAndFollow", [decision.call_id, decision.members()], options)

    # -- commands

    async def start(self, messages: object, **options: Any) -> Started:
        data = await self.call("start", messages, _camel(options))
        names = ("run_id", "conversation_id", "state")
        return Started(data=data, **{name: data[name] for name in names})

    async def decide(self, decision: Decision) -> Decided:
        data = await self.call("decide", decision.call_id, decision.members())
        names = ("run_id", "call_id", "state", "by")
        return Decided(data=data, **{name: data[name] for name in names})

    async def decide_all(self, decisions: Sequence[Decision]) -> Data:
        return await self.call(
            "decideAll", [{"call_id": each.call_id, **each.members()} for each in decisions]
        )

    async def stop(
        self, run_id: str | None = None, *, conversation_id: str | None = None, **options: Any
    ) -> Stopped:
        wait_s = options.pop("wait_s", None)
        given = _camel(options | {"wait_ms": None if wait_s is None else wait_s * 1000})
        method = "stop" if run_id is not None else "stopConversation"
        data = await self.call(method, run_id or conversation_id, given)
        return Stopped(
            run_id=data["run_id"],
            state=data["state"],
            quiet=data["state"] != "stopping",
            receipt=data.get("receipt"),
            data=data,
        )

    # -- reading

    async def page(self, run_id: str, **query: Any) -> Page:
        data = await self.call("page", run_id, query)
        entries = (
            as_frame({"kind": "entry", "seq": each["data"]["seq"], "first": each["data"]["seq"], **each})
            for each in data["entries"]
        )
        return Page(
            entries=tuple(entry for entry in entries if isinstance(entry, Entry)),
            next=data["next"],
            data=data,
        )

    async def artifact(self, run_id: str, artifact_id: str) -> Artifact:
        data = await self.call("artifact", run_id, artifact_id)
        return Artifact(media_type=data["type"], data=bytes(data["bytes"]))

    async def runs(self, **query: Any) -> Data:
        return await self.call("runs", query)

    async def conversations(self, **query: Any) -> Data:
        return await self.call("conversations", query)

    async def approvals(self, state: str = "pending") -> Data:
        return await self.call("approvals", {"state": state})

    async def snapshot(self, run_id: str) -> Data:
        return await self.call("run", run_id)

    async def conversation(self, conversation_id: str) -> Data:
        return await self.call("conversation", conversation_id)

    async def approval(self, call_id: str) -> Data:
        return await self.call("approval", call_id)

    async def agents(self) -> Data:
        return await self.call("agents")

    async def tools(self) -> Data:
        return await self.call("tools")

    async def delete_run(self, run_id: str) -> None:
        await self.call("deleteRun", run_id)

    async def delete_conversation(self, conversation_id: str) -> None:
        await self.call("deleteConversation", conversation_id)


@asynccontextmanager
async def connected(
    driver: Driver,
    url: str,
    token: str | None = None,
    *,
    pace: Pace | None = None,
    clock: SleepyClock | None = None,
    chance: float | None = None,
) -> AsyncGenerator[JsClient]:
    """A client in `driver`; a clock that is set later is set there too."""
    options: Data = {} if token is None else {"token": token}
    if pace is not None:
        first_s = min(pace.first_budget_s, pace.connect_budget_s)
        options["pace"] = {
            "heartbeatMs": pace.heartbeat_s * 1000,
            "silentHeartbeats": pace.silent_heartbeats,
            "requestMs": pace.request_s * 1000,
            "stopMs": pace.stop_s * 1000,
            "firstBudgetMs": first_s * 1000,
            "followBudgetMs": pace.follow_budget_s * 1000,
            "readyMs": pace.ready_s * 1000,
            "againMs": pace.again_s * 1000,
            "backoffMs": pace.backoff_s * 1000,
            "backoffCapMs": pace.backoff_cap_s * 1000,
            "commandCapMs": pace.command_cap_s * 1000,
            "tickMs": pace.tick_s * 1000,
        }
    now = None if clock is None else clock.now * 1000
    stride = 0 if clock is None else clock.stride * 1000
    await driver.run("connect", url=url, options=options, clock=now, stride=stride, chance=chance)
    async with asyncio.TaskGroup() as group:
        if clock is not None:
            clock.on_change = lambda moment: (
                group.create_task(driver.run("clock", now=moment * 1000)),
                None,
            )[1]
        yield JsClient(driver, url)
