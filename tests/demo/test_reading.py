from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import psutil
import pytest

from jackline.demo import host
from jackline.demo.files import TAIL_BYTES, Walk, tail
from jackline.demo.scratch import Refused


def walk(walk: Walk) -> Walk:
    while walk.step():
        pass
    return walk


def fill(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_the_overview_is_this_hosts() -> None:
    seen = host.overview()
    assert seen["memory_total"] == psutil.virtual_memory().total
    assert seen["cpus"] == psutil.cpu_count()
    assert seen["hostname"] == os.uname().nodename
    assert 0 < seen["memory_available"] <= seen["memory_total"]


def test_the_disks_are_listed_fullest_first_and_once_each(tmp_path: Path) -> None:
    systems = host.disk_usage(tmp_path)["file_systems"]
    assert "/" in [system["mount"] for system in systems]
    percents = [system["percent"] for system in systems]
    assert percents == sorted(percents, reverse=True)
    devices = [Path(system["mount"]).stat().st_dev for system in systems]
    assert len(devices) == len(set(devices))
    assert tmp_path.stat().st_dev in devices


def test_the_top_processes_by_memory_are_in_order_and_hold_ours() -> None:
    top = host.top_processes("memory", 50)
    sizes = [process["memory_bytes"] for process in top["processes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert top["seen"] >= len(sizes)
    every = host.top_processes("memory", 100_000)["processes"]
    assert os.getpid() in [process["pid"] for process in every]


def test_the_largest_files_are_found_below_a_directory(tmp_path: Path) -> None:
    large = fill(tmp_path / "a" / "b" / "large", 300_000)
    middle = fill(tmp_path / "middle", 200_000)
    for n in range(5):
        fill(tmp_path / "a" / f"small-{n}", 1000)
    found = walk(Walk(str(tmp_path), 2)).result()
    assert [file["path"] for file in found["files"]] == [str(large), str(middle)]
    assert found["files"][0]["length"] == 300_000
    assert (found["entries"], found["complete"], found["unreadable"]) == (9, True, 0)


def test_links_are_not_followed_and_names_of_one_file_count_once(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside" / "large", 500_000)
    inside = tmp_path / "inside"
    file = fill(inside / "file", 100_000)
    (inside / "link").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    (inside / "loop").symlink_to(inside)
    os.link(file, inside / "other-name")
    found = walk(Walk(str(inside), 10)).result()
    assert len(found["files"]) == 1
    assert found["total_bytes"] < 500_000


def test_a_sparse_file_counts_for_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (found,) = walk(Walk(str(tmp_path), 1)).result()["files"]
    assert found["length"] == 1 << 40
    assert found["bytes"] < 1 << 20


def test_a_directory_that_goes_away_is_counted_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    looking = Walk(str(tmp_path), 1)
    assert looking.step()
    (tmp_path / "gone").rmdir()
    assert walk(looking).result()["unreadable"] == 1


def test_the_walk_stops_at_its_bounds_and_says_so(tmp_path: Path) -> None:
    for n in range(10):
        fill(tmp_path / str(n), 1)
    few = walk(Walk(str(tmp_path), 1, max_entries=4)).result()
    assert (few["complete"], few["stopped_by"]) == (False, "4 entries")
    ticks = count()
    late = walk(Walk(str(tmp_path), 1, max_seconds=3, clock=lambda: float(next(ticks)))).result()
    assert (late["complete"], late["stopped_by"]) == (False, "3 seconds")


@pytest.mark.parametrize("what", ["missing", "file"])
def test_what_is_no_directory_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=what):
        Walk(str(tmp_path / what), 1)


def test_the_last_lines_of_a_log_are_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    found = tail(str(log), 3, tmp_path)
    assert found["lines"] == ["line 97", "line 98", "line 99"]
    assert found["truncated"] is True
    assert tail(str(log), 100, tmp_path)["truncated"] is False


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("")
    assert tail(str(tmp_path / "x.log"), 3, tmp_path)["lines"] == []


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"x" * (TAIL_BYTES * 2) + b"\nlast\xff\n")
    found = tail(str(log), 500, tmp_path)
    assert found["lines"] == ["last\ufffd"]
    assert found["bytes"] == log.stat().st_size


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "~/.ssh/id_rsa", "x.log/../../etc/passwd", "/var/log/../../etc/passwd"]
)
def test_what_is_no_log_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="no log"):
        tail(name, 1, tmp_path)


def test_a_link_named_like_a_log_does_not_reach_what_is_none(tmp_path: Path) -> None:
    scratch, link = tmp_path / "scratch", tmp_path / "x.log"
    link.symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="no log"):
        tail(str(link), 1, scratch)


def test_a_missing_log_a_directory_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    with pytest.raises(Refused, match="No such file"):
        tail(str(tmp_path / "none.log"), 1, tmp_path)
    for name in ("folder.log", "pipe.log"):
        with pytest.raises(Refused, match="not a regular file"):
            tail(str(tmp_path / name), 1, tmp_path)
