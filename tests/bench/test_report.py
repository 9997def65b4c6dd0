"""The report of `scripts/bench`: right on given figures."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks.bench import Figure
from benchmarks.fanout import Fan, figure
from benchmarks.goals import Judged, judged
from benchmarks.load import Measured, Times
from benchmarks.main import options
from benchmarks.publishing import Published
from benchmarks.report import Report, markdown, number, picture
from benchmarks.scenarios import SCENARIOS


def fact(scenario: str, contestant: str, at: float | None = None, /, **values: float) -> Figure:
    return Figure(scenario=scenario, contestant=contestant, values=values, at=at)


def goal(figures: list[Figure], text: str) -> Judged:
    found = [one for one in judged(figures) if one.text == text]
    assert len(found) == 1
    return found[0]


def test_a_ratio_is_jackline_divided_by_the_other() -> None:
    figures = [
        fact("1000x500", "jackline", delivered_per_s=400_000, p99_ms=20),
        fact("1000x500", "nchan", delivered_per_s=100_000, p99_ms=1000),
    ]
    more = goal(figures, "flood, delivered/s, to Nchan")
    assert (more.value, more.held, more.sense, more.bound) == (4.0, True, "at least", 3)
    assert goal(figures, "flood, p99, to Nchan").value == 0.02


def test_a_goal_that_is_missed_is_told() -> None:
    figures = [
        fact("idle", "jackline", bytes_per_viewer=5000),
        fact("idle", "nchan", bytes_per_viewer=10_000),
    ]
    missed = goal(figures, "memory per idle viewer, to Nchan")
    assert (missed.value, missed.held) == (0.5, False)


def test_a_goal_without_the_other_figure_is_neither_held_nor_missed() -> None:
    figures = [fact("1000x500", "jackline", delivered_per_s=400_000)]
    assert goal(figures, "flood, delivered/s, to Nchan").held is None
    figures.append(fact("1000x500", "nchan", delivered_per_s=0))
    assert goal(figures, "flood, delivered/s, to Nchan").value is None


def test_what_was_not_measured_has_no_goal() -> None:
    assert judged([]) == []
    assert judged([Figure(scenario="1000x500", contestant="jackline", values={}, notes=["failed"])]) == []


def test_the_most_paced_runs_within_the_bound_count() -> None:
    """Those with entries missing do not."""

    def paced(contestant: str, runs: int, p99: float, missing: int = 0) -> Figure:
        return fact("paced", contestant, runs, runs=runs, p99_ms=p99, missing=missing)

    figures = [
        paced("jackline", 400, 10.0),
        paced("jackline", 500, 49.0),
        paced("jackline", 600, 51.0),
        paced("pattern", 50, 12.0),
        paced("pattern", 75, 30.0, missing=1),
    ]
    assert goal(figures, "paced runs on one core at p99 ≤ 50 ms").value == 500
    assert goal(figures, "paced runs on one core, to the pattern").value == 10


def test_the_best_group_of_the_commits_counts() -> None:
    figures = [
        fact("commit", "jackline", 1, group=1, entries_per_s=7000, cpu_us_per_entry=60),
        fact("commit", "jackline", 100, group=100, entries_per_s=60_000, cpu_us_per_entry=4),
    ]
    assert goal(figures, "worker commit, Redis").value == 60_000
    assert goal(figures, "worker commit, Redis, CPU of each").value == 4


def measured(delivered: int, seconds: float, cpu_share: float = 0.1) -> Measured:
    times = Times(count=delivered, mean_ms=2, p50_ms=1, p99_ms=5, p999_ms=6, max_ms=7)
    return Measured(
        connections=100,
        answered=100,
        refused=0,
        failed=0,
        cut=0,
        whole=0,
        delivered=delivered,
        least=1,
        most=2,
        repeated=0,
        bytes=delivered * 150,
        latency=times,
        heard=times,
        first=times,
        ended=times,
        seconds=seconds,
        until_last=seconds,
        cpu_seconds=cpu_share * seconds,
        cpu_share=cpu_share,
    )


WISH = Fan(scenario="1000x50", channels=1, viewers=100, rate=50, seconds=2)


def test_a_figure_has_rates_and_the_cpu_of_each_entry() -> None:
    published = Published(published=200, waiting=0, seconds=4, cpu_seconds=1)
    found = figure("jackline", WISH, measured(10_000, 2.0), published, cpu=0.1)
    assert found.values["delivered_per_s"] == 5000
    assert found.values["offered_per_s"] == 5000  # 50 a second to 100 viewers
    assert found.values["cpu_us_per_entry"] == pytest.approx(10)
    assert found.values["server_cpu_share"] == pytest.approx(0.05)
    assert found.values["publisher_cpu_share"] == 0.25
    assert found.notes == []


def test_who_was_the_bottleneck_is_told() -> None:
    published = Published(published=200, waiting=0, seconds=4, cpu_seconds=1)
    busy = figure("jackline", WISH, measured(10_000, 2.0, cpu_share=0.95), published, cpu=0.1)
    assert [note for note in busy.notes if "load client" in note]
    behind = figure("jackline", WISH, measured(5_000, 2.0), published, cpu=1.99)
    assert behind.notes == ["fell behind: latency grows as long as it goes on"]
    starved = figure("jackline", WISH, measured(5_000, 2.0), published, cpu=0.5)
    assert "25% of a core" in starved.notes[0]
    slow = Published(published=100, waiting=0, seconds=4, cpu_seconds=4)
    assert "only 2,500/s were published" in figure("x", WISH, measured(5_000, 2.0), slow, cpu=1).notes


def report(figures: list[Figure]) -> Report:
    titles = {one.name: one.title for one in SCENARIOS if one.name in {figure.scenario for figure in figures}}
    return Report(machine={"cores": "2"}, quick=False, titles=titles, goals=judged(figures), figures=figures)


FIGURES = [
    fact("1000x500", "jackline", delivered_per_s=499_000.4, p99_ms=26.25, client_cpu_share=0.4),
    fact("1000x500", "nchan", delivered_per_s=97_000, p99_ms=1000),
    fact("grow viewers", "jackline", 1, cpu_us_per_entry=50),
    fact("grow viewers", "jackline", 1000, cpu_us_per_entry=10),
    Figure(scenario="grow viewers", contestant="nchan", values={}, notes=["nginx ended: <no> | module"]),
]


def test_the_markdown_has_ratios_first_then_each_scenario() -> None:
    text = markdown(report(FIGURES))
    lines = text.splitlines()
    assert "| flood, delivered/s, to Nchan | ≥ 3 × | 5.14 × | yes |" in lines
    assert "| flood, delivered/s, to sse-starlette | ≥ 30 × | not measured |  |" in lines
    assert lines.index("## Ratios and bounds") < lines.index("## 1000x500") < lines.index("## grow viewers")
    assert "| jackline | 499,000 | 26.2 | 0.4 |" in lines
    assert "| nchan | 97,000 | 1,000 |  |" in lines
    assert "| jackline | 1,000 | 10 |" in lines
    assert "- nchan: nginx ended: <no> | module" in lines


def test_the_picture_is_svg_with_a_bar_per_goal_and_a_curve_per_contestant() -> None:
    drawn = ET.fromstring(picture(report(FIGURES)))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    bars = list(drawn.iter("{http://www.w3.org/2000/svg}rect"))
    assert {"flood, delivered/s, to Nchan", "flood, p99, to Nchan"} <= set(texts)
    assert len(bars) == 1 + 2
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 1
    assert ET.fromstring(picture(report([]))).tag.endswith("svg")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (1234567, "1,234,567"), (1234.56, "1,235"), (12.345, "12.3"), (0.0123, "0.0123")],
)
def test_numbers_have_three_digits_that_count(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize("wrong", [["--only", "nothing"], ["--contestants", "jackline,nobody"]])
def test_a_name_that_is_none_is_a_mistake(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """G11."""
    with pytest.raises(SystemExit) as left:
        options(wrong)
    assert left.value.code == 2
    assert "there are: " in capsys.readouterr().err


def test_every_goal_names_a_scenario_and_a_contestant_that_there_are() -> None:
    """Each figure that some goal is about can be measured: with all of them at hand every goal is judged."""
    known = {(one.name, contestant) for one in SCENARIOS for contestant in one.contestants}
    from benchmarks.goals import GOALS

    for each in GOALS:
        for place in (each.of, each.to):
            if place is not None:
                assert (place[0], place[1].partition(":")[0]) in known, each.text
