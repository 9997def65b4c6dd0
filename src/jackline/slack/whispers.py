"""What only one person is told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from jackline.slack.web import RateLimited, SlackError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jackline.slack.asked import Asked
    from jackline.slack.gates import Gates
    from jackline.slack.web import SlackWeb

_log = structlog.get_logger()

_TRIES: Final = 5
"""How often Slack may ask to wait with what one person is to be told."""


class Whispers:
    """Tells one person something, in the place where they asked. `begin` begins a task of its own."""

    def __init__(
        self,
        web: SlackWeb,
        gates: Gates,
        begin: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._web = web
        self._gates = gates
        self._begin = begin

    def tell(self, asked: Asked, text: str) -> None:
        """The same as `whisper`, without waiting for it."""
        self._begin(partial(self.whisper, asked, text))

    async def whisper(self, asked: Asked, text: str, blocks: list[dict[str, Any]] | None = None) -> None:
        """Tell one person, as soon as Slack takes it; in the channel, where its own address for that is of no
        use any more. Not told if it wants it at no time: that is no reason to undo anything."""
        reason = ""
        for _ in range(_TRIES):
            await self._gates.enter("whisper", asked.channel)
            try:
                await self._whisper(asked, text, blocks)
            except RateLimited as error:
                reason = str(error)
                self._gates.hold("whisper", asked.channel, error.seconds)
            except SlackError as error:
                reason = str(error)
                if asked.answer is None:
                    break
                asked = replace(asked, answer=None)
            else:
                return
        _log.warning("somebody was not told", user=asked.user, reason=reason)

    async def _whisper(self, asked: Asked, text: str, blocks: list[dict[str, Any]] | None) -> None:
        if asked.answer is not None:
            await self._web.respond(asked.answer, text, blocks)
        else:
            # In a thread that has no reply yet Slack shows it to nobody, and says nothing of that.
            thread = asked.thread if asked.within else None
            await self._web.whisper(asked.channel, asked.user, text, thread=thread, blocks=blocks)
