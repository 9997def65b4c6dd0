"""The code of docs/testing.md, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
(BLOCK,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
MODULE: dict[str, Any] = {"__name__": "test_mail"}
exec(compile(BLOCK, "docs/testing.md", "exec"), MODULE)  # the document's own code
TESTS = sorted(name for name in MODULE if name.startswith("test_"))


@pytest.mark.parametrize("name", TESTS)
async def test_the_example_holds(name: str, tmp_path: Path) -> None:
    """G4, G5, G6: as docs/testing.md tells it."""
    test: Callable[[Path], Awaitable[None]] = MODULE[name]
    await test(tmp_path)


def test_every_public_name_is_documented() -> None:
    from jackline import testing

    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
    told = {"House": "house.", "Run": "run.", "Recorded": "Recorder", "Fault": "not_written"}
    assert [name for name in testing.__all__ if told.get(name, name) not in table] == []
