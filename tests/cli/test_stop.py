"""`jackline stop`: accepted at once, and what the stop did."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest

from tests.cli.terminal import PATIENCE_S, environment, jackline
from tests.cli.toy import CALL, RUN, Toy
from tests.client.server import Server, problem, reply

pytestmark = pytest.mark.anyio

STOPPING = {"run_id": RUN, "state": "stopping"}
# Longer than anybody waits for one answer: it counts as away.
AWAY = problem(503, {"Retry-After": "3600"})


async def test_stop_says_what_became_of_each_call(server: Server, toy: Toy) -> None:
    """G4: the receipt."""
    toy.begin()
    done = await jackline("stop", RUN, "--wait", "5", "--reason", "wrong host", "--url", server.url)
    assert done.out == (
        f"run {RUN} stopped\n"
        "stop asked for by user:ana; quiet 40 ms later; the model's stream was closed\n"
        f"  restart ({CALL}) was cancelled\n"
    )
    assert done.code == 0
    assert toy.requests[0].json == {"reason": "wrong host", "mode": "immediate"}
    again = await jackline("stop", RUN, "--url", server.url)
    assert (again.out, again.code) == (f"run {RUN} had already ended: stopped\n", 0)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_a_stop_needs_nobody_who_reads_or_types(server: Server, toy: Toy, closed: str) -> None:
    """G4: from a job that has closed what it does not use."""
    toy.begin()
    line = f'"$0" -m jackline stop "$1" --url "$2" {closed}'
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            ["bash", "-c", line, sys.executable, RUN, server.url], env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [request.path.rpartition("/")[2] for request in toy.requests] == ["stop"]


async def test_stop_does_not_wait_unasked(server: Server, toy: Toy) -> None:
    toy.begin()
    done = await jackline("stop", RUN, "--after-step", "--url", server.url)
    assert done.out.splitlines() == [
        f"run {RUN} is stopping",
        f"watch it with: jackline tail {RUN} --url {server.url}",
    ]
    assert toy.requests[0].json == {"mode": "after_step"}


async def test_a_server_that_goes_away_takes_no_accepted_stop_back(server: Server) -> None:
    """G4: what was accepted is told, and not that nobody was there."""
    server.answer(reply(STOPPING, 202), AWAY)
    done = await jackline("stop", RUN, "--wait", "0.5", "--url", server.url)
    assert done.out.splitlines() == [
        f"run {RUN} is stopping, not quiet after 0.5 s",
        f"watch it with: jackline tail {RUN} --url {server.url}",
    ]
    assert (done.code, done.err) == (0, "")


async def test_the_receipt_is_waited_for_over_an_outage(server: Server) -> None:
    """G4: the receipt comes from the server that is back."""
    receipt: dict[str, Any] = {
        "by": "user:ana",
        "quiet_ms": 40,
        "model": "none",
        "tools": [{"call_id": CALL, "name": "restart", "outcome": "killed"}],
    }
    stopped = {"run_id": RUN, "state": "stopped", "receipt": receipt}
    server.answer(reply(STOPPING, 202), AWAY, AWAY, reply(stopped))
    done = await jackline("stop", RUN, "--wait", "60", "--url", server.url)
    assert done.out.splitlines()[0] == f"run {RUN} stopped"
    assert done.out.splitlines()[-1] == f"  restart ({CALL}) was killed"
    assert (done.code, done.err) == (0, "")


async def test_a_stop_that_nobody_accepted_is_no_stop(server: Server) -> None:
    """G8: a server that is away has stopped nothing."""
    server.answer(AWAY)
    done = await jackline("stop", RUN, "--wait", "60", "--url", server.url)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
