"""Brings what is to be shown to a thread: each message posted once, and edited until it is as drawn.

Before a message is posted the ledger says that it is intended, afterwards that it was posted. Where only the
first is known (the process was killed, or Slack's answer was lost) Slack is asked for the message by the key
that it carries in its metadata, and it is posted only if it is not there. Edits may be made again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import anyio
import structlog

from jackline.slack.drawing import section
from jackline.slack.web import RateLimited, SlackRefused, Unsure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jackline.slack.drawing import Drawn
    from jackline.slack.gates import Gates
    from jackline.slack.ledger import Ledger, Posted
    from jackline.slack.web import SlackWeb

_log = structlog.get_logger()

_IN_FLIGHT_S: Final = 2.0
"""How long a post may be on its way after its sender has died or given up: only then is Slack asked."""
_SKEW_S: Final = 3600.0
"""How far Slack's clock and ours may be apart, for messages that begin a thread."""
_AGAIN_S: Final = (0.5, 1, 2, 5, 10, 20)
_GONE: Final = frozenset(
    {"message_not_found", "cant_update_message", "cant_delete_message", "edit_window_closed"}
)
"""Somebody has removed a message, or it cannot be edited any more: it is not posted again."""
_UNFIT: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text"}
)
_LOST_S: Final = (60, 300, 1800)
"""How long a thread is let be where nothing can be said: the bot may be invited again, a channel opened."""


_POST: Final = ""
"""Stands for all posts, whose turn comes as that of one message's edits does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where to speak. `thread` is None for what begins one."""

    channel: str
    thread: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    method: Literal["post", "edit"]
    drawn: Drawn


class Mouth:
    """What every speaker needs: Slack, its rate limits, the ledger."""

    def __init__(self, web: SlackWeb, gates: Gates, ledger: Ledger) -> None:
        self.web = web
        self.gates = gates
        self.ledger = ledger

    async def post(self, place: Place, holder: str, drawn: Drawn) -> Posted:
        """Post it unless it stands there. Raises `SlackError`."""
        key = f"{holder}/{drawn.key}"
        known = self.ledger.messages(holder).get(drawn.key)
        if known is not None and known.ts is None:
            await anyio.sleep(min(_IN_FLIGHT_S, max(0.0, known.at + _IN_FLIGHT_S - time.time())))
            await self.gates.enter("read", place.channel)
            found = await self.web.find(place.channel, place.thread, key, self._since(place, holder, known))
            if found is not None:
                return self.ledger.posted(holder, drawn.key, found, "")
            await self.gates.enter("post", place.channel)
        elif known is not None:
            return known
        # Each time anew: the next one has to wait for this one, which may be on its way for a while.
        self.ledger.intend(holder, drawn.key)
        return await self._post(place, holder, key, drawn)

    def _since(self, place: Place, holder: str, known: Posted) -> float:
        """Where to look from. By Slack's clock where that can be had, for ours may be any: the messages of a
        run come one after the other, and all of a thread's after its first."""
        before = [float(each.ts) for each in self.ledger.messages(holder).values() if each.ts]
        if before or place.thread is not None:
            return max([*before, float(place.thread or 0)])
        return known.at - _SKEW_S

    async def post_surely(self, place: Place, holder: str, drawn: Drawn) -> Posted:
        """The same, however often it takes. Raises `SlackRefused`."""
        failures = 0
        while True:
            await self.gates.enter("post", place.channel)
            try:
                return await self.post(place, holder, drawn)
            except RateLimited as error:
                self.gates.hold("post", place.channel, error.seconds)
            except Unsure as error:
                _log.warning("slack does not answer", reason=str(error))
                await anyio.sleep(pause_s(failures))
                failures += 1

    async def _post(self, place: Place, holder: str, key: str, drawn: Drawn) -> Posted:
        ts = ""
        with anyio.CancelScope(shield=True):
            # What was begun is noted, also when this process is told to leave meanwhile.
            try:
                ts = await self.web.post(place.channel, place.thread, key, drawn.text, drawn.blocks)
            except (RateLimited, SlackRefused):
                self.ledger.withdraw(holder, drawn.key)
                raise
        return self.ledger.posted(holder, drawn.key, ts, drawn.digest)


class Speaker:
    """One run's messages. `draw` gives all of them, in order; it is asked when something can be sent."""

    def __init__(
        self,
        mouth: Mouth,
        place: Place,
        run_id: str,
        draw: Callable[[], list[Drawn]],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._mouth = mouth
        self._place = place
        self._run_id = run_id
        self._draw = draw
        self._posted = mouth.ledger.messages(run_id)
        self._changed = anyio.Event()
        self._turn: dict[str, int] = {}
        self._sent = 0
        self._failures = 0
        self._sleep = sleep
        self._unfit: set[str] = set()
        """Digests of what Slack does not take."""
        self._losses = 0
        self.lost = False
        """Nothing can be said in this thread, until somebody changes that."""
        self._idle = anyio.Event()

    def changed(self) -> None:
        """There may be something new."""
        self._changed.set()
        if self._idle.is_set():
            self._idle = anyio.Event()

    async def settled(self) -> None:
        """Wait until all of it stands in the thread, or nothing can stand there any more."""
        self.changed()
        await self._idle.wait()

    async def run(self) -> None:
        """Send whatever there is, for ever."""
        while True:
            if self.lost:
                self._idle.set()
                await self._sleep(_LOST_S[min(self._losses, len(_LOST_S)) - 1])
                self.lost = False
            step = self._next()
            if step is None:
                self._idle.set()
                await self._changed.wait()
                self._changed = anyio.Event()
                continue
            await self._mouth.gates.enter(step.method, self._place.channel)
            # The newest state counts: it may have changed while waiting.
            newest = self._next()
            if newest is not None and newest.method == step.method:
                await self._try(newest)

    # ------------------------------------------------------------------------------------------

    def _next(self) -> _Step | None:
        """What to send next: of what is due, that which was sent least recently; nothing out of order."""
        due: list[tuple[int, int, _Step]] = []
        last: _Step | None = None
        drawing = [self._fit(drawn) for drawn in self._draw()]
        for at, drawn in enumerate(drawing):
            known = self._posted.get(drawn.key)
            if known is None or known.ts is None:
                if drawn.gone and known is None:
                    continue
                early = drawn.meanwhile if any(not each.gone for each in drawing[at + 1 :]) else None
                step = _Step(method="post", drawn=drawn if early is None else self._fit(early))
                due.append((self._turn.get(_POST, 0), at, step))
                break
            if known.ts and known.digest != drawn.digest:
                if drawn.last:
                    last = _Step(method="edit", drawn=drawn)
                    continue
                due.append((self._turn.get(drawn.key, 0), at, _Step(method="edit", drawn=drawn)))
        match due:
            case [*_, (_, before, cut), (_, at, _Step(method="post", drawn=following))] if (
                before == at - 1 and _goes_on(cut.drawn.key, following.key)
            ):
                # A text that goes on in the next message is cut first: nothing is ever to be read twice.
                return cut
            case _:
                pass
        return min(due, key=lambda each: each[:2])[2] if due else last

    def _fit(self, drawn: Drawn) -> Drawn:
        return _in_short(drawn) if drawn.digest in self._unfit else drawn

    async def _try(self, step: _Step) -> None:
        try:
            await self._send(step)
        except RateLimited as error:
            self._mouth.gates.hold(step.method, self._place.channel, error.seconds)
        except Unsure as error:
            _log.warning("slack does not answer", run_id=self._run_id, reason=str(error))
            if step.method == "post":
                self._posted = self._mouth.ledger.messages(self._run_id)
            await anyio.sleep(pause_s(self._failures))
            self._failures += 1
        except SlackRefused as error:
            self._refused(step, error)
        else:
            self._failures = self._losses = 0
            self._had_turn(step)

    def _had_turn(self, step: _Step) -> None:
        self._sent += 1
        self._turn[step.drawn.key] = self._sent
        if step.method == "post":
            self._turn[_POST] = self._sent

    async def _send(self, step: _Step) -> None:
        drawn = step.drawn
        if step.method == "post":
            self._posted[drawn.key] = await self._mouth.post(self._place, self._run_id, drawn)
            return
        ts = self._posted[drawn.key].ts
        assert ts is not None
        with anyio.CancelScope(shield=True):
            if drawn.gone:
                await self._mouth.web.delete(self._place.channel, ts)
            else:
                key = f"{self._run_id}/{drawn.key}"
                await self._mouth.web.edit(self._place.channel, ts, key, drawn.text, drawn.blocks)
            self._note(drawn, ts)

    def _note(self, drawn: Drawn, ts: str) -> None:
        self._posted[drawn.key] = self._mouth.ledger.posted(self._run_id, drawn.key, ts, drawn.digest)

    def _refused(self, step: _Step, error: SlackRefused) -> None:
        _log.error("slack refuses a message", run_id=self._run_id, key=step.drawn.key, error=error.error)
        known = self._posted.get(step.drawn.key)
        if error.error in _GONE:
            # The others go on; this one is not edited again either.
            self._note(step.drawn, "")
        elif error.error in _UNFIT and step.drawn.digest == _in_short(step.drawn).digest:
            self._note(step.drawn, (known and known.ts) or "")
        elif error.error in _UNFIT:
            # A question that nobody sees would hold up its run.
            self._unfit.add(step.drawn.digest)
        else:
            # The bot was removed, the channel archived, the token revoked.
            self.lost = True
            self._losses += 1
            # Or this message alone is refused, for a reason that is not known here: others come before it.
            self._had_turn(step)


def pause_s(failures: int) -> float:
    """How long to wait before the next try."""
    return _AGAIN_S[min(failures, len(_AGAIN_S) - 1)]


def _in_short(drawn: Drawn) -> Drawn:
    """A message without what Slack may not take of it. No buttons: nobody is to decide on what they cannot
    read."""
    said = f"{drawn.text}\nSlack does not show all of this; the run's page does."
    return replace(drawn, blocks=[section(said)])


def _goes_on(key: str, following: str) -> bool:
    """Whether both are pieces of one text."""
    return key.rpartition(".")[0] == following.rpartition(".")[0]
