"""Slack's events, by Bolt and Socket Mode: each is taken into the ledger, and only then acknowledged.

Slack sends again what was not acknowledged, and may send twice what was: an event has an id, a command and
a press have a trigger, and the ledger takes each once.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult

from jackline.client.api import Decision
from jackline.client.shape import is_stand_in, members
from jackline.slack import forms
from jackline.slack.answers import because
from jackline.slack.asked import Asked
from jackline.slack.decisions import question_now, submit
from jackline.slack.mrkdwn import request, says_stop
from jackline.slack.web import SlackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.slack.ledger import Ledger, Taken
    from jackline.slack.people import People
    from jackline.slack.story import Question
    from jackline.slack.web import SlackWeb
    from jackline.slack.whispers import Whispers

_log = structlog.get_logger()

_FORM_S: Final = 2.5
"""Slack gives an answer to a form three seconds."""
_ASK_S: Final = 1.5
"""How long a form may wait for its question: Slack opens it within three seconds, or never."""
_PING_S: Final = 5.0
_OVER: Final = "That question is answered."
_SAID: Final = frozenset({None, "thread_broadcast", "file_share"})
"""Subtypes of what people write: as it is, "also sent to the channel", with a file. Others tell of edits,
of who joins, of other bots."""
_TICKET: Final = re.compile(r"(ticket=)[^&'\"\s]+")


class Doors:
    """Who may come in: the teams that are named; the channels, all where none are."""

    def __init__(self, teams: list[str], channels: list[str]) -> None:
        self._teams = frozenset(teams)
        self._channels = frozenset(channels)

    def open(self, body: dict[str, Any], channel: str) -> bool:
        """Whether what comes from there is listened to."""
        teams = _teams(body)
        if not teams or not teams <= self._teams:
            return False
        return not self._channels or not channel or channel in self._channels


class Intake:
    """Slack's payloads to requests. `begin` is given each that was not taken in before."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        web: SlackWeb,
        whispers: Whispers,
        people: People,
        doors: Doors,
        begin: Callable[[Taken], None],
        question: Callable[[str], Question | None],
        bot: str,
    ) -> None:
        self._ledger = ledger
        self._web = web
        self._whispers = whispers
        self._people = people
        self._doors = doors
        self._begin = begin
        self._question = question
        self._bot = bot
        self._names: dict[str, str] = {}
        """What people are called. What they press says it, what they write does not."""

    def take(self, id_: str, kind: str, body: dict[str, Any]) -> None:
        """Take it in; what came before is not begun again."""
        taken = self._ledger.take(id_, kind, body)
        if taken is not None:
            self._begin(taken)

    async def mention(self, body: dict[str, Any]) -> None:
        """Somebody names the bot."""
        event = body["event"]
        if not self._doors.open(body, str(event["channel"])) or "edited" in event:
            return
        thread = str(event.get("thread_ts") or event["ts"])
        asked = self._asked(event.get("user"), event["channel"], thread, within="thread_ts" in event)
        self.take(str(body["event_id"]), "mention", {"asked": asked, "text": event.get("text", "")})

    async def message(self, body: dict[str, Any]) -> None:
        """Somebody writes something. To the bot alone it is as a mention; in a channel `stop` in a thread of
        ours counts, nothing else."""
        event = body["event"]
        thread = event.get("thread_ts")
        if event.get("subtype") not in _SAID or "bot_id" in event or "user" not in event:
            return
        if event.get("channel_type") == "im":
            await self.mention(body)
            return
        if thread is None:
            return
        if not self._doors.open(body, str(event["channel"])):
            return
        text = str(event.get("text", ""))
        if not says_stop(request(text, self._bot)) or f"<@{self._bot}" in text:
            return
        if self._ledger.thread_at(str(event["channel"]), str(thread)) is not None:
            asked = self._asked(event["user"], event["channel"], thread, within=True)
            self.take(str(body["event_id"]), "stop", {"asked": asked, "run_id": None})

    async def command(self, body: dict[str, Any]) -> None:
        """Somebody types the command."""
        self._meet(body["user_id"], body.get("user_name"))
        answer = body.get("response_url")
        asked = self._asked(body["user_id"], body["channel_id"], None)
        asked["answer"] = None if answer is None else str(answer)
        if self._doors.open(body, str(body["channel_id"])):
            said = {"text": body.get("text", ""), "command": body["command"]}
            self.take(f"command.{body['trigger_id']}", "command", {"asked": asked, **said})
        else:
            self._whispers.tell(Asked(**asked), "Jackline does not listen in this channel.")

    async def action(self, body: dict[str, Any]) -> None:
        """Somebody presses a button."""
        action = body["actions"][0]
        channel = str((members(body.get("channel")) or {}).get("id", ""))
        if not self._doors.open(body, channel):
            return
        message = members(body.get("message")) or members(body.get("container")) or {}
        user = body["user"]
        self._meet(user["id"], user.get("username") or user.get("name"))
        thread = message.get("thread_ts") or message.get("ts")
        asked = self._asked(user["id"], channel, thread, within="thread_ts" in message)
        id_, value = f"action.{body['trigger_id']}", str(action.get("value", ""))
        match action["action_id"]:
            case "stop":
                self.take(id_, "stop", {"asked": asked, "run_id": value})
            case "approve":
                await self._decide(id_, asked, [json.loads(value)], {"approve": True})
            case "approve_all":
                await self._decide(id_, asked, json.loads(value), {"approve": True})
            case "retry" | "abort" as outcome:
                await self._decide(id_, asked, [json.loads(value)], {"outcome": outcome})
            case "queue" | "stop_first" as choice:
                self.take(id_, "busy", {"asked": asked, "of": value, "choice": choice})
            case "deny" | "edit" | "done" as kind:
                await self._open(kind, value, Asked(**asked), str(body["trigger_id"]))
            case _:
                pass

    async def _decide(
        self, id_: str, asked: dict[str, Any], rounds: list[tuple[str, int]], decision: dict[str, Any]
    ) -> None:
        if any(self._over(call_id, number) for call_id, number in rounds):
            self._whispers.tell(Asked(**asked), _OVER)
            return
        self.take(id_, "decide", {"asked": asked, "rounds": rounds, **decision})

    def _over(self, call_id: str, number: int) -> bool:
        """Whether a button belongs to an earlier question about the call, and there is nothing to send."""
        question = self._question(call_id)
        return question is not None and question.round != number

    async def _open(self, kind: str, value: str, asked: Asked, trigger: str) -> None:
        """Open a form at once: its trigger is short-lived, and nothing is lost if it does not open."""
        client = self._people.client(asked.user)
        if client is None:
            self._whispers.tell(asked, forms.stranger(asked.user))
            return
        call_id, number = json.loads(value)
        question = self._question(call_id)
        if question is None and kind == "edit":
            # The bridge has just begun, and has not read its thread yet.
            with anyio.move_on_after(_ASK_S):
                question = await question_now(client, call_id)
        if question is not None and (not question.pending or question.round != number):
            self._whispers.tell(asked, _OVER)
            return
        view: dict[str, Any] | None
        match kind:
            case "deny":
                view = forms.deny(call_id, number, "the call" if question is None else question.name)
            case "done":
                view = forms.done(call_id, number, "the call" if question is None else question.name)
            case _ if question is None:
                self._whispers.tell(asked, "That question has not been read yet; press again in a moment.")
                return
            case _ if is_stand_in(question.args):
                self._whispers.tell(asked, "The arguments are too large to be edited here.")
                return
            case _:
                view = forms.edit(call_id, number, question)
        if view is None:
            self._whispers.tell(asked, "The arguments are too long for a form; edit them on the run's page.")
            return
        try:
            await self._web.open_view(trigger, view)
        except SlackError as error:
            self._whispers.tell(asked, "The form did not open; press again.")
            _log.warning("a form did not open", reason=str(error))

    async def submission(self, body: dict[str, Any]) -> str | None:
        """Somebody sends a form; what is wrong with it."""
        view, user = body["view"], body["user"]
        if not self._doors.open(body, ""):
            return "Jackline does not listen in this workspace."
        self._meet(user["id"], user.get("username") or user.get("name"))
        who = self._called(str(user["id"]))
        client = self._people.client(str(user["id"]))
        if client is None:
            return forms.stranger(str(user["id"]))
        call_id, number = json.loads(view["private_metadata"])
        if self._over(call_id, number):
            return _OVER
        text = forms.value_of(view)
        match view["callback_id"]:
            case "deny":
                decision = Decision(call_id=call_id, round=number, approve=False, reason=because(who, text))
            case "edit":
                try:
                    args: object = json.loads(text)
                except ValueError as error:
                    return f"Not JSON: {error}"
                if not isinstance(args, dict):
                    return "The arguments are a JSON object, {…}."
                edited = cast("dict[str, Any]", args)
                question = self._question(call_id)
                same = question is not None and question.args == edited
                decision = Decision(
                    call_id=call_id,
                    round=number,
                    approve=True,
                    args=None if same else edited,
                    reason=because(who),
                )
            case _:
                decision = Decision(
                    call_id=call_id,
                    round=number,
                    outcome="done",
                    result=_json_or_text(text),
                    reason=because(who),
                )
        with anyio.move_on_after(_FORM_S):
            return await submit(client, decision)
        late = "Jackline does not answer in time. Look at the thread, and try again"
        # Slack waits less long than a check against a schema may take.
        return f"{late}, or approve or deny it unedited." if decision.args is not None else f"{late}."

    def _meet(self, user: object, name: object) -> None:
        if name:
            self._names[str(user)] = str(name)

    def _called(self, user: str) -> str:
        """Somebody's name, or their id: as plain text, since a mention would ping them."""
        return self._names.get(user, user)

    def _asked(
        self, user: object, channel: object, thread: object, *, within: bool = False
    ) -> dict[str, Any]:
        return {
            "user": str(user),
            "name": self._called(str(user)),
            "channel": str(channel),
            "thread": None if thread is None else str(thread),
            "within": within,
        }


class Socket:
    """The connection to Slack."""

    def __init__(self, intake: Intake, web: Any, bot_token: str, app_token: str, who: dict[str, Any]) -> None:
        async def authorize() -> AuthorizeResult:
            return AuthorizeResult(
                enterprise_id=None,
                team_id=str(who.get("team_id")),
                bot_token=bot_token,
                bot_id=str(who.get("bot_id")),
                bot_user_id=str(who.get("user_id")),
            )

        # What was asked for is in the ledger before Slack is answered.
        app = AsyncApp(client=web.client, authorize=authorize, process_before_response=True)
        _listen(app, intake)
        self._handler = AsyncSocketModeHandler(app, app_token, logger=_logger(), ping_interval=_PING_S)

    async def open(self) -> None:
        """Connect; comes back by itself after that."""
        await self._handler.connect_async()

    async def close(self) -> None:
        """Take nothing more in."""
        await self._handler.close_async()


class _WithoutTickets(logging.Filter):
    """An address to connect to has a ticket in it, and is in the errors of who could not connect."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _TICKET.sub(r"\1…", record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True


def _logger() -> logging.Logger:
    logger = logging.getLogger("jackline.slack.socket")
    logger.addFilter(_WithoutTickets())
    return logger


def _listen(app: Any, intake: Intake) -> None:
    async def mention(body: dict[str, Any]) -> None:
        await intake.mention(body)

    async def message(body: dict[str, Any]) -> None:
        await intake.message(body)

    async def command(ack: Any, body: dict[str, Any]) -> None:
        await intake.command(body)
        await ack()

    async def action(ack: Any, body: dict[str, Any]) -> None:
        await intake.action(body)
        await ack()

    async def submission(ack: Any, body: dict[str, Any]) -> None:
        wrong = await intake.submission(body)
        if wrong is None:
            await ack()
        else:
            await ack(response_action="errors", errors={forms.INPUT: wrong[:1500]})

    every = re.compile(".*")
    app.event("app_mention")(mention)
    app.event("message")(message)
    app.command(every)(command)
    app.action(every)(action)
    app.view(every)(submission)


def _teams(body: dict[str, Any]) -> set[str]:
    """The workspaces that something comes from: where it was seen, and that of whoever did it, who in a
    channel shared with another organization may belong to that one."""
    event, team, user = (members(body.get(name)) or {} for name in ("event", "team", "user"))
    named = (
        *(body.get("team_id"), event.get("user_team"), event.get("source_team")),
        *(team.get("id"), user.get("team_id")),
    )
    return {str(each) for each in named if each}


def _json_or_text(text: str) -> object:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
