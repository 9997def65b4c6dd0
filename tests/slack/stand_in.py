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
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Literal, TypeVar

from jackline.client.shape import items, members
from tests.slack.limits import Body
from tests.slack.shapes import Form, Message, Whisper, buttons_of
from tests.slack.slack_side import BOT, TEAM, SlackSide
from tests.support.processes import HOST, eventually

T = TypeVar("T")


class StandIn(SlackSide):
    """Slack, and the people in it. See `SlackSide` for how it is set up, and made to fail."""

    # -- what people do ------------------------------------------------------------------------

    def mention(self, user: str, channel: str, text: str, thread: str | None = None) -> str:
        """Write to the bot; the message's `ts`."""
        return self.say(user, channel, text, thread, mentions=True)

    def say(
        self,
        user: str,
        channel: str,
        text: str,
        thread: str | None = None,
        *,
        mentions: bool = False,
        team: str = TEAM,
        guest_of: str | None = None,
        subtype: str | None = None,
    ) -> str:
        """Write something. What is typed comes escaped. `guest_of`: the workspace of whoever writes, in a
        channel that is shared with it. `subtype`: `thread_broadcast` where it is also sent to the channel,
        `file_share` with a file."""
        text = (f"<@{BOT}> " if mentions else "") + html.escape(text, quote=False)
        with self._lock:
            message = self._add(channel, user, {"text": text}, thread)
            event: Body = {"user": user, "text": text, "ts": message.ts, "channel": channel}
            event |= {"event_ts": message.ts} | ({} if thread is None else {"thread_ts": thread})
            if guest_of is not None:
                event |= {"user_team": guest_of, "source_team": guest_of}
            if mentions:
                self._event(event | {"type": "app_mention"}, team)
            kind = "im" if channel.startswith("D") else "channel"
            said = {} if subtype is None else {"subtype": subtype}
            self._event(event | said | {"type": "message", "channel_type": kind}, team)
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

    def press(
        self, user: str, message: Message | Whisper, action: str, number: int = 0, *, guest_of: str = TEAM
    ) -> None:
        """Press a button that the message has now."""
        found = [each for each in buttons_of(message.body) if each["action_id"] == action]
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
            "user": self._user(user, guest_of),
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
