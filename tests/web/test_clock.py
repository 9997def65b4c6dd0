"""The web's time is the store's."""

from __future__ import annotations

import time

import pytest

from jackline.events import parse_timestamp
from tests.web.harness import API, FlakyStore, data_of, running

pytestmark = pytest.mark.anyio


async def test_a_heartbeat_tells_the_stores_time_and_not_this_hosts() -> None:
    """The silence of a lost worker is counted by one clock, however far the hosts' clocks are apart."""
    store = FlakyStore(lambda: time.time() + 420)
    async with running(store=store, heartbeat=0.02) as setup:
        run_id = await setup.client.chat()
        await setup.worker(run_id).execute()
        async with setup.client.open("GET", f"{API}/runs/{run_id}/events") as stream:
            beat = data_of((await stream.until("heartbeat", worker="lost"))[-1])
        assert beat["idle_ms"] < 60_000
        assert abs(parse_timestamp(beat["ts"]) - (time.time() + 420)) < 60
