"""What people ask of the bridge: to start, to stop, to decide. Each with the key of who asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from jackline.client.api import Decision
from jackline.client.errors import ClientError, Refused
from jackline.client.shape import items, members
from jackline.slack.answers import because, explain, is_away, says_gone
from jackline.slack.drawing import Drawn, button, buttons, section
from jackline.slack.forms import stranger
from jackline.slack.ledger import Thread
from jackline.slack.mrkdwn import escape, one_line, request
from jackline.slack.speaker import Place
from jackline.slack.story import ENDED, Story
from jackline.slack.web import RateLimited, SlackError, SlackRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jackline.client.api import Client, OnBusy
    from jackline.slack.ledger import Taken
    from jackline.slack.people import People
    from jackline.slack.speaker import Mouth
    from jackline.slack.story import Question

_log = structlog.get_logger()

_PATIENCE_S: Final = 3600.0
"""How long a request is kept for a server that does not answer: whoever asked does other things by then."""
_AGAIN_S: Final = 2.0
_LISTED: Final = 10
"""Runs to choose from in one message."""
_TRIES: Final = 5
"""How often Slack may ask to wait with what one person is to be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Who asked, and where. `thread` is where the answer belongs; `within`: it was asked in that thread, and
    not by the message that begins it. `answer` is Slack's own address for an answer, where it gave one."""

    user: str
    name: str
    channel: str
    thread: str | None = None
    answer: str | None = None
    within: bool = False


class Orders:
    """Carries out what was taken in. `follow` is told of each run of a thread, `begin` begins a task of its
    own; `bot` is the bot's user id."""

    def __init__(
        self,
        mouth: Mouth,
        people: People,
        bot: str,
        *,
        follow: Callable[[str, Thread], None],
        begin: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._mouth = mouth
        self._people = people
        self._bot = bot
        self._follow = follow
        self._begin = begin
        self._turns: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def carry_out(self, taken: Taken) -> None:
        """Do it, and note that it is done: also what could not be done and was told."""
        try:
            await self._carry_out(taken)
        except SlackError as error:
            _log.warning("somebody was not answered", kind=taken.kind, reason=str(error))
        except sqlite3.Error:
            raise  # what cannot be written down must not be said
        except Exception:  # noqa: BLE001  this is a task's top: others' requests are carried out all the same
            _log.exception("a request failed", kind=taken.kind, id=taken.id)
        self._mouth.ledger.done(taken.id)

    async def _carry_out(self, taken: Taken) -> None:
        body = taken.body
        asked = Asked(**body["asked"])
        client = self._people.client(asked.user)
        if client is None:
            await self.whisper(asked, stranger(asked.user))
            return
        if time.time() - taken.at > _PATIENCE_S:
            await self.whisper(
                # Slack's own address for an answer is good for half an hour.
                replace(asked, answer=None),
                "I was away for long when your request came. If you still want it, say it again.",
            )
            return
        match taken.kind:
            case "mention":
                await self._mention(taken, asked, client)
            case "command":
                await self._command(taken, asked, client)
            case "stop":
                await self._stop(asked, client, run_id=body["run_id"], key=_key(taken.id))
            case "decide":
                await self._decide(taken, asked, client)
            case "busy":
                await self._busy(taken, asked, client)
            case _:
                _log.error("an unknown kind of request", kind=taken.kind)

    # -- starting ------------------------------------------------------------------------------

    async def _mention(self, taken: Taken, asked: Asked, client: Client) -> None:
        """In a thread of ours the next run of its conversation, elsewhere a new one."""
        assert asked.thread is not None
        text = request(str(taken.body["text"]), self._bot)
        if not text:
            await self.whisper(asked, f"Say what is to be done: <@{self._bot}> is the disk full?")
        elif text.lower().strip(" .!") == "stop":
            await self._stop(asked, client, run_id=None, key=_key(taken.id))
        else:
            await self._start(taken, asked, client, text)

    async def _command(self, taken: Taken, asked: Asked, client: Client) -> None:
        text = request(str(taken.body["text"]), self._bot)
        if not text:
            command = str(taken.body.get("command", "/jackline"))
            await self.whisper(asked, f"Say what is to be done: `{escape(command)} is the disk full?`")
            return
        said = "\n".join(f">{line}" for line in escape(text[:2500]).splitlines())
        blocks = [section(f"*{escape(asked.name)}* asks:\n{said}")]
        drawn = Drawn(key="root", text=escape(one_line(f"{asked.name} asks: {text}", 300)), blocks=blocks)
        place = Place(channel=asked.channel, thread=None)
        try:
            root = await self._mouth.post_surely(place, f"inbox.{taken.id}", drawn)
        except SlackRefused as error:
            await self.whisper(
                asked, f"I cannot write here ({escape(str(error))}). Invite me first: /invite <@{self._bot}>"
            )
            return
        thread = Asked(user=asked.user, name=asked.name, channel=asked.channel, thread=root.ts)
        await self._start(taken, thread, client, text)

    async def _start(
        self, taken: Taken, asked: Asked, client: Client, text: str, on_busy: OnBusy | None = None
    ) -> None:
        assert asked.thread is not None
        async with self._turns[asked.channel, asked.thread]:
            thread = self._mouth.ledger.thread_at(asked.channel, asked.thread)
            try:
                started = await self._started(taken, asked, client, text, thread, on_busy)
            except ClientError as error:
                refused = error
            else:
                made = Thread(
                    conversation_id=started.conversation_id,
                    channel=asked.channel,
                    ts=asked.thread,
                    user=asked.user,
                )
                self._mouth.ledger.begin(made, started.run_id)
                self._follow(started.run_id, made)
                return
        # Outside of the turn: to be told may take a while, and the next one need not wait for it.
        await self._not_started(taken, asked, refused, thread)

    async def _started(
        self,
        taken: Taken,
        asked: Asked,
        client: Client,
        text: str,
        thread: Thread | None,
        on_busy: OnBusy | None,
    ) -> Any:
        """The run, however long the server is away: with one key, so that it is started once."""
        told = False
        while True:
            try:
                return await client.start(
                    text,
                    conversation_id=None if thread is None else thread.conversation_id,
                    on_busy=on_busy,
                    metadata={
                        "slack": {"user": asked.user, "channel": asked.channel, "thread": asked.thread}
                    },
                    # One key for both answers of a busy thread: who presses both starts one run.
                    key=_key(taken.id, "busy" if on_busy else ""),
                )
            except ClientError as error:
                if not is_away(error) or time.time() - taken.at > _PATIENCE_S:
                    raise
                if not told:
                    told = True
                    self.tell(
                        asked, "Jackline does not answer. Your request is kept, and starts when it does."
                    )
                await anyio.sleep(_AGAIN_S)

    async def _not_started(
        self, taken: Taken, asked: Asked, error: ClientError, thread: Thread | None
    ) -> None:
        if isinstance(error, Refused) and error.status == HTTPStatus.CONFLICT and error.problem.get("run_id"):
            run_id = str(error.problem["run_id"])
            text = f"Run {escape(run_id)} of this thread is still going. Say what to do with yours:"
            choices = buttons(
                button("queue", "Wait its turn", taken.id),
                button("stop_first", "Stop that one first", taken.id, style="danger"),
            )
            await self.whisper(asked, text, [section(text), choices])
        elif isinstance(error, Refused) and says_gone(error) and thread is not None:
            await self.whisper(
                asked,
                "The conversation of this thread belongs to somebody else, or is deleted. Begin a new one: "
                "mention me outside of this thread.",
            )
        else:
            await self.whisper(asked, f"Not started: {explain(error)}")

    async def _busy(self, taken: Taken, asked: Asked, client: Client) -> None:
        """The answer to whether to wait or to stop the active run first."""
        first = self._mouth.ledger.taken(str(taken.body["of"]))
        if first is None:
            await self.whisper(asked, "That request is too old; say it again.")
            return
        if first.body["asked"]["user"] != asked.user:
            await self.whisper(asked, "That is somebody else's request.")
            return
        origin = Asked(**first.body["asked"])
        earlier = self._mouth.ledger.before(taken)
        if any((e.body["of"], e.body["asked"]["user"]) == (first.id, asked.user) for e in earlier):
            await self.whisper(
                origin, "You have answered that already. If your request has not begun, say it once more."
            )
            return
        text = request(str(first.body["text"]), self._bot)
        await self._start(first, origin, client, text, "queue" if taken.body["choice"] == "queue" else "stop")

    # -- stopping ------------------------------------------------------------------------------

    async def _stop(self, asked: Asked, client: Client, *, run_id: str | None, key: str) -> None:
        """A run; or what is active of the thread's conversation, and what waits behind it."""
        conversation_id = None
        if run_id is None and not asked.within:
            conversation_id = await self._meant(asked, client)
            if conversation_id is None:
                return
        elif run_id is None:
            thread = self._mouth.ledger.thread_at(asked.channel, asked.thread or "")
            if thread is None:
                await self.whisper(asked, "There is no run in this thread.")
                return
            conversation_id = thread.conversation_id
        try:
            stopped = await client.stop(
                run_id, conversation_id=conversation_id, reason=f"{asked.name} in Slack", key=key
            )
        except ClientError as error:
            await self.whisper(asked, f"Not stopped: {explain(error)}")
        else:
            if stopped.state in ENDED:
                await self.whisper(asked, f"There is nothing to stop: the run is {stopped.state} already.")
            elif not asked.within:
                await self.whisper(asked, f"Stopping run {escape(stopped.run_id)}; its thread says the rest.")

    async def _meant(self, asked: Asked, client: Client) -> str | None:
        """The conversation to stop where somebody says so outside of any thread. Between one person and the
        bot the only one that goes on is meant. Elsewhere it may be somebody else's: they choose."""
        try:
            runs = await self._going_on(asked.channel, client)
        except ClientError as error:
            await self.whisper(asked, f"Not stopped: {explain(error)}")
            return None
        conversations = {str(run["conversation_id"]) for run in runs}
        if len(conversations) == 1 and asked.channel.startswith("D"):
            return conversations.pop()
        if not runs:
            await self.whisper(asked, "Nothing goes on here that you could stop.")
            return None
        text = "Which one is to be stopped?"
        if len(runs) > _LISTED:
            text += f" These are the newest of {len(runs)}; `stop` in a thread stops what goes on in it."
        blocks = [section(text)]
        for run in runs[:_LISTED]:
            what = f"{run['state']}: {escape(one_line(str(run.get('title', '')), 200))}"
            blocks += [
                section(f"{what}\nrun {escape(str(run['run_id']))}"),
                buttons(button("stop", "Stop", str(run["run_id"]), style="danger")),
            ]
        await self.whisper(asked, text, blocks)
        return None

    async def _going_on(self, channel: str, client: Client) -> list[dict[str, Any]]:
        """The runs of a channel's threads that have not ended and that this person may see, newest first."""
        here = [of.conversation_id for _, of in self._mouth.ledger.open_runs() if of.channel == channel]
        found: list[dict[str, Any]] = []
        for conversation_id in dict.fromkeys(reversed(here)):
            page = await client.runs(conversation_id=conversation_id)
            runs = [members(each) or {} for each in items(page.get("runs"))]
            found += [run for run in runs if run.get("state") not in ENDED]
        return found

    # -- deciding ------------------------------------------------------------------------------

    async def _decide(self, taken: Taken, asked: Asked, client: Client) -> None:
        decisions = [
            Decision(
                call_id=str(call_id),
                round=int(number),
                approve=taken.body.get("approve"),
                outcome=taken.body.get("outcome"),
                reason=because(asked.name),
            )
            for call_id, number in taken.body["rounds"]
        ]
        try:
            if len(decisions) == 1:
                await client.decide(decisions[0], key=_key(taken.id))
            else:
                await client.decide_all(decisions, key=_key(taken.id))
        except ClientError as error:
            await self.whisper(asked, f"Not decided: {explain(error)}")

    async def submit(self, client: Client, decision: Decision) -> str | None:
        """A decision from a form; why it was not taken, in words for the form."""
        try:
            await client.decide(decision)
        except ClientError as error:
            return explain(error, slack=False)
        return None

    async def open_view(self, trigger: str, view: dict[str, Any]) -> None:
        """Open a form. Raises `SlackError`."""
        await self._mouth.web.open_view(trigger, view)

    # -- telling -------------------------------------------------------------------------------

    def tell(self, asked: Asked, text: str) -> None:
        """The same as `whisper`, without waiting for it."""
        self._begin(partial(self.whisper, asked, text))

    async def whisper(self, asked: Asked, text: str, blocks: list[dict[str, Any]] | None = None) -> None:
        """Tell one person, as soon as Slack takes it. Not told if it wants it at no time: that is no reason
        to undo anything."""
        gates = self._mouth.gates
        reason = ""
        for _ in range(_TRIES):
            await gates.enter("whisper", asked.channel)
            try:
                await self._whisper(asked, text, blocks)
            except RateLimited as error:
                reason = str(error)
                gates.hold("whisper", asked.channel, error.seconds)
            except SlackError as error:
                reason = str(error)
                break
            else:
                return
        _log.warning("somebody was not told", user=asked.user, reason=reason)

    async def _whisper(self, asked: Asked, text: str, blocks: list[dict[str, Any]] | None) -> None:
        if asked.answer is not None:
            await self._mouth.web.respond(asked.answer, text)
        else:
            # In a thread that has no reply yet Slack shows it to nobody, and says nothing of that.
            thread = asked.thread if asked.within else None
            await self._mouth.web.whisper(asked.channel, asked.user, text, thread=thread, blocks=blocks)


async def question_now(client: Client, call_id: str) -> Question | None:
    """The newest question about a call as the server has it; None if it does not say."""
    story = Story(run_id="")
    with contextlib.suppress(ClientError):
        story.take({"approvals": [await client.approval(call_id)]})
    return story.question(call_id)


def _key(*parts: str) -> str:
    """The key of idempotency of what Slack sent: the same however often it sends it."""
    return "slack-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
