"""Hundreds of random histories of real workers on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.redis_server import RedisServer, redis_server
from tests.machine.machine import explore

PARTS = 8
EXAMPLES = 26
"""Of each part: 208 in all, on as many processes as the tests have."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), aof="always") as server:
        yield server


@pytest.mark.parametrize("seed", range(PARTS))
def test_the_guarantees_hold_in_every_history(redis: RedisServer, seed: int) -> None:
    """G1, G3, G4, G5, G6, G7, G8: whoever acts, whatever dies, in whatever order."""
    explore(redis, seed, EXAMPLES)
