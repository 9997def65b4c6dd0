"""Stops that people ask for: which run they mean, and what they are told where there is nothing to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackline.client.errors import ClientError
from jackline.client.shape import items, members
from jackline.slack.answers import explain
from jackline.slack.drawing import button, buttons, section
from jackline.slack.mrkdwn import escape, one_line
from jackline.slack.story import ENDED

if TYPE_CHECKING:
    from jackline.client.api import Client
    from jackline.slack.asked import Asked
    from jackline.slack.ledger import Ledger
    from jackline.slack.whispers import Whispers

_LISTED: Final = 10
"""Runs to choose from in one message."""


class Stops:
    """Stops runs. What became of them is told by their threads."""

    def __init__(self, ledger: Ledger, whispers: Whispers) -> None:
        self._ledger = ledger
        self._whispers = whispers

    async def stop(self, asked: Asked, client: Client, *, run_id: str | None, key: str) -> None:
        """A run; or what is active of the thread's conversation, and what waits behind it."""
        conversation_id = None
        if run_id is None and not asked.within:
            conversation_id = await self._meant(asked, client)
            if conversation_id is None:
                return
        elif run_id is None:
            thread = self._ledger.thread_at(asked.channel, asked.thread or "")
            if thread is None:
                await self._whispers.whisper(asked, "There is no run in this thread.")
                return
            conversation_id = thread.conversation_id
        try:
            stopped = await client.stop(
                run_id, conversation_id=conversation_id, reason=f"{asked.name} in Slack", key=key
            )
        except ClientError as error:
            await self._whispers.whisper(asked, f"Not stopped: {explain(error)}")
        else:
            if stopped.state in ENDED:
                await self._whispers.whisper(
                    asked, f"There is nothing to stop: the run is {stopped.state} already."
                )
            elif not asked.within:
                await self._whispers.whisper(
                    asked, f"Stopping run {escape(stopped.run_id)}; its thread says the rest."
                )

    async def _meant(self, asked: Asked, client: Client) -> str | None:
        """The conversation to stop where somebody says so outside of any thread. Between one person and the
        bot the only one that goes on is meant. Elsewhere it may be somebody else's: they choose."""
        try:
            runs = await self._going_on(asked.channel, client)
        except ClientError as error:
            await self._whispers.whisper(asked, f"Not stopped: {explain(error)}")
            return None
        conversations = {str(run["conversation_id"]) for run in runs}
        if len(conversations) == 1 and asked.channel.startswith("D"):
            return conversations.pop()
        if not runs:
            await self._whispers.whisper(asked, "Nothing goes on here that you could stop.")
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
        await self._whispers.whisper(asked, text, blocks)
        return None

    async def _going_on(self, channel: str, client: Client) -> list[dict[str, Any]]:
        """The runs of a channel's threads that have not ended and that this person may see, newest first."""
        here = [of.conversation_id for _, of in self._ledger.open_runs() if of.channel == channel]
        found: list[dict[str, Any]] = []
        for conversation_id in dict.fromkeys(reversed(here)):
            page = await client.runs(conversation_id=conversation_id)
            runs = [members(each) or {} for each in items(page.get("runs"))]
            found += [run for run in runs if run.get("state") not in ENDED]
        return found
