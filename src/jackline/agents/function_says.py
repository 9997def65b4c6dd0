"""What a function agent says, the second time too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackline.context import RunContext
    from jackline.run import Said


@dataclass(kw_only=True, slots=True)
class _Open:
    """The message being said. `logged`: it as it stands in the log from before; `done`: how much of
    that has been said again."""

    message_id: str
    kind: str
    logged: Said | None = None
    done: int = 0


class Says:
    """A function that runs again says everything again. What the log has already is swallowed; the first
    thing that is said differently takes back the log's messages from there on, and is said anew."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._open: _Open | None = None
        # As they stand now: the fold's own grow with what is said from here on.
        self._logged = [
            replace(said, texts=[said.text])
            for said in run.state.said.values()
            if said.role == "assistant" and not said.superseded
        ]

    async def say(self, text: str, kind: str) -> None:
        """Say a piece, unless the log has it."""
        if not text:
            return
        if self._open is not None and self._open.kind != kind:
            await self.end_message()
        message = self._open or self._begin(kind)
        self._open = message
        if message.logged is not None:
            text = await self._swallow(message, message.logged, text)
        if text:
            await self._run.say(text, message_id=message.message_id, kind=kind)

    async def end_message(self) -> None:
        """The message is over. If it was longer before, it was another one."""
        message, self._open = self._open, None
        if message is not None and message.logged is not None:
            said = message.logged.text
            if message.done < len(said):
                await self._anew(message, said[: message.done])

    def _begin(self, kind: str) -> _Open:
        if not self._logged:
            return _Open(message_id=self._run.new_message(), kind=kind)
        logged = self._logged.pop(0)
        return _Open(message_id=logged.message_id, kind=kind, logged=logged)

    async def _swallow(self, message: _Open, logged: Said, text: str) -> str:
        """What of `text` is still to be said, in `message`."""
        rest = logged.text[message.done :]
        same = min(len(rest), len(text))
        if logged.kind == message.kind and rest[:same] == text[:same]:
            message.done += same
            return text[same:]
        await self._anew(message, logged.text[: message.done])
        return text

    async def _anew(self, message: _Open, begun: str) -> None:
        """Take back this message and all later ones of the log, and say this one's beginning again."""
        assert message.logged is not None
        taken = [message.message_id, *(said.message_id for said in self._logged)]
        self._logged.clear()
        message.logged = None
        message.message_id = self._run.new_message()
        await self._run.supersede(list(dict.fromkeys(taken)))
        if begun:
            await self._run.say(begun, message_id=message.message_id, kind=message.kind)
