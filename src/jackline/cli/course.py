"""What `jackline tail` follows: one run, or a conversation's runs, one after the other."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from jackline.cli.courses import One
from jackline.cli.names import run_named
from jackline.cli.news import changes, kept
from jackline.cli.since import after_time, last, moment
from jackline.cli.view import ENDED
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from jackline.cli.courses import Course, Opens
    from jackline.cli.news import Tell
    from jackline.client.api import Client

_PAGE: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How to follow. Of `after`, `since` and `lines` at most one is given."""

    after: str | None = None
    since: str | None = None
    lines: int | None = None
    until_pause: bool = False
    follow: bool = False
    full: bool = False


async def course_of(client: Client, run_id: str | None, wish: Wish) -> Course:
    """The course for a wish; without a run the newest active one, else the newest. Raises `ValueError`
    for a wish that cannot be read, and `ClientError`."""
    since = None if wish.since is None else moment(wish.since, datetime.now(UTC))
    if run_id is None:
        run_id = await _newest(client)
        if run_id is None:
            return _Conversation(client, conversation_id=None, run_id=None, opens=None)
    else:
        run_id = await run_named(client, run_id)
    after: int | str = wish.after or 0
    if isinstance(since, datetime):
        after = await after_time(client, run_id, since)
    elif since is not None:
        after = max(since - 1, 0)
    elif wish.lines is not None:
        after = await last(client, run_id, wish.lines)
    opens = partial(client.follow, run_id, after=after, until="pause" if wish.until_pause else None)
    if not wish.follow:
        return One(opens=opens)
    conversation_id = str((await client.snapshot(run_id))["conversation_id"])
    return _Conversation(client, conversation_id=conversation_id, run_id=run_id, opens=opens)


class _Conversation:
    """A conversation's runs from one on, for ever; without one whichever run comes first."""

    speaks = False
    started: tuple[str, ...] = ()

    def __init__(
        self, client: Client, *, conversation_id: str | None, run_id: str | None, opens: Opens | None
    ) -> None:
        self._client = client
        self._conversation_id = conversation_id
        self._run_id = run_id
        self._opens = opens
        self._past: set[str] = set()
        """Runs that are no next ones, as of the last look: the one that was followed may be deleted."""

    def first(self) -> Opens | None:
        """See `Course`."""
        return self._opens

    async def next(self, tell: Tell) -> Opens | None:
        """See `Course`."""
        async with aclosing(changes(self._client, tell)) as news:
            async for _ in news:
                found = await kept(self._following, tell)
                if found is not None:
                    self._run_id, self._conversation_id = found
                    return partial(self._client.follow, self._run_id)
        return None

    async def say(self, text: str) -> None:
        """Nothing can be said."""

    async def _following(self) -> tuple[str, str] | None:
        """The run after the one that was followed, and its conversation."""
        page = await self._client.runs(conversation_id=self._conversation_id, limit=_PAGE)
        rows = [members(each) or {} for each in items(page.get("runs"))]
        found = [(str(run.get("run_id")), str(run.get("conversation_id"))) for run in rows]
        ids = [run_id for run_id, _ in found]
        if self._run_id in ids:
            newer = found[: ids.index(self._run_id)]
        else:
            newer = [each for each in found if each[0] not in self._past]
        self._past = {run_id for run_id, _ in found} - {run_id for run_id, _ in newer[:-1]}
        return newer[-1] if newer else None


async def _newest(client: Client) -> str | None:
    page = await client.runs(limit=_PAGE)
    found = [members(each) or {} for each in items(page.get("runs"))]
    active = [run for run in found if run.get("state") not in ENDED]
    return next((str(run["run_id"]) for run in [*active, *found]), None)
