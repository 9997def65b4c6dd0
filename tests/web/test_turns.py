"""Turns: how what arrives at once is taken."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from jackline.web.turns import IN_A_TURN, Turns

pytestmark = pytest.mark.anyio


async def test_what_arrives_at_once_is_begun_in_order_a_few_in_each_turn_of_the_loop() -> None:
    """G10: between any few requests everybody else has a turn."""
    turns, done = Turns(), list[int]()
    loop = asyncio.get_running_loop()
    between: list[int] = []

    def live() -> None:
        between.append(len(done))
        if len(done) < 10 * IN_A_TURN:
            loop.call_soon(live)

    loop.call_soon(live)
    for number in range(10 * IN_A_TURN):
        turns.take(partial(done.append, number))
    assert done == list(range(IN_A_TURN))
    last = asyncio.Event()
    turns.take(last.set)
    async with asyncio.timeout(20):
        await last.wait()
    assert done == list(range(10 * IN_A_TURN))
    assert all(after - before <= IN_A_TURN for before, after in pairwise(between))


async def test_who_comes_alone_does_not_wait() -> None:
    turns, done = Turns(), list[int]()
    for number in range(3 * IN_A_TURN):
        turns.take(partial(done.append, number))
        assert done[-1] == number
        await asyncio.sleep(0)
        await asyncio.sleep(0)
