"""`GET /metrics`: documented names, true values, for those who may."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jackline.web.counts import CUTS, REFUSALS
from tests.web.harness import ANA, API, KEYS, Setup, as_user, running

pytestmark = pytest.mark.anyio

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def read(setup: Setup) -> dict[str, float]:
    """Every value, by its name with its label."""
    answer = await setup.client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values: dict[str, float] = {}
    named: set[str] = set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            named.add(line.split()[2])
            assert line.split()[3] in {"gauge", "counter"}
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[a-z_]+"\})? (\S+)', line)
            assert found, line
            assert found[1] in named
            values[found[1] + (found[2] or "")] = float(found[3])
    return values


async def test_what_is_documented_is_there_and_nothing_else() -> None:
    async with running() as setup:
        setup.store.full = 0.5
        names = {name.partition("{")[0] for name in await read(setup)}
    documented = re.findall(r"^\| `(jackline_[a-z_]+)(?:\{reason\})?` \|", DOCUMENT, re.MULTILINE)
    assert sorted(documented) == sorted(names)
    reasons = re.findall(
        r"`([a-z_]+)`", "".join(re.findall(r"^\| (`[a-z_`, ]+) \| [^|]*\|$", DOCUMENT, re.M))
    )
    assert [reason for reason in (*REFUSALS, *CUTS) if reason not in reasons] == []


async def test_the_values_are_true() -> None:
    async with running(max_streams=1, linger=3600) as setup:
        run_id = await setup.whole_run()
        other = setup.worker(await setup.client.chat())
        await other.execute()
        entries = (await setup.client.get(f"{API}/runs/{run_id}")).json()["seq"]
        for _ in range(2):
            await setup.client.events(run_id)
        async with setup.client.open("GET", f"{API}/runs/{other.run_id}/events") as watching:
            await watching.until("workflow", state="executing")
            assert (await setup.client.get(f"{API}/runs/{run_id}/events")).status == 503
            values = await read(setup)
        assert values["jackline_streams"] == 1
        assert values["jackline_viewers"] == 1
        assert values["jackline_watched_runs"] == 2
        assert values["jackline_entries_delivered_total"] == 2 * entries + 2
        assert values['jackline_refused_total{reason="streams"}'] == 1
        assert values["jackline_store_up"] == 1
        assert values["jackline_workers"] == 0
        setup.site.tails.drain()
        after = await read(setup)
        assert after["jackline_draining"] == 1
        assert after["jackline_streams"] == 0
        assert after["jackline_entries_delivered_total"] == 2 * entries + 2


async def test_entries_are_counted_right_over_a_gap() -> None:
    """A counter never goes back, and what a snapshot stands for was not delivered."""
    async with running() as setup:
        run_id = await setup.whole_run()
        setup.store.trimmed = 4
        events = await setup.client.events(run_id)
        assert events[1].event == "gap"
        assert (await read(setup))["jackline_entries_delivered_total"] == 0


async def test_a_store_that_is_away_is_said_so() -> None:
    """G8."""
    async with running() as setup:
        setup.store.away = True
        values = await read(setup)
        assert values["jackline_store_up"] == 0
        assert "jackline_workers" not in values


async def test_who_may_read_it() -> None:
    """G12."""
    async with running(keys=KEYS) as setup:
        assert (await setup.client.get("/metrics")).problem(401)
        assert (await as_user(setup, ANA).get("/metrics")).status == 200
    async with running(keys=KEYS, metrics="all") as setup:
        assert (await setup.client.get("/metrics")).status == 200
    async with running() as setup:
        assert (await setup.client.get("/metrics")).status == 200
        assert (await setup.client.get("/metrics", host="evil.example")).problem(403)
