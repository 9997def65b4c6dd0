"""Why a run waits: for an answer, for its turn, for a worker, for the revision that began it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from jackline.errors import UnknownRun
from jackline.ids import conversation_of
from jackline.summary import read_summary
from jackline.web.catalogues import live_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackline.log.base import Head, Store
    from jackline.web.catalogues import WorkerInfo


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run waits for, and in `detail` the same for people. `calls`: the questions; `run_id`: the
    run that must end first; `agent`, `revision`: what must be served; `served`: what is served
    instead, revisions for `revision`, else agents."""

    for_: Literal["approval", "turn", "worker", "revision"] = msgspec.field(name="for")
    detail: str
    calls: tuple[str, ...] = ()
    run_id: str | None = None
    agent: str | None = None
    revision: str | None = None
    served: tuple[str, ...] = ()


class Reasons:
    """Tells of any number of runs why they wait; the store is asked once for what they share."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._workers: list[WorkerInfo] | None = None
        self._active: dict[str, str | None] = {}

    async def of(self, head: Head) -> Waiting | None:
        """None for a run that is driven, has ended, or is about to be taken by a worker."""
        summary = read_summary(head.summary)
        if head.closed or summary.state == "stopping":
            return None
        if head.waiting:
            return _turn(await self._active_of(conversation_of(head.run_id)))
        if summary.waiting:
            return _approval(summary.waiting)
        if head.worker == "alive":
            return None
        if self._workers is None:
            self._workers = await live_workers(self._store)
        return _worker(head, self._workers)

    async def _active_of(self, conversation_id: str) -> str | None:
        if conversation_id not in self._active:
            try:
                conversation = await self._store.conversation(conversation_id)
            except UnknownRun:
                return None  # deleted since
            self._active[conversation_id] = conversation.active
        return self._active[conversation_id]


def _turn(active: str | None) -> Waiting:
    before = "another run of the conversation" if active is None else f"run {active}"
    return Waiting(for_="turn", detail=f"{before} must end first", run_id=active)


def _approval(calls: tuple[str, ...]) -> Waiting:
    what = "the answer to a question" if len(calls) == 1 else f"the answers to {len(calls)} questions"
    return Waiting(for_="approval", detail=what, calls=calls)


def _worker(head: Head, workers: Sequence[WorkerInfo]) -> Waiting | None:
    agent, revision = head.agent, head.revision
    if not workers:
        return Waiting(for_="worker", detail="no worker lives", agent=agent)
    agents = [served for worker in workers for served in worker.agents]
    revisions = tuple(sorted({served.revision for served in agents if served.name == agent}))
    if not revisions:
        names = tuple(sorted({served.name for served in agents}))
        detail = f"no live worker serves the agent {agent}; served: {', '.join(names) or 'none'}"
        return Waiting(for_="worker", detail=detail, agent=agent, served=names)
    if revision and revision not in revisions:
        detail = (
            f"it began with revision {revision} of the agent {agent}, which no live worker serves; "
            f"served: {', '.join(revisions)}"
        )
        return Waiting(for_="revision", detail=detail, agent=agent, revision=revision, served=revisions)
    able = [worker for worker in workers if worker.serves(agent, revision)]
    if not all(worker.busy for worker in able):
        return None
    drives = "the worker that serves it drives" if len(able) == 1 else "all workers that serve it drive"
    return Waiting(for_="worker", detail=f"{drives} as many runs as allowed (max_runs)", agent=agent)
