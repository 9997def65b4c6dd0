"""Every state and every command, and whatever can be killed: what `docs/protocol.md` says of each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from jackline.settings import Role
from tests.blackbox.api import ROOT, Check
from tests.blackbox.conftest import World, environment, world
from tests.blackbox.test_crash import crash
from tests.contract.redis_server import redis_server
from tests.faults.states import OUTCOME, STATES, Case, awaiting_outcomes, kill_workers, table
from tests.support.processes import eventually, serve

HERE = Path(__file__)
PARTS: list[tuple[Role, str]] = [("worker", "worker"), ("web", "web0"), ("web", "web1")]
AGENT = f"{HERE.with_name('agents.py')}:agent"
TABLE = table()
COMMANDS = ["stop", "stop `after_step`", "approve", "deny", "chat", "chat `queue`", "chat `stop`"]
SETTINGS = {"PYTHONPATH": str(HERE.parents[2]), "JACKLINE_STOP_GRACE": "60", "JACKLINE_LEASE": "5"}
"""No worker is killed but by the tests: gates open long before a minute is over. Leases outlast a pause of
the machine, and not the tests' patience: the embedded server's must lapse when it was killed."""


@contextlib.contextmanager
def replicated(path: Path) -> Generator[World]:
    """Two web processes and a worker on one Valkey."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(redis_server(path, aof="always"))
        env = environment(path) | SETTINGS
        servers = [
            stack.enter_context(serve(path, agent=AGENT, redis=store.url, role=role, env=env, name=name))
            for role, name in PARTS
        ]
        made = World(servers=[*servers[1:], servers[0]], path=path, store=store)
        made.until_workers(1)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module", params=["embedded", "replicated"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Servers for all cells of the table."""
    path = tmp_path_factory.mktemp(request.param)
    with world(path, agent=AGENT, **SETTINGS) if request.param == "embedded" else replicated(path) as made:
        yield made


@pytest.fixture(scope="module")
def outcomes(place: World) -> dict[str, Case]:
    """A run for each command whose call was cut off; by the command."""
    tags = [f"outcome-{at}" for at in range(len(COMMANDS))]
    return dict(zip(COMMANDS, awaiting_outcomes(place, tags).values(), strict=True))


def issue(case: Case, command: str) -> tuple[int, str | None]:
    """The answer's status, and the run that a chat has started."""
    api = case.world.other
    match command:
        case "stop":
            return api.stop(case.run_id).status_code, None
        case "stop `after_step`":
            return api.stop(case.run_id, mode="after_step").status_code, None
        case "approve" | "deny":
            return api.decide(case.call_id, approve=command == "approve").status_code, None
        case _:
            word = re.findall("`(.*)`", command)
            body = {
                "messages": [{"role": "user", "content": "and then"}],
                "conversation_id": case.conversation_id,
                "on_busy": word[0] if word else "reject",
            }
            answer = api.http.post(f"{ROOT}/chat", json=body, headers={"Accept": "application/json"})
            return answer.status_code, answer.json().get("run_id") if answer.status_code == 202 else None


def assert_ended(case: Case, cell: str, *, denied: bool = False) -> None:
    """The run ends as the cell says: once, with a true receipt, and each effect at most once."""
    snapshot = case.finish()
    ending, *more = cell.split()
    assert snapshot["state"] == ending
    check = Check(log=case.world.api.log(case.run_id))
    assert snapshot["attempt"] == (2 if "again" in more else min(snapshot["attempt"], 1))
    assert ("outcome" in [question["kind"] for question in snapshot["approvals"]]) == ("asked" in more)
    assert case.effects("note after") == (1 if ending == "completed" else 0)
    assert max(case.effects(tool) for tool in ("held", "write", "delete")) <= 1
    assert len(check.tools("requested")) == len(snapshot["tools"])
    if ending == "completed" and not denied:
        assert sum(case.effects(tool) for tool in ("held", "write", "delete")) == 1
    if ending == "stopped":
        check.no_start_after_stop()
        assert snapshot["receipt"] == check.endings[0]["receipt"]
        receipt = {tool["call_id"]: tool["outcome"] for tool in snapshot["receipt"]["tools"]}
        started = {entry["call_id"] for entry in check.log if entry.get("state") == "started"}
        assert {call_id for call_id, outcome in receipt.items() if outcome == "not_started"}.isdisjoint(
            started
        )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", TABLE)
def test_a_command_is_answered_and_the_run_ends_as_the_table_says(
    place: World, outcomes: dict[str, Case], state: str, command: str
) -> None:
    """G3, G4, G5, G6: one ending, and nothing takes effect twice or after an accepted stop."""
    tag = f"{list(TABLE).index(state)}-{COMMANDS.index(command)}"
    case = outcomes[command] if state == OUTCOME else STATES[state](place, tag)
    log = place.api.log(case.run_id)
    expected, cell = TABLE[state][command].split(" ", 1)
    status, started = issue(case, command)
    assert str(status) == expected
    if started is None and status >= 400:
        assert place.api.log(case.run_id)[: len(log)] == log
        assert not [entry for entry in place.api.log(case.run_id)[len(log) :] if entry.get("by")]
    if state == OUTCOME:
        cell += " again asked"
    assert_ended(case, cell, denied=command == "deny")
    if started is not None:
        assert place.api.ended(started)["state"] == "completed"
        Check(log=place.api.log(started))


def kill(place: World, what: str) -> None:
    """And let it come back."""
    match what:
        case "worker killed":
            kill_workers(place)
        case "web killed":
            crash(place.webs[-1])
            place.mend()
        case _:
            assert place.store is not None
            place.store.kill()
            place.store.launch()

    def answers() -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            return place.api.http.get("/readyz").status_code == 200
        return False

    eventually(answers, what="servers that are ready")


DEATHS = [
    ("embedded", "worker killed"),
    ("embedded", "web killed"),
    ("replicated", "worker killed"),
    ("replicated", "web killed"),
    ("replicated", "store killed"),
]


@pytest.mark.parametrize(("place", "what"), DEATHS, indirect=["place"])
def test_every_state_outlives_every_death(place: World, what: str) -> None:
    """G3, G4, G6, G7, G8: each run ends as the table says, whatever was killed under it."""
    tags = [f"{what[:3]}-{at}" for at in range(len(TABLE))]
    cases = awaiting_outcomes(place, tags[:1]) | {
        tag: STATES[state](place, tag)
        for tag, state in zip(tags[1:], (state for state in TABLE if state != OUTCOME), strict=True)
    }
    logs = {tag: place.api.log(case.run_id) for tag, case in cases.items()}
    kill(place, what)
    column = "worker killed" if place.store is None else what  # embedded, the worker goes with the web
    for (tag, case), state in zip(
        cases.items(), [OUTCOME, *(state for state in TABLE if state != OUTCOME)], strict=True
    ):
        assert place.api.log(case.run_id)[: len(logs[tag])] == logs[tag], state
        assert_ended(case, TABLE[state][column])
