"""The bridge: its parts put together, from its start to its end."""

from __future__ import annotations

import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import anyio
import structlog

from jackline.client.errors import ClientError
from jackline.client.shape import items, members
from jackline.errors import ConfigError
from jackline.slack.gates import Gates
from jackline.slack.ledger import Ledger
from jackline.slack.orders import Orders
from jackline.slack.people import People
from jackline.slack.socket import Doors, Intake, Socket
from jackline.slack.speaker import Mouth
from jackline.slack.teller import Teller
from jackline.slack.web import RateLimited, SlackRefused, SlackWeb, Unsure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from jackline.client.api import Client
    from jackline.slack.ledger import Taken, Thread
    from jackline.slack.story import Question

_log = structlog.get_logger()

_LOOK_S: Final = 2.0
"""How often the newest runs are listed, for those of our threads that were started elsewhere."""
_PAGE: Final = 50
_TIMEOUT_S: Final = 15
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
        self._mouth = Mouth(web, Gates(wish.rate), ledger)
        self._orders = Orders(self._mouth, people, str(who["user_id"]), self._follow)
        intake = Intake(
            ledger=ledger,
            orders=self._orders,
            people=people,
            doors=Doors(wish.teams, wish.channels),
            begin=self._begin,
            question=self._question,
            bot=str(who["user_id"]),
        )
        self._socket = Socket(intake, web, wish.bot_token, wish.app_token, who)
        self._tellers: dict[str, Teller] = {}
        self._group: TaskGroup | None = None

    async def run(self) -> None:
        """Go on where the last one ended, for ever; a cancellation ends it."""
        async with anyio.create_task_group() as self._group:
            try:
                for run_id, thread in self._ledger.open_runs():
                    self._follow(run_id, thread)
                for taken in self._ledger.waiting():
                    self._begin(taken)
                self._group.start_soon(self._look)
                await self._socket.open()
                _log.info("connected to slack", runs=len(self._tellers))
                await anyio.sleep_forever()
            finally:
                with anyio.move_on_after(_TIMEOUT_S, shield=True):
                    await self._socket.close()

    def _page(self, run_id: str) -> str:
        return f"{self._wish.page.rstrip('/')}/#/runs/{run_id}"

    def _begin(self, taken: Taken) -> None:
        assert self._group is not None
        self._group.start_soon(self._orders.carry_out, taken)

    def _question(self, call_id: str) -> Question | None:
        teller = self._tellers.get(_RUN.sub("", call_id))
        return None if teller is None else teller.story.question(call_id)

    # -- the runs of our threads ---------------------------------------------------------------

    def _follow(self, run_id: str, thread: Thread) -> None:
        if run_id in self._tellers or self._group is None:
            return
        client = self._people.client(thread.user)
        if client is None:
            _log.warning("nobody may read a run any more", run_id=run_id, user=thread.user)
            return
        teller = Teller(self._mouth, client, thread, run_id, self._page)
        self._tellers[run_id] = teller
        self._group.start_soon(self._tell, teller)

    async def _tell(self, teller: Teller) -> None:
        await teller.run()
        del self._tellers[teller.run_id]

    async def _look(self) -> None:
        """Find the runs of our threads' conversations that were started elsewhere."""
        while True:
            for user in self._ledger.owners():
                client = self._people.client(user)
                if client is not None:
                    await self._look_as(user, client)
            await anyio.sleep(_LOOK_S)

    async def _look_as(self, user: str, client: Client) -> None:
        """Look at the runs of one who has begun threads, those made since the last time."""
        since = self._ledger.looked(user)
        newest, cursor = since or time.time(), None
        try:
            while True:
                page = await client.runs(limit=_PAGE, cursor=cursor)
                runs = [members(each) or {} for each in items(page.get("runs"))]
                for run in reversed(runs):
                    self._found(str(run.get("run_id")), str(run.get("conversation_id")))
                times = [datetime.fromisoformat(str(run["created_at"])).timestamp() for run in runs]
                newest = max([newest, *times])
                cursor = page.get("next")
                # A minute more than needed: runs of several processes come in no exact order.
                if cursor is None or since is None or not times or min(times) < since - 60:
                    break
        except ClientError as error:
            # Its threads say so where they have something to say.
            _log.debug("the runs of a user cannot be listed", user=user, reason=str(error))
        else:
            if newest != since:
                self._ledger.look(user, newest)

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
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        web = SlackWeb(wish.bot_token, wish.slack_url, session)
        who = await _introduce(web, wish)
        people = People(wish.url, wish.users)
        stack.push_async_callback(people.aclose)
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
            await anyio.sleep(_LOOK_S)
        else:
            return who
