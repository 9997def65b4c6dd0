"""Chooses scenarios, measures them one after the other, and writes the report."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks import machine
from benchmarks.bench import ENVIRONMENTS, ROOT, Bench, Figure
from benchmarks.goals import judged
from benchmarks.load import build
from benchmarks.processes import BenchError
from benchmarks.report import Report, markdown, picture
from benchmarks.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure Jackline beside others.")
    parser.add_argument("--quick", action="store_true", help="smaller numbers, at most four minutes")
    parser.add_argument("--only", action="append", metavar="NAME", help="this scenario; can be given again")
    parser.add_argument("--contestants", metavar="A,B", default="", help="only these, by name")
    parser.add_argument("--output", type=Path, default=ENVIRONMENTS / "results", help="folder of the report")
    parser.add_argument("--list", action="store_true", help="say what there is")
    wish = parser.parse_args(arguments)
    names = [scenario.name for scenario in SCENARIOS]
    only: list[str] = wish.only or []
    for name in only:
        if name not in names:
            parser.error(f"no scenario {name!r}; there are: {', '.join(names)}")
    contestants = {one for scenario in SCENARIOS for one in scenario.contestants}
    for name in filter(None, wish.contestants.split(",")):
        if name not in contestants:
            parser.error(f"no contestant {name!r}; there are: {', '.join(sorted(contestants))}")
    return wish


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 1 when something could not be measured."""
    wish = options(arguments)
    if wish.list:
        for scenario in SCENARIOS:
            _say(f"{scenario.name}: {scenario.title}\n    {', '.join(scenario.contestants)}")
        return 0
    machine.raise_limits()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jackline-bench-") as folder:
        bench = _bench(wish, Path(folder))
        about = machine.describe(ROOT)
        chosen = [one for one in SCENARIOS if wish.only is None or one.name in wish.only]
        figures = [figure for scenario in chosen for figure in _measure(bench, scenario)]
    about["took"] = f"{time.monotonic() - begun:.0f} s"
    report = Report(
        machine=about,
        quick=wish.quick,
        titles={scenario.name: scenario.title for scenario in chosen},
        goals=judged(figures),
        figures=figures,
    )
    _write(report, wish.output)
    return 1 if any(not figure.values for figure in figures) else 0


def _bench(wish: argparse.Namespace, folder: Path) -> Bench:
    places = machine.cores()
    return Bench(
        folder=folder,
        client=build(folder),
        server=places[0] if places else None,
        others=places[1] if places else None,
        quick=wish.quick,
        contestants=frozenset(filter(None, wish.contestants.split(","))),
        say=_say,
    )


def _measure(bench: Bench, scenario: Scenario) -> list[Figure]:
    """Each contestant in its turn. One that fails is told of, and the others go on."""
    figures: list[Figure] = []
    for contestant in scenario.contestants:
        spared = bench.quick and not bench.contestants and contestant in scenario.spared
        if spared or not bench.wants(contestant):
            continue
        begun = time.monotonic()
        try:
            measured = scenario.measure(bench, contestant)
        except BenchError as error:
            measured = Figure(scenario=scenario.name, contestant=contestant, values={}, notes=[str(error)])
        figures.extend([measured] if isinstance(measured, Figure) else measured)
        bench.say(f"{scenario.name}: {contestant}: {time.monotonic() - begun:.1f} s")
    return figures


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    (folder / "report.md").write_text(markdown(report))
    (folder / "report.svg").write_text(picture(report))
    sys.stdout.write(markdown(report))
    _say(f"in {folder}: report.md, report.json, report.svg")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
