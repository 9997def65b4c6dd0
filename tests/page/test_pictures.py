"""The documentation's pictures: what shows them, and the script that makes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page.pictures import LARGEST, PICTURES
from tests.support.processes import PATIENCE, clean_environment

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
PAGES = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")}


def shown() -> set[Path]:
    """The files of all pictures that the README and the docs show."""
    return {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())
    }


def test_every_picture_that_is_shown_is_there_and_made_by_the_script() -> None:
    """And every one that is made is there: none is left from a page of before."""
    made = {IMAGES / f"{name}.png" for name in PICTURES}
    assert shown() == made
    assert set(IMAGES.iterdir()) == made
    assert len([path for path in shown() if path.name in (ROOT / "README.md").read_text()]) >= 2


def test_the_pictures_are_small() -> None:
    """They come with every clone."""
    sizes = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}


@pytest.mark.timeout(600)
def test_the_script_makes_all_of_them(tmp_path: Path) -> None:
    """A server of its own, the real page, each of its main states."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.page.pictures", tmp_path / "images"],
        cwd=ROOT,
        env=clean_environment() | {"PLAYWRIGHT_NODEJS_PATH": os.environ.get("PLAYWRIGHT_NODEJS_PATH", "")},
        capture_output=True,
        text=True,
        check=False,
        timeout=8 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    made = sorted(path.stem for path in (tmp_path / "images").iterdir())
    assert made == sorted(PICTURES)
