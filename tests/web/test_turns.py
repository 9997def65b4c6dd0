"""Turns: how viewers that come at once are begun."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from jackline.web.turns import IN_A_TURN, Turns

pytestmark = pytest.mark.anyio


async def test_who_comes_at_once_is_begun_in_order_a_few_in_each_turn_of_the_loop() -> None:
    """G10: between any few of them everybody else has a turn."""
    turns, done, between = Turns(), list[int](), list[int]()
    loop = asyncio.get_running_loop()
    count = 10 * IN_A_TURN

    async def come(number: int) -> None:
        await turns.turn()
        done.append(number)

    def live() -> None:
        between.append(len(done))
        if len(done) < count:
            loop.call_soon(live)

    loop.call_soon(live)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(come(number))
    assert done == list(range(count))
    assert all(after - before <= 2 * IN_A_TURN for before, after in pairwise(between))
    assert len(between) > count / IN_A_TURN / 2


async def test_who_leaves_while_waiting_takes_nobodys_turn() -> None:
    turns = Turns()
    for _ in range(IN_A_TURN):
        await turns.turn()
    leaving = [asyncio.ensure_future(turns.turn()) for _ in range(3 * IN_A_TURN)]
    staying = asyncio.ensure_future(turns.turn())
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    async with asyncio.timeout(20):
        await staying
    assert sum(task.cancelled() for task in leaving) >= 2 * IN_A_TURN  # some may have had their turn


async def test_who_comes_alone_does_not_wait() -> None:
    turns = Turns()
    for _ in range(3 * IN_A_TURN):
        coming = turns.turn()
        with pytest.raises(StopIteration):
            coming.send(None)  # it ends without having waited for anything
        await asyncio.sleep(0)
        await asyncio.sleep(0)
