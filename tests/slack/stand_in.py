"""A stand-in for Slack: its Web API and its Socket Mode, with its limits, its retries and its strictness.

    with slack_in_thread() as slack, bridge(slack, server.url, path) as process:
        ts = slack.mention("UANA", "CGENERAL", "is the disk full?")
        slack.until(lambda: "Completed" in slack.thread_text("CGENERAL", ts))

What people do (`mention`, `say`, `command`, `press`, `submit`) and what a test looks at may be used from any
thread. Slack's side runs in a loop of its own (`slack_in_thread`), or in the test's (`slack_stand_in`).
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import itertools
import json
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from aiohttp import WSMsgType, web

from jackline.client.shape import items, members
from tests.slack.limits import Body, pings, refusal, texts, view_refusal
from tests.support.processes import HOST, eventually

T = TypeVar("T")

BOT = "UBOT"
BOT_TOKEN = "xoxb-stand-in"
APP_TOKEN = "xapp-stand-in"
TEAM = "T0TEAM"


@dataclass(kw_only=True)
class Message:
    """A message as it stands, and each state that it has had."""

    channel: str
    ts: str
    user: str
    body: Body
    thread: str | None
    states: list[Body] = field(default_factory=list[Body])
    deleted: bool = False

    @property
    def text(self) -> str:
        """What is to be read: its blocks, or without them its text; buttons in brackets."""
        return shown(self.body)

    @property
    def buttons(self) -> list[Body]:
        return _buttons(self.body)

    @property
    def key(self) -> str:
        """What the bridge calls it."""
        metadata = members(self.body.get("metadata")) or {}
        return str((members(metadata.get("event_payload")) or {}).get("key", ""))


@dataclass(kw_only=True)
class Whisper:
    """What only one person sees."""

    channel: str
    user: str
    thread: str | None
    body: Body
    ts: str

    @property
    def text(self) -> str:
        return shown(self.body)


@dataclass(kw_only=True)
class Form:
    """A form that is open before somebody."""

    user: str
    view: Body
    id: str


@dataclass(kw_only=True)
class Envelope:
    """What is sent to the app, again and again until it is acknowledged."""

    id: str
    kind: Literal["events_api", "slash_commands", "interactive"]
    payload: Body
    attempt: int = 0
    sent_at: float = 0.0
    acknowledged: bool = False
    answer: Body | None = None


def _buttons(body: Body) -> list[Body]:
    rows = [members(each) or {} for each in items(body.get("blocks"))]
    return [members(e) or {} for row in rows if row.get("type") == "actions" for e in items(row["elements"])]


def shown(body: Body) -> str:
    lines: list[str] = []
    for each in items(body.get("blocks")):
        block = members(each) or {}
        if block.get("type") == "actions":
            lines.append(" ".join(f"[{e['text']['text']}]" for e in _buttons({"blocks": [block]})))
        else:
            lines += [text["text"] for text in texts([block])]
    return "\n".join(lines) if lines else str(body.get("text", ""))


class StandIn:
    """Slack. `rate` times its documented limits are enforced; `patience_s` is how long it waits for an
    acknowledgement before it sends again."""

    def __init__(self, rate: float = 1.0, patience_s: float = 3.0) -> None:
        self.rate = rate
        self.patience_s = patience_s
        self.port = 0
        self.channels: dict[str, list[Message]] = {"CGENERAL": [], "COPS": []}
        self.member_of = {"CGENERAL", "COPS"}
        self.whispers: list[Whisper] = []
        self.responses: list[Body] = []
        self.forms: list[Form] = []
        self.envelopes: list[Envelope] = []
        self.pinged: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.limited: list[tuple[str, float]] = []
        self.calls: list[tuple[str, float]] = []
        self.bot_token = BOT_TOKEN
        self.app_token = APP_TOKEN
        self.away = False
        """Answers 503 to everything, and lets nobody connect."""
        self.storm = 0
        """So many calls to come are answered with 429."""
        self.storm_s = 1
        self.lose_answers = 0
        """So many posts to come are carried out, and the connection is cut before the answer."""
        self.deliver_twice = False
        self.on_post: Callable[[Message], None] = lambda message: None
        """Told, within Slack's own loop, of each message before its sender is answered."""
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}
        self._sockets: list[web.WebSocketResponse] = []
        self._triggers: dict[str, float] = {}
        # Slack's ids are used once in the world; servers outlive a stand-in.
        self._numbers = itertools.count(random.getrandbits(40))
        self._ts = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """The setting `slack_url`."""
        return f"http://{HOST}:{self.port}/api/"

    # -- what people do ------------------------------------------------------------------------

    def mention(self, user: str, channel: str, text: str, thread: str | None = None) -> str:
        """Write to the bot; the message's `ts`."""
        return self.say(user, channel, text, thread, mentions=True)

    def say(
        self, user: str, channel: str, text: str, thread: str | None = None, *, mentions: bool = False
    ) -> str:
        """Write something. What is typed comes escaped."""
        text = (f"<@{BOT}> " if mentions else "") + html.escape(text, quote=False)
        with self._lock:
            message = self._add(channel, user, {"text": text}, thread)
            event: Body = {"user": user, "text": text, "ts": message.ts, "channel": channel}
            event |= {"event_ts": message.ts} | ({} if thread is None else {"thread_ts": thread})
            if mentions:
                self._event(event | {"type": "app_mention"})
            self._event(event | {"type": "message", "channel_type": "channel"})
            return message.ts

    def command(self, user: str, channel: str, text: str, name: str = "/jackline") -> None:
        """Type the command."""
        self._send(
            "slash_commands",
            {
                "token": "x",
                "team_id": TEAM,
                "team_domain": "team",
                "channel_id": channel,
                "channel_name": channel.lower(),
                "user_id": user,
                "user_name": user[1:].lower(),
                "command": name,
                "text": html.escape(text, quote=False),
                "api_app_id": "A0",
                "response_url": f"http://{HOST}:{self.port}/respond/{next(self._numbers)}",
                "trigger_id": self._trigger(),
            },
        )

    def press(self, user: str, message: Message | Whisper, action: str, number: int = 0) -> None:
        """Press a button that the message has now."""
        found = [each for each in _buttons(message.body) if each["action_id"] == action]
        assert len(found) > number, f"no button {action} in {message.text!r}"
        whispered = isinstance(message, Whisper)
        container: Body = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": whispered,
        }
        payload: Body = {
            "type": "block_actions",
            "user": self._user(user),
            "api_app_id": "A0",
            "token": "x",
            "container": container,
            "trigger_id": self._trigger(),
            "team": {"id": TEAM, "domain": "team"},
            "channel": {"id": message.channel, "name": message.channel.lower()},
            "state": {"values": {}},
            "response_url": f"http://{HOST}:{self.port}/respond/{next(self._numbers)}",
            "actions": [{**found[number], "block_id": "b", "action_ts": message.ts}],
        }
        if isinstance(message, Message):
            payload["message"] = self._seen(message)
            if message.thread is not None:
                container["thread_ts"] = message.thread
        self._send("interactive", payload)

    def until_form(self, user: str) -> Form:
        """Wait until a form opens before somebody."""
        return self.until(lambda: next((form for form in self.forms if form.user == user), None), "a form")

    def submit(self, form: Form, value: str) -> str | None:
        """Send a form; what it says is wrong, None if it was taken (and is closed)."""
        blocks = [members(each) or {} for each in items(form.view["blocks"])]
        values = {
            block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": value}}
            for block in blocks
        }
        payload: Body = {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "team"},
            "user": self._user(form.user),
            "api_app_id": "A0",
            "token": "x",
            "trigger_id": self._trigger(),
            "view": {**form.view, "id": form.id, "state": {"values": values}},
            "response_urls": [],
        }
        envelope = self._send("interactive", payload)
        self.until(lambda: envelope.acknowledged, "the answer to a form")
        answer = envelope.answer or {}
        if answer.get("response_action") == "errors":
            return "; ".join(map(str, answer["errors"].values()))
        self.forms.remove(form)
        return None

    def again(self, envelope: Envelope) -> None:
        """Deliver what was acknowledged once more, as Slack may."""
        with self._lock:
            self.envelopes.append(
                Envelope(id=f"env{next(self._numbers)}", kind=envelope.kind, payload=envelope.payload)
            )
        self._wake()

    def disconnect(self) -> None:
        """Close all connections of the app, as Slack does every few hours."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._disconnect()))

    # -- what there is to see ------------------------------------------------------------------

    def until(self, condition: Callable[[], T | Literal[False] | None], what: str = "") -> T:
        """Wait until `condition` gives something true."""
        try:
            return eventually(condition, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def thread(self, channel: str, ts: str) -> list[Message]:
        """The replies of the bot in a thread, oldest first, none that was deleted."""
        with self._lock:
            return [
                each
                for each in self.channels[channel]
                if each.thread == ts and each.user == BOT and not each.deleted
            ]

    def thread_text(self, channel: str, ts: str) -> str:
        """All of them."""
        return "\n---\n".join(each.text for each in self.thread(channel, ts))

    def transcript(self, channel: str, ts: str) -> str:
        """What the agents have said in a thread."""
        said = [each for each in self.thread(channel, ts) if each.key.partition("/")[2].startswith("say.")]
        return "\n".join(each.text for each in said)

    def find(self, channel: str, ts: str, text: str) -> Message:
        """Wait for the reply that has this in it."""
        return self.until(
            lambda: next((each for each in self.thread(channel, ts) if text in each.text), None),
            f"a message with {text!r}",
        )

    def until_whisper(self, user: str, text: str) -> Whisper:
        """Wait until somebody is told this."""
        return self.until(
            lambda: next((each for each in self.whispers if each.user == user and text in each.text), None),
            f"{user} is told {text!r}",
        )

    def everything(self) -> str:
        """For a test that fails."""
        with self._lock:
            lines = [f"{m.channel} {m.ts} {m.user}: {m.text}" for c in self.channels.values() for m in c]
            return "\n".join([*lines, *(f"to {w.user}: {w.text}" for w in self.whispers), str(self.refused)])

    # -- within --------------------------------------------------------------------------------

    def _user(self, user: str) -> Body:
        return {"id": user, "username": user[1:].lower(), "name": user[1:].lower(), "team_id": TEAM}

    def _trigger(self) -> str:
        with self._lock:
            name = f"trigger{next(self._numbers)}"
            self._triggers[name] = time.monotonic()
            return name

    def _add(self, channel: str, user: str, body: Body, thread: str | None) -> Message:
        with self._lock:
            self._ts = max(self._ts + 1, int(time.time() * 1e6))
            ts = f"{self._ts // 1_000_000}.{self._ts % 1_000_000:06d}"
            message = Message(channel=channel, ts=ts, user=user, body=body, thread=thread, states=[body])
            self.channels[channel].append(message)
            return message

    def _seen(self, message: Message) -> Body:
        """A message as the API gives it."""
        seen: Body = {
            "type": "message",
            "user": message.user,
            "ts": message.ts,
            "text": message.body.get("text", ""),
            "blocks": message.body.get("blocks", []),
        }
        if message.user == BOT:
            seen |= {"bot_id": "B0BOT", "app_id": "A0"}
        return seen | ({} if message.thread is None else {"thread_ts": message.thread})

    def _event(self, event: Body) -> None:
        payload: Body = {
            "token": "x",
            "team_id": TEAM,
            "api_app_id": "A0",
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{next(self._numbers)}",
            "event_time": int(time.time()),
        }
        envelope = self._send("events_api", payload)
        if self.deliver_twice:
            self.again(envelope)

    def _send(self, kind: Literal["events_api", "slash_commands", "interactive"], payload: Body) -> Envelope:
        with self._lock:
            envelope = Envelope(id=f"env{next(self._numbers)}", kind=kind, payload=payload)
            self.envelopes.append(envelope)
        self._wake()
        return envelope

    def _wake(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._news.set)

    async def _deliver(self) -> None:
        """Send what is not acknowledged, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.2)
            self._news.clear()
            now = time.monotonic()
            with self._lock:
                due = [
                    each
                    for each in self.envelopes
                    if not each.acknowledged
                    and each.attempt < 20
                    and (not each.sent_at or now - each.sent_at > self.patience_s)
                ]
            for envelope in due:
                await self._push(envelope)

    async def _push(self, envelope: Envelope) -> None:
        live = [socket for socket in self._sockets if not socket.closed]
        if not live or self.away:
            return
        frame = {
            "envelope_id": envelope.id,
            "type": envelope.kind,
            "payload": envelope.payload,
            "accepts_response_payload": envelope.kind != "events_api",
            "retry_attempt": envelope.attempt,
            "retry_reason": "timeout" if envelope.attempt else "",
        }
        envelope.attempt += 1
        envelope.sent_at = time.monotonic()
        with contextlib.suppress(ConnectionError, RuntimeError):
            await live[-1].send_str(json.dumps(frame))

    async def _disconnect(self) -> None:
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.send_str(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))
                await socket.close()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1, "debug_info": {}}))
        self._sockets.append(socket)
        self._news.set()
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    self._acknowledge(json.loads(frame.data))
        finally:
            self._sockets.remove(socket)
        return socket

    def _acknowledge(self, data: Body) -> None:
        for envelope in self.envelopes:
            if envelope.id == data.get("envelope_id"):
                envelope.answer = members(data.get("payload"))
                envelope.acknowledged = True

    # -- the Web API ---------------------------------------------------------------------------

    async def _respond(self, request: web.Request) -> web.Response:
        self.responses.append(await request.json())
        return web.Response(text="ok")

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        if self.away:
            return web.Response(status=503, text="<html>away</html>", content_type="text/html")
        read = method in ("conversations.replies", "conversations.history")
        body: Body = dict(request.query)
        if request.content_type == "application/json":
            body |= json.loads(await request.read() or b"{}")
        if read and request.content_type == "application/json" and request.method == "POST":
            return self._no(method, "invalid_arguments")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != (self.app_token if method == "apps.connections.open" else self.bot_token):
            return self._no(method, "invalid_auth")
        self.calls.append((method, time.monotonic()))
        wait = self._limit(method, str(body.get("channel", "")))
        if wait is not None:
            self.limited.append((method, time.monotonic()))
            headers = {"Retry-After": str(wait)}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        return await self._answer(request, method, body)

    async def _answer(self, request: web.Request, method: str, body: Body) -> web.Response:
        match method:
            case "auth.test":
                who = {"team_id": TEAM, "user_id": BOT, "bot_id": "B0BOT", "user": "jackline", "team": "team"}
                return web.json_response({"ok": True, "url": "https://team.slack.com/", **who})
            case "apps.connections.open":
                return web.json_response({"ok": True, "url": f"ws://{HOST}:{self.port}/socket"})
            case "chat.postMessage":
                return await self._post(request, body)
            case "chat.update" | "chat.delete":
                return self._change(method, body)
            case "chat.postEphemeral":
                return self._whisper(body)
            case "views.open":
                return self._open(body)
            case "conversations.replies" | "conversations.history":
                return self._read(method, body)
            case _:
                return self._no(method, "unknown_method")

    def _no(self, method: str, error: str) -> web.Response:
        self.refused.append((method, error))
        return web.json_response({"ok": False, "error": error})

    def _limit(self, method: str, channel: str) -> int | None:
        """Seconds to wait, None where the call may be made."""
        if method in ("auth.test", "apps.connections.open", "views.open", "chat.postEphemeral"):
            return None
        if self.storm > 0:
            self.storm -= 1
            return self.storm_s
        per_second, burst = (1.0, 4.0) if method == "chat.postMessage" else (50 / 60, 8.0)
        name = (method, channel if method == "chat.postMessage" else "")
        now = time.monotonic()
        room, at = self._buckets.get(name, (burst, now))
        room = min(burst, room + (now - at) * per_second * self.rate)
        self._buckets[name] = (room - 1 if room >= 1 else room, now)
        return None if room >= 1 else 1

    def _good(self, method: str, body: Body) -> str | None:
        channel = str(body.get("channel"))
        if channel not in self.channels:
            return "channel_not_found"
        if channel not in self.member_of:
            return "not_in_channel"
        return refusal(body)

    async def _post(self, request: web.Request, body: Body) -> web.Response:
        thread = body.get("thread_ts")
        error = self._good("chat.postMessage", body)
        if error is None and thread is not None and not self._has(body["channel"], thread):
            error = "thread_not_found"
        if error is not None:
            return self._no("chat.postMessage", error)
        self.pinged += pings(body, edited=False)
        message = self._add(body["channel"], BOT, body, thread)
        self.on_post(message)
        self._event({**self._seen(message), "channel": message.channel, "event_ts": message.ts})
        if self.lose_answers > 0:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"ok": True, "channel": message.channel, "ts": message.ts})

    def _has(self, channel: str, ts: str) -> bool:
        return any(each.ts == ts and not each.deleted for each in self.channels[channel])

    def _change(self, method: str, body: Body) -> web.Response:
        known = self.channels.get(str(body.get("channel")), [])
        message = next((e for e in known if e.ts == body.get("ts") and not e.deleted), None)
        if message is None:
            return self._no(method, "message_not_found")
        if message.user != BOT:
            return self._no(method, "cant_update_message")
        if method == "chat.delete":
            message.deleted = True
            return web.json_response({"ok": True})
        error = self._good(method, body)
        if error is not None:
            return self._no(method, error)
        self.pinged += pings(body, edited=True)
        with self._lock:
            # What is not said again stays.
            message.body = {**message.body, **body}
            message.states.append(message.body)
        # Slack tells who listens to a channel of edits, too.
        changed: Body = {"type": "message", "subtype": "message_changed", "hidden": True, "ts": message.ts}
        self._event(changed | {"message": self._seen(message), "channel": message.channel})
        return web.json_response({"ok": True, "channel": message.channel, "ts": message.ts})

    def _whisper(self, body: Body) -> web.Response:
        error = self._good("chat.postEphemeral", body)
        if error is not None:
            return self._no("chat.postEphemeral", error)
        with self._lock:
            ts = f"{time.time():.6f}"
            self.whispers.append(
                Whisper(
                    channel=body["channel"], user=body["user"], thread=body.get("thread_ts"), body=body, ts=ts
                )
            )
        return web.json_response({"ok": True, "message_ts": ts})

    def _open(self, body: Body) -> web.Response:
        at = self._triggers.pop(str(body.get("trigger_id")), None)
        if at is None or time.monotonic() - at > 3:
            return self._no("views.open", "expired_trigger_id")
        view = members(body.get("view")) or {}
        error = view_refusal(view)
        if error is not None:
            return self._no("views.open", error)
        presser = next(
            each.payload["user"]["id"]
            for each in reversed(self.envelopes)
            if each.payload.get("trigger_id") == body["trigger_id"]
        )
        form = Form(user=presser, view=view, id=f"V{next(self._numbers)}")
        self.forms.append(form)
        return web.json_response({"ok": True, "view": {**view, "id": form.id}})

    def _read(self, method: str, body: Body) -> web.Response:
        known = self.channels.get(str(body.get("channel")))
        if known is None:
            return self._no(method, "channel_not_found")
        oldest, thread = float(body.get("oldest", 0)), body.get("ts")
        with self._lock:
            if method == "conversations.replies":
                if not self._has(str(body["channel"]), str(thread)):
                    return self._no(method, "thread_not_found")
                found = [e for e in known if thread in (e.thread, e.ts)]
            else:
                found = [e for e in reversed(known) if e.thread is None]
            found = [e for e in found if not e.deleted and (float(e.ts) > oldest or e.ts == thread)]
        at, limit = int(body.get("cursor") or 0), min(int(body.get("limit", 100)), 5)
        page = [self._seen(each) for each in found[at : at + limit]]
        if str(body.get("include_all_metadata")).lower() in ("1", "true"):
            for seen, each in zip(page, found[at : at + limit], strict=True):
                if "metadata" in each.body:
                    seen["metadata"] = each.body["metadata"]
        more = at + limit < len(found)
        following = {"next_cursor": str(at + limit) if more else ""}
        return web.json_response(
            {"ok": True, "messages": page, "has_more": more, "response_metadata": following}
        )

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Listen on a free port."""
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/respond/{number}", self._respond)
        app.router.add_get("/socket", self._socket)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        self.port = runner.addresses[0][1]
        delivering = asyncio.ensure_future(self._deliver())
        try:
            yield
        finally:
            delivering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await delivering
            for socket in list(self._sockets):
                await socket.close()
            await runner.cleanup()


@contextlib.asynccontextmanager
async def slack_stand_in(rate: float = 1.0, patience_s: float = 3.0) -> AsyncGenerator[StandIn]:
    """A Slack in the loop of the caller."""
    slack = StandIn(rate, patience_s)
    async with slack.serving():
        yield slack


@contextlib.contextmanager
def slack_in_thread(rate: float = 20.0, patience_s: float = 3.0) -> Generator[StandIn]:
    """A Slack in a loop of its own, for tests that are not async."""
    slack = StandIn(rate, patience_s)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with slack.serving():
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield slack
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()
