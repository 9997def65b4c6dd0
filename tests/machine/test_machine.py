"""Hundreds of random histories of real workers on a real Redis."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from structlog.testing import capture_logs

from tests.contract.redis_server import RedisServer, redis_server
from tests.machine.machine import machine

PARTS = 8
EXAMPLES = 26
"""Of each part: 208 in all, on as many processes as the tests have."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), aof="always") as server:
        yield server


def explore(redis: RedisServer, seed: int, examples: int) -> None:
    """Run so many histories; the same ones for the same seed, as far as the machine's speed allows."""
    sys.stdout.write(f"seed {seed}\n")
    with capture_logs():
        run_state_machine_as_test(
            hypothesis.seed(seed)(machine(redis)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                # Real processes are never quite the same twice, so that shrinking leads astray.
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )


@pytest.mark.parametrize("seed", range(PARTS))
def test_the_guarantees_hold_in_every_history(redis: RedisServer, seed: int) -> None:
    """G1, G3, G4, G5, G6, G7, G8: whoever acts, whatever dies, in whatever order."""
    explore(redis, seed, EXAMPLES)
