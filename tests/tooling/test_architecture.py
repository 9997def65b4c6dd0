"""The map of the rooms is true."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "jackline"


def test_every_room_has_a_line_in_the_architecture() -> None:
    rooms = {
        f"`{path.name}`" if path.is_file() else f"`{path.name}/`"
        for path in PACKAGE.iterdir()
        if not path.name.startswith("__") and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }
    lines = [
        line for line in (ROOT / "docs" / "architecture.md").read_text().splitlines() if line.startswith("|")
    ]
    table = "\n".join(lines)
    assert sorted(room for room in rooms if room not in table) == []


def test_no_room_stands_there_that_does_not_exist() -> None:
    cells = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "architecture.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    named = [name.strip("` ") for cell in cells for name in cell.split(",")]
    assert [name for name in named if not (PACKAGE / name).exists()] == []
