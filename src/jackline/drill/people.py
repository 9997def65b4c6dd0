"""What people do during a drill: they start runs, answer what is asked, and stop runs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from jackline.client import ClientError, Decision, Refused
from jackline.client.shape import items, members

if TYPE_CHECKING:
    from random import Random

    from jackline.client import Client
    from jackline.drill.stage import Stage

ENDINGS: Final = frozenset({"completed", "failed", "stopped"})

_LOOK: Final = 0.1
"""Seconds between two looks at what is asked."""


@dataclass(kw_only=True)
class Promises:
    """What the server has acknowledged of one run. `answers`: by call and round."""

    run_id: str
    stopped: bool = False
    answers: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    broken: list[str] = field(default_factory=list[str])


async def begin(stage: Stage, count: int) -> list[Promises]:
    """Start so many runs, at both web processes."""
    clients = [stage.clients[number % len(stage.clients)] for number in range(count)]
    started = await asyncio.gather(*(client.start(stage.prompt) for client in clients))
    return [Promises(run_id=one.run_id) for one in started]


async def answer(stage: Stage, runs: list[Promises], *, quarrel: bool) -> None:
    """Answer whatever is asked about these runs, until cancelled. A call is let run; one whose outcome
    nobody knows is taken for done, so that no call is ever asked for twice. With `quarrel` another
    person says the opposite at another replica, at the same time."""
    known = {run.run_id: run for run in runs}
    while True:
        for client in stage.clients:
            with contextlib.suppress(ClientError):
                found = await client.approvals(limit=1000)
                questions = [members(each) or {} for each in items(found.get("approvals"))]
                for question in questions:
                    run = known.get(str(question.get("call_id", "")).rpartition(".")[0])
                    if run is not None:
                        await _decide(stage, run, question, quarrel=quarrel)
        await asyncio.sleep(_LOOK)


async def _decide(stage: Stage, run: Promises, question: dict[str, Any], *, quarrel: bool) -> None:
    call_id, number = str(question["call_id"]), int(question["round"])
    if question["kind"] == "outcome":
        wanted = [Decision(call_id=call_id, outcome="done"), Decision(call_id=call_id, outcome="abort")]
    else:
        wanted = [Decision(call_id=call_id, approve=True), Decision(call_id=call_id, approve=False)]
    wanted = wanted if quarrel else wanted[:1]
    taken = await asyncio.gather(
        *(_one(client, decision) for client, decision in zip(stage.clients, wanted, strict=False))
    )
    for state in filter(None, taken):
        if run.answers.setdefault((call_id, number), state) != state:
            run.broken.append(f"G5: two answers to {call_id} were both accepted")


async def _one(client: Client, decision: Decision) -> str | None:
    try:
        return (await client.decide(decision)).state
    except Refused:
        return None  # somebody was faster, or the run was stopped
    except ClientError:
        return None  # it may have been taken: the log tells, and nothing was promised


async def stop_all(stage: Stage, runs: list[Promises], dice: Random) -> None:
    """Stop each run after a time of its own, at one of the web processes."""

    async def stop(run: Promises, after: float, client: Client) -> None:
        await asyncio.sleep(after)
        with contextlib.suppress(ClientError):
            stopped = await client.stop(run.run_id, reason="a drill")
            run.stopped = stopped.state not in ENDINGS or stopped.state == "stopped"

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(stop(run, dice.uniform(0.0, 2.0), dice.choice(stage.clients)))


async def ended(stage: Stage, runs: list[Promises]) -> None:
    """Return once all runs have their ending."""
    for at, run in enumerate(runs):
        client = stage.clients[at % len(stage.clients)]
        while True:
            with contextlib.suppress(ClientError):
                if (await client.snapshot(run.run_id))["state"] in ENDINGS:
                    break
            await asyncio.sleep(_LOOK / 2)


async def entries(stage: Stage, run_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The run's whole log: place, type and members of each entry."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    after: int | str = 0
    while True:
        page = await stage.clients[0].page(run_id, after=after, limit=1000)
        found += [(entry.seq, entry.type, entry.data) for entry in page.entries]
        if page.next is None or not page.entries:
            return found
        after = page.next
