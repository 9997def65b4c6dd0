"""`jackline bench viewers`: what it counts, what it says; never how fast anything was."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from jackline.bench import speaker
from jackline.bench.viewers import Report, Wish
from tests.support.processes import PATIENCE, clean_environment, eventually, free_port, start

WISH = Wish(runs=2, viewers=5, rate=40, seconds=1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A server whose agent is the speaker."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    args = [sys.executable, "-m", "jackline", "serve", "--agent", f"{speaker.__file__}:speaker"]
    args += ["--port", str(port), "--data-dir", str(folder / "data")]
    with start(args, log_path=folder / "log", env=clean_environment(), cwd=folder) as process:
        eventually(lambda: "Jackline on" in process.log())
        yield f"http://127.0.0.1:{port}"


def bench(folder: Path, *options: str) -> tuple[int, str]:
    args = [sys.executable, "-m", "jackline", "bench", "viewers", *options]
    with start(args, log_path=folder / "log", env=clean_environment(), cwd=folder) as process:
        return process.wait(2 * PATIENCE), process.log()


def test_viewers_are_counted_and_the_runs_are_stopped(url: str, tmp_path: Path) -> None:
    options = ["--runs", "2", "--viewers", "3", "--rate", "40", "--seconds", "1", "--json"]
    code, said = bench(tmp_path, "--url", url, *options)
    assert code == 0, said
    told = json.loads(said)
    assert (told["benchmark"], told["connected"], told["lost"]) == ("viewers", 6, 0)
    # At most what was said in a window that a busy machine makes longer, six times; one at least.
    assert told["delivered"] > 0
    assert told["delivered_per_s"] <= 6 * 40 * 3
    assert 0 <= told["latency_ms"]["p50"] <= told["latency_ms"]["p99"]
    listed = [sys.executable, "-m", "jackline", "runs", "--url", url, "--json"]
    with start(listed, log_path=tmp_path / "runs", env=clean_environment(), cwd=tmp_path) as process:
        process.wait(PATIENCE)
        assert '"executing"' not in process.log()


def test_no_server_is_told_in_one_line(tmp_path: Path) -> None:
    code, said = bench(tmp_path, "--url", f"http://127.0.0.1:{free_port()}", "--seconds", "1")
    assert (code, len(said.splitlines())) == (4, 1), said


def report(*, cpu_share: float, lost: int = 0) -> Report:
    latencies = [float(n) for n in range(1, 101)]
    return Report(
        wish=WISH,
        connected=10,
        delivered=800,
        lost=lost,
        latencies=latencies,
        seconds=2.0,
        cpu_share=cpu_share,
    )


def test_the_client_says_when_it_was_the_bottleneck() -> None:
    assert [line for line in report(cpu_share=0.95).in_words() if "bottleneck" in line]
    assert report(cpu_share=0.95).as_json()["client_busy"] is True
    assert not [line for line in report(cpu_share=0.5).in_words() if "bottleneck" in line]


def test_the_words_and_the_figures_agree() -> None:
    told = report(cpu_share=0.25, lost=3)
    assert told.as_json() == {
        "benchmark": "viewers",
        "runs": 2,
        "viewers": 5,
        "rate": 40,
        "connected": 10,
        "lost": 3,
        "delivered": 800,
        "delivered_per_s": 400.0,
        "latency_ms": {"p50": 50.0, "p99": 99.0},
        "client_cpu_share": 0.25,
        "client_busy": False,
    }
    words = "\n".join(told.in_words())
    assert "400 entries/s" in words
    assert "p50 50 ms, p99 99 ms" in words
    assert "3 viewers were refused or cut off" in words


def test_the_speaker_says_rising_marks() -> None:
    marks = speaker.Marks()
    said = [marks.text() for _ in range(1000)]
    assert said == sorted(set(said))
    assert all(text[0] == "@" and text[20:] == ";word " and text[1:20].isdigit() for text in said)
