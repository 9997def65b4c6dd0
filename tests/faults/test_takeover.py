"""Workers killed with -9 at every place of a run, on real stores; another process goes on."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from jackline.commands import Decision
from jackline.events import Json
from jackline.run import RunState
from tests.blackbox.api import Check
from tests.faults.mortal_worker import PIECES
from tests.faults.yard import KINDS, Kind, Yard, yard
from tests.support.processes import start
from tests.web.harness import Exchange, data_of, entries_of

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
TOOLS = ("note", "write", "delete")


@dataclass(frozen=True, kw_only=True)
class At:
    """A moment (see `mortal_worker`) and what follows from a death there: the run's attempts, the tool
    that a person is asked about, which tools had not taken effect by then, messages said again."""

    moment: str
    attempts: int = 2
    asks: str = ""
    without: str = ""
    supersedes: tuple[str, ...] = ()


MOMENTS = {
    # Opening, and the first step
    "between claim and first append": At(moment="after claim 1", attempts=1),
    "before the opening": At(moment='before append "attempt":1', attempts=1),
    "after the opening": At(moment='after append "attempt":1'),
    "mid-token": At(moment='after append "three "', supersedes=("m1",)),
    "before the step's append": At(moment='before append "requested"', supersedes=("m1",)),
    "after the step's append": At(moment='after append "requested"'),
    # A call
    "before started": At(moment='before append "state":"started"'),
    "after started": At(moment='after append "state":"started"', asks="note", without="note"),
    "in the tool, before the effect": At(moment="before tool write", asks="write", without="write"),
    "in the tool, after the effect": At(moment="after tool write", asks="write"),
    "before finished": At(moment="before append write done", asks="write"),
    "after finished": At(moment="after append write done"),
    # The second step
    "in a retry's sleep": At(moment="after append overloaded"),
    "before the second step's append": At(moment='before append "name":"delete"', supersedes=("m2",)),
    "after the second step's append": At(moment='after append "name":"delete"'),
    # A question, and its answer
    "before the question": At(moment='before append "awaiting_approval"'),
    "after the question": At(moment='after append "awaiting_approval"', attempts=1),
    "before the release": At(moment="before release", attempts=1),
    "while a person is asked": At(moment="after release", attempts=1),
    "right after the decision": At(moment="after claim 2", attempts=1),
    "after the approved call started": At(
        moment='after append "name":"delete","state":"started"', asks="delete", without="delete"
    ),
    "after the approved call's effect": At(moment="after tool delete", asks="delete"),
    "after the approved call finished": At(moment="after append delete done"),
    # The ending
    "before the closing append": At(moment='before append "completed"', supersedes=("m3",)),
    "after the closing append": At(moment='after append "completed"', attempts=1),
}


async def watched(y: Yard, viewer: Exchange, run_id: str) -> Check:
    """What the viewer saw from the beginning to the end is the log, once, in order."""
    answer = await viewer.whole()
    seen = entries_of(answer.events())
    assert seen == entries_of(await y.client.events(run_id, "?compact=0"))
    assert [place for place, _, _ in seen] == [str(seq) for seq in range(1, len(seen) + 1)]
    assert answer.events()[-1].event == "end"
    return Check(log=[data_of(event) for event in answer.events() if event.id is not None])


def assert_once(y: Yard, state: RunState, check: Check, *, without: str = "") -> None:
    """G6: each call took effect once (or was cut off before it did), and each was requested once."""
    assert {tool: len(y.did(tool)) for tool in TOOLS} == {tool: int(tool != without) for tool in TOOLS}
    for number, tool in enumerate(TOOLS, 1):
        assert set(y.did(tool)) <= {f"{tool} {state.run_id}:{state.run_id}.{number}"}
    assert check.tools("requested") == [*TOOLS]
    assert state.copy_text() == "".join(PIECES * 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MOMENTS)
async def test_a_run_goes_on_wherever_its_worker_was_killed(tmp_path: Path, name: str, kind: Kind) -> None:
    """G1, G3, G6, G7: the boundary is told, nothing is done or said twice, one sequence, one ending."""
    at = MOMENTS[name]
    # A claim that the dead worker could tell nobody of is found by its lease alone.
    lease = 4.0 if "claim" in at.moment else 60.0
    async with yard(tmp_path, kind, lease=lease) as y, y.host():
        y.kill(at.moment)
        run_id = await y.start()
        async with y.viewer(run_id) as viewer:
            state = await y.walk(run_id, outcome="done", result="by hand")
            check = await watched(y, viewer, run_id)
    assert y.killed
    assert (state.state, state.attempt) == ("completed", at.attempts)
    takeovers = [entry for entry in check.log if entry.get("reason") == "takeover"]
    assert [entry["attempt"] for entry in takeovers] == [*range(2, at.attempts + 1)]
    assert tuple(m for entry in takeovers for m in entry.get("supersedes") or ()) == at.supersedes
    assert_once(y, state, check, without=at.without)
    asked = [entry for entry in check.log if entry.get("kind") == "outcome" and entry["state"] == "pending"]
    assert [(entry["name"], entry["choices"]) for entry in asked] == (
        [(at.asks, ["retry", "done", "abort"])] if at.asks else []
    )
    assert check.tools("unknown") == ([at.asks] if at.asks else [])
    expected: list[Json] = ["by hand" if tool == at.asks else f"{tool} done" for tool in TOOLS]
    assert state.output == expected


CUT_OFF = (
    "in the tool, before the effect",
    "in the tool, after the effect",
    "after the approved call's effect",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CUT_OFF)
async def test_retry_runs_a_call_once_more_with_its_key(tmp_path: Path, name: str, kind: Kind) -> None:
    """G6: exactly once, and its service can tell that it is the same call."""
    at = MOMENTS[name]
    async with yard(tmp_path, kind) as y, y.host():
        y.kill(at.moment)
        run_id = await y.start()
        async with y.viewer(run_id) as viewer:
            state = await y.walk(run_id, outcome="retry")
            check = await watched(y, viewer, run_id)
    assert state.output == [f"{tool} done" for tool in TOOLS]
    again = 1 if at.without else 2
    assert {tool: len(y.did(tool)) for tool in TOOLS} == {
        tool: again if tool == at.asks else 1 for tool in TOOLS
    }
    assert len(set(y.did(at.asks))) == 1
    assert check.tools("started").count(at.asks) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_abort_ends_the_run(tmp_path: Path, kind: Kind) -> None:
    """G3, G6: failed, and says why; nothing more is done."""
    async with yard(tmp_path, kind) as y, y.host():
        y.kill("after tool write")
        run_id = await y.start()
        async with y.viewer(run_id) as viewer:
            state = await y.walk(run_id, outcome="abort", reason="start over")
            check = await watched(y, viewer, run_id)
    assert state.error is not None
    assert (state.state, state.error.type) == ("failed", "aborted")
    assert [entry.split(" ")[0] for _, entry in y.diary] == ["note", "write"]
    assert check.tools("failed") == ["write"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
async def test_a_harmless_call_runs_again_unasked(tmp_path: Path, effect: str, kind: Kind) -> None:
    """G6: with the same key."""
    async with yard(tmp_path, kind) as y, y.host():
        y.kill("after tool write")
        run_id = await y.start(effect=effect)
        async with y.viewer(run_id) as viewer:
            state = await y.walk(run_id)
            check = await watched(y, viewer, run_id)
    assert (state.state, state.attempt) == ("completed", 2)
    assert len(y.did("write")) == 2
    assert len(set(y.did("write"))) == len(y.did("note")) == len(y.did("delete")) == 1
    assert check.tools("unknown") == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ['before append "stopped"', 'after append "stopped"'])
async def test_a_stop_outlives_the_worker_that_obeys_it(tmp_path: Path, moment: str, kind: Kind) -> None:
    """G3, G4: it ends `stopped` once, and the receipt says no more than somebody saw."""
    async with yard(tmp_path, kind) as y, y.host():
        y.kill(moment)
        run_id = await y.start(hold="gate")
        async with y.viewer(run_id) as viewer:
            await y.until_did("write")
            await y.commands.stop(run_id, by="local")
            state = await y.until(run_id, "completed", "failed", "stopped")
            check = await watched(y, viewer, run_id)
            await y.until_killed()
    assert state.receipt is not None
    assert (state.state, state.attempt) == ("stopped", 1)
    seen = "cancelled" if "after" in moment else "unknown"
    assert [call.outcome for call in state.receipt.tools] == ["finished_before_stop", seen]
    assert [entry.split(" ")[0] for _, entry in y.diary] == ["note", "write"]
    check.no_start_after_stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_gentle_stop_outlives_the_worker_too(tmp_path: Path, kind: Kind) -> None:
    """G4, G6: it waited for a call whose end nobody sees now; nothing else starts."""
    async with yard(tmp_path, kind) as y, y.host():
        run_id = await y.start(hold="gate", effect="idempotent")
        async with y.viewer(run_id) as viewer:
            await y.until_did("write")
            await y.commands.stop(run_id, by="local", mode="after_step")
            psutil.Process(y.diary[0][0]).kill()
            state = await y.until(run_id, "completed", "failed", "stopped")
            check = await watched(y, viewer, run_id)
    assert state.receipt is not None
    assert state.state == "stopped"
    assert [call.outcome for call in state.receipt.tools] == ["finished_before_stop", "unknown"]
    assert [what.split(" ")[0] for _, what in y.diary] == ["note", "write"]
    check.no_start_after_stop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ['before append "handed back"', 'after append "handed back"'])
async def test_a_worker_may_die_while_it_hands_back(tmp_path: Path, moment: str, kind: Kind) -> None:
    """G7: a deploy that is too hasty is a takeover like any other."""
    async with yard(tmp_path, kind) as y:
        y.kill(moment)
        run_id = await y.start(hold="gate", effect="idempotent")
        async with y.viewer(run_id) as viewer:
            async with y.host():
                await y.until_did("write")
            assert y.killed
            (tmp_path / "gate").touch()
            async with y.host():
                state = await y.walk(run_id)
            check = await watched(y, viewer, run_id)
    assert (state.state, state.attempt) == ("completed", 2)
    assert state.handed_back == int("after" in moment)
    assert [what.split(" ")[0] for _, what in y.diary] == ["note", "write", "write", "delete"]
    assert check.tools("unknown") == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_kills_every_worker_fails_its_run(tmp_path: Path, kind: Kind) -> None:
    """G3: `max_attempts` ends the loop, though the call may run again by itself."""
    async with yard(tmp_path, kind, max_attempts=2) as y, y.host():
        y.kill("always after tool write")
        run_id = await y.start(effect="read_only")
        async with y.viewer(run_id) as viewer:
            state = await y.walk(run_id)
            check = await watched(y, viewer, run_id)
    assert state.error is not None
    assert (state.state, state.error.type, state.attempt) == ("failed", "max_attempts", 2)
    assert len(y.did("write")) == 2
    assert check.tools("unknown") == ["write"]


@pytest.mark.parametrize("kind", KINDS)
async def test_other_runs_of_a_killed_worker_go_on(tmp_path: Path, kind: Kind) -> None:
    """G4, G7: one run's fault costs the others an attempt, nothing else."""
    async with yard(tmp_path, kind) as y, y.host():
        others = [await y.start(hold="gate", effect="idempotent") for _ in range(3)]
        await y.until_did("write", 3)
        y.kill("after tool note")
        killer = await y.start()
        await y.until_killed()
        (tmp_path / "gate").touch()
        ended = await asyncio.gather(*(y.walk(run_id, outcome="done") for run_id in [killer, *others]))
    assert [(state.state, state.attempt) for state in ended] == [("completed", 2)] * 4
    assert len(y.did("note")) == len(y.did("delete")) == 4
    assert len(y.did("write")) == 7


@pytest.mark.parametrize("kind", KINDS)
async def test_a_zombie_writes_nothing_and_runs_nothing(tmp_path: Path, kind: Kind) -> None:
    """G6, G7: worker and supervisor stand still until their run was taken over, and come back."""
    async with yard(tmp_path, kind, lease=4.0) as y:
        command = [sys.executable, "-m", "tests.faults.mortal_host", y.settings.model_dump_json()]
        with start(command, log_path=tmp_path / "zombie.log", cwd=ROOT) as host:
            run_id = await y.start(hold="gate")
            await y.until_did("write")
            asleep = [psutil.Process(pid) for pid in (host.pid, y.diary[0][0])]
            for process in asleep:
                process.suspend()
            async with y.viewer(run_id) as viewer:
                async with y.host():
                    await y.until(run_id, "awaiting_approval")
                    await y.until_parked(run_id)
                    done = Decision(call_id=f"{run_id}.2", outcome="done", result="by hand")
                    await y.commands.decide([done], by="local")
                    await y.until_asked(run_id, f"{run_id}.3")
                before = (await y.state(run_id)).seq, y.diary
                (tmp_path / "gate").touch()
                for process in reversed(asleep):
                    process.resume()
                # Nobody else is there: it drives this run, so it has found out about the other one.
                later = await y.start()
                await y.until_asked(later, f"{later}.3")
                assert {pid for pid, what in y.diary if later in what} == {asleep[1].pid}
                assert (await y.state(run_id)).seq == before[0]
                assert [what for what in y.diary if run_id in what[1]] == before[1]
                state = await y.walk(run_id)
                check = await watched(y, viewer, run_id)
    assert (state.state, state.attempt) == ("completed", 2)
    assert state.output == ["note done", "by hand", "delete done"]
    assert len([entry for entry in check.log if entry.get("reason") == "takeover"]) == 1
    assert [what.split(" ")[0] for _, what in y.diary if run_id in what] == [*TOOLS]
