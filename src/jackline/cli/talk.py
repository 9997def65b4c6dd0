"""`jackline chat` without a message: a conversation, run after run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import anyio

from jackline.cli.view import ENDED
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackline.cli.courses import Opens
    from jackline.cli.news import Tell
    from jackline.cli.view import View
    from jackline.client.api import Client, OnBusy
    from jackline.client.follow import Follow, FollowState

_PAGE: Final = 1000


class Talk:
    """The runs of one conversation: what is active there already, and then one for each message. What is said
    while one is active waits for its turn on the server, where it is safe."""

    speaks = True

    def __init__(
        self, client: Client, *, conversation_id: str | None, agent: str | None, on_busy: OnBusy | None
    ) -> None:
        self._client = client
        self._conversation_id = conversation_id
        self._agent = agent
        self._on_busy: OnBusy = "stop" if on_busy == "stop" else "queue"
        self._started: list[str] = []
        self._more = anyio.Event()
        self._unsent: tuple[str, str] | None = None
        self._saying = anyio.Lock()
        """Messages go in the order in which they were typed, and the first makes the conversation."""

    async def greet(self, view: View) -> None:
        """Say what this is; raises `ClientError` where the server or the conversation is not there."""
        if self._conversation_id is None:
            await self._client.agents()
            view.notice("a new conversation: what you type starts a run; Ctrl-D leaves, runs go on")
        else:
            # Refused where it is not there; a list of runs would only be empty.
            await self._client.conversation(self._conversation_id)
            page = await self._client.runs(conversation_id=self._conversation_id, limit=_PAGE)
            runs = [members(each) or {} for each in items(page.get("runs"))]
            self._started += [str(run["run_id"]) for run in reversed(runs) if run.get("state") not in ENDED]
            count = "1 run" if len(runs) == 1 else f"{len(runs)}{'+' if page.get('next') else ''} runs"
            view.notice(f"conversation {self._conversation_id}, {count} so far; Ctrl-D leaves")

    @property
    def started(self) -> Sequence[str]:
        """See `Course`."""
        return self._started

    def first(self) -> Opens | None:
        """See `Course`. What is active in the conversation: it may wait for the person who comes back."""
        return self._open if self._started else None

    async def next(self, tell: Tell) -> Opens | None:
        """See `Course`."""
        del tell
        while not self._started:
            self._more = anyio.Event()
            await self._more.wait()
        return self._open

    def _open(self, *, on_state: Callable[[FollowState, str], None]) -> Follow:
        return self._client.follow(self._started.pop(0), on_state=on_state)

    async def say(self, text: str) -> None:
        """See `Course`. The same text again after a failure is the same message, and starts no second run."""
        async with self._saying:
            key = self._unsent[1] if self._unsent is not None and self._unsent[0] == text else uuid4().hex
            self._unsent = (text, key)
            started = await self._client.start(
                text, conversation_id=self._conversation_id, agent=self._agent, on_busy=self._on_busy, key=key
            )
            self._unsent = None
            self._conversation_id = started.conversation_id
            self._started.append(started.run_id)
            self._more.set()
