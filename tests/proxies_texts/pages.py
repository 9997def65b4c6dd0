"""The pages of docs/proxies. Run as a program it puts the present configurations into them:

python -m tests.proxies_texts.pages
"""

from __future__ import annotations

import re
from pathlib import Path

from jackline.proxies import GENERATED, NOTES, Wish, render

FOLDER = Path(__file__).parents[2] / "docs" / "proxies"
NAMES = (*GENERATED, *NOTES)

_BLOCK = re.compile(r"^(```[a-z]+\n)(.*?)^```$", re.MULTILINE | re.DOTALL)


def printed(page: str) -> str:
    """The configuration that a page shows: its first block."""
    found = _BLOCK.search(page)
    assert found is not None
    return found[2]


def with_configuration(page: str, text: str) -> str:
    """The page with `text` in that block's place."""
    return _BLOCK.sub(lambda found: f"{found[1]}{text}```", page, count=1)


def main() -> None:
    """See the module."""
    for name in NAMES:
        path = FOLDER / f"{name}.md"
        path.write_text(with_configuration(path.read_text(), render(name, Wish())))


if __name__ == "__main__":
    main()
