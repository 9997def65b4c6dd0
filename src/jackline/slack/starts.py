"""Runs that people ask for, and what they choose where the thread is busy."""

from __future__ import annotations

import time
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio

from jackline.client.errors import ClientError, Refused
from jackline.slack.answers import explain, is_away, says_gone
from jackline.slack.asked import Asked, key_of
from jackline.slack.drawing import Drawn, button, buttons, section
from jackline.slack.ledger import Thread
from jackline.slack.mrkdwn import escape, one_line, request
from jackline.slack.speaker import Place
from jackline.slack.web import SlackRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackline.client.api import Client, OnBusy
    from jackline.slack.ledger import Taken
    from jackline.slack.speaker import Mouth
    from jackline.slack.whispers import Whispers

PATIENCE_S: Final = 3600.0
"""How long a request is kept for a server that does not answer: whoever asked does other things by then."""
_AGAIN_S: Final = 2.0
_OUTSIDE: Final = frozenset({"not_in_channel", "channel_not_found"})


class Starts:
    """Starts runs, each once. `follow` is told of each and of its thread; `bot` is the bot's user id."""

    def __init__(
        self, mouth: Mouth, whispers: Whispers, bot: str, follow: Callable[[str, Thread], None]
    ) -> None:
        self._mouth = mouth
        self._whispers = whispers
        self._bot = bot
        self._follow = follow
        self._turns: defaultdict[tuple[str, str], anyio.Lock] = defaultdict(anyio.Lock)

    async def command(self, taken: Taken, asked: Asked, client: Client) -> None:
        """What the command asks for: a new run, in a thread that begins with a message of the bot's."""
        text = request(str(taken.body["text"]), self._bot)
        if not text:
            command = str(taken.body.get("command", "/jackline"))
            await self._whispers.whisper(
                asked, f"Say what is to be done: `{escape(command)} is the disk full?`"
            )
            return
        said = "\n".join(f">{line}" for line in escape(text[:2500]).splitlines())
        blocks = [section(f"*{escape(asked.name)}* asks:\n{said}")]
        drawn = Drawn(key="root", text=escape(one_line(f"{asked.name} asks: {text}", 300)), blocks=blocks)
        place = Place(channel=asked.channel, thread=None)
        try:
            root = await self._mouth.post_surely(place, f"inbox.{taken.id}", drawn)
        except SlackRefused as error:
            text = f"I cannot write here ({escape(str(error))})."
            if error.error in _OUTSIDE:
                text += f" Invite me first: /invite <@{self._bot}>"
            await self._whispers.whisper(asked, text)
            return
        thread = Asked(user=asked.user, name=asked.name, channel=asked.channel, thread=root.ts)
        await self.start(taken, thread, client, text)

    async def start(
        self, taken: Taken, asked: Asked, client: Client, text: str, on_busy: OnBusy | None = None
    ) -> None:
        """In a thread of ours the next run of its conversation, elsewhere a new one."""
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
                    key=key_of(taken.id, "busy" if on_busy else ""),
                )
            except ClientError as error:
                if not is_away(error) or time.time() - taken.at > PATIENCE_S:
                    raise
                if not told:
                    told = True
                    self._whispers.tell(
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
            await self._whispers.whisper(asked, text, [section(text), choices])
        elif isinstance(error, Refused) and says_gone(error) and thread is not None:
            await self._whispers.whisper(
                asked,
                "The conversation of this thread belongs to somebody else, or is deleted. Begin a new one: "
                "mention me outside of this thread.",
            )
        else:
            await self._whispers.whisper(asked, f"Not started: {explain(error)}")

    async def busy(self, taken: Taken, asked: Asked, client: Client) -> None:
        """The answer to whether to wait or to stop the active run first."""
        first = self._mouth.ledger.taken(str(taken.body["of"]))
        if first is None:
            await self._whispers.whisper(asked, "That request is too old; say it again.")
            return
        if first.body["asked"]["user"] != asked.user:
            await self._whispers.whisper(asked, "That is somebody else's request.")
            return
        origin = Asked(**first.body["asked"])
        earlier = self._mouth.ledger.before(taken)
        if any((e.body["of"], e.body["asked"]["user"]) == (first.id, asked.user) for e in earlier):
            await self._whispers.whisper(
                origin, "You have answered that already. If your request has not begun, say it once more."
            )
            return
        text = request(str(first.body["text"]), self._bot)
        await self.start(first, origin, client, text, "queue" if taken.body["choice"] == "queue" else "stop")
