"""The bridge: its parts put together, from its start to its end."""

from __future__ import annotations

import re
import sqlite3
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import anyio
import structlog

from jackline.errors import ConfigError
from jackline.slack.decisions import Decisions
from jackline.slack.finder import Finder
from jackline.slack.gates import Gates
from jackline.slack.ledger import Ledger
from jackline.slack.orders import Orders
from jackline.slack.people import People
from jackline.slack.socket import Doors, Intake, Socket
from jackline.slack.speaker import Mouth
from jackline.slack.starts import Starts
from jackline.slack.stops import Stops
from jackline.slack.teller import Teller
from jackline.slack.web import RateLimited, SlackRefused, SlackWeb, Unsure
from jackline.slack.whispers import Whispers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from jackline.slack.ledger import Taken, Thread
    from jackline.slack.story import Question

_log = structlog.get_logger()

_AGAIN_S: Final = 2.0
_TIMEOUT_S: Final = 15
_PRUNE_S: Final = 86400.0
_RUN: Final = re.compile(r"\.[0-9]+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a bridge is started with. `users` maps Slack's user ids to API keys; `page` is where people open
    the server's page; `rate` the share of Slack's rate limits to use."""

    url: str
    page: str
    app_token: str = field(repr=False)
    bot_token: str = field(repr=False)
    users: Mapping[str, str] = field(repr=False)
    path: Path
    slack_url: str = "https://slack.com/api/"
    teams: list[str] = field(default_factory=list[str])
    channels: list[str] = field(default_factory=list[str])
    rate: float = 1.0


class Bridge:
    """Between one Slack app and one server, for as long as `run` runs."""

    def __init__(
        self, wish: Wish, ledger: Ledger, web: SlackWeb, who: dict[str, Any], people: People
    ) -> None:
        self._wish = wish
        self._ledger = ledger
        self._people = people
        bot, gates = str(who["user_id"]), Gates(wish.rate)
        self._mouth = Mouth(web, gates, ledger)
        whispers = Whispers(web, gates, self._begin_task)
        self._orders = Orders(
            ledger,
            people,
            bot,
            whispers=whispers,
            starts=Starts(self._mouth, whispers, bot, self._started),
            stops=Stops(ledger, whispers),
            decisions=Decisions(whispers),
        )
        intake = Intake(
            ledger=ledger,
            web=web,
            whispers=whispers,
            people=people,
            # Slack's user ids are unique within a workspace: only there they say who somebody is.
            doors=Doors(wish.teams or [str(who["team_id"])], wish.channels),
            begin=self._begin,
            question=self._question,
            bot=bot,
        )
        self._socket = Socket(intake, web, wish.bot_token, wish.app_token, who)
        self._tellers: dict[str, Teller] = {}
        self._finder = Finder(ledger, people, self._found)
        self._group: TaskGroup | None = None

    async def run(self) -> None:
        """Go on where the last one ended, for ever; a cancellation ends it."""
        async with anyio.create_task_group() as self._group:
            try:
                for run_id, thread in self._ledger.open_runs():
                    self._follow(run_id, thread)
                for taken in self._ledger.waiting():
                    self._begin(taken)
                for user in self._ledger.owners():
                    self._finder.listen(self._group, user)
                await self._socket.open()
                _log.info("connected to slack", runs=len(self._tellers))
                while True:
                    await anyio.sleep(_PRUNE_S)
                    self._ledger.prune()
            finally:
                with anyio.move_on_after(_TIMEOUT_S, shield=True):
                    await self._socket.close()

    def _page(self, run_id: str) -> str:
        return f"{self._wish.page.rstrip('/')}/#/runs/{run_id}"

    def _begin(self, taken: Taken) -> None:
        self._begin_task(partial(self._orders.carry_out, taken))

    def _begin_task(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._group is not None
        self._group.start_soon(task)

    def _question(self, call_id: str) -> Question | None:
        teller = self._tellers.get(_RUN.sub("", call_id))
        return None if teller is None else teller.story.question(call_id)

    # -- the runs of our threads ---------------------------------------------------------------

    def _started(self, run_id: str, thread: Thread) -> None:
        """A run was started from its thread, perhaps by another user than the one before."""
        self._follow(run_id, thread)
        for earlier, of in self._ledger.open_runs():
            if of.conversation_id == thread.conversation_id:
                self._follow(earlier, of)
        if self._group is not None:
            self._group.start_soon(self._finder.look, thread.user, thread.conversation_id)

    def _follow(self, run_id: str, thread: Thread) -> None:
        if self._group is None:
            return
        self._finder.listen(self._group, thread.user)
        if run_id in self._tellers:
            return
        client = self._people.client(thread.user)
        if client is None:
            _log.warning("nobody may read a run any more", run_id=run_id, user=thread.user)
            return
        teller = Teller(self._mouth, client, thread, run_id, self._page)
        self._tellers[run_id] = teller
        self._group.start_soon(self._tell, teller)

    async def _tell(self, teller: Teller) -> None:
        try:
            await teller.run()
        except* sqlite3.Error:
            raise  # what cannot be written down must not be said
        except* Exception:  # noqa: BLE001  this is a task's top: the other threads go on
            _log.exception("a run cannot be told", run_id=teller.run_id)
        finally:
            del self._tellers[teller.run_id]

    def _found(self, run_id: str, conversation_id: str) -> None:
        thread = self._ledger.thread_of(conversation_id)
        if thread is not None and not self._ledger.knows(run_id):
            self._ledger.begin(thread, run_id)
            self._follow(run_id, thread)


async def bridge(wish: Wish) -> None:
    """Run a bridge until cancelled. Raises `ConfigError` for what cannot work."""
    async with AsyncExitStack() as stack:
        ledger = Ledger(wish.path)
        stack.callback(ledger.close)
        people = People(wish.url, wish.users)
        stack.push_async_callback(people.aclose)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        web = SlackWeb(wish.bot_token, wish.slack_url, session)
        who = await _introduce(web, wish)
        await Bridge(wish, ledger, web, who, people).run()


async def _introduce(web: SlackWeb, wish: Wish) -> dict[str, Any]:
    """Who the bot is. Waits for a Slack that does not answer."""
    while True:
        what = "slack_bot_token"
        try:
            who = await web.who()
            what = "slack_app_token"
            await web.check_app_token(wish.app_token)
        except SlackRefused as error:
            raise ConfigError(
                f"{error}: see that {what} is the one of the app's own page, and the app is installed"
            ) from error
        except (RateLimited, Unsure) as error:
            _log.warning("slack does not answer yet", reason=str(error))
            await anyio.sleep(_AGAIN_S)
        else:
            return who
