"""What became of the guarantees. Pure."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jackline.drill.people import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jackline.drill.people import Promises
    from jackline.drill.viewers import Viewer

LogEntry = tuple[int, str, dict[str, Any]]


@dataclass(kw_only=True)
class Verdict:
    """Of one round. `lost` and `twice` count entries, of what viewers were sent and of what was said;
    `tools_twice` calls; `gaps` how often a viewer was told honestly that something is gone."""

    lost: int = 0
    twice: int = 0
    tools_twice: int = 0
    gaps: int = 0
    endings: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])

    def breaks(self, what: str) -> None:
        """Note a guarantee that did not hold."""
        self.broken.append(what)


def judge_run(
    verdict: Verdict,
    promises: Promises,
    log: Sequence[LogEntry],
    *,
    effects: Mapping[str, int],
    says: Sequence[str] | None,
) -> None:
    """Hold one run's log to what must be true of it. `says`: what the agent says in a whole run, each
    piece once, where that is known."""
    run_id = promises.run_id
    verdict.broken += promises.broken
    if [seq for seq, _, _ in log] != list(range(1, len(log) + 1)):
        verdict.lost += 1
        verdict.breaks(f"G1: the log of {run_id} has a hole")
    endings = [data["state"] for _, kind, data in log if kind == "workflow" and data["state"] in ENDINGS]
    verdict.endings[endings[0] if len(endings) == 1 else "none" if not endings else "several"] += 1
    if len(endings) != 1 or log[-1][2].get("state") != endings[0]:
        verdict.breaks(f"G3: {run_id} has {len(endings)} endings")
    _judge_stop(verdict, promises, log, endings)
    _judge_answers(verdict, promises, log)
    _judge_calls(verdict, run_id, log, effects)
    if says is not None and endings == ["completed"]:
        _judge_words(verdict, run_id, log, says)


def judge_viewer(verdict: Verdict, viewer: Viewer, log: Sequence[LogEntry]) -> None:
    """Hold what a viewer was sent to the log (G1)."""
    verdict.gaps += viewer.gaps
    wanted = {seq: data for seq, _, data in log if seq > viewer.base}
    seen = Counter(entry.seq for entry in viewer.seen)
    twice = sum(count - 1 for count in seen.values())
    # An entry that is in the log no longer, or is another one there, was lost after it was shown.
    lost = sum(json.loads(entry.data) != wanted.get(entry.seq) for entry in viewer.seen)
    lost += sum(seq not in seen for seq in wanted)
    ordered = [entry.seq for entry in viewer.seen]
    verdict.twice += twice
    verdict.lost += lost
    if lost or twice or ordered != sorted(ordered):
        verdict.breaks(f"G1: a viewer of {viewer.run_id} missed {lost} entries and got {twice} twice")
    if not viewer.over:
        verdict.breaks(f"G9: a viewer of {viewer.run_id} was never told that it has ended")


def _judge_stop(
    verdict: Verdict, promises: Promises, log: Sequence[LogEntry], endings: Sequence[str]
) -> None:
    if promises.stopped and endings != ["stopped"]:
        verdict.breaks(f"G4: {promises.run_id} was stopped, and is {' and '.join(endings) or 'not ended'}")
    stopping = [seq for seq, kind, data in log if kind == "workflow" and data["state"] == "stopping"]
    begun = [
        data
        for seq, kind, data in log
        if kind == "tool" and data["state"] == "started" and stopping and seq > stopping[0]
    ]
    for data in begun:
        verdict.breaks(f"G4: {data['call_id']} was started after the stop")


def _judge_answers(verdict: Verdict, promises: Promises, log: Sequence[LogEntry]) -> None:
    standing: dict[tuple[str, int], list[str]] = {}
    for _, kind, data in log:
        if kind == "approval" and data["state"] != "pending":
            standing.setdefault((data["call_id"], data["round"]), []).append(data["state"])
    for question, states in standing.items():
        if len(states) > 1:
            verdict.breaks(f"G5: {question[0]} was answered {len(states)} times")
    for question, state in promises.answers.items():
        if standing.get(question) != [state]:
            verdict.lost += question not in standing
            verdict.breaks(f"G5: {question[0]} was {state}, and the log says {standing.get(question)}")


def _judge_calls(verdict: Verdict, run_id: str, log: Sequence[LogEntry], effects: Mapping[str, int]) -> None:
    harmless = {
        data["call_id"]
        for _, kind, data in log
        if kind == "tool" and data.get("effect") in {"read_only", "idempotent"}
    }
    started = Counter(
        data["call_id"] for _, kind, data in log if kind == "tool" and data["state"] == "started"
    )
    done = {call: times for call, times in effects.items() if call.rpartition(".")[0] == run_id}
    for call in sorted((started.keys() | done.keys()) - harmless):
        if max(started[call], done.get(call, 0)) > 1:
            verdict.tools_twice += 1
            verdict.breaks(f"G6: {call} ran {max(started[call], done.get(call, 0))} times")
    cut = any(data.get("error", {}).get("type") == "log_lost" for _, _, data in log)
    for call in sorted(done.keys() - started.keys()):
        if not cut:
            verdict.breaks(f"G6: {call} took effect, and the log does not say that it was started")


def _judge_words(verdict: Verdict, run_id: str, log: Sequence[LogEntry], says: Sequence[str]) -> None:
    void = {name for _, kind, data in log if kind == "workflow" for name in data.get("supersedes") or ()}
    said = Counter(
        data["text"] for _, kind, data in log if kind == "token" and data["message_id"] not in void
    )
    lost = sum(word not in said for word in says)
    twice = sum(count - 1 for count in said.values())
    verdict.lost += lost
    verdict.twice += twice
    if lost or twice:
        verdict.breaks(f"G1: {run_id} lost {lost} words of what was said, and has {twice} twice")
