"""Slack's own side of the stand-in: its Web API, its connections, what it sends again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Literal

from aiohttp import WSMsgType, web

from jackline.client.shape import members
from tests.slack.limits import Body, Buckets, pings, refusal, view_refusal
from tests.slack.shapes import Envelope, Form, Message, Whisper
from tests.support.processes import HOST

BOT = "UBOT"
BOT_TOKEN = "xoxb-stand-in"
APP_TOKEN = "xapp-stand-in"
TEAM = "T0TEAM"
TICKET = "a-secret-ticket"


class SlackSide:
    """Slack. `rate` times its documented limits are enforced; `patience_s` is how long it waits for an
    acknowledgement before it sends again."""

    def __init__(self, rate: float = 1.0, patience_s: float = 3.0) -> None:
        self.rate = rate
        self.patience_s = patience_s
        self.port = 0
        self.channels: dict[str, list[Message]] = {"CGENERAL": [], "COPS": [], "DANA": []}
        self.member_of = {"CGENERAL", "COPS", "DANA"}
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
        self.deaf = False
        """Lets nobody connect, and answers everything else."""
        self.storm = 0
        """So many calls to come are answered with 429."""
        self.storm_s = 1
        self.hush = 0
        """So many of what only one person is to see are answered with 429."""
        self.broken: dict[str, str] = {}
        """Where nothing can be said, and Slack's word for why: channels, or "" for answers to commands."""
        self.lose_answers = 0
        """So many posts to come are carried out, and the connection is cut before the answer."""
        self.clock_ahead_s = 0.0
        self.deliver_twice = False
        self.on_post: Callable[[Message], None] = lambda message: None
        """Told, within Slack's own loop, of each message before its sender is answered."""
        self._buckets = Buckets()
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

    # -- within --------------------------------------------------------------------------------

    def _user(self, user: str, team: str = TEAM) -> Body:
        return {"id": user, "username": user[1:].lower(), "name": user[1:].lower(), "team_id": team}

    def _trigger(self) -> str:
        with self._lock:
            name = f"trigger{next(self._numbers)}"
            self._triggers[name] = time.monotonic()
            return name

    def _add(self, channel: str, user: str, body: Body, thread: str | None) -> Message:
        with self._lock:
            self._ts = max(self._ts + 1, int((time.time() + self.clock_ahead_s) * 1e6))
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

    def _event(self, event: Body, team: str = TEAM) -> None:
        payload: Body = {
            "token": "x",
            "team_id": team,
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

    def again(self, envelope: Envelope) -> None:
        """Deliver what was acknowledged once more, as Slack may."""
        with self._lock:
            self.envelopes.append(
                Envelope(id=f"env{next(self._numbers)}", kind=envelope.kind, payload=envelope.payload)
            )
        self._wake()

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
        if self.away or self.deaf:
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
        if "" in self.broken:
            return web.Response(status=404, text=self.broken[""])
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
                return web.json_response(
                    {"ok": True, "url": f"ws://{HOST}:{self.port}/socket?ticket={TICKET}&app_id=x"}
                )
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
        if method in ("auth.test", "apps.connections.open", "views.open"):
            return None
        if method == "chat.postEphemeral":
            if self.hush > 0:
                self.hush -= 1
                return self.storm_s
        elif self.storm > 0:
            self.storm -= 1
            return self.storm_s
        return self._buckets.wait_s(method, channel, self.rate)

    def _good(self, method: str, body: Body) -> str | None:
        channel = str(body.get("channel"))
        if channel not in self.channels:
            return "channel_not_found"
        if channel not in self.member_of:
            return "not_in_channel"
        if channel in self.broken:
            return self.broken[channel]
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
        ts, thread = f"{time.time():.6f}", body.get("thread_ts")
        if thread is not None and not any(each.thread == thread for each in self.channels[body["channel"]]):
            # Slack takes it, and shows it to nobody: a thread is one from its first reply on.
            return web.json_response({"ok": True, "message_ts": ts})
        with self._lock:
            self.whispers.append(
                Whisper(channel=body["channel"], user=body["user"], thread=thread, body=body, ts=ts)
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
            # At once: each waits for the other side, which may be gone.
            await asyncio.gather(*(socket.close() for socket in list(self._sockets)))
            await runner.cleanup()
