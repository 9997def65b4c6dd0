"""docs/proxies/matrix.md: what stands there is what the tests have found out.

A test that finds something else writes that down and fails, so that the table cannot go stale: look at the
difference, and either commit it or mend what has changed. A new version alone is written and nothing fails.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

PAGE: Final = Path(__file__).parents[2] / "docs" / "proxies" / "matrix.md"

Column = Literal["live", "acts", "idle", "resume", "duplicates", "doctor"]
COLUMNS: Final[tuple[Column, ...]] = ("live", "acts", "idle", "resume", "duplicates", "doctor")

HEAD: Final = """\
# What was measured

Made by the tests (`scripts/test tests/proxies`), which run each of these programs for real between a viewer
and a Jackline, and fail when they find anything else than what stands here. Do not edit it.

- *direct* is without a proxy, *generated* what `jackline proxy NAME` prints, *broken* the
  same changed for the worse, *as it comes* what a program does that is not configured for Jackline.
- **live?** Each entry arrives before the next one is made, in no more than three times what the direct path
  takes (about 20 ms). *late* is slower than that; *held back*: it had not come ten heartbeats later.
- **approval, stop?** Started, answered and stopped through the proxy: the question comes, the run goes on in
  the same stream after the answer; the stop takes effect at once, and the stream tells.
- **idle?** A run says nothing for 4 s. The proxy's limit on silence, where it has one, is set to 2 s, and
  heartbeats come every 0.3 s. *cut* by a limit that heartbeats do not help against, or because they do not
  come to the proxy (*below the heartbeat*). *ends as if whole*: HTTP says nothing of the cut.
- **resume?** The proxy is killed and started again; a viewer who comes back with its cursor gets every entry
  once.
- **duplicates** How often a POST is carried out whose answer is lost on its way, or is a 503.
- **doctor** What `jackline doctor URL` says: its verdict, and what it found.

"""
TITLES: Final = (
    "proxy",
    "version",
    "configuration",
    "live?",
    "approval, stop?",
    "idle?",
    "resume?",
    "duplicates",
    "doctor",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    proxy: str
    configuration: str
    version: str = ""
    cells: Mapping[Column, str]

    @property
    def key(self) -> tuple[str, str]:
        return self.proxy, self.configuration


def parse(page: str) -> list[Row]:
    """The rows of a page's first table."""
    rows: list[Row] = []
    for line in page.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != TITLES[0]:
            if len(cells) != len(TITLES):
                continue  # made before a column was added
            proxy, version, configuration, *found = cells
            known = dict(zip(COLUMNS, found, strict=True))
            rows.append(Row(proxy=proxy, configuration=configuration, version=version, cells=known))
    return rows


def rendered(rows: list[Row], tail: str) -> str:
    """A whole page."""
    lines = [
        "| " + " | ".join((row.proxy, row.version, row.configuration, *row.cells.values())) + " |"
        for row in rows
    ]
    head = "| " + " | ".join(TITLES) + " |\n" + "|---" * len(TITLES) + "|\n"
    return HEAD + head + "".join(f"{line}\n" for line in lines) + tail


def read_page() -> str:
    """The page as it is between two records: another process may be writing it."""
    with PAGE.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return file.read()


def record(row: Row, order: list[tuple[str, str]], tail: str) -> Row | None:
    """Put what `row` has into the page, whose rows stand in this order. The row that stood there before."""
    with PAGE.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        page = file.read()
        rows = {known.key: known for known in parse(page)}
        before = rows.get(row.key)
        blank: dict[Column, str] = dict.fromkeys(COLUMNS, "")
        cells = {**(before.cells if before else blank), **row.cells}
        rows[row.key] = replace(row, cells=cells)
        text = rendered([rows[key] for key in order if key in rows], tail)
        if text != page:
            file.seek(0)
            file.write(text)
            file.truncate()
    return before
