from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jackline.demo.scratch import MEBIBYTE, Refused, Scratch, default_directory

if TYPE_CHECKING:
    from pathlib import Path


def silent(_: int) -> None:
    """Nobody is told of progress."""


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "a" / "b")
    for path in (scratch.path, scratch.files, scratch.services):
        assert path.stat().st_mode & 0o777 == 0o700
    assert Scratch(scratch.path).path == scratch.path


def test_each_user_has_a_directory_of_their_own() -> None:
    assert default_directory().name == f"jackline-demo-{os.getuid()}"


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="link"):
        Scratch(tmp_path / "scratch")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_in_place_of_a_folder_inside_is_refused(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    scratch.files.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    scratch.files.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="link"):
        Scratch(scratch.path)


def test_a_directory_that_others_can_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch").chmod(0o755)
    with pytest.raises(Refused, match="0700"):
        Scratch(tmp_path / "scratch")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("")
    with pytest.raises(Refused, match="not a directory"):
        Scratch(tmp_path / "scratch")


def test_made_files_have_their_size_and_cleaning_deletes_them(scratch: Scratch) -> None:
    told: list[int] = []
    names = scratch.make(3, MEBIBYTE, told.append)
    assert told == [1, 2, 3]
    assert [(scratch.files / name).stat().st_size for name in names] == [MEBIBYTE] * 3
    assert scratch.clean(0) == dict.fromkeys(names, MEBIBYTE)
    assert list(scratch.files.iterdir()) == []
    assert scratch.clean(0) == {}


def test_cleaning_leaves_what_the_demo_did_not_make(scratch: Scratch) -> None:
    foreign = scratch.files / "scratch-foreign.bin"
    foreign.write_text("mine")
    (made,) = scratch.make(1, 1, silent)
    assert list(scratch.clean(0)) == [made]
    assert foreign.read_text() == "mine"


@pytest.mark.parametrize("how", ["file", "link", "directory"])
def test_cleaning_leaves_what_took_the_place_of_a_made_file(
    scratch: Scratch, tmp_path: Path, how: str
) -> None:
    keep, (made,) = tmp_path / "keep", scratch.make(1, 1, silent)
    path = scratch.files / made
    keep.write_text("keep")
    path.rename(scratch.path / "moved")  # holds its inode, so that it is not given to the other at once
    if how == "link":
        path.symlink_to(keep)
    elif how == "directory":
        path.mkdir()
    else:
        path.write_text("other")
    assert scratch.clean(0) == {}
    assert os.path.lexists(path)
    assert keep.read_text() == "keep"


def test_younger_files_are_kept(scratch: Scratch) -> None:
    scratch.make(2, 1, silent)
    assert scratch.clean(3600) == {}
    assert len(scratch.held()) == 2
    assert len(scratch.clean(0)) == 2


def test_files_are_refused_above_the_total(scratch: Scratch) -> None:
    with pytest.raises(Refused, match="256 MiB"):
        scratch.make(50, 64 * MEBIBYTE, silent)
    assert list(scratch.files.iterdir()) == []


def test_files_made_before_an_interruption_are_known_and_cleaned(scratch: Scratch) -> None:
    def stop(number: int) -> None:
        if number == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        scratch.make(5, 1, stop)
    assert len(scratch.clean(0)) == 2
    assert list(scratch.files.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "-a", ".a", "a" * 33, "a\n", "a.json"])
def test_a_service_name_that_could_leave_the_directory_is_refused(scratch: Scratch, name: str) -> None:
    with pytest.raises(Refused, match="no service name"):
        scratch.service_name(name)
