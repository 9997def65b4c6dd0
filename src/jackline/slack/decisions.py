"""Answers to questions, by button and by form."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jackline.client.api import Decision
from jackline.client.errors import ClientError
from jackline.slack.answers import because, explain
from jackline.slack.asked import key_of
from jackline.slack.story import Story

if TYPE_CHECKING:
    from jackline.client.api import Client
    from jackline.slack.asked import Asked
    from jackline.slack.ledger import Taken
    from jackline.slack.story import Question
    from jackline.slack.whispers import Whispers


class Decisions:
    """Sends what people decide by button. The thread tells what was taken, a whisper what was not."""

    def __init__(self, whispers: Whispers) -> None:
        self._whispers = whispers

    async def decide(self, taken: Taken, asked: Asked, client: Client) -> None:
        """What a button says, of one question or of several."""
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
                await client.decide(decisions[0], key=key_of(taken.id))
            else:
                await client.decide_all(decisions, key=key_of(taken.id))
        except ClientError as error:
            await self._whispers.whisper(asked, f"Not decided: {explain(error)}")


async def submit(client: Client, decision: Decision) -> str | None:
    """A decision from a form; why it was not taken, in words for the form."""
    try:
        await client.decide(decision)
    except ClientError as error:
        return explain(error, slack=False)
    return None


async def question_now(client: Client, call_id: str) -> Question | None:
    """The newest question about a call as the server has it; None if it does not say."""
    story = Story(run_id="")
    with contextlib.suppress(ClientError):
        story.take({"approvals": [await client.approval(call_id)]})
    return story.question(call_id)
