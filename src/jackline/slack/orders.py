"""What people ask of the bridge, carried out one by one: each with the key of who asked."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from jackline.slack.asked import Asked, key_of
from jackline.slack.forms import stranger
from jackline.slack.mrkdwn import request, says_stop
from jackline.slack.starts import PATIENCE_S
from jackline.slack.web import SlackError

if TYPE_CHECKING:
    from jackline.client.api import Client
    from jackline.slack.decisions import Decisions
    from jackline.slack.ledger import Ledger, Taken
    from jackline.slack.people import People
    from jackline.slack.starts import Starts
    from jackline.slack.stops import Stops
    from jackline.slack.whispers import Whispers

_log = structlog.get_logger()


class Orders:
    """Carries out what was taken in: whose it is, whether it is too old, who does it. `bot` is the bot's
    user id."""

    def __init__(
        self,
        ledger: Ledger,
        people: People,
        bot: str,
        *,
        whispers: Whispers,
        starts: Starts,
        stops: Stops,
        decisions: Decisions,
    ) -> None:
        self._ledger = ledger
        self._people = people
        self._bot = bot
        self._whispers = whispers
        self._starts = starts
        self._stops = stops
        self._decisions = decisions

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
        self._ledger.done(taken.id)

    async def _carry_out(self, taken: Taken) -> None:
        body = taken.body
        asked = Asked(**body["asked"])
        client = self._people.client(asked.user)
        if client is None:
            await self._whispers.whisper(asked, stranger(asked.user))
            return
        if time.time() - taken.at > PATIENCE_S:
            await self._whispers.whisper(
                # Slack's own address for an answer is good for half an hour.
                replace(asked, answer=None),
                "I was away for long when your request came. If you still want it, say it again.",
            )
            return
        match taken.kind:
            case "mention":
                await self._mention(taken, asked, client)
            case "command" if says_stop(request(str(body["text"]), self._bot)):
                await self._stops.stop(asked, client, run_id=None, key=key_of(taken.id))
            case "command":
                await self._starts.command(taken, asked, client)
            case "stop":
                await self._stops.stop(asked, client, run_id=body["run_id"], key=key_of(taken.id))
            case "decide":
                await self._decisions.decide(taken, asked, client)
            case "busy":
                await self._starts.busy(taken, asked, client)
            case _:
                _log.error("an unknown kind of request", kind=taken.kind)

    async def _mention(self, taken: Taken, asked: Asked, client: Client) -> None:
        assert asked.thread is not None
        text = request(str(taken.body["text"]), self._bot)
        if not text:
            await self._whispers.whisper(asked, f"Say what is to be done: <@{self._bot}> is the disk full?")
        elif says_stop(text):
            await self._stops.stop(asked, client, run_id=None, key=key_of(taken.id))
        else:
            await self._starts.start(taken, asked, client, text)
